#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "base/printable.h"
#include "format/gguf.h"
#include "format/gguf_parse.h"

#ifndef STERNA_NO_FILES
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#endif

namespace sterna {

using namespace detail;

namespace {

constexpr uint64_t kMaxNameBytes = 63;  // ggml keeps names in 64 bytes with a final zero
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint32_t kVersion = 3;

template <typename T>
void append(std::vector<uint8_t>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof(T));
    std::memcpy(to.data() + at, &value, sizeof(T));
}

void append_bytes(std::vector<uint8_t>& to, const void* from, size_t n) {
    if (n == 0) return;
    const size_t at = to.size();
    to.resize(at + n);
    std::memcpy(to.data() + at, from, n);
}

void append_text(std::vector<uint8_t>& to, std::string_view text) {
    append(to, uint64_t(text.size()));
    append_bytes(to, text.data(), text.size());
}

uint64_t padding(uint64_t n, uint64_t alignment) {
    return (alignment - n % alignment) % alignment;
}

template <typename T>
bool append_checked(std::vector<uint8_t>& to, int64_t value) {
    if (!std::in_range<T>(value)) return false;
    append(to, T(value));
    return true;
}

// Returns: false when the type is no integer type or the value does not fit.
bool append_int(std::vector<uint8_t>& to, GgufType type, int64_t value) {
    switch (type) {
        case GgufType::kU8:
            return append_checked<uint8_t>(to, value);
        case GgufType::kI8:
            return append_checked<int8_t>(to, value);
        case GgufType::kU16:
            return append_checked<uint16_t>(to, value);
        case GgufType::kI16:
            return append_checked<int16_t>(to, value);
        case GgufType::kU32:
            return append_checked<uint32_t>(to, value);
        case GgufType::kI32:
            return append_checked<int32_t>(to, value);
        case GgufType::kU64:
            return append_checked<uint64_t>(to, value);
        case GgufType::kI64:
            return append_checked<int64_t>(to, value);
        case GgufType::kBool:
            return (value == 0 || value == 1) && append_checked<uint8_t>(to, value);
        default:
            return false;
    }
}

bool append_float(std::vector<uint8_t>& to, GgufType type, double value) {
    if (type == GgufType::kF32)
        append(to, float(value));
    else if (type == GgufType::kF64)
        append(to, value);
    else
        return false;
    return true;
}

std::unexpected<Error> bad_value(std::string_view key, auto value, GgufType type) {
    return fail(ErrorCode::kBadArgument, "{}: {} does not fit into {}", printable(key), value, gguf_type_name(type));
}

}  // namespace

Status GgufWriter::put(std::string_view key, GgufType type, GgufType element_type, uint64_t n_elements,
                       std::vector<uint8_t> payload) {
    if (key.empty() || key.size() > kMaxKeyBytes)
        return fail(ErrorCode::kBadArgument, "a metadata key of {} bytes, expected 1 to {}", key.size(), kMaxKeyBytes);
    auto [at, is_new] = key_at_.try_emplace(std::string(key), values_.size());
    if (is_new) values_.emplace_back();
    values_[at->second] = {std::string(key), type, element_type, n_elements, std::move(payload)};
    return {};
}

void GgufWriter::remove(std::string_view key) {
    auto at = key_at_.find(std::string(key));
    if (at == key_at_.end()) return;
    values_.erase(values_.begin() + std::ptrdiff_t(at->second));
    key_at_.clear();
    for (size_t i = 0; i < values_.size(); ++i) key_at_[values_[i].key] = i;
}

Status GgufWriter::set_int(std::string_view key, GgufType type, int64_t value) {
    std::vector<uint8_t> payload;
    if (type == GgufType::kBool || !append_int(payload, type, value)) return bad_value(key, value, type);
    return put(key, type, GgufType::kU8, 1, std::move(payload));
}

Status GgufWriter::set_u64(std::string_view key, uint64_t value) {
    std::vector<uint8_t> payload;
    append(payload, value);
    return put(key, GgufType::kU64, GgufType::kU8, 1, std::move(payload));
}

Status GgufWriter::set_float(std::string_view key, GgufType type, double value) {
    std::vector<uint8_t> payload;
    if (!append_float(payload, type, value)) return bad_value(key, value, type);
    return put(key, type, GgufType::kU8, 1, std::move(payload));
}

