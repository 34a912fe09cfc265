#include "model/weights.h"

#include <algorithm>
#include <cmath>

#include "model/rope.h"

namespace sterna {

namespace {

bool is_layer_spec(const TensorSpec& spec) {
    return spec.gguf_name.find("{}") != std::string_view::npos;
}

// Vectors are decoded to floats; matrices are packed.
bool is_vector(const Slot& slot) {
    return std::holds_alternative<std::vector<float> LayerWeights::*>(slot) || std::holds_alternative<BiasSlot>(slot) ||
           std::holds_alternative<ScaleSlot>(slot) || std::holds_alternative<ExpertBiasSlot>(slot) ||
           std::holds_alternative<OutputBiasSlot>(slot) || std::holds_alternative<std::vector<float> Weights::*>(slot);
}

struct Shape {
    std::array<int64_t, kMaxDims> dims = {1, 1, 1, 1};
    int n_dims = 0;
    bool known = true;
};

std::string_view trim(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

Shape resolve_shape(std::string_view text, const Config& config, int64_t layer) {
    Shape shape;
    while (!text.empty() && shape.n_dims < kMaxDims) {
        size_t comma = text.find(',');
        int64_t value = resolve_dim(trim(text.substr(0, comma)), config, layer);
        if (value == kUnknownDim) shape.known = false;
        shape.dims[size_t(shape.n_dims++)] = value;
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    }
    return shape;
}

std::string text_of(const Shape& shape) {
    std::string text = "[";
    for (int i = 0; i < shape.n_dims; ++i) {
        if (i) text += ", ";
        text += shape.dims[size_t(i)] == kAnyDim ? "any" : std::to_string(shape.dims[size_t(i)]);
    }
    return text + "]";
}

Status check_tensor(const TensorSpec& spec, const std::string& name, const TensorView* tensor, const Shape& expected) {
    if (!expected.known) return fail(ErrorCode::kUnsupported, "{}: shape \"{}\" has no meaning here", name, spec.shape);
    if (!tensor) {
        if (!spec.required) return {};
        return fail(ErrorCode::kBadFile, "{}: missing, expected shape {}", name, text_of(expected));
    }
    bool fits = true;
    for (size_t i = 0; i < expected.dims.size(); ++i)
        fits = fits && (tensor->shape[i] == expected.dims[i] || (expected.dims[i] == kAnyDim && tensor->shape[i] > 0));
    if (!fits)
        return fail(ErrorCode::kBadFile, "{}: shape {}, expected {}", name, shape_text(*tensor), text_of(expected));
    const DTypeTraits* traits = dtype_traits(tensor->type);
    if (!traits || !traits->decode)
        return fail(ErrorCode::kUnsupported, "{}: type {} cannot hold weights", name,
                    dtype_name_of_number(uint32_t(tensor->type)));
    if (is_vector(spec.slot) && traits->block_size != 1)
        return fail(ErrorCode::kUnsupported, "{}: type {}, expected F32, F16 or BF16", name, traits->name);
    auto bytes = dtype_bytes(tensor->type, uint64_t(tensor->n_elements()));
    if (tensor->shape[0] % traits->block_size || !bytes || *bytes != tensor->data.size())
        return fail(ErrorCode::kBadFile, "{}: {} bytes do not hold {} of type {}", name, tensor->data.size(),
                    shape_text(*tensor), traits->name);
    return {};
}

// Files of before April 2024 (Mixtral) hold a tensor for each expert, "blk.3.ffn_gate.7.weight", where later ones hold
// the stack "blk.3.ffn_gate_exps.weight".
std::string expert_name(std::string_view stack_name, int64_t expert) {
    constexpr std::string_view kStacked = "_exps.";
    const size_t at = stack_name.find(kStacked);
    if (at == std::string_view::npos) return {};
    return std::string(stack_name.substr(0, at)) + "." + std::to_string(expert) + "." +
           std::string(stack_name.substr(at + kStacked.size()));
}

// Whether such tensors stand for the stack, which is absent.
bool is_unstacked(const TensorSpec& spec, std::string_view name, const TensorSource& tensors) {
    return std::holds_alternative<Experts LayerWeights::*>(spec.slot) && !tensors.find_tensor(name) &&
           tensors.find_tensor(expert_name(name, 0));
}

std::vector<float> decode_vector(const TensorView& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.n_elements()));
    dtype_traits(tensor.type)->decode(tensor.data.data(), values.data(), tensor.n_elements());
    return values;
}

// Calls visit(spec, name, layer) for every tensor of the table: layer -1 for those of the whole model.
template <typename Visit>
Status for_each_tensor(const Config& config, const std::vector<TensorSpec>& table, Visit&& visit) {
    for (const TensorSpec& spec : table)
        if (!is_layer_spec(spec)) STERNA_CHECK(visit(spec, std::string(spec.gguf_name), int64_t(-1)));
    for (int64_t layer = 0; layer < config.n_layers; ++layer)
        for (const TensorSpec& spec : table)
            if (is_layer_spec(spec) && spec.applies(config, layer))
                STERNA_CHECK(visit(spec, layer_name(spec.gguf_name, layer), layer));
    return {};
}

Status load_tensor(const TensorSpec& spec, const TensorView& tensor, Weights& weights, LayerWeights* layer,
                   ThreadPool& pool, PackArena& arena) {
    auto pack_into = [&](PackedMatrix& into) -> Status {
        STERNA_TRY(matrix, PackedMatrix::pack(tensor, pool, arena));
        into = std::move(matrix);
        return {};
    };
    const Slot& slot = spec.slot;
    if (auto* vector = std::get_if<std::vector<float> Weights::*>(&slot)) {
        weights.** vector = decode_vector(tensor);
    } else if (auto* matrix = std::get_if<PackedMatrix Weights::*>(&slot)) {
        return pack_into(weights.**matrix);
    } else if (auto* linear = std::get_if<Linear Weights::*>(&slot)) {
        return pack_into((weights.**linear).weight);
    } else if (auto* layer_vector = std::get_if<std::vector<float> LayerWeights::*>(&slot)) {
        layer->** layer_vector = decode_vector(tensor);
    } else if (auto* layer_linear = std::get_if<Linear LayerWeights::*>(&slot)) {
        return pack_into((layer->**layer_linear).weight);
    } else if (auto* bias = std::get_if<BiasSlot>(&slot)) {
        (layer->*(bias->linear)).bias = decode_vector(tensor);
    } else if (auto* scale = std::get_if<ScaleSlot>(&slot)) {
        (layer->*(scale->linear)).scale = decode_vector(tensor)[0];
    } else if (std::holds_alternative<OutputBiasSlot>(slot)) {
        weights.output.bias = decode_vector(tensor);
    } else if (auto* expert_bias = std::get_if<ExpertBiasSlot>(&slot)) {
        (layer->*(expert_bias->experts)).bias = decode_vector(tensor);
    } else if (auto* experts = std::get_if<Experts LayerWeights::*>(&slot)) {
        auto& matrices = (layer->**experts).matrices;
        for (int64_t index = 0; index < tensor.shape[2]; ++index) {
            STERNA_TRY(expert, PackedMatrix::pack(tensor, pool, arena, index));
            matrices.push_back(std::move(expert));
        }
    }
    return {};
}

// A factor divides a frequency: anything but a positive number would make every angle meaningless.
Status check_factors(std::string_view name, const std::vector<float>& factors) {
    for (size_t i = 0; i < factors.size(); ++i)
        if (!(factors[i] >= 1e-3f && factors[i] <= 1e30f))
            return fail(ErrorCode::kBadFile, "{}: value {} at {}, expected 0.001 to 1e30", name, factors[i], i);
    return {};
}

int64_t linear_bytes(const Linear& linear) {
    return linear.weight.bytes() + int64_t(linear.bias.size() * sizeof(float));
}

}  // namespace

