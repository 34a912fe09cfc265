#include "train/base_model.h"

#include <algorithm>
#include <atomic>
#include <filesystem>

#include "convert/gguf_source.h"
#include "convert/hf_model.h"
#include "model/model.h"
#include "model/rope.h"
#include "train/export.h"

namespace sterna::train {

namespace {

constexpr std::string_view kRopeDivisors = "rope_freqs.weight";

Result<std::unique_ptr<ModelSource>> open_source(const std::string& path) {
    std::error_code problem;
    if (!std::filesystem::is_directory(path, problem)) {
        STERNA_TRY(file, GgufSource::open(path));
        return file;
    }
    STERNA_TRY(model, HfModel::open(path));
    return model;
}

const SourceTensor* find(const ModelSource& source, std::string_view name) {
    const auto at = std::ranges::find(source.tensors(), name, &SourceTensor::name);
    return at == source.tensors().end() ? nullptr : &*at;
}

// Of Llama 3.1 and later; empty where the file has none.
Result<std::vector<float>> read_rope_divisors(const ModelSource& source) {
    const SourceTensor* tensor = find(source, kRopeDivisors);
    if (!tensor) return std::vector<float>();
    if (tensor->n_rows() != 1 || tensor->row_elements() > RecipeLimits{}.max_head_dim)
        return fail(ErrorCode::kBadFile, "{}: {} rows of {}", kRopeDivisors, tensor->n_rows(), tensor->row_elements());
    std::vector<float> values(size_t(tensor->row_elements()));
    STERNA_CHECK(source.read_rows(*tensor, 0, 1, values));
    for (float value : values)
        if (!(value > 0.0f)) return fail(ErrorCode::kBadFile, "{}: {}, expected a divisor", kRopeDivisors, value);
    return values;
}

bool all_same(const std::vector<int64_t>& of_layers) {
    return std::ranges::all_of(of_layers, [&](int64_t value) { return value == of_layers[0]; });
}

Result<NetConfig> read_sizes(const GgufFile& metadata, const ModelSource& source, const std::string& path) {
    constexpr RecipeLimits kLimits;
    ModelLimits limits;
    limits.max_layers = kLimits.max_layers;
    limits.max_width = kLimits.max_width;
    limits.max_ffn_width = kLimits.max_ffn;
    limits.max_heads = kLimits.max_heads;
    limits.max_head_dim = kLimits.max_head_dim;
    STERNA_TRY(plan, plan_model(metadata, limits));
    const Config& config = plan.config;
    const std::string& name = config.architecture;
    if (name != "llama" && name != "qwen2" && name != "qwen3" && name != "bitnet-b1.58")
        return fail(ErrorCode::kUnsupported,
                    "{}: architecture {}; what can be trained on is llama, qwen2, qwen3 and bitnet-b1.58", path, name);
    if (config.n_experts > 0)
        return fail(ErrorCode::kUnsupported, "{}: a mixture of experts; what can be trained on is dense", path);
    if (!all_same(config.n_heads) || !all_same(config.n_kv_heads) || !all_same(config.ffn_width) ||
        config.head_dim_k != config.head_dim_v)
        return fail(ErrorCode::kUnsupported, "{}: layers or heads of unlike sizes", path);
    if (config.rope.n_dims != config.head_dim_k || config.rope.scaling == RopeScaling::kLongRope)
        return fail(ErrorCode::kUnsupported, "{}: positions turn in a way that training does not know", path);
    const SourceTensor* embedding = find(source, "token_embd.weight");
    if (!embedding) return fail(ErrorCode::kBadFile, "{}: token_embd.weight: absent", path);
    if (embedding->n_rows() > kLimits.max_vocab)
        return fail(ErrorCode::kLimit, "{}: a vocabulary of {}, limit {}", path, embedding->n_rows(),
                    kLimits.max_vocab);
    NetConfig net;
    net.bitnet = name == "bitnet-b1.58";
    net.ternary = net.bitnet && !metadata.get_bool(kFloatMatricesKey).value_or(false);
    net.vocab_size = int(embedding->n_rows());
    net.width = int(config.width);
    net.n_layers = int(config.n_layers);
    net.n_heads = int(config.n_heads[0]);
    net.n_kv_heads = int(config.n_kv_heads[0]);
    net.head_dim = int(config.head_dim_k);
    net.ffn_width = int(config.ffn_width[0]);
    net.context = int(std::min<int64_t>(config.context_length, kLimits.max_context));
    if (config.sliding_window > 0) net.context = int(std::min<int64_t>(net.context, config.sliding_window));
    net.norm_epsilon = config.norm_eps;
    net.tied_embedding = !find(source, "output.weight");
    net.qkv_bias = find(source, "blk.0.attn_q.bias");
    net.head_norm = find(source, "blk.0.attn_q_norm.weight");
    net.rope_halves = config.rope.style == RopeStyle::kHalf;
    net.rope_growth = config.rope.attention_factor;
    STERNA_TRY(divisors, read_rope_divisors(source));
    Weights factors;
    factors.rope_factors = divisors;
    if (!divisors.empty() && int64_t(divisors.size()) != config.rope.n_dims / 2)
        return fail(ErrorCode::kBadFile, "{}: {}: {} values, expected {}", path, kRopeDivisors, divisors.size(),
                    config.rope.n_dims / 2);
    net.rope_frequencies = rope_frequencies(config, factors).global;
    net.rope_divisors = std::move(divisors);
    return net;
}

}  // namespace

Result<BaseModel> open_base(const std::string& path) {
    BaseModel base;
    STERNA_TRY(source, open_source(path));
    base.source = std::move(source);
    GgufWriter writer;
    STERNA_CHECK(base.source->write_metadata(writer));
    STERNA_TRY(metadata, MemoryGguf::from_writer(writer, path));
    base.metadata = std::move(metadata);
    STERNA_TRY(net, read_sizes(base.metadata.file(), *base.source, path));
    STERNA_CHECK(check_sizes(net));
    base.net = net;
    return base;
}

Status load_weights(const ModelSource& source, std::span<Parameter> parameters, ThreadPool& pool) {
    for (const SourceTensor& tensor : source.tensors())
        if (!tensor.name.starts_with("state.") &&  // the optimizer's, in a checkpoint
            std::ranges::find(parameters, tensor.name, &Parameter::name) == parameters.end())
            return fail(ErrorCode::kUnsupported, "{}: a tensor that the trained network has no place for", tensor.name);
    for (Parameter& parameter : parameters) {
        const SourceTensor* tensor = find(source, parameter.name);
        if (!tensor) return fail(ErrorCode::kBadFile, "{}: absent", parameter.name);
        if (tensor->row_elements() != parameter.cols || tensor->n_rows() != parameter.rows)
            return fail(ErrorCode::kBadFile, "{}: {} rows of {}, expected {} of {}", parameter.name, tensor->n_rows(),
                        tensor->row_elements(), parameter.rows, parameter.cols);
        constexpr int64_t kRows = 64;
        std::atomic<bool> failed = false;
        pool.run(int((parameter.rows + kRows - 1) / kRows), [&](int task, int) {
            const int64_t first = task * kRows, n = std::min(kRows, parameter.rows - first);
            const auto to = parameter.value.subspan(size_t(first * parameter.cols), size_t(n * parameter.cols));
            if (!source.read_rows(*tensor, first, n, to)) failed = true;
        });
        if (failed) return fail(ErrorCode::kIo, "{}: cannot be read", parameter.name);
        source.release(*tensor);
    }
    return {};
}

}  // namespace sterna::train
