// Qwen3.5 (0.8B to 27B, dense): "qwen35" files. Three layers with a recurrent state, then one of attention.
//
//   x = embedding
//   per layer:  h = rms_norm(x)
//               recurrent layers:  q, k, v = silu(conv(W_qkv h));  S = gated delta rule over positions;
//                                  x += W_out (rms_norm(S^T q) * silu(W_z h))              q and k of unit length
//               attention layers:  q, g = W_q h;  q, k = rope(rms_norm per head of q, W_k h)     a quarter of the head
//                                  x += W_o (attention(q, k, W_v h) * sigmoid(g))                turns, over halves
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)                                                W_out may be the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

constexpr int64_t kMaxKernel = 64;

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    RecurrentConfig& r = config.recurrent;
    r.kernel = reader.integer("ssm.conv_kernel", 1, kMaxKernel);
    r.n_heads = reader.integer("ssm.time_step_rank", 1, limits.max_heads);
    r.n_key_heads = reader.integer("ssm.group_count", 1, limits.max_heads);
    r.key_dim = reader.integer("ssm.state_size", 1, limits.max_head_dim);
    int64_t inner = reader.integer("ssm.inner_size", 1, limits.max_ffn_width);
    r.value_dim = inner / r.n_heads;
    if (inner % r.n_heads || r.value_dim > limits.max_head_dim || r.n_heads % r.n_key_heads)
        reader.reject(fmt::format("{}.ssm.inner_size: {} values do not split into {} heads over {} key heads",
                                  architecture, inner, r.n_heads, r.n_key_heads));
    r.channels = 2 * r.n_key_heads * r.key_dim + inner;
    config.mixer_width = std::max(r.channels + inner + 2 * r.n_heads, 2 * config.q_width(0));
    int64_t interval = reader.integer("full_attention_interval", 1, limits.max_layers, 4);
    int64_t state = ((r.kernel - 1) * r.channels + r.n_heads * r.key_dim * r.value_dim) * int64_t(sizeof(float));
    for (int64_t layer = 0; layer < config.n_layers; ++layer) {
        bool attends = (layer + 1) % interval == 0;
        config.kv_layer.push_back(attends ? layer : -1);
        config.recurrent_bytes.push_back(attends ? 0 : state);
    }
    return reader.finish(std::move(config));
}

bool is_recurrent(const Config& config, int64_t layer) {
    return config.is_recurrent(layer);
}
bool is_attention(const Config& config, int64_t layer) {
    return !config.is_recurrent(layer);
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "model.norm.weight", "width", true, Change::kPlusOne},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width", true,
     Change::kPlusOne},
    {&L::ffn_norm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight", "width",
     true, Change::kPlusOne},
    {&L::mixer_in, "blk.{}.attn_qkv.weight", "model.layers.{}.linear_attn.in_proj_qkv.weight", "width, conv_channels",
     true, Change::kTileValueRows, is_recurrent},
    {&L::mixer_gate, "blk.{}.attn_gate.weight", "model.layers.{}.linear_attn.in_proj_z.weight", "width, values", true,
     Change::kTileValueRows, is_recurrent},
    {&L::beta, "blk.{}.ssm_beta.weight", "model.layers.{}.linear_attn.in_proj_b.weight", "width, value_heads", true,
     Change::kTileValueRows, is_recurrent},
    {&L::alpha, "blk.{}.ssm_alpha.weight", "model.layers.{}.linear_attn.in_proj_a.weight", "width, value_heads", true,
     Change::kTileValueRows, is_recurrent},
    {&L::conv, "blk.{}.ssm_conv1d.weight", "model.layers.{}.linear_attn.conv1d.weight", "conv_kernel, conv_channels",
     true, Change::kTileValueRows, is_recurrent},
    {&L::decay, "blk.{}.ssm_a", "model.layers.{}.linear_attn.A_log", "value_heads", true, Change::kNegExpTileValues,
     is_recurrent},
    {&L::decay_bias, "blk.{}.ssm_dt.bias", "model.layers.{}.linear_attn.dt_bias", "value_heads", true,
     Change::kTileValueRows, is_recurrent},
    {&L::mixer_norm, "blk.{}.ssm_norm.weight", "model.layers.{}.linear_attn.norm.weight", "value_dim", true,
     Change::kNone, is_recurrent},
    {&L::mixer_out, "blk.{}.ssm_out.weight", "model.layers.{}.linear_attn.out_proj.weight", "values, width", true,
     Change::kTileValueColumns, is_recurrent},
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, twice_q_width", true,
     Change::kNone, is_attention},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width", true, Change::kNone,
     is_attention},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width", true, Change::kNone,
     is_attention},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight", "o_width, width", true,
     Change::kNone, is_attention},
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", "head_dim_k", true,
     Change::kPlusOne, is_attention},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", "head_dim_k", true,
     Change::kPlusOne, is_attention},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({kTable, tables::kGatedFfn});
}

void mix(ForwardContext& c, int64_t layer, const float* from) {
    c.config.is_recurrent(layer) ? delta_net(c, layer, from) : gated_attention(c, layer, from);
}

Status forward(ForwardContext& c) {
    return pre_norm_decoder(c, mix);
}

constexpr HfClass kClasses[] = {{"Qwen3_5ForCausalLM", {}, "qwen3_5_text"}, {"Qwen3_5ForConditionalGeneration"}};
constexpr HfKey kKeys[] = {
    {"linear_conv_kernel_dim", "ssm.conv_kernel"},
    {"linear_num_value_heads", "ssm.time_step_rank"},
    {"linear_num_key_heads", "ssm.group_count"},
    {"linear_key_head_dim", "ssm.state_size"},
    {"", "ssm.inner_size", HfKind::kInt, "linear_num_value_heads*linear_value_head_dim"},
    {"layer_types", "full_attention_interval", HfKind::kPeriod, {}, "full_attention", "linear_attention"},
};

}  // namespace

extern const Architecture kArch_qwen35;
constinit const Architecture kArch_qwen35 = {"qwen35", {},      read_config,
                                             tensors,  forward, {kClasses, kKeys, {}, "mtp.*|model.visual.*"}};

}  // namespace sterna