int64_t resolve_dim(std::string_view name, const Config& config, int64_t layer) {
    if (!name.empty() && name[0] >= '0' && name[0] <= '9') {
        int64_t value = 0;
        for (char digit : name) {
            if (digit < '0' || digit > '9' || value > (int64_t(1) << 40)) return kUnknownDim;
            value = value * 10 + (digit - '0');
        }
        return value;
    }
    if (name == "width") return config.width;
    if (name == "vocab") return config.vocab_size;
    if (name == "context") return config.context_length;
    if (name == "any") return kAnyDim;
    if (name == "rope_pairs") return config.rope.n_dims / 2;
    if (name == "experts") return config.n_experts;
    if (name == "expert_ffn") return config.expert_ffn_width;
    if (name == "shared_ffn") return config.shared_ffn_width;
    if (name == "conv_kernel") return config.recurrent.kernel;
    if (name == "conv_channels") return config.recurrent.channels;
    if (name == "value_heads") return config.recurrent.n_heads;
    if (name == "value_dim") return config.recurrent.value_dim;
    if (name == "values") return config.recurrent.n_heads * config.recurrent.value_dim;
    if (name == "three_widths") return 3 * config.width;
    if (name == "per_layer") return config.per_layer_width;
    if (name == "per_layers") return config.per_layer_width * config.n_layers;
    if (name == "latent") return config.latent.rank;
    if (name == "latent_q") return config.latent.q_rank;
    if (name == "latent_nope") return config.latent.nope_dim;
    if (name == "latent_value") return config.latent.value_dim;
    if (layer < 0) return kUnknownDim;
    if (name == "latent_values") return config.latent.value_dim * config.n_heads[size_t(layer)];
    if (name == "latent_queries") return (config.latent.nope_dim + config.rope.n_dims) * config.n_heads[size_t(layer)];
    if (name == "q_width") return config.q_width(layer);
    if (name == "k_width") return config.k_width(layer);
    if (name == "v_width") return config.v_width(layer);
    if (name == "o_width") return config.o_width(layer);
    if (name == "qkv_width") return config.q_width(layer) + config.k_width(layer) + config.v_width(layer);
    if (name == "head_dim_k") return config.dim_k(layer);
    if (name == "twice_q_width") return 2 * config.q_width(layer);
    if (name == "heads") return config.n_heads[size_t(layer)];
    if (name == "ffn") return config.ffn_width[size_t(layer)];
    if (name == "twice_ffn") return 2 * config.ffn_width[size_t(layer)];
    return kUnknownDim;
}

