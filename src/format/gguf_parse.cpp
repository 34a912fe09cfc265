#include "format/gguf_parse.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/printable.h"

namespace sterna::detail {

namespace {

constexpr std::string_view kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};
constexpr uint8_t kTypeBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
constexpr uint32_t kTypeCount = 13;

constexpr uint64_t kMinValueBytes = 8 + 4 + 1;         // key length, type, one byte
constexpr uint64_t kMinTensorBytes = 8 + 4 + 4 + 8;    // name length, dimensions, type, offset
constexpr uint64_t kMaxFileBytes = uint64_t(1) << 62;  // sums of offsets and sizes below this cannot overflow

uint64_t round_up(uint64_t n, uint64_t alignment) {
    return (n + alignment - 1) / alignment * alignment;
}

class PartParser {
public:
    PartParser(Bytes bytes, const std::string& name, const GgufLimits& limits)
        : bytes_(bytes), reader_(bytes), name_(name), limits_(limits) {}

    Result<GgufPart> parse() {
        STERNA_CHECK(header());
        STERNA_CHECK(values());
        STERNA_CHECK(alignment());
        STERNA_CHECK(tensor_table());
        STERNA_CHECK(place_tensors());
        return std::move(part_);
    }

private:
    auto ends_early(std::string_view what, uint64_t needed) {
        return fail(ErrorCode::kBadFile,
                    "{}: truncated in {}: {} more bytes expected at byte {}, found {} (file of {} bytes)", name_, what,
                    needed, reader_.position(), reader_.remaining(), bytes_.size());
    }

    Status header() {
        auto magic = reader_.read_text(4);
        if (!magic) return fail(ErrorCode::kBadFile, "{}: {} bytes, too short for a GGUF file", name_, bytes_.size());
        if (*magic != "GGUF")
            return fail(ErrorCode::kBadFile, "{}: not a GGUF file: starts with \"{}\"", name_, printable(*magic));
        auto version = reader_.read<uint32_t>();
        if (!version) return ends_early("the header", 4);
        part_.version = *version;
        if (*version == 1)
            return fail(ErrorCode::kUnsupported, "{}: GGUF version 1, expected 2 or 3: convert the model again", name_);
        if ((*version & 0xffff) == 0 && *version != 0)
            return fail(ErrorCode::kUnsupported, "{}: a big-endian GGUF file, expected little-endian", name_);
        if (*version != 2 && *version != 3)
            return fail(ErrorCode::kUnsupported, "{}: GGUF version {}, expected 2 or 3", name_, *version);
        if (reader_.remaining() < 16) return ends_early("the header", 16);
        n_tensors_ = *reader_.read<uint64_t>();
        n_values_ = *reader_.read<uint64_t>();
        STERNA_CHECK(check_count("tensors", n_tensors_, limits_.max_tensors, kMinTensorBytes));
        return check_count("metadata keys", n_values_, limits_.max_keys, kMinValueBytes);
    }

    // Refuses counts before anything is allocated for them.
    Status check_count(std::string_view what, uint64_t count, uint64_t limit, uint64_t min_bytes) {
        if (count > limit)
            return fail(ErrorCode::kLimit, "{}: {} {} announced, at most {} are read", name_, count, what, limit);
        if (count > reader_.remaining() / min_bytes)
            return fail(ErrorCode::kBadFile, "{}: {} {} announced, which do not fit into the file's {} bytes", name_,
                        count, what, bytes_.size());
        return {};
    }

    Result<std::string_view> text(std::string_view what, uint64_t limit) {
        auto length = reader_.read<uint64_t>();
        if (!length) return ends_early(what, 8);
        if (*length > limit && *length <= reader_.remaining())
            return fail(ErrorCode::kLimit, "{}: {} of {} bytes, at most {} are read", name_, what, *length, limit);
        auto view = reader_.read_text(*length);
        if (!view) return ends_early(what, *length);
        return *view;
    }

