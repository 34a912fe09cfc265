#include "convert/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/mapped_file.h"
#include "base/sha256.h"
#include "convert/type_plan.h"
#include "format/gguf.h"

namespace sterna {

namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
// Limits of the older kind, whose counts come without any check of their own.
constexpr int32_t kMaxEntries = 1 << 17, kMaxNameBytes = 4096, kMaxValues = 1 << 28;

Status check_values(std::string_view name, std::span<const float> values) {
    for (float value : values)
        if (!std::isfinite(value) || value < 0.0f)
            return fail(ErrorCode::kBadFile, "{}: a mean square of {}", name, value);
    return {};
}

Result<std::vector<float>> floats_of(const TensorView& tensor) {
    if (tensor.type != DType::kF32)
        return fail(ErrorCode::kBadFile, "{}: {}, expected F32", tensor.name, dtype_traits(tensor.type)->name);
    std::vector<float> values(size_t(tensor.n_elements()));
    if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    STERNA_CHECK(check_values(tensor.name, values));
    return values;
}

template <typename T>
void append(std::vector<uint8_t>& to, T value) {
    const size_t at = to.size();
    to.resize(at + sizeof value);
    std::memcpy(to.data() + at, &value, sizeof value);
}

void append_text(std::vector<uint8_t>& to, std::string_view text) {
    append(to, int32_t(text.size()));
    to.insert(to.end(), text.begin(), text.end());
}

}  // namespace

void Importance::set(std::string name, std::vector<float> sums, std::vector<float> counts) {
    Entry entry{std::move(sums), std::move(counts), {}};
    const size_t n_columns = entry.counts.empty() ? 0 : entry.sums.size() / entry.counts.size();
    entry.mean.assign(n_columns * entry.counts.size(), 1.0f);
    for (size_t e = 0; e < entry.counts.size(); ++e)
        for (size_t i = 0; i < n_columns && entry.counts[e] > 0.0f; ++i)
            entry.mean[e * n_columns + i] = entry.sums[e * n_columns + i] / entry.counts[e];
    entries_.insert_or_assign(std::move(name), std::move(entry));
}

std::span<const float> Importance::find(std::string_view name) const {
    auto at = entries_.find(name);
    if (at == entries_.end()) return {};
    return at->second.mean;
}

std::string Importance::identity() const {
    Sha256 hash;
    for (const auto& [name, entry] : entries_) {
        hash.update(name.data(), name.size() + 1);
        hash.update(entry.mean.data(), entry.mean.size() * sizeof(float));
    }
    return hex_text(hash.finish());
}

Result<int64_t> Importance::check(std::span<const SourceTensor> tensors) const {
    int64_t n_known = 0;
    for (const SourceTensor& tensor : tensors) {
        const std::span<const float> weights = find(tensor.name);
        if (weights.empty() || !is_quantizable(tensor)) continue;
        const int64_t n_experts = tensor.shape.size() > 2 ? tensor.shape[2] : 1;
        if (int64_t(weights.size()) != tensor.row_elements() * n_experts)
            return fail(ErrorCode::kBadArgument, "{}: {} importance values, the tensor has {} columns", tensor.name,
                        weights.size(), tensor.row_elements() * n_experts);
        ++n_known;
    }
    return n_known;
}

Result<Importance> Importance::read(const std::string& path) {
    STERNA_TRY(file, MappedFile::open(path));
    if (file.bytes().size() >= 4 && std::memcmp(file.bytes().data(), "GGUF", 4) == 0) return read_gguf(path);
    return read_dat(path, file.bytes());
}

Result<Importance> Importance::read_gguf(const std::string& path) {
    STERNA_TRY(file, GgufFile::open(path));
    if (file->get_string("general.type") != "imatrix")
        return fail(ErrorCode::kBadFile, "{}: general.type is not imatrix", path);
    Importance result;
    if (auto names = file->get_strings("imatrix.datasets")) result.datasets.assign(names->begin(), names->end());
    result.n_chunks = file->get_int("imatrix.chunk_count").value_or(0);
    result.chunk_size = file->get_int("imatrix.chunk_size").value_or(0);
    for (const TensorView& sums : file->tensors()) {
        if (!sums.name.ends_with(kSums)) continue;
        const std::string_view name = sums.name.substr(0, sums.name.size() - kSums.size());
        const TensorView* counts = file->find_tensor(fmt::format("{}{}", name, kCounts));
        if (!counts) return fail(ErrorCode::kBadFile, "{}: {} has no {}", path, sums.name, kCounts);
        if (counts->n_elements() != sums.shape[1] * sums.shape[2] * sums.shape[3])
            return fail(ErrorCode::kBadFile, "{}: {} has {} counts for {} matrices", path, name, counts->n_elements(),
                        sums.shape[1]);
        STERNA_TRY(sum_values, floats_of(sums));
        STERNA_TRY(count_values, floats_of(*counts));
        result.set(std::string(name), std::move(sum_values), std::move(count_values));
    }
    if (result.entries_.empty()) return fail(ErrorCode::kBadFile, "{}: no importance of any tensor", path);
    return result;
}