std::string layer_name(std::string_view pattern, int64_t layer) {
    size_t at = pattern.find("{}");
    if (at == std::string_view::npos) return std::string(pattern);
    std::string name(pattern.substr(0, at));
    name += std::to_string(layer);
    name += pattern.substr(at + 2);
    return name;
}

Status check_tensors(Config& config, const std::vector<TensorSpec>& table, const TensorSource& tensors,
                     const ModelLimits& limits) {
    const TensorView* embedding = tensors.find_tensor("token_embd.weight");
    if (!embedding)
        return fail(ErrorCode::kBadFile, "token_embd.weight: missing, expected shape [{}, vocabulary]", config.width);
    if (embedding->shape[1] < 1 || embedding->shape[1] > limits.max_vocab)
        return fail(ErrorCode::kLimit, "token_embd.weight: {} rows, expected 1 to {}", embedding->shape[1],
                    limits.max_vocab);
    config.vocab_size = embedding->shape[1];
    return for_each_tensor(
        config, table, [&](const TensorSpec& spec, const std::string& name, int64_t layer) -> Status {
            if (is_unstacked(spec, name, tensors)) {
                TensorSpec each = spec;
                each.required = true;
                Shape shape = resolve_shape(spec.shape, config, layer);
                shape.dims[2] = 1;
                shape.n_dims = 2;
                for (int64_t expert = 0; expert < config.n_experts; ++expert) {
                    const std::string one = expert_name(name, expert);
                    STERNA_CHECK(check_tensor(each, one, tensors.find_tensor(one), shape));
                }
                return {};
            }
            const TensorView* tensor = tensors.find_tensor(name);
            if (!tensor && !spec.unless.empty() && tensors.find_tensor(layer_name(spec.unless, layer))) return {};
            return check_tensor(spec, name, tensor, resolve_shape(spec.shape, config, layer));
        });
}