Status GgufWriter::set_f32(std::string_view key, float value) {
    std::vector<uint8_t> payload;
    append(payload, value);
    return put(key, GgufType::kF32, GgufType::kU8, 1, std::move(payload));
}

Status GgufWriter::set_bool(std::string_view key, bool value) {
    return put(key, GgufType::kBool, GgufType::kU8, 1, {uint8_t(value)});
}

Status GgufWriter::set_string(std::string_view key, std::string_view value) {
    std::vector<uint8_t> payload;
    append_bytes(payload, value.data(), value.size());
    return put(key, GgufType::kString, GgufType::kU8, 1, std::move(payload));
}

Status GgufWriter::set_ints(std::string_view key, GgufType element_type, std::span<const int64_t> values) {
    std::vector<uint8_t> payload;
    for (int64_t value : values)
        if (!append_int(payload, element_type, value)) return bad_value(key, value, element_type);
    return put(key, GgufType::kArray, element_type, values.size(), std::move(payload));
}

Status GgufWriter::set_floats(std::string_view key, GgufType element_type, std::span<const double> values) {
    std::vector<uint8_t> payload;
    for (double value : values)
        if (!append_float(payload, element_type, value)) return bad_value(key, value, element_type);
    return put(key, GgufType::kArray, element_type, values.size(), std::move(payload));
}

Status GgufWriter::set_strings(std::string_view key, std::span<const std::string_view> values) {
    std::vector<uint8_t> payload;
    for (std::string_view value : values) append_text(payload, value);
    return put(key, GgufType::kArray, GgufType::kString, values.size(), std::move(payload));
}

Status GgufWriter::set_value(const GgufValue& value) {
    return put(value.key, value.type, value.element_type, value.n_elements,
               {value.payload.begin(), value.payload.end()});
}

Status GgufWriter::add_tensor(std::string name, DType type, std::span<const int64_t> shape, Bytes data) {
    return add({std::move(name), type, {shape.begin(), shape.end()}, 0, data, {}});
}

Status GgufWriter::add_tensor(std::string name, DType type, std::span<const int64_t> shape, Producer producer) {
    if (!producer) return fail(ErrorCode::kBadArgument, "{}: no producer of its data", printable(name));
    return add({std::move(name), type, {shape.begin(), shape.end()}, 0, {}, std::move(producer)});
}

Status GgufWriter::add(Tensor tensor) {
    const std::string shown = printable(tensor.name);
    if (tensor.name.empty() || tensor.name.size() > kMaxNameBytes)
        return fail(ErrorCode::kBadArgument, "{}: a tensor name of {} bytes, expected 1 to {}", shown,
                    tensor.name.size(), kMaxNameBytes);
    const DTypeTraits* traits = dtype_traits(tensor.type);
    if (!traits)
        return fail(ErrorCode::kUnsupported, "{}: {} is not a type that Sterna writes", shown,
                    dtype_name_of_number(uint32_t(tensor.type)));
    if (tensor.shape.empty() || tensor.shape.size() > size_t(kMaxDims))
        return fail(ErrorCode::kBadArgument, "{}: {} dimensions, expected 1 to {}", shown, tensor.shape.size(),
                    kMaxDims);
    int64_t n_elements = 1;
    for (int64_t size : tensor.shape) {
        if (size < 1 || size > std::numeric_limits<int64_t>::max() / n_elements)
            return fail(ErrorCode::kBadArgument, "{}: dimension {} is less than 1 or too large", shown, size);
        n_elements *= size;
    }
    if (tensor.shape[0] % traits->block_size != 0)
        return fail(ErrorCode::kBadArgument, "{}: rows of {} elements, expected a multiple of {} for {}", shown,
                    tensor.shape[0], traits->block_size, traits->name);
    auto n_bytes = dtype_bytes(tensor.type, uint64_t(n_elements));
    if (!n_bytes) return fail(ErrorCode::kBadArgument, "{}: too large", shown);
    tensor.n_bytes = *n_bytes;
    if (!tensor.producer && tensor.data.size() != *n_bytes)
        return fail(ErrorCode::kBadArgument, "{}: {} bytes given, expected {}", shown, tensor.data.size(), *n_bytes);
    if (!names_.insert(tensor.name).second) return fail(ErrorCode::kBadArgument, "{}: a tensor added twice", shown);
    tensors_.push_back(std::move(tensor));
    return {};
}

