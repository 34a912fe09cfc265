// An architecture's tensors as a table that loader, converter, quantizer and checker share, and the loaded weights.
// Weights are immutable after load; share freely.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "model/config.h"
#include "model/huggingface.h"
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
    std::vector<float> bias;             // [n_experts][rows of a matrix]; empty: none
};

// Every slot that some architecture uses; an empty one is absent. Vectors are plain floats.
struct LayerWeights {
    std::vector<float> attn_norm, attn_norm_bias, attn_sub_norm, attn_output_norm, attn_output_norm_bias;
    std::vector<float> attn_q_norm, attn_k_norm;  // as long as a head, or as all heads together
    std::vector<float> attn_sinks;                // one logit per head, in the denominator only
    std::vector<float> post_attention_norm, ffn_norm, ffn_norm_bias, ffn_sub_norm, post_ffn_norm, layer_output_norm,
        layer_output_norm_bias;
    std::vector<float> expert_bias;  // added to the routing scores when choosing, not when weighing
    Linear q, k, v;
    Linear qkv;  // the three in one matrix, rows in this order
    Linear attn_output;
    Linear gate, up, down;
    Linear gate_up;  // gate rows, then up rows
    Linear router;
    Experts gate_experts, up_experts, down_experts;
    Linear shared_gate, shared_up, shared_down;  // the expert that every token goes through
    Linear shared_router;                        // one row: how much of it, by a sigmoid; empty: all
    Linear q_a, q_b, kv_a;                       // latent attention: queries in two steps, keys and values compressed
    std::vector<float> q_a_norm, kv_a_norm;
    Experts k_b, v_b;                       // one matrix per head: query to latent, latent to value
    Linear per_layer_gate, per_layer_proj;  // of the token's embedding for this layer
    std::vector<float> per_layer_norm, output_scale;
    // Layers with a recurrent state (RecurrentConfig)
    Linear mixer_in, mixer_gate, mixer_out, alpha, beta;
    std::vector<float> conv;  // [channels][kernel]
    std::vector<float> decay, decay_bias, mixer_norm, mixer_norm_bias;
    // rwkv7: low-rank pairs for decay, in-context learning rate, value mixing and gate; per-channel factors
    Linear decay_down, decay_up, rate_down, rate_up, value_down, value_up, gate_down, gate_lift;
    std::vector<float> token_lerp, channel_lerp, removal_key, key_rate, bonus;
};

// Every member by kind, for whoever has to go through all of them.
using L = LayerWeights;
inline constexpr std::vector<float> L::* kLayerVectors[] = {&L::attn_norm,
                                                            &L::attn_norm_bias,
                                                            &L::attn_sub_norm,
                                                            &L::attn_output_norm,
                                                            &L::attn_output_norm_bias,
                                                            &L::attn_q_norm,
                                                            &L::attn_k_norm,
                                                            &L::attn_sinks,
                                                            &L::post_attention_norm,
                                                            &L::ffn_norm,
                                                            &L::ffn_norm_bias,
                                                            &L::ffn_sub_norm,
                                                            &L::post_ffn_norm,
                                                            &L::layer_output_norm,
                                                            &L::layer_output_norm_bias,
                                                            &L::expert_bias,
                                                            &L::q_a_norm,
                                                            &L::kv_a_norm,
                                                            &L::conv,
                                                            &L::decay,
                                                            &L::decay_bias,
                                                            &L::mixer_norm,
                                                            &L::per_layer_norm,
                                                            &L::output_scale,
                                                            &L::mixer_norm_bias,
                                                            &L::token_lerp,
                                                            &L::channel_lerp,
                                                            &L::removal_key,
                                                            &L::key_rate,
                                                            &L::bonus};
inline constexpr Linear L::* kLayerLinears[] = {&L::q,
                                                &L::k,
                                                &L::v,
                                                &L::qkv,
                                                &L::attn_output,
                                                &L::gate,
                                                &L::up,
                                                &L::down,
                                                &L::gate_up,
                                                &L::router,
                                                &L::shared_gate,
                                                &L::shared_up,
                                                &L::shared_down,
                                                &L::shared_router,
                                                &L::q_a,
                                                &L::q_b,
                                                &L::kv_a,
                                                &L::mixer_in,
                                                &L::mixer_gate,
                                                &L::mixer_out,
                                                &L::alpha,
                                                &L::beta,
                                                &L::per_layer_gate,
                                                &L::per_layer_proj,
                                                &L::decay_down,
                                                &L::decay_up,
                                                &L::rate_down,
                                                &L::rate_up,
                                                &L::value_down,
                                                &L::value_up,
                                                &L::gate_down,
                                                &L::gate_lift};