Result<Weights> load_weights(const Config& config, const std::vector<TensorSpec>& table, const TensorSource& tensors,
                             ThreadPool& pool, const std::atomic<bool>* cancel) {
    Weights weights;
    weights.layers.resize(size_t(config.n_layers));
    PackArena arena;
    Status loaded =
        for_each_tensor(config, table, [&](const TensorSpec& spec, const std::string& name, int64_t layer) -> Status {
            if (cancel && cancel->load(std::memory_order_relaxed))
                return fail(ErrorCode::kCancelled, "loading: cancelled");
            if (is_unstacked(spec, name, tensors)) {
                auto& experts = weights.layers[size_t(layer)].*std::get<Experts LayerWeights::*>(spec.slot);
                for (int64_t expert = 0; expert < config.n_experts; ++expert) {
                    const TensorView& one = *tensors.find_tensor(expert_name(name, expert));
                    STERNA_TRY(matrix, PackedMatrix::pack(one, pool, arena));
                    experts.matrices.push_back(std::move(matrix));
                    tensors.release(one);
                }
                return {};
            }
            const TensorView* tensor = tensors.find_tensor(name);
            if (!tensor) return {};
            STERNA_CHECK(
                load_tensor(spec, *tensor, weights, layer < 0 ? nullptr : &weights.layers[size_t(layer)], pool, arena));
            tensors.release(*tensor);
            return {};
        });
    if (!loaded) return std::unexpected(std::move(loaded).error());
    STERNA_CHECK(check_factors("rope_freqs.weight", weights.rope_factors));
    STERNA_CHECK(check_factors("rope_factors_long.weight", weights.rope_factors_long));
    STERNA_CHECK(check_factors("rope_factors_short.weight", weights.rope_factors_short));
    weights.rope = rope_frequencies(config, weights);
    return weights;
}

int64_t packed_bytes(const Config& config, const std::vector<TensorSpec>& table, const TensorSource& tensors) {
    int64_t total = 0;
    auto add = [&](const TensorSpec& spec, const TensorView& tensor) {
        if (is_vector(spec.slot)) {
            total += tensor.n_elements() * int64_t(sizeof(float));
        } else {
            int64_t rows = (tensor.shape[1] + kernels::kPanelRows - 1) / kernels::kPanelRows * kernels::kPanelRows;
            total += int64_t(*dtype_bytes(tensor.type, uint64_t(tensor.shape[0]))) * rows * tensor.shape[2];
        }
    };
    (void)for_each_tensor(config, table, [&](const TensorSpec& spec, const std::string& name, int64_t) -> Status {
        if (const TensorView* tensor = tensors.find_tensor(name)) {
            add(spec, *tensor);
        } else if (is_unstacked(spec, name, tensors)) {
            for (int64_t expert = 0; expert < config.n_experts; ++expert)
                add(spec, *tensors.find_tensor(expert_name(name, expert)));
        }
        return {};
    });
    return total;
}

int64_t weight_bytes(const Weights& weights) {
    int64_t total = weights.token_embedding.bytes() + linear_bytes(weights.output) +
                    weights.per_layer_embedding.bytes() + linear_bytes(weights.per_layer_model_proj);
    total += int64_t((weights.position_embedding.size() + weights.token_type_embedding.size()) * sizeof(float));
    for (const LayerWeights& layer : weights.layers) {
        for (auto linear : kLayerLinears) total += linear_bytes(layer.*linear);
        for (auto experts : kLayerExperts) {
            for (const PackedMatrix& matrix : (layer.*experts).matrices) total += matrix.bytes();
            total += int64_t((layer.*experts).bias.size() * sizeof(float));
        }
    }
    return total;
}

}  // namespace sterna
