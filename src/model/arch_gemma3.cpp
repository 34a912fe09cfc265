// Gemma 3 (text of 270M to 27B): "gemma3" files.
//
//   x = embedding * sqrt(width)
//   per layer:  h = rms_norm(x);  q, k = rope(rms_norm per head of W_q h, W_k h)          five sliding layers (theta
//   10,000, window),
//               x += rms_norm(W_o attention(q, k, W_v h))                                then one that sees all (theta
//               1,000,000) h = rms_norm(x);  x += rms_norm(W_down (gelu(W_gate h) * W_up h))         norm weights are
//               stored with 1 added
//   logits = embedding^T rms_norm(x)
#include <cmath>

#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

constexpr int64_t kLayersOf27B = 62;

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    config.activation = Activation::kGelu;
    config.embedding_scale = float(std::sqrt(double(config.width)));
    reader.sliding_window(config, reader.integer("attention.sliding_window_pattern", 1, limits.max_layers, 6));
    config.rope.theta_local = reader.number("rope.freq_base_swa", 1.001, 1e12, 10000.0);
    // The 27B model scales by width / heads (168) instead of the head size (128); files do not say so.
    if (!reader.has("attention.scale") && config.n_layers == kLayersOf27B)
        config.attention_scale = float(1.0 / std::sqrt(double(config.width / config.n_heads[0])));
    return reader.finish(std::move(config));
}

using L = LayerWeights;

constexpr TensorSpec kOwn[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "model.norm.weight", "width", true, Change::kPlusOne},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width", true,
     Change::kPlusOne},
    {&L::post_attention_norm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight",
     "width", true, Change::kPlusOne},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "model.layers.{}.pre_feedforward_layernorm.weight", "width", true,
     Change::kPlusOne},
    {&L::post_ffn_norm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_feedforward_layernorm.weight", "width",
     true, Change::kPlusOne},
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", "head_dim_k", true,
     Change::kPlusOne},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", "head_dim_k", true,
     Change::kPlusOne},
};

std::vector<TensorSpec> tensors(const Config&) {
    std::vector<TensorSpec> table;
    tables::append(table, kOwn);
    tables::append(table, tables::kAttention);
    tables::append(table, tables::kGatedFfn);
    return table;
}

Status forward(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        norm(c, b.x, w.attn_norm, b.h);
        attention(c, layer, b.h);
        norm(c, b.y, w.post_attention_norm, b.y);
        add_to_stream(c);
        norm(c, b.x, w.ffn_norm, b.h);
        gated_ffn(c, layer, b.h);
        norm(c, b.y, w.post_ffn_norm, b.y);
        add_to_stream(c);
    }
    logits(c);
    return {};
}

}  // namespace

extern const Architecture kArch_gemma3;
constinit const Architecture kArch_gemma3 = {"gemma3", {}, read_config, tensors, forward};

}  // namespace sterna