inline constexpr Experts L::* kLayerExperts[] = {&L::gate_experts, &L::up_experts, &L::down_experts, &L::k_b, &L::v_b};

// The base frequencies of RoPE, one per pair; derived at load. Empty: no such variant.
struct RopeFrequencies {
    std::vector<double> global, local, extended;  // extended: longrope's long factors
};

struct Weights {
    PackedMatrix token_embedding;
    std::vector<float> position_embedding, token_type_embedding;  // row-major [n][width]
    std::vector<float> embedding_norm, embedding_norm_bias, output_norm, output_norm_bias;
    Linear output;                     // empty weight: tied to token_embedding
    PackedMatrix per_layer_embedding;  // [vocab][n_layers * per_layer_width]
    Linear per_layer_model_proj;
    std::vector<float> per_layer_proj_norm;
    std::vector<float> rope_factors, rope_factors_long, rope_factors_short;
    std::vector<LayerWeights> layers;
    RopeFrequencies rope;
};

// Where a tensor goes: a member of Weights or of each LayerWeights.
struct BiasSlot {
    Linear LayerWeights::* linear;
};
struct ScaleSlot {
    Linear LayerWeights::* linear;
};
struct OutputBiasSlot {};
struct ExpertBiasSlot {
    Experts LayerWeights::* experts;
};
using Slot = std::variant<std::vector<float> LayerWeights::*, Linear LayerWeights::*, BiasSlot, ScaleSlot,
                          ExpertBiasSlot, OutputBiasSlot, Experts LayerWeights::*, std::vector<float> Weights::*,
                          PackedMatrix Weights::*, Linear Weights::*>;

// One row of an architecture's tensor table. Views are string literals.
struct TensorSpec {
    Slot slot;
    std::string_view gguf_name;  // "blk.{}.attn_q.weight"; a {} stands for every layer
    std::string_view hf_name;    // "model.layers.{}.self_attn.q_proj.weight"; empty: made by the converter
    std::string_view shape;      // "width, q_width": fastest first, as GGUF stores it; resolve_dim() knows the names
    bool required = true;
    Change change = Change::kNone;
    // Null: every layer has it.
    bool (*at)(const Config& config, int64_t layer) = nullptr;
    // Another tensor in whose presence this one is not required.
    std::string_view unless = {};

    bool applies(const Config& config, int64_t layer) const { return !at || at(config, layer); }
};

constexpr bool kOptional = false;

// The value of one name (or number) of a shape at a layer, or one of these.
constexpr int64_t kUnknownDim = -1;
constexpr int64_t kAnyDim = -2;  // "any": at least 1
int64_t resolve_dim(std::string_view name, const Config& config, int64_t layer);

// "blk.{}.x" and 3 -> "blk.3.x"; the first {} only.
std::string layer_name(std::string_view pattern, int64_t layer);

struct ForwardContext;

struct Architecture {
    std::string_view name;                    // general.architecture
    std::array<std::string_view, 3> aliases;  // other values of it; unused ones are empty
    Result<Config> (*read_config)(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture);
    std::vector<TensorSpec> (*tensors)(const Config& config);
    Status (*forward)(ForwardContext& context);
    HuggingFace hf = {};
};

// Checks every tensor of the table (presence, type, shape), sets config.vocab_size from the token embedding.
Status check_tensors(Config& config, const std::vector<TensorSpec>& table, const TensorSource& tensors,
                     const ModelLimits& limits);

// Packs every tensor. Requires: check_tensors() passed.
Result<Weights> load_weights(const Config& config, const std::vector<TensorSpec>& table, const TensorSource& tensors,
                             ThreadPool& pool, const std::atomic<bool>* cancel);

// Bytes that load_weights() will keep. Requires: check_tensors() passed.
int64_t packed_bytes(const Config& config, const std::vector<TensorSpec>& table, const TensorSource& tensors);

// Bytes that these weights keep.
int64_t weight_bytes(const Weights& weights);

}  // namespace sterna