    Status values() {
        part_.values.reserve(size_t(n_values_));
        for (uint64_t i = 0; i < n_values_; ++i) {
            STERNA_TRY(key, text(fmt::format("metadata key {} of {}", i + 1, n_values_), limits_.max_key_bytes));
            STERNA_TRY(value, one_value(key));
            part_.values.push_back(value);
        }
        auto twice = part_.keys.build(uint32_t(n_values_), [&](uint32_t i) { return part_.values[i].key; });
        if (twice)
            return fail(ErrorCode::kBadFile, "{}: metadata key {} occurs twice", name_,
                        printable(part_.values[*twice].key));
        return {};
    }

    Result<GgufType> type_of(std::string_view key) {
        auto number = reader_.read<uint32_t>();
        if (!number) return ends_early(printable(key), 4);
        if (*number >= kTypeCount)
            return fail(ErrorCode::kBadFile, "{}: {}: metadata type {}, expected 0 to {}", name_, printable(key),
                        *number, kTypeCount - 1);
        return GgufType(*number);
    }

    Result<GgufValue> one_value(std::string_view key) {
        STERNA_TRY(type, type_of(key));
        GgufValue value{key, type, GgufType::kU8, 1, {}};
        if (type == GgufType::kString) {
            auto length = reader_.read<uint64_t>();
            if (!length) return ends_early(printable(key), 8);
            auto payload = reader_.read_bytes(*length);
            if (!payload) return ends_early(printable(key), *length);
            value.payload = *payload;
        } else if (type == GgufType::kArray) {
            STERNA_TRY(element_type, type_of(key));
            auto count = reader_.read<uint64_t>();
            if (!count) return ends_early(printable(key), 8);
            value.element_type = element_type;
            value.n_elements = *count;
            const size_t begin = reader_.position();
            STERNA_CHECK(elements(key, element_type, *count, 1));
            value.payload = bytes_.subspan(begin, reader_.position() - begin);
        } else {
            auto payload = reader_.read_bytes(gguf_type_bytes(type));
            if (!payload) return ends_early(printable(key), gguf_type_bytes(type));
            value.payload = *payload;
            if (type == GgufType::kBool) STERNA_CHECK(bools(key, *payload));
        }
        return value;
    }

    Status bools(std::string_view key, Bytes payload) {
        for (uint8_t b : payload)
            if (b > 1)
                return fail(ErrorCode::kBadFile, "{}: {}: bool of value {}, expected 0 or 1", name_, printable(key), b);
        return {};
    }

    // Passes over the elements of an array, checking each. Recursion stops at max_array_depth.
    Status elements(std::string_view key, GgufType type, uint64_t count, uint64_t depth) {
        if (const size_t size = gguf_type_bytes(type)) {
            if (count > reader_.remaining() / size)
                return fail(ErrorCode::kBadFile,
                            "{}: truncated in {}: {} elements of {} bytes expected, {} bytes found", name_,
                            printable(key), count, size, reader_.remaining());
            Bytes payload = *reader_.read_bytes(count * size);
            return type == GgufType::kBool ? bools(key, payload) : Status();
        }
        if (count > reader_.remaining() / 8)
            return fail(ErrorCode::kBadFile, "{}: truncated in {}: {} elements expected, {} bytes found", name_,
                        printable(key), count, reader_.remaining());
        if (type == GgufType::kString) {
            for (uint64_t i = 0; i < count; ++i) {
                auto length = reader_.read<uint64_t>();
                if (!length) return ends_early(printable(key), 8);
                if (!reader_.skip(*length)) return ends_early(printable(key), *length);
            }
            return {};
        }
        if (depth >= limits_.max_array_depth)
            return fail(ErrorCode::kLimit, "{}: {}: arrays nested deeper than {}", name_, printable(key),
                        limits_.max_array_depth);
        for (uint64_t i = 0; i < count; ++i) {
            STERNA_TRY(inner, type_of(key));
            auto n = reader_.read<uint64_t>();
            if (!n) return ends_early(printable(key), 8);
            STERNA_CHECK(elements(key, inner, *n, depth + 1));
        }
        return {};
    }

