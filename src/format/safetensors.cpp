#include "format/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "format/gguf_parse.h"
#include "format/name_index.h"

#ifndef STERNA_NO_FILES
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#endif

namespace sterna {

namespace {

using Json = nlohmann::json;

constexpr size_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";
constexpr size_t kHeaderPadding = 8;  // so that data starts aligned, as the reference writer's does

struct Entry {
    std::string name, dtype;
    std::vector<int64_t> shape;
    uint64_t begin = 0, end = 0;
    bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Takes the header apart as it is parsed: nothing is kept but the entries, and anything that is not their form ends the
// parse. Depth 1 is the object of tensors, 2 a tensor or the metadata, 3 a list in a tensor.
class HeaderReader : public nlohmann::json_sax<Json> {
public:
    HeaderReader(std::string file, const SafetensorsLimits& limits) : file_(std::move(file)), limits_(limits) {}

    std::vector<Entry> entries;
    std::vector<std::pair<std::string, std::string>> metadata;
    std::string error;

    bool start_object(size_t) override {
        if (depth_ == 0 || (depth_ == 1 && !name_.empty())) {
            if (++depth_ == 2 && !in_metadata_) {
                if (entries.size() >= limits_.max_tensors)
                    return wrong(fmt::format("more than {} tensors", limits_.max_tensors));
                entries.emplace_back().name = name_;
            }
            return true;
        }
        return misplaced("an object");
    }
    bool end_object() override {
        if (depth_ == 2 && !in_metadata_) {
            const Entry& entry = entries.back();
            const char* missing = !entry.has_dtype     ? "dtype"
                                  : !entry.has_shape   ? "shape"
                                  : !entry.has_offsets ? "data_offsets"
                                                       : nullptr;
            if (missing) return wrong(fmt::format("tensor '{}' has no {}", printable(entry.name), missing));
        }
        --depth_;
        in_metadata_ = false;
        return true;
    }
    bool key(string_t& text) override {
        if (depth_ == 1) {
            if (text.empty() || text.size() > limits_.max_name_bytes)
                return wrong(
                    fmt::format("a tensor name of {} bytes, expected 1 to {}", text.size(), limits_.max_name_bytes));
            name_ = std::move(text);
            in_metadata_ = name_ == kMetadata;
            if (in_metadata_ && std::exchange(has_metadata_, true)) return wrong("two __metadata__ objects");
            return true;
        }
        field_ = std::move(text);
        if (in_metadata_) return true;
        Entry& entry = entries.back();
        bool* seen = field_ == "dtype"          ? &entry.has_dtype
                     : field_ == "shape"        ? &entry.has_shape
                     : field_ == "data_offsets" ? &entry.has_offsets
                                                : nullptr;
        if (!seen) return wrong(fmt::format("tensor '{}': unknown key '{}'", printable(name_), printable(field_)));
        if (std::exchange(*seen, true))
            return wrong(fmt::format("tensor '{}': two keys '{}'", printable(name_), field_));
        return true;
    }
    bool start_array(size_t) override {
        if (depth_ != 2 || in_metadata_ || field_ == "dtype") return misplaced("a list");
        ++depth_;
        offsets_ = 0;
        return true;
    }
    bool end_array() override {
        --depth_;
        if (field_ == "data_offsets" && offsets_ != 2)
            return wrong(fmt::format("tensor '{}': {} data offsets, expected 2", printable(name_), offsets_));
        return true;
    }
    bool string(string_t& text) override {
        if (depth_ != 2) return misplaced("a text");
        if (in_metadata_) {
            metadata.emplace_back(field_, std::move(text));
            return true;
        }
        if (field_ != "dtype") return misplaced("a text");
        entries.back().dtype = std::move(text);
        return true;
    }
    bool number_unsigned(uint64_t value) override {
        if (depth_ != 3) return misplaced("a number");
        Entry& entry = entries.back();
        if (field_ == "data_offsets") {
            if (++offsets_ > 2) return wrong(fmt::format("tensor '{}': more than 2 data offsets", printable(name_)));
            (offsets_ == 1 ? entry.begin : entry.end) = value;
            return true;
        }
        if (value > uint64_t(std::numeric_limits<int64_t>::max()))
            return wrong(fmt::format("tensor '{}': dimension {} is too large", printable(name_), value));
        if (entry.shape.size() >= limits_.max_dimensions)
            return wrong(fmt::format("tensor '{}': more than {} dimensions", printable(name_), limits_.max_dimensions));
        entry.shape.push_back(int64_t(value));
        return true;
    }
    bool number_integer(int64_t value) override { return misplaced(fmt::format("the number {}", value)); }
    bool number_float(double, const string_t& text) override {
        return misplaced(fmt::format("the number {}", printable(text)));
    }
    bool null() override { return misplaced("null"); }
    bool boolean(bool) override { return misplaced("true or false"); }
    bool binary(Json::binary_t&) override { return misplaced("binary data"); }
    bool parse_error(size_t at, const std::string&, const Json::exception&) override {
        return wrong(fmt::format("its header is not JSON: a mistake at byte {}", at + kLengthBytes));
    }

private:
    bool wrong(std::string_view what) {
        if (error.empty()) error = fmt::format("{}: {}", file_, what);
        return false;
    }
    bool misplaced(std::string_view what) {
        if (depth_ < 2) return wrong(fmt::format("its header holds {} where tensors are listed", what));
        return wrong(fmt::format("'{}': {} in '{}'", printable(name_), what, printable(field_)));
    }

