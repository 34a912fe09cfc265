// LFM2 (350M to 2.6B): "lfm2" files. Short convolutions, and attention in some layers.
//
//   x = embedding
//   per layer:  h = rms_norm(x)
//               convolution layers:  b, g, v = W_in h;  x += W_out (g * conv(b * v))          3 positions, per channel
//               attention layers:    q, k = rope(rms_norm per head of W_q h, W_k h);  x += W_o attention(q, k, W_v h)
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = embedding^T rms_norm(x)
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

constexpr int64_t kMaxKernel = 64;

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf, 0);  // convolution layers have no KV heads
    config.recurrent.kernel = reader.integer("shortconv.l_cache", 1, kMaxKernel);
    config.recurrent.channels = config.width;
    config.mixer_width = 3 * config.width;
    config.recurrent_bytes.assign(size_t(config.n_layers), 0);
    for (size_t layer = 0; layer < config.kv_layer.size(); ++layer)
        if (config.kv_layer[layer] < 0)
            config.recurrent_bytes[layer] = (config.recurrent.kernel - 1) * config.width * int64_t(sizeof(float));
    return reader.finish(std::move(config));
}

bool is_attention(const Config& config, int64_t layer) {
    return config.kv_layer.empty() || config.kv_layer[size_t(layer)] >= 0;
}
bool is_conv(const Config& config, int64_t layer) {
    return !is_attention(config, layer);
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "token_embd_norm.weight", "model.embedding_norm.weight", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.operator_norm.weight", "width"},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "model.layers.{}.ffn_norm.weight", "width"},
    {&L::gate, "blk.{}.ffn_gate.weight", "model.layers.{}.feed_forward.w1.weight", "width, ffn"},
    {&L::up, "blk.{}.ffn_up.weight", "model.layers.{}.feed_forward.w3.weight", "width, ffn"},
    {&L::down, "blk.{}.ffn_down.weight", "model.layers.{}.feed_forward.w2.weight", "ffn, width"},
    {&L::mixer_in, "blk.{}.shortconv.in_proj.weight", "model.layers.{}.conv.in_proj.weight", "width, three_widths",
     true, Change::kNone, is_conv},
    {&L::conv, "blk.{}.shortconv.conv.weight", "model.layers.{}.conv.conv.weight", "conv_kernel, width", true,
     Change::kNone, is_conv},
    {&L::mixer_out, "blk.{}.shortconv.out_proj.weight", "model.layers.{}.conv.out_proj.weight", "width, width", true,
     Change::kNone, is_conv},
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, q_width", true, Change::kNone,
     is_attention},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width", true, Change::kNone,
     is_attention},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width", true, Change::kNone,
     is_attention},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.out_proj.weight", "o_width, width", true,
     Change::kNone, is_attention},
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_layernorm.weight", "head_dim_k", true,
     Change::kNone, is_attention},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_layernorm.weight", "head_dim_k", true,
     Change::kNone, is_attention},
};

std::vector<TensorSpec> tensors(const Config&) {
    return {std::begin(kTable), std::end(kTable)};
}

void mix(ForwardContext& c, int64_t layer, const float* from) {
    is_attention(c.config, layer) ? attention(c, layer, from) : short_conv(c, layer, from);
}

Status forward(ForwardContext& c) {
    return pre_norm_decoder(c, mix);
}

constexpr HfClass kClasses[] = {{"Lfm2ForCausalLM"}};
constexpr HfKey kKeys[] = {
    {"norm_eps", "attention.layer_norm_rms_epsilon", HfKind::kFloat, "0.00001"},
    {"layer_types", "attention.head_count_kv", HfKind::kWhere, "num_key_value_heads", "full_attention", "conv"},
    {"conv_L_cache", "shortconv.l_cache"},
    {"conv_bias", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_lfm2;
constinit const Architecture kArch_lfm2 = {"lfm2", {}, read_config, tensors, forward, {kClasses, kKeys}};

}  // namespace sterna