// i32 entries; per entry i32 name bytes, name, i32 calls, i32 values, values (mean squares times calls); then, in newer
// ones, i32 chunks, i32 name bytes, the name of the text.
Result<Importance> Importance::read_dat(const std::string& path, Bytes bytes) {
    ByteReader reader(bytes);
    auto broken = [&](std::string_view what) {
        return fail(ErrorCode::kBadFile, "{}: no importance file: {}", path, what);
    };
    const auto n_entries = reader.read<int32_t>();
    if (!n_entries || *n_entries < 1 || *n_entries > kMaxEntries) return broken("its number of entries");
    Importance result;
    for (int32_t i = 0; i < *n_entries; ++i) {
        const auto name_bytes = reader.read<int32_t>();
        if (!name_bytes || *name_bytes < 1 || *name_bytes > kMaxNameBytes) return broken("the length of a name");
        const auto name = reader.read_text(uint64_t(*name_bytes));
        const auto calls = reader.read<int32_t>(), n_values = reader.read<int32_t>();
        if (!name || !calls || !n_values || *n_values < 1 || *n_values > kMaxValues) return broken("an entry's size");
        const auto data = reader.read_bytes(uint64_t(*n_values) * sizeof(float));
        if (!data) return broken("it ends inside an entry");
        std::vector<float> sums(static_cast<size_t>(*n_values));
        std::memcpy(sums.data(), data->data(), data->size());
        STERNA_CHECK(check_values(*name, sums));
        // Experts have been divided by their own counts already.
        result.set(std::string(*name), std::move(sums), {float(std::max(*calls, 1))});
    }
    if (const auto chunks = reader.read<int32_t>()) {
        result.n_chunks = *chunks;
        const auto name_bytes = reader.read<int32_t>();
        if (name_bytes && *name_bytes > 0 && *name_bytes <= kMaxNameBytes)
            if (auto name = reader.read_text(uint64_t(*name_bytes))) result.datasets.emplace_back(*name);
    }
    return result;
}

Status Importance::write(const std::string& path) const {
    return path.ends_with(".dat") ? write_dat(path) : write_gguf(path);
}

Status Importance::write_gguf(const std::string& path) const {
    GgufWriter writer;
    STERNA_CHECK(writer.set_string("general.type", "imatrix"));
    std::vector<std::string_view> names(datasets.begin(), datasets.end());
    STERNA_CHECK(writer.set_strings("imatrix.datasets", names));
    STERNA_CHECK(writer.set_u32("imatrix.chunk_count", uint32_t(n_chunks)));
    STERNA_CHECK(writer.set_u32("imatrix.chunk_size", uint32_t(chunk_size)));
    auto bytes = [](const std::vector<float>& values) {
        return Bytes(reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float));
    };
    for (const auto& [name, entry] : entries_) {
        const int64_t n_experts = int64_t(entry.counts.size()), n_columns = int64_t(entry.sums.size()) / n_experts;
        const int64_t sums[] = {n_columns, n_experts}, counts[] = {1, n_experts};
        STERNA_CHECK(writer.add_tensor(fmt::format("{}{}", name, kSums), DType::kF32, sums, bytes(entry.sums)));
        STERNA_CHECK(writer.add_tensor(fmt::format("{}{}", name, kCounts), DType::kF32, counts, bytes(entry.counts)));
    }
    STERNA_CHECK(writer.write(path));
    return {};
}

Status Importance::write_dat(const std::string& path) const {
    std::vector<uint8_t> bytes;
    const int32_t calls = int32_t(std::max<int64_t>(n_chunks, 1));
    append(bytes, int32_t(entries_.size()));
    for (const auto& [name, entry] : entries_) {
        append_text(bytes, name);
        append(bytes, calls);
        append(bytes, int32_t(entry.mean.size()));
        for (float value : entry.mean) append(bytes, value * float(calls));
    }
    append(bytes, int32_t(n_chunks));
    append_text(bytes, datasets.empty() ? "" : datasets.front());
    return write_file_atomically(path, bytes);
}

}  // namespace sterna
