// An architecture's tensors as a table that loader, converter, quantizer and checker share, and the loaded weights.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "tensor/pack.h"

namespace sterna {

// A matrix, its optional bias and its optional output scale (bitnet's `.scale`).
struct Linear {
    PackedMatrix weight;
    std::vector<float> bias;  // empty: none
    float scale = 1.0f;
};

struct Experts {
    std::vector<PackedMatrix> matrices;  // one per expert
};

// Every slot that some architecture uses; an empty one is absent. Vectors are plain floats.
struct LayerWeights {
    std::vector<float> attn_norm, attn_norm_bias, attn_q_norm, attn_k_norm, attn_sub_norm, attn_output_norm, attn_output_norm_bias;
    std::vector<float> post_attention_norm, ffn_norm, ffn_sub_norm, post_ffn_norm, layer_output_norm, layer_output_norm_bias;
    Linear q, k, v, qkv, attn_output;
    Linear gate, up, down, router;
    Experts gate_experts, up_experts, down_experts;
};

struct Weights {
    PackedMatrix token_embedding;
    std::vector<float> position_embedding, token_type_embedding;   // row-major [n][width]
    std::vector<float> embedding_norm, embedding_norm_bias, output_norm, output_norm_bias;
    Linear output;             // empty weight: tied to token_embedding
    std::vector<float> rope_factors, rope_factors_long, rope_factors_short;
    std::vector<LayerWeights> layers;
};

class Metadata;
struct Step;
struct ForwardContext;

// One row of an architecture's tensor table.
struct TensorSpec {
    enum class Slot : uint16_t;       // which member of Weights or LayerWeights (model/weights.cpp)
    Slot slot;
    std::string_view gguf_name;       // "blk.{}.attn_q.weight"
    std::string_view hf_name;         // "model.layers.{}.self_attn.q_proj.weight"
    std::string_view shape;           // "width, q_width": fastest first, as GGUF stores it; names are resolved against the Config
    bool required = true;
};

struct Architecture {
    std::string_view name;                       // general.architecture
    std::vector<std::string_view> aliases;
    Result<Config> (*read_config)(const Metadata& metadata, const ModelLimits& limits);
    std::vector<TensorSpec> (*tensors)(const Config& config);
    Status (*forward)(ForwardContext& context);
};

}  // namespace sterna