    std::string file_;
    const SafetensorsLimits& limits_;
    int depth_ = 0;
    int offsets_ = 0;
    bool in_metadata_ = false, has_metadata_ = false;
    std::string name_, field_;
};

// Offsets are relative to `data`. Requires: sorted by their begin.
Status check_layout(const std::vector<Entry>& entries, uint64_t data_bytes, const std::string& file) {
    uint64_t at = 0;
    for (const Entry& entry : entries) {
        if (entry.end < entry.begin || entry.end > data_bytes)
            return fail(ErrorCode::kBadFile, "{}: tensor '{}' lies at {} to {}, but there are {} bytes of data", file,
                        printable(entry.name), entry.begin, entry.end, data_bytes);
        if (entry.begin != at)
            return fail(ErrorCode::kBadFile, "{}: tensor '{}' starts at {}, {} the end of the one before it ({})", file,
                        printable(entry.name), entry.begin, entry.begin < at ? "before" : "beyond", at);
        at = entry.end;
    }
    if (at != data_bytes)
        return fail(ErrorCode::kBadFile, "{}: {} bytes follow its last tensor", file, data_bytes - at);
    return {};
}

Status check_name_twice(const std::vector<Entry>& entries, const std::string& file) {
    NameIndex index;
    const auto twice =
        index.build(uint32_t(entries.size()), [&](uint32_t i) { return std::string_view(entries[i].name); });
    if (twice) return fail(ErrorCode::kBadFile, "{}: tensor '{}' occurs twice", file, printable(entries[*twice].name));
    return {};
}

}  // namespace

std::optional<ElementType> element_type_by_name(std::string_view name) {
    for (int i = 0; i <= int(ElementType::kBool); ++i)
        if (element_name(ElementType(i)) == name) return ElementType(i);
    return std::nullopt;
}

Result<SafetensorsPart> parse_safetensors(Bytes bytes, const std::string& name, const SafetensorsLimits& limits) {
    if (bytes.size() < kLengthBytes)
        return fail(ErrorCode::kBadFile, "{}: {} bytes, too short for a safetensors file", name, bytes.size());
    const uint64_t header_bytes = load_le<uint64_t>(bytes.data());
    if (header_bytes > limits.max_header_bytes)
        return fail(ErrorCode::kBadFile, "{}: a header of {} bytes, expected at most {}: not a safetensors file", name,
                    header_bytes, limits.max_header_bytes);
    if (header_bytes > bytes.size() - kLengthBytes)
        return fail(ErrorCode::kBadFile, "{}: ends within its header of {} bytes", name, header_bytes);
    const Bytes header = bytes.subspan(kLengthBytes, size_t(header_bytes));
    const Bytes data = bytes.subspan(kLengthBytes + size_t(header_bytes));
    if (header.empty() || header[0] != '{')
        return fail(ErrorCode::kBadFile, "{}: its header is no JSON object: not a safetensors file", name);
    HeaderReader reader(name, limits);
    const auto* text = reinterpret_cast<const char*>(header.data());  // libc++ has no traits of other characters
    if (!Json::sax_parse(text, text + header.size(), &reader))
        return fail(ErrorCode::kBadFile, "{}", reader.error.empty() ? name + ": its header is not JSON" : reader.error);
    STERNA_CHECK(check_name_twice(reader.entries, name));
    std::ranges::stable_sort(reader.entries, [](const Entry& a, const Entry& b) {
        return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
    });
    // A cut file is told from a lying header by its first tensor that reaches beyond the end.
    STERNA_CHECK(check_layout(reader.entries, data.size(), name));
    SafetensorsPart part;
    part.metadata = std::move(reader.metadata);
    part.tensors.reserve(reader.entries.size());
    for (Entry& entry : reader.entries) {
        const auto type = element_type_by_name(entry.dtype);
        if (!type)
            return fail(ErrorCode::kUnsupported, "{}: tensor '{}' is of type '{}', which Sterna does not read", name,
                        printable(entry.name), printable(entry.dtype));
        const int64_t n = element_count(entry.shape);
        const uint64_t n_bytes = entry.end - entry.begin;
        if (n < 0 || uint64_t(n) > n_bytes || uint64_t(n) * uint64_t(element_bytes(*type)) != n_bytes)
            return fail(ErrorCode::kBadFile, "{}: tensor '{}' has {} bytes, which do not hold {} of type {}", name,
                        printable(entry.name), n_bytes, shape_text(entry.shape), entry.dtype);
        part.tensors.push_back(
            {std::move(entry.name), *type, std::move(entry.shape), data.subspan(size_t(entry.begin), size_t(n_bytes))});
    }
    return part;
}

Status SafetensorsWriter::add(std::string name, ElementType type, std::vector<int64_t> shape, Producer producer) {
    if (name.empty() || name == kMetadata)
        return fail(ErrorCode::kBadArgument, "'{}': not a name for a tensor", printable(name));
    const int64_t n = element_count(shape);
    constexpr uint64_t kMostBytes = uint64_t(1) << 62;
    if (n < 0 || uint64_t(n) > (kMostBytes - n_bytes_) / uint64_t(element_bytes(type)))
        return fail(ErrorCode::kBadArgument, "{}: shape {} is too large", printable(name), shape_text(shape));
    const uint64_t n_bytes = uint64_t(n) * uint64_t(element_bytes(type));
    n_bytes_ += n_bytes;
    tensors_.push_back({std::move(name), type, std::move(shape), n_bytes, std::move(producer)});
    return {};
}

std::vector<uint8_t> SafetensorsWriter::header() const {
    std::string text = R"({"__metadata__":{"format":"pt"})";
    uint64_t at = 0;
    for (const Tensor& tensor : tensors_) {
        text += fmt::format(R"(,{}:{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})",
                            Json(tensor.name).dump(-1, ' ', false, Json::error_handler_t::replace),
                            element_name(tensor.type), Json(tensor.shape).dump(), at, at + tensor.n_bytes);
        at += tensor.n_bytes;
    }
    text += '}';
    text.append((kHeaderPadding - text.size() % kHeaderPadding) % kHeaderPadding, ' ');
    std::vector<uint8_t> bytes(kLengthBytes + text.size());
    const uint64_t n = text.size();
    std::memcpy(bytes.data(), &n, sizeof n);
    std::memcpy(bytes.data() + kLengthBytes, text.data(), text.size());
    return bytes;
}

Status SafetensorsWriter::data(Sink sink) const {
    for (const Tensor& tensor : tensors_) {
        uint64_t written = 0;
        auto counted = [&](Bytes piece) -> Status {
            written += piece.size();
            if (written > tensor.n_bytes)
                return fail(ErrorCode::kBadArgument, "{}: more than its {} bytes", printable(tensor.name),
                            tensor.n_bytes);
            return sink(piece);
        };
        STERNA_CHECK(tensor.producer(counted));
        if (written != tensor.n_bytes)
            return fail(ErrorCode::kBadArgument, "{}: {} of its {} bytes", printable(tensor.name), written,
                        tensor.n_bytes);
    }
    return {};
}

Result<std::vector<uint8_t>> SafetensorsWriter::to_bytes() const {
    std::vector<uint8_t> bytes = header();
    auto sink = [&](Bytes piece) -> Status {
        bytes.insert(bytes.end(), piece.begin(), piece.end());
        return {};
    };
    STERNA_CHECK(data(sink));
    return bytes;
}

#ifndef STERNA_NO_FILES

Status SafetensorsWriter::write(const std::string& path) const {
    const std::string temporary = path + ".part";
    std::FILE* file = std::fopen(temporary.c_str(), "wbe");
    auto failed = [&](std::string_view what) -> Status {
        const std::string why = std::strerror(errno);
        if (file) std::fclose(std::exchange(file, nullptr));
        ::unlink(temporary.c_str());
        return fail(ErrorCode::kIo, "{}: cannot {}: {}", temporary, what, why);
    };
    if (!file) return fail(ErrorCode::kIo, "{}: cannot create: {}", temporary, std::strerror(errno));
    auto sink = [&](Bytes piece) -> Status {
        if (!piece.empty() && std::fwrite(piece.data(), 1, piece.size(), file) != piece.size())
            return fail(ErrorCode::kIo, "{}: cannot write: {}", temporary, std::strerror(errno));
        return {};
    };
    Status written = sink(header());
    if (written) written = data(sink);
    if (!written) {
        std::fclose(file);
        ::unlink(temporary.c_str());
        return written;
    }
    if (std::fflush(file) != 0 || ::fsync(::fileno(file)) != 0) return failed("flush");
    if (std::fclose(std::exchange(file, nullptr)) != 0) return failed("close");
    if (std::rename(temporary.c_str(), path.c_str()) != 0) return failed("rename");
    return {};
}

#endif

}  // namespace sterna