Result<uint64_t> GgufWriter::alignment() const {
    auto at = key_at_.find("general.alignment");
    if (at == key_at_.end()) return 32;
    const Value& value = values_[at->second];
    const uint64_t limit = GgufLimits().max_alignment;
    auto number = value_as_int(value.type, value.payload.data());
    if (value.type != GgufType::kU32 || *number < 8 || uint64_t(*number) > limit ||
        !std::has_single_bit(uint64_t(*number)))
        return fail(ErrorCode::kBadArgument, "general.alignment: expected a u32, a power of two from 8 to {}", limit);
    return uint64_t(*number);
}

std::vector<GgufWriter::Part> GgufWriter::parts(uint64_t alignment, uint64_t max_part_bytes) const {
    std::vector<Part> parts = {{0, 0}};
    uint64_t bytes = 0;
    for (size_t i = 0; i < tensors_.size(); ++i) {
        const uint64_t size = tensors_[i].n_bytes + padding(tensors_[i].n_bytes, alignment);
        if (max_part_bytes > 0 && bytes > 0 && bytes + size > max_part_bytes) {
            parts.push_back({i, i});
            bytes = 0;
        }
        bytes += size;
        parts.back().end = i + 1;
    }
    return parts;
}

std::vector<uint8_t> GgufWriter::header(Part part, size_t number, size_t n_parts, uint64_t alignment) const {
    std::vector<uint8_t> bytes;
    uint64_t n_values = 0;
    auto key = [&](std::string_view name, GgufType type) {
        append_text(bytes, name);
        append(bytes, uint32_t(type));
        ++n_values;
    };
    append_bytes(bytes, "GGUF", 4);
    append(bytes, kVersion);
    append(bytes, uint64_t(part.end - part.begin));
    const size_t n_values_at = bytes.size();
    append(bytes, n_values);
    for (const Value& value : values_) {
        if (value.key.starts_with("split.")) continue;  // says how a source was split, not this file
        if (number > 0 && value.key != "general.alignment") continue;
        key(value.key, value.type);
        if (value.type == GgufType::kString) append(bytes, uint64_t(value.payload.size()));
        if (value.type == GgufType::kArray) {
            append(bytes, uint32_t(value.element_type));
            append(bytes, value.n_elements);
        }
        append_bytes(bytes, value.payload.data(), value.payload.size());
    }
    if (n_parts > 1) {
        key("split.no", GgufType::kU16);
        append(bytes, uint16_t(number));
        key("split.count", GgufType::kU16);
        append(bytes, uint16_t(n_parts));
        key("split.tensors.count", GgufType::kI32);
        append(bytes, int32_t(tensors_.size()));
    }
    std::memcpy(bytes.data() + n_values_at, &n_values, sizeof n_values);
    uint64_t offset = 0;
    for (size_t i = part.begin; i < part.end; ++i) {
        const Tensor& tensor = tensors_[i];
        append_text(bytes, tensor.name);
        append(bytes, uint32_t(tensor.shape.size()));
        for (int64_t size : tensor.shape) append(bytes, size);
        append(bytes, uint32_t(tensor.type));
        append(bytes, offset);
        offset += tensor.n_bytes + padding(tensor.n_bytes, alignment);
    }
    bytes.resize(bytes.size() + size_t(padding(bytes.size(), alignment)));
    return bytes;
}

Status GgufWriter::tensor_data(const Tensor& tensor, uint64_t alignment, Sink sink) const {
    if (tensor.producer) {
        uint64_t left = tensor.n_bytes;
        auto counted = [&](Bytes piece) -> Status {
            if (piece.size() > left)
                return fail(ErrorCode::kBadArgument, "{}: more than the expected {} bytes were produced",
                            printable(tensor.name), tensor.n_bytes);
            left -= piece.size();
            return sink(piece);
        };
        STERNA_CHECK(tensor.producer(counted));
        if (left > 0)
            return fail(ErrorCode::kBadArgument, "{}: {} bytes were produced, expected {}", printable(tensor.name),
                        tensor.n_bytes - left, tensor.n_bytes);
    } else {
        STERNA_CHECK(sink(tensor.data));
    }
    const std::vector<uint8_t> zeros(size_t(padding(tensor.n_bytes, alignment)));
    return sink(zeros);
}

