// DeepSeek V2 (Lite, 236B), V3, R1, and others with latent attention (Moonlight, Kimi K2): "deepseek2" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o latent_attention(h)                      queries in two steps (not Lite), rope
//                                                                            over adjacent pairs of a part of the key
//               h = rms_norm(x);  first layers:  x += W_down (silu(W_gate h) * W_up h)
//                                 others:        x += sum over the best k of p_e * expert_e(h) + shared_expert(h)
//                                                p = softmax or sigmoid of W_router h; chosen within the best groups
//   logits = W_out rms_norm(x)
#include <cmath>

#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kAdjacent);
    LatentConfig& latent = config.latent;
    latent.q_rank = reader.integer("attention.q_lora_rank", 0, limits.max_width, 0);
    latent.rank = reader.integer("attention.kv_lora_rank", 1, limits.max_head_dim);
    int64_t turned = config.rope.n_dims, heads = config.n_heads[0];
    if (!reader.has("attention.key_length_mla"))
        reader.reject(
            fmt::format("{}.attention.key_length_mla: missing: files made before April 2025 hold keys and values "
                        "uncompressed and have to be converted anew",
                        architecture));
    int64_t raw = reader.integer("attention.key_length_mla", turned + 1, limits.max_head_dim, turned + 1);
    latent.nope_dim = raw - turned;
    latent.value_dim = reader.integer("attention.value_length_mla", 1, limits.max_head_dim, latent.nope_dim);
    if (config.head_dim_k != latent.rank + turned || config.head_dim_v != latent.rank || config.n_kv_heads[0] != 1)
        reader.reject(
            fmt::format("{}.attention.key_length: {}, expected {}: one KV head of kv_lora_rank and "
                        "rope.dimension_count values",
                        architecture, config.head_dim_k, latent.rank + turned));
    config.mixer_width = std::max(heads * raw + latent.q_rank, heads * latent.value_dim);
    config.mixed_width = heads * std::max(latent.nope_dim, latent.rank);
    config.shared_ffn_width =
        config.n_experts > 0 ? reader.integer("expert_shared_count", 0, 64, 0) * config.expert_ffn_width : 0;
    config.expert_weights_norm = reader.flag("expert_weights_norm", false);
    // YaRN: the attention factor of these models stands in the scores, not in cos and sin (DeepSeek-V2, section 3.1.4).
    double growth = reader.number("rope.scaling.yarn_log_multiplier", -10.0, 10.0, 0.0);
    double factor = 1.0;
    if (config.rope.scaling == RopeScaling::kYarn && config.rope.factor > 1.0) {
        factor = 1.0 + growth * kernels::log_f64(config.rope.factor);
        config.rope.attention_factor = 1.0;
    }
    config.attention_scale = float(factor * factor / std::sqrt(double(raw)));
    return reader.finish(std::move(config));
}

bool has_experts(const Config& config, int64_t layer) {
    return config.has_experts(layer);
}
bool is_dense(const Config& config, int64_t layer) {
    return !config.has_experts(layer);
}
bool has_low_rank_q(const Config& config, int64_t) {
    return config.latent.q_rank > 0;
}
bool has_plain_q(const Config& config, int64_t) {
    return config.latent.q_rank == 0;
}
bool has_shared(const Config& config, int64_t layer) {
    return config.has_experts(layer) && config.shared_ffn_width > 0;
}

constexpr TensorSpec kLatent[] = {
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, latent_queries", true,
     Change::kNone, has_plain_q},
    {&L::q_a, "blk.{}.attn_q_a.weight", "model.layers.{}.self_attn.q_a_proj.weight", "width, latent_q", true,
     Change::kNone, has_low_rank_q},
    {&L::q_a_norm, "blk.{}.attn_q_a_norm.weight", "model.layers.{}.self_attn.q_a_layernorm.weight", "latent_q", true,
     Change::kNone, has_low_rank_q},
    {&L::q_b, "blk.{}.attn_q_b.weight", "model.layers.{}.self_attn.q_b_proj.weight", "latent_q, latent_queries", true,
     Change::kNone, has_low_rank_q},
    {&L::kv_a, "blk.{}.attn_kv_a_mqa.weight", "model.layers.{}.self_attn.kv_a_proj_with_mqa.weight", "width, k_width"},
    {&L::kv_a_norm, "blk.{}.attn_kv_a_norm.weight", "model.layers.{}.self_attn.kv_a_layernorm.weight", "latent"},
    {&L::k_b, "blk.{}.attn_k_b.weight", "model.layers.{}.self_attn.kv_b_proj.weight", "latent_nope, latent, heads",
     true, Change::kKeyB},
    {&L::v_b, "blk.{}.attn_v_b.weight", "model.layers.{}.self_attn.kv_b_proj.weight", "latent, latent_value, heads",
     true, Change::kValueB},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight", "latent_values, width"},
};