    Status alignment() {
        const GgufValue* value = find_value(part_, "general.alignment");
        if (!value) return {};
        auto wanted = value->type == GgufType::kBool ? std::nullopt : value_as_int(value->type, value->payload.data());
        if (!wanted) return fail(ErrorCode::kBadFile, "{}: general.alignment is no integer", name_);
        if (*wanted <= 0 || uint64_t(*wanted) > limits_.max_alignment || !std::has_single_bit(uint64_t(*wanted)))
            return fail(ErrorCode::kBadFile, "{}: general.alignment is {}, expected a power of two up to {}", name_,
                        *wanted, limits_.max_alignment);
        part_.alignment = uint64_t(*wanted);
        return {};
    }

    Status tensor_table() {
        part_.tensors.reserve(size_t(n_tensors_));
        offsets_.reserve(size_t(n_tensors_));
        sizes_.reserve(size_t(n_tensors_));
        for (uint64_t i = 0; i < n_tensors_; ++i) {
            STERNA_TRY(tensor_name,
                       text(fmt::format("the name of tensor {} of {}", i + 1, n_tensors_), limits_.max_name_bytes));
            STERNA_CHECK(one_tensor(tensor_name));
        }
        part_.data_at = round_up(reader_.position(), part_.alignment);
        NameIndex names;
        auto twice = names.build(uint32_t(n_tensors_), [&](uint32_t i) { return part_.tensors[i].name; });
        if (twice)
            return fail(ErrorCode::kBadFile, "{}: tensor {} occurs twice", name_,
                        printable(part_.tensors[*twice].name));
        return {};
    }

    Status one_tensor(std::string_view tensor_name) {
        TensorView tensor;
        tensor.name = tensor_name;
        auto n_dims = reader_.read<uint32_t>();
        if (!n_dims) return ends_early(printable(tensor_name), 4);
        if (*n_dims > uint32_t(kMaxDims))
            return fail(ErrorCode::kUnsupported, "{}: {}: {} dimensions, at most {} are read", name_,
                        printable(tensor_name), *n_dims, kMaxDims);
        tensor.n_dims = int(*n_dims);
        const uint64_t rest = uint64_t(*n_dims) * 8 + 4 + 8;
        if (reader_.remaining() < rest) return ends_early(printable(tensor_name), rest);
        int64_t n_elements = 1;
        for (uint32_t d = 0; d < *n_dims; ++d) {
            const int64_t size = *reader_.read<int64_t>();
            if (size < 1)
                return fail(ErrorCode::kBadFile, "{}: {}: dimension {} is {}, expected at least 1", name_,
                            printable(tensor_name), d, size);
            if (size > int64_t(kMaxFileBytes) / n_elements)
                return fail(ErrorCode::kBadFile, "{}: {}: the product of its dimensions overflows", name_,
                            printable(tensor_name));
            n_elements *= size;
            tensor.shape[d] = size;
        }
        const uint32_t number = *reader_.read<uint32_t>();
        offsets_.push_back(*reader_.read<uint64_t>());
        const DTypeTraits* traits = dtype_traits(DType(number));
        if (!traits)
            return fail(ErrorCode::kUnsupported, "{}: {}: {} is not a type that Sterna reads", name_,
                        printable(tensor_name), dtype_name_of_number(number));
        tensor.type = traits->type;
        if (tensor.shape[0] % traits->block_size != 0)
            return fail(ErrorCode::kBadFile, "{}: {}: rows of {} elements, expected a multiple of {} for {}", name_,
                        printable(tensor_name), tensor.shape[0], traits->block_size, traits->name);
        auto size = dtype_bytes(tensor.type, uint64_t(n_elements));
        if (!size || *size > kMaxFileBytes)
            return fail(ErrorCode::kBadFile, "{}: {}: shape {} is too large", name_, printable(tensor_name),
                        shape_text(tensor));
        sizes_.push_back(*size);
        part_.tensors.push_back(tensor);
        return {};
    }

