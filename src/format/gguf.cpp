#include "format/gguf.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"
#include "format/gguf_parse.h"

#ifndef STERNA_NO_FILES
#include "base/mapped_file.h"
#endif

namespace sterna {

using namespace detail;

struct GgufFile::Impl {
#ifndef STERNA_NO_FILES
    std::vector<MappedFile> files;  // empty when the bytes belong to the caller
#endif
    std::vector<NamedBytes> sources;
    GgufPart first;                   // version, alignment, metadata
    std::vector<TensorView> tensors;  // of all parts
    NameIndex names;
    uint64_t max_array_elements = 0;
};

struct GgufFile::Parsed {
    size_t number;
    GgufPart part;
};

namespace {

struct SplitFacts {
    uint64_t number = 0, count = 1;
    std::optional<uint64_t> n_tensors;
};

Result<std::optional<uint64_t>> split_key(const GgufPart& part, const std::string& name, std::string_view key) {
    const GgufValue* value = find_value(part, key);
    if (!value) return std::nullopt;
    auto number = value_as_int(value->type, value->payload.data());
    if (!number || *number < 0 || value->type == GgufType::kBool)
        return fail(ErrorCode::kBadFile, "{}: {} is not a count", name, key);
    return uint64_t(*number);
}

Result<SplitFacts> split_facts(const GgufPart& part, const std::string& name, const GgufLimits& limits) {
    SplitFacts facts;
    STERNA_TRY(number, split_key(part, name, "split.no"));
    STERNA_TRY(count, split_key(part, name, "split.count"));
    STERNA_TRY(n_tensors, split_key(part, name, "split.tensors.count"));
    facts.number = number.value_or(0);
    facts.count = std::max<uint64_t>(count.value_or(1), 1);  // 0 is met in files that were never split
    facts.n_tensors = n_tensors;
    if (facts.count > limits.max_splits)
        return fail(ErrorCode::kLimit, "{}: split.count is {}, at most {} parts are read", name, facts.count,
                    limits.max_splits);
    if (facts.number >= facts.count)
        return fail(ErrorCode::kBadFile, "{}: split.no is {}, expected less than split.count = {}", name, facts.number,
                    facts.count);
    return facts;
}

}  // namespace

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::~GgufFile() = default;

Result<std::unique_ptr<GgufFile>> GgufFile::from_bytes(Bytes bytes, std::string name, const GgufLimits& limits) {
    std::vector<NamedBytes> parts;
    parts.push_back({std::move(name), bytes});
    return from_parts(std::move(parts), limits);
}

Result<std::unique_ptr<GgufFile>> GgufFile::from_parts(std::vector<NamedBytes> parts, const GgufLimits& limits) {
    return join(std::move(parts), nullptr, limits);
}

Result<std::unique_ptr<GgufFile>> GgufFile::join(std::vector<NamedBytes> parts, Parsed* parsed,
                                                 const GgufLimits& limits) {
    if (parts.empty()) return fail(ErrorCode::kBadArgument, "a GGUF file: no parts given");
    auto impl = std::make_unique<Impl>();
    impl->sources = std::move(parts);
    impl->max_array_elements = limits.max_array_elements;
    const auto& sources = impl->sources;
    SplitFacts facts;
    for (size_t i = 0; i < sources.size(); ++i) {
        Result<GgufPart> result = parsed && parsed->number == i
                                      ? Result<GgufPart>(std::move(parsed->part))
                                      : parse_gguf_part(sources[i].bytes, sources[i].name, limits);
        if (!result) return std::unexpected(std::move(result).error());
        GgufPart part = std::move(*result);
        STERNA_TRY(here, split_facts(part, sources[i].name, limits));
        if (here.count != sources.size())
            return fail(ErrorCode::kBadFile, "{}: split.count is {}, but {} part(s) are given", sources[i].name,
                        here.count, sources.size());
        if (here.number != i)
            return fail(ErrorCode::kBadFile, "{}: split.no is {}, expected {}", sources[i].name, here.number, i);
        if (impl->tensors.size() + part.tensors.size() > limits.max_tensors)
            return fail(ErrorCode::kLimit, "{}: more than {} tensors in all parts", sources[i].name,
                        limits.max_tensors);
        impl->tensors.insert(impl->tensors.end(), part.tensors.begin(), part.tensors.end());
        if (i == 0) {
            facts = here;
            impl->first = std::move(part);
            impl->first.tensors = {};
        }
    }
    if (facts.n_tensors && *facts.n_tensors != impl->tensors.size() && sources.size() > 1)
        return fail(ErrorCode::kBadFile, "{}: split.tensors.count is {}, found {} tensors in {} parts", sources[0].name,
                    *facts.n_tensors, impl->tensors.size(), sources.size());
    auto twice = impl->names.build(uint32_t(impl->tensors.size()), [&](uint32_t i) { return impl->tensors[i].name; });
    if (twice)
        return fail(ErrorCode::kBadFile, "{}: tensor {} occurs in two parts", sources[0].name,
                    printable(impl->tensors[*twice].name));
    return std::unique_ptr<GgufFile>(new GgufFile(std::move(impl)));
}

#ifndef STERNA_NO_FILES

namespace {

// "dir/model-00002-of-00005.gguf" -> the same of part `number` (from 0); nothing when the name does not have this form.
std::optional<std::string> part_path(const std::string& path, uint64_t number, uint64_t count) {
    constexpr size_t kTail = std::string_view("-00001-of-00005.gguf").size();
    if (path.size() < kTail) return std::nullopt;
    const std::string_view tail = std::string_view(path).substr(path.size() - kTail);
    if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf") return std::nullopt;
    for (size_t i : {1, 2, 3, 4, 5, 10, 11, 12, 13, 14})
        if (tail[i] < '0' || tail[i] > '9') return std::nullopt;
    return fmt::format("{}-{:05}-of-{:05}.gguf", path.substr(0, path.size() - kTail), number + 1, count);
}

}  // namespace

Result<std::unique_ptr<GgufFile>> GgufFile::open(const std::string& path, const GgufLimits& limits) {
    STERNA_TRY(given, MappedFile::open(path));
    STERNA_TRY(part, parse_gguf_part(given.bytes(), path, limits));
    STERNA_TRY(facts, split_facts(part, path, limits));
    const uint64_t count = facts.count, number = facts.number;
    Parsed parsed = {size_t(number), std::move(part)};
    std::vector<MappedFile> files;
    std::vector<NamedBytes> sources;
    for (uint64_t i = 0; i < count; ++i) {
        if (i == number) {
            files.push_back(std::move(given));
        } else {
            auto name = part_path(path, i, count);
            if (!name)
                return fail(ErrorCode::kNotFound,
                            "{}: part {} of {}: its name does not end in -{:05}-of-{:05}.gguf, so the other parts "
                            "cannot be found",
                            path, number + 1, count, number + 1, count);
            auto file = MappedFile::open(*name);
            if (!file)
                return fail(file.error().code, "{}: part {} of {} of {}: {}", *name, i + 1, count, path,
                            file.error().code == ErrorCode::kNotFound ? "missing" : file.error().message);
            files.push_back(std::move(*file));
        }
        sources.push_back({files.back().path(), files.back().bytes()});
    }
    STERNA_TRY(result, join(std::move(sources), &parsed, limits));
    result->impl_->files = std::move(files);
    return result;
}

#endif

uint32_t GgufFile::version() const {
    return impl_->first.version;
}
uint64_t GgufFile::alignment() const {
    return impl_->first.alignment;
}
size_t GgufFile::n_parts() const {
    return impl_->sources.size();
}
const std::vector<GgufValue>& GgufFile::values() const {
    return impl_->first.values;
}
const std::vector<TensorView>& GgufFile::tensors() const {
    return impl_->tensors;
}

uint64_t GgufFile::file_bytes() const {
    uint64_t sum = 0;
    for (const NamedBytes& source : impl_->sources) sum += source.bytes.size();
    return sum;
}

const GgufValue* GgufFile::find_value(std::string_view key) const {
    return detail::find_value(impl_->first, key);
}

bool GgufFile::has(std::string_view key) const {
    return find_value(key) != nullptr;
}

std::optional<int64_t> GgufFile::get_int(std::string_view key) const {
    const GgufValue* value = find_value(key);
    return value ? value_as_int(value->type, value->payload.data()) : std::nullopt;
}

std::optional<double> GgufFile::get_float(std::string_view key) const {
    const GgufValue* value = find_value(key);
    return value ? value_as_float(value->type, value->payload.data()) : std::nullopt;
}

std::optional<bool> GgufFile::get_bool(std::string_view key) const {
    const GgufValue* value = find_value(key);
    if (!value || value->type != GgufType::kBool) return std::nullopt;
    return value->payload[0] != 0;
}

std::optional<std::string_view> GgufFile::get_string(std::string_view key) const {
    const GgufValue* value = find_value(key);
    if (!value || value->type != GgufType::kString) return std::nullopt;
    return std::string_view(reinterpret_cast<const char*>(value->payload.data()), value->payload.size());
}

namespace {

// The elements of an array of numbers, each through `as`; nothing when one is of another kind.
template <typename T, typename As>
std::optional<std::vector<T>> numbers(const GgufValue* value, uint64_t limit, As as) {
    if (!value || value->type != GgufType::kArray || value->n_elements > limit) return std::nullopt;
    const size_t size = gguf_type_bytes(value->element_type);
    if (size == 0) return std::nullopt;
    std::vector<T> all;
    all.reserve(size_t(value->n_elements));
    for (size_t i = 0; i < value->n_elements; ++i) {
        auto one = as(value->element_type, value->payload.data() + i * size);
        if (!one) return std::nullopt;
        all.push_back(*one);
    }
    return all;
}

}  // namespace

std::optional<std::vector<int64_t>> GgufFile::get_ints(std::string_view key) const {
    return numbers<int64_t>(find_value(key), impl_->max_array_elements, value_as_int);
}

std::optional<std::vector<double>> GgufFile::get_floats(std::string_view key) const {
    return numbers<double>(find_value(key), impl_->max_array_elements, value_as_float);
}

std::optional<std::vector<std::string_view>> GgufFile::get_strings(std::string_view key) const {
    const GgufValue* value = find_value(key);
    if (!value || value->type != GgufType::kArray || value->element_type != GgufType::kString) return std::nullopt;
    if (value->n_elements > impl_->max_array_elements) return std::nullopt;
    std::vector<std::string_view> all;
    all.reserve(size_t(value->n_elements));
    ByteReader reader(value->payload);
    for (uint64_t i = 0; i < value->n_elements; ++i) {
        // Lengths were checked when the file was opened.
        auto length = reader.read<uint64_t>();
        auto text = length ? reader.read_text(*length) : std::nullopt;
        if (!text) return std::nullopt;
        all.push_back(*text);
    }
    return all;
}

const TensorView* GgufFile::find_tensor(std::string_view name) const {
    auto at = impl_->names.find(name);
    return at ? &impl_->tensors[*at] : nullptr;
}

void GgufFile::release([[maybe_unused]] const TensorView& tensor) const {
#ifndef STERNA_NO_FILES
    for (const MappedFile& file : impl_->files) {
        const Bytes all = file.bytes();
        // Only a view into this very mapping: an address of elsewhere must not be given to the system.
        if (tensor.data.data() >= all.data() && tensor.data.data() + tensor.data.size() <= all.data() + all.size()) {
            file.release(tensor.data);
            return;
        }
    }
#endif
}

}  // namespace sterna
