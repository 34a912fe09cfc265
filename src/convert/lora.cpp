#include "convert/lora.h"

#include <algorithm>

#include "base/sha256.h"
#include "tensor/dtype.h"

namespace sterna {

namespace {

constexpr std::string_view kA = ".lora_a", kB = ".lora_b";

std::vector<float> values_of(const TensorView& tensor) {
    std::vector<float> values(size_t(tensor.n_elements()));
    dtype_traits(tensor.type)->decode(tensor.data.data(), values.data(), tensor.n_elements());
    return values;
}

}  // namespace

Result<LoraAdapter> LoraAdapter::open(const std::string& path, const Limits& limits) {
    LoraAdapter adapter;
    adapter.path_ = path;
    STERNA_TRY(file, GgufFile::open(path));
    if (file->get_string("general.type").value_or("") != "adapter" || file->get_string("adapter.type") != "lora")
        return fail(ErrorCode::kBadFile, "{}: not a LoRA adapter: general.type is '{}', adapter.type '{}'", path,
                    file->get_string("general.type").value_or("absent"),
                    file->get_string("adapter.type").value_or("absent"));
    adapter.architecture_ = file->get_string("general.architecture").value_or("");
    const double alpha = file->get_float("adapter.lora.alpha").value_or(0.0);
    if (!(alpha > -1e9 && alpha < 1e9)) return fail(ErrorCode::kBadFile, "{}: adapter.lora.alpha: {}", path, alpha);
    uint64_t n_bytes = 0;
    for (const TensorView& a : file->tensors()) {
        if (a.name.ends_with(kB)) {
            const std::string name(a.name.substr(0, a.name.size() - kB.size()));
            if (!file->find_tensor(name + std::string(kA)))
                return fail(ErrorCode::kBadFile, "{}: {}: has no {}{}", path, a.name, name, kA);
            continue;
        }
        if (!a.name.ends_with(kA))
            return fail(ErrorCode::kUnsupported, "{}: {}: expected names that end in {} or {}", path, a.name, kA, kB);
        const std::string name(a.name.substr(0, a.name.size() - kA.size()));
        const TensorView* b = file->find_tensor(name + std::string(kB));
        if (!b) return fail(ErrorCode::kBadFile, "{}: {}: has no {}{}", path, a.name, name, kB);
        if (a.n_dims > 2 || b->n_dims > 2 || a.shape[1] != b->shape[0] || a.shape[1] > limits.max_rank)
            return fail(ErrorCode::kBadFile, "{}: {}: shapes {} and {}, expected [n_in, rank] and [rank, n_out]", path,
                        name, shape_text(a), shape_text(*b));
        if (!dtype_traits(a.type)->decode || !dtype_traits(b->type)->decode)
            return fail(ErrorCode::kUnsupported, "{}: {}: of a type that holds no weights", path, name);
        n_bytes += 4 * uint64_t(a.n_elements() + b->n_elements());
        if (n_bytes > limits.max_bytes)
            return fail(ErrorCode::kLimit, "{}: more than {} bytes of adapters", path, limits.max_bytes);
        Pair pair{a.shape[0], b->shape[1], a.shape[1], values_of(a), values_of(*b)};
        // Without an alpha there is no scale, as llama.cpp has it.
        const float scale = alpha == 0.0 ? 1.0f : float(alpha / double(pair.rank));
        for (float& value : pair.b) value *= scale;
        adapter.pairs_.emplace(name, std::move(pair));
    }
    Sha256 hash;
    for (const auto& [name, pair] : adapter.pairs_) {
        hash.update(name.data(), name.size());
        hash.update(pair.a.data(), pair.a.size() * sizeof(float));
        hash.update(pair.b.data(), pair.b.size() * sizeof(float));
    }
    adapter.digest_ = hex_text(hash.finish());
    if (adapter.pairs_.empty()) return fail(ErrorCode::kBadFile, "{}: holds no adapter", path);
    return adapter;
}

Status LoraAdapter::check(std::string_view architecture, std::span<const SourceTensor> tensors) const {
    if (!architecture_.empty() && architecture_ != architecture)
        return fail(ErrorCode::kBadArgument, "{}: for models of architecture {}, this one is {}", path_, architecture_,
                    architecture);
    for (const auto& [name, pair] : pairs_) {
        const auto at = std::ranges::find(tensors, name, &SourceTensor::name);
        if (at == tensors.end())
            return fail(ErrorCode::kBadArgument, "{}: {}: the model has no such tensor", path_, name);
        if (at->shape.size() != 2 || at->shape[0] != pair.n_in || at->shape[1] != pair.n_out)
            return fail(ErrorCode::kBadArgument, "{}: {}: adapts [{}, {}], the model's has {} rows of {}", path_, name,
                        pair.n_in, pair.n_out, at->n_rows(), at->row_elements());
    }
    return {};
}

void LoraAdapter::add_to_rows(std::string_view name, int64_t first, int64_t n, std::span<float> rows) const {
    const Pair& pair = pairs_.find(name)->second;
    for (int64_t row = 0; row < n; ++row) {
        float* to = rows.data() + row * pair.n_in;
        for (int64_t k = 0; k < pair.rank; ++k) {
            const float factor = pair.b[size_t((first + row) * pair.rank + k)];
            const float* a = pair.a.data() + k * pair.n_in;
            for (int64_t i = 0; i < pair.n_in; ++i) to[i] += factor * a[i];
        }
    }
}

Result<std::vector<LoraAdapter>> open_adapters(const std::vector<std::string>& paths) {
    std::vector<LoraAdapter> adapters;
    for (const std::string& path : paths) {
        STERNA_TRY(adapter, LoraAdapter::open(path));
        adapters.push_back(std::move(adapter));
    }
    return adapters;
}

Result<std::unique_ptr<ModelSource>> AdaptedSource::create(std::unique_ptr<ModelSource> base,
                                                           std::vector<LoraAdapter> adapters) {
    GgufWriter writer;
    STERNA_CHECK(base->write_metadata(writer));
    STERNA_TRY(bytes, writer.to_bytes());
    STERNA_TRY(metadata, GgufFile::from_bytes(bytes, "the base"));
    for (const LoraAdapter& adapter : adapters)
        STERNA_CHECK(adapter.check(metadata->get_string("general.architecture").value_or(""), base->tensors()));
    std::unique_ptr<AdaptedSource> source(new AdaptedSource);
    source->tensors_.assign(base->tensors().begin(), base->tensors().end());
    for (SourceTensor& tensor : source->tensors_)
        if (std::ranges::any_of(adapters, [&](const LoraAdapter& each) { return each.changes(tensor.name); })) {
            tensor.exact = DType::kF32;
            tensor.stored = {};
        }
    source->base_ = std::move(base);
    source->adapters_ = std::move(adapters);
    return source;
}

const SourceTensor& AdaptedSource::of_base(const SourceTensor& tensor) const {
    return base_->tensors()[size_t(&tensor - tensors_.data())];
}

Status AdaptedSource::read_rows(const SourceTensor& tensor, int64_t first, int64_t n, std::span<float> to) const {
    STERNA_CHECK(base_->read_rows(of_base(tensor), first, n, to));
    for (const LoraAdapter& adapter : adapters_)
        if (adapter.changes(tensor.name)) adapter.add_to_rows(tensor.name, first, n, to);
    return {};
}

void AdaptedSource::release(const SourceTensor& tensor) const {
    base_->release(of_base(tensor));
}

std::string AdaptedSource::identity() const {
    std::string text = base_->identity();
    for (const LoraAdapter& adapter : adapters_) text += "\nadapter " + adapter.digest();
    return text;
}

Result<std::unique_ptr<AdaptedTensors>> AdaptedTensors::create(const GgufFile& file,
                                                               const std::vector<LoraAdapter>& adapters,
                                                               ThreadPool& pool) {
    std::vector<SourceTensor> tensors;
    for (const TensorView& tensor : file.tensors())
        tensors.push_back({std::string(tensor.name),
                           {tensor.shape.begin(), tensor.shape.begin() + tensor.n_dims},
                           tensor.type,
                           tensor.data});
    for (const LoraAdapter& adapter : adapters)
        STERNA_CHECK(adapter.check(file.get_string("general.architecture").value_or(""), tensors));
    std::unique_ptr<AdaptedTensors> result(new AdaptedTensors(file));
    for (const LoraAdapter& adapter : adapters) result->digest_ += adapter.digest();
    for (const TensorView& tensor : file.tensors()) {
        if (std::ranges::none_of(adapters, [&](const LoraAdapter& each) { return each.changes(tensor.name); }))
            continue;
        const DTypeTraits* traits = dtype_traits(tensor.type);
        if (!traits->decode) return fail(ErrorCode::kUnsupported, "{}: of a type that holds no weights", tensor.name);
        Adapted& adapted = result->adapted_[std::string(tensor.name)];
        adapted.values.resize(size_t(tensor.n_elements()));
        const int64_t n_in = tensor.shape[0], n_rows = tensor.n_elements() / n_in;
        const size_t row_bytes = size_t(n_in / traits->block_size * traits->block_bytes);
        constexpr int64_t kRows = 64;
        pool.run(int((n_rows + kRows - 1) / kRows), [&](int task, int) {
            const int64_t first = task * kRows, n = std::min(kRows, n_rows - first);
            const std::span<float> rows = std::span(adapted.values).subspan(size_t(first * n_in), size_t(n * n_in));
            traits->decode(tensor.data.data() + size_t(first) * row_bytes, rows.data(), n * n_in);
            for (const LoraAdapter& adapter : adapters)
                if (adapter.changes(tensor.name)) adapter.add_to_rows(tensor.name, first, n, rows);
        });
        adapted.view = tensor;
        adapted.view.type = DType::kF32;
        adapted.view.data = {reinterpret_cast<const uint8_t*>(adapted.values.data()), adapted.values.size() * 4};
        file.release(tensor);
    }
    return result;
}

const TensorView* AdaptedTensors::find_tensor(std::string_view name) const {
    const auto at = adapted_.find(name);
    return at != adapted_.end() ? &at->second.view : file_.find_tensor(name);
}

void AdaptedTensors::release(const TensorView& tensor) const {
    if (!adapted_.contains(tensor.name)) file_.release(tensor);
}

}  // namespace sterna