    // Gives each tensor its bytes: inside the file, aligned, none over another.
    Status place_tensors() {
        std::vector<uint32_t> order(part_.tensors.size());
        for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
        std::ranges::sort(order, [&](uint32_t a, uint32_t b) {
            return offsets_[a] != offsets_[b] ? offsets_[a] < offsets_[b] : a < b;
        });
        uint64_t end = 0;
        for (size_t k = 0; k < order.size(); ++k) {
            const uint32_t i = order[k];
            const TensorView& tensor = part_.tensors[i];
            if (offsets_[i] % part_.alignment != 0)
                return fail(ErrorCode::kBadFile, "{}: {}: offset {}, expected a multiple of {}", name_,
                            printable(tensor.name), offsets_[i], part_.alignment);
            if (offsets_[i] > kMaxFileBytes)
                return fail(ErrorCode::kBadFile, "{}: {}: offset {} is outside of any file", name_,
                            printable(tensor.name), offsets_[i]);
            if (k > 0 && offsets_[i] < end)
                return fail(ErrorCode::kBadFile, "{}: {}: offset {} lies inside {}, which ends at {}", name_,
                            printable(tensor.name), offsets_[i], printable(part_.tensors[order[k - 1]].name), end);
            end = offsets_[i] + sizes_[i];
        }
        if (!order.empty() && end > bytes_.size() - std::min<uint64_t>(part_.data_at, bytes_.size()))
            return fail(ErrorCode::kBadFile, "{}: truncated: {} bytes expected up to the end of {}, found {}", name_,
                        part_.data_at + end, printable(part_.tensors[order.back()].name), bytes_.size());
        for (uint32_t i = 0; i < order.size(); ++i)
            part_.tensors[i].data = bytes_.subspan(size_t(part_.data_at + offsets_[i]), size_t(sizes_[i]));
        return {};
    }

    Bytes bytes_;
    ByteReader reader_;
    const std::string& name_;
    const GgufLimits& limits_;
    GgufPart part_;
    uint64_t n_tensors_ = 0, n_values_ = 0;
    std::vector<uint64_t> offsets_, sizes_;
};

}  // namespace

Result<GgufPart> parse_gguf_part(Bytes bytes, const std::string& name, const GgufLimits& limits) {
    return PartParser(bytes, name, limits).parse();
}

const GgufValue* find_value(const GgufPart& part, std::string_view key) {
    auto at = part.keys.find(key);
    return at ? &part.values[*at] : nullptr;
}

std::optional<int64_t> value_as_int(GgufType type, const uint8_t* at) {
    switch (type) {
        case GgufType::kBool:
        case GgufType::kU8:
            return *at;
        case GgufType::kI8:
            return load_le<int8_t>(at);
        case GgufType::kU16:
            return load_le<uint16_t>(at);
        case GgufType::kI16:
            return load_le<int16_t>(at);
        case GgufType::kU32:
            return load_le<uint32_t>(at);
        case GgufType::kI32:
            return load_le<int32_t>(at);
        case GgufType::kI64:
            return load_le<int64_t>(at);
        case GgufType::kU64: {
            const uint64_t value = load_le<uint64_t>(at);
            if (value > uint64_t(INT64_MAX)) return std::nullopt;
            return int64_t(value);
        }
        default:
            return std::nullopt;
    }
}

std::optional<double> value_as_float(GgufType type, const uint8_t* at) {
    if (type == GgufType::kF32) return double(load_le<float>(at));
    if (type == GgufType::kF64) return load_le<double>(at);
    if (type == GgufType::kU64) return double(load_le<uint64_t>(at));
    if (type == GgufType::kBool) return std::nullopt;
    auto integer = value_as_int(type, at);
    if (!integer) return std::nullopt;
    return double(*integer);
}

size_t gguf_type_bytes(GgufType type) {
    return uint32_t(type) < kTypeCount ? kTypeBytes[uint32_t(type)] : 0;
}

std::string_view gguf_type_name(GgufType type) {
    return uint32_t(type) < kTypeCount ? kTypeNames[uint32_t(type)] : "?";
}

}  // namespace sterna::detail