constexpr TensorSpec kFeedForward[] = {
    {&L::gate, "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight", "width, ffn", true, Change::kNone,
     is_dense},
    {&L::up, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight", "width, ffn", true, Change::kNone, is_dense},
    {&L::down, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight", "ffn, width", true, Change::kNone,
     is_dense},
    {&L::router, "blk.{}.ffn_gate_inp.weight", "model.layers.{}.mlp.gate.weight", "width, experts", true, Change::kNone,
     has_experts},
    {&L::expert_bias, "blk.{}.exp_probs_b.bias", "model.layers.{}.mlp.gate.e_score_correction_bias", "experts",
     kOptional, Change::kNone, has_experts},
    {&L::gate_experts, "blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.{}.gate_proj.weight",
     "width, expert_ffn, experts", true, Change::kStack, has_experts},
    {&L::up_experts, "blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.{}.up_proj.weight",
     "width, expert_ffn, experts", true, Change::kStack, has_experts},
    {&L::down_experts, "blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.{}.down_proj.weight",
     "expert_ffn, width, experts", true, Change::kStack, has_experts},
    {&L::shared_gate, "blk.{}.ffn_gate_shexp.weight", "model.layers.{}.mlp.shared_experts.gate_proj.weight",
     "width, shared_ffn", true, Change::kNone, has_shared},
    {&L::shared_up, "blk.{}.ffn_up_shexp.weight", "model.layers.{}.mlp.shared_experts.up_proj.weight",
     "width, shared_ffn", true, Change::kNone, has_shared},
    {&L::shared_down, "blk.{}.ffn_down_shexp.weight", "model.layers.{}.mlp.shared_experts.down_proj.weight",
     "shared_ffn, width", true, Change::kNone, has_shared},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, kLatent, kFeedForward});
}

Status forward(ForwardContext& c) {
    return pre_norm_decoder(c, latent_attention);
}

constexpr HfClass kClasses[] = {{"DeepseekV2ForCausalLM", {}, "deepseek_v2"},
                                {"DeepseekV3ForCausalLM", {}, "deepseek_v3"}};
constexpr HfKey kKeys[] = {
    {"", "attention.head_count_kv", HfKind::kInt, "1"},
    {"q_lora_rank", "attention.q_lora_rank"},
    {"kv_lora_rank", "attention.kv_lora_rank"},
    {"", "attention.key_length", HfKind::kInt, "kv_lora_rank+qk_rope_head_dim"},
    {"kv_lora_rank", "attention.value_length"},
    {"", "attention.key_length_mla", HfKind::kInt, "qk_nope_head_dim+qk_rope_head_dim"},
    {"v_head_dim", "attention.value_length_mla"},
    {"qk_rope_head_dim", "rope.dimension_count"},
    {"", "rope.scaling.yarn_log_multiplier", HfKind::kFloat,
     "0.1*rope_parameters.mscale_all_dim|rope_scaling.mscale_all_dim"},
    {"first_k_dense_replace", "leading_dense_block_count", HfKind::kInt, "0"},
    {"n_shared_experts", "expert_shared_count", HfKind::kInt, "0"},
    {"routed_scaling_factor", "expert_weights_scale", HfKind::kFloat},
    {"norm_topk_prob", "expert_weights_norm", HfKind::kBool, "false"},
    // V3 as transformers writes it names no function.
    {"scoring_func|model_type",
     "expert_gating_func",
     HfKind::kInt,
     {},
     "softmax=1|sigmoid=2|deepseek_v2=1|deepseek_v3=2"},
    {"n_group", "expert_group_count"},
    {"topk_group", "expert_group_used_count"},
};

}  // namespace

extern const Architecture kArch_deepseek2;
constinit const Architecture kArch_deepseek2 = {"deepseek2", {}, read_config, tensors, forward, {kClasses, kKeys}};

}  // namespace sterna