Result<std::vector<GgufWriter::FilePlan>> GgufWriter::plan_files(const std::string& path,
                                                                 const Options& options) const {
    STERNA_TRY(align, alignment());
    const std::vector<Part> all = parts(align, options.max_part_bytes);
    const uint64_t max_parts = GgufLimits().max_splits;
    if (all.size() > max_parts)
        return fail(ErrorCode::kLimit, "{}: {} parts of at most {} bytes, at most {} parts are written", path,
                    all.size(), options.max_part_bytes, max_parts);
    const std::string stem = path.ends_with(".gguf") ? path.substr(0, path.size() - 5) : path;
    std::vector<FilePlan> plans;
    for (size_t i = 0; i < all.size(); ++i) {
        FilePlan plan;
        plan.path = all.size() == 1 ? path : fmt::format("{}-{:05}-of-{:05}.gguf", stem, i + 1, all.size());
        plan.header = header(all[i], i, all.size(), align);
        plan.begin = all[i].begin;
        plan.end = all[i].end;
        plan.n_bytes = plan.header.size();
        for (size_t t = plan.begin; t < plan.end; ++t) {
            plan.offsets.push_back(plan.n_bytes);
            plan.n_bytes += tensors_[t].n_bytes + padding(tensors_[t].n_bytes, align);
        }
        plans.push_back(std::move(plan));
    }
    return plans;
}

Result<std::vector<uint8_t>> GgufWriter::to_bytes() const {
    STERNA_TRY(align, alignment());
    std::vector<uint8_t> bytes = header({0, tensors_.size()}, 0, 1, align);
    auto sink = [&](Bytes piece) -> Status {
        append_bytes(bytes, piece.data(), piece.size());
        return {};
    };
    for (const Tensor& tensor : tensors_) STERNA_CHECK(tensor_data(tensor, align, sink));
    return bytes;
}

#ifndef STERNA_NO_FILES

namespace {

// A file under a temporary name. Unless renamed, it is removed with the object.
class TemporaryFile {
public:
    explicit TemporaryFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".part") {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        if (file_) std::fclose(file_);
        if (exists_) ::unlink(temporary_.c_str());
    }

    Status create() {
        file_ = std::fopen(temporary_.c_str(), "wbe");
        if (!file_) return failed("create");
        exists_ = true;
        return {};
    }

    Status append(Bytes bytes) {
        if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) return failed("write");
        return {};
    }

    // After this the content is on disk and the descriptor closed.
    Status finish() {
        if (std::fflush(file_) != 0 || ::fsync(::fileno(file_)) != 0) return failed("flush");
        if (std::fclose(std::exchange(file_, nullptr)) != 0) return failed("close");
        return {};
    }

    Status rename() {
        if (std::rename(temporary_.c_str(), path_.c_str()) != 0) return failed("rename");
        exists_ = false;
        return {};
    }

    const std::string& path() const { return path_; }

private:
    std::unexpected<Error> failed(std::string_view what) const {
        return fail(ErrorCode::kIo, "{}: cannot {}: {}", temporary_, what, std::strerror(errno));
    }

    std::string path_, temporary_;
    std::FILE* file_ = nullptr;
    bool exists_ = false;
};

}  // namespace

Result<std::vector<std::string>> GgufWriter::write(const std::string& path, const Options& options) const {
    STERNA_TRY(align, alignment());
    STERNA_TRY(plans, plan_files(path, options));
    std::vector<std::unique_ptr<TemporaryFile>> files;
    for (const FilePlan& plan : plans) {
        files.push_back(std::make_unique<TemporaryFile>(plan.path));
        TemporaryFile& file = *files.back();
        STERNA_CHECK(file.create());
        STERNA_CHECK(file.append(plan.header));
        auto sink = [&](Bytes piece) { return file.append(piece); };
        for (size_t t = plan.begin; t < plan.end; ++t) STERNA_CHECK(tensor_data(tensors_[t], align, sink));
        STERNA_CHECK(file.finish());
    }
    std::vector<std::string> paths;
    for (auto& file : files) {
        STERNA_CHECK(file->rename());
        paths.push_back(file->path());
    }
    return paths;
}

#endif

}  // namespace sterna
