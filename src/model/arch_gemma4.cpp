// Gemma 4 (E2B, E4B, 31B; not the mixture of experts): "gemma4" files.
//
//   x = embedding * sqrt(width);  e = (rms_norm(W_p x / sqrt(width)) + per-layer embedding * sqrt(its width)) / sqrt(2)
//   per layer:  h = rms_norm(x);  q, k, v = rms_norm per head of W_q h, W_k h, W_v h;  q, k = rope(q, k)
//                                 sliding layers: small heads, theta 10,000; others: large heads, a part of which turns
//               x += rms_norm(W_o attention(q, k, v))                  scores unscaled; the last layers read the K and V
//               h = rms_norm(x);  x += rms_norm(W_down (gelu(W_gate h) * W_up h))     of earlier ones
//               x = (x + rms_norm(W_e (gelu(W_g x) * e[layer]))) * scale of the layer
//   logits = softcap(embedding^T rms_norm(x))
#include <cmath>

#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    if (config.n_experts > 0) reader.reject("gemma4.expert_count: experts are not supported in this architecture yet");
    int64_t n = config.n_layers;
    config.activation = Activation::kGelu;
    config.embedding_scale = float(std::sqrt(double(config.width)));
    config.attention_scale = 1.0f;
    config.value_norm = true;
    reader.sliding_window(config, 0);
    std::vector<int64_t> slides = reader.per_layer("attention.sliding_window_pattern", n, 0, 1);
    for (int64_t layer = 0; layer < n; ++layer)
        config.is_sliding[size_t(layer)] = slides[size_t(layer)] != 0 && config.sliding_window > 0;
    config.rope.theta_local = reader.number("rope.freq_base_swa", 1.001, 1e12, 10000.0);
    int64_t local_k = reader.integer("attention.key_length_swa", 1, limits.max_head_dim, config.head_dim_k);
    int64_t local_v = reader.integer("attention.value_length_swa", 1, limits.max_head_dim, config.head_dim_v);
    config.rope.n_dims_local = reader.integer("rope.dimension_count_swa", 2, local_k, local_k) / 2 * 2;
    int64_t shared = reader.integer("attention.shared_kv_layers", 0, n - 1, 0);
    int64_t last[2] = {-1, -1};  // layers of each kind with a KV of their own
    for (int64_t layer = 0; layer < n; ++layer) {
        bool slid = slides[size_t(layer)] != 0;
        config.layer_head_dim_k.push_back(slid ? local_k : config.head_dim_k);
        config.layer_head_dim_v.push_back(slid ? local_v : config.head_dim_v);
        if (layer < n - shared) last[slid] = layer;
        config.kv_layer.push_back(last[slid]);
        if (last[slid] < 0 || config.n_kv_heads[size_t(last[slid])] != config.n_kv_heads[size_t(layer)])
            reader.reject(fmt::format("gemma4.attention.shared_kv_layers: {}: layer {} finds no fitting KV to share",
                                      shared, layer));
        if (config.kv_layer.back() < 0) config.kv_layer.back() = 0;
        if (config.v_width(layer) != config.k_width(layer))
            reader.reject(
                fmt::format("gemma4.attention.value_length: layer {} has keys and values of unlike size", layer));
    }
    config.per_layer_width = reader.integer("embedding_length_per_layer_input", 0, limits.max_width, 0);
    config.mixer_width = 2 * config.per_layer_width * n;
    config.mixed_width = 2 * config.per_layer_width;
    return reader.finish(std::move(config));
}

bool owns_kv(const Config& config, int64_t layer) {
    return config.kv_layer[size_t(layer)] == layer;
}
bool has_embeddings(const Config& config, int64_t) {
    return config.per_layer_width > 0;
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "model.norm.weight", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
    {&Weights::rope_factors, "rope_freqs.weight", "", "rope_pairs", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width"},
    {&L::post_attention_norm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight",
     "width"},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "model.layers.{}.pre_feedforward_layernorm.weight", "width"},
    {&L::post_ffn_norm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_feedforward_layernorm.weight", "width"},
    {&L::output_scale, "blk.{}.layer_output_scale.weight", "model.layers.{}.layer_scalar", "1", kOptional},
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, q_width"},
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", "head_dim_k"},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width", true, Change::kNone,
     owns_kv},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", "head_dim_k", true,
     Change::kNone, owns_kv},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width", kOptional,
     Change::kNone, owns_kv},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight", "o_width, width"},
};

constexpr TensorSpec kPerLayer[] = {
    {&Weights::per_layer_embedding, "per_layer_token_embd.weight", "model.embed_tokens_per_layer.weight",
     "per_layers, vocab"},
    {&Weights::per_layer_model_proj, "per_layer_model_proj.weight", "model.per_layer_model_projection.weight",
     "width, per_layers"},
    {&Weights::per_layer_proj_norm, "per_layer_proj_norm.weight", "model.per_layer_projection_norm.weight",
     "per_layer"},
    {&L::per_layer_gate, "blk.{}.inp_gate.weight", "model.layers.{}.per_layer_input_gate.weight", "width, per_layer",
     true, Change::kNone, has_embeddings},
    {&L::per_layer_proj, "blk.{}.proj.weight", "model.layers.{}.per_layer_projection.weight", "per_layer, width", true,
     Change::kNone, has_embeddings},
    {&L::per_layer_norm, "blk.{}.post_norm.weight", "model.layers.{}.post_per_layer_input_norm.weight", "width", true,
     Change::kNone, has_embeddings},
};

std::vector<TensorSpec> tensors(const Config& config) {
    std::vector<TensorSpec> table = tables::join({kTable, tables::kGatedFfn});
    if (config.per_layer_width > 0) tables::append(table, kPerLayer);
    return table;
}

// mixer = what each layer adds for each token: [T][n_layers][per_layer_width]; its second half is scratch
void embed_per_layer(ForwardContext& c) {
    auto& b = c.buffers;
    const auto& k = c.kernels;
    int64_t part = c.config.per_layer_width, n = part * c.config.n_layers;
    linear(c, c.weights.per_layer_model_proj, {b.x, c.n_rows, c.config.width}, b.mixer);
    float size = std::sqrt(float(part)), half = std::sqrt(0.5f);
    for_rows(c, c.n_rows, 4 * n, [&](int64_t row, int) {
        float* out = b.mixer + row * n;
        float* own = b.mixer + (c.n_rows + row) * n;
        k.scale(out, 1.0f / std::sqrt(float(c.config.width)), n, out);
        norm_parts(k, out, n, c.weights.per_layer_proj_norm, c.config.norm_eps);
        c.weights.per_layer_embedding.unpack_row(c.step.tokens[size_t(row)].token, own);
        k.add_scaled(out, own, size, n, out);
        k.scale(out, half, n, out);
    });
}

// y = W_e (gelu(W_g x) * e[layer])
void per_layer_input(ForwardContext& c, int64_t layer) {
    auto& b = c.buffers;
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    int64_t part = c.config.per_layer_width, n = part * c.config.n_layers;
    bool last = layer == c.config.n_layers - 1;
    float* gate = b.mixed;
    float* gated = b.mixed + c.n_rows * part;
    linear(c, w.per_layer_gate, {b.x, c.n_rows, c.config.width}, gate);
    for_rows(c, c.n_rows, part, [&](int64_t row, int) {
        int64_t token_row = last ? b.wanted[row] : row;
        activate(c, gate + row * part, b.mixer + token_row * n + layer * part, part, gated + row * part);
    });
    linear(c, w.per_layer_proj, {gated, c.n_rows, part}, b.y);
}

Status forward(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    if (c.config.per_layer_width > 0) embed_per_layer(c);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        norm(c, b.x, w.attn_norm, b.h);
        attention(c, layer, b.h);
        norm(c, b.y, w.post_attention_norm, b.y);
        add_to_stream(c);
        norm(c, b.x, w.ffn_norm, b.h);
        feed_forward(c, layer, b.h);
        norm(c, b.y, w.post_ffn_norm, b.y);
        add_to_stream(c);
        if (c.config.per_layer_width > 0) {
            per_layer_input(c, layer);
            norm(c, b.y, w.per_layer_norm, b.y);
            add_to_stream(c);
        }
        if (!w.output_scale.empty())
            for_rows(c, c.n_rows, c.config.width, [&](int64_t row, int) {
                float* x = b.x + row * c.config.width;
                c.kernels.scale(x, w.output_scale[0], c.config.width, x);
            });
    }
    logits(c);
    return {};
}

constexpr HfClass kClasses[] = {{"Gemma4ForCausalLM", {}, "gemma4_text"}, {"Gemma4ForConditionalGeneration"}};
constexpr HfKey kKeys[] = {
    {"global_head_dim", "attention.key_length", HfKind::kInt, "512"},
    {"global_head_dim", "attention.value_length", HfKind::kInt, "512"},
    {"head_dim", "attention.key_length_swa"},
    {"head_dim", "attention.value_length_swa"},
    {"sliding_window", "attention.sliding_window"},
    {"layer_types", "attention.sliding_window_pattern", HfKind::kFlags, {}, "sliding_attention", "full_attention"},
    {"num_kv_shared_layers", "attention.shared_kv_layers", HfKind::kInt, "0"},
    {"hidden_size_per_layer_input", "embedding_length_per_layer_input", HfKind::kInt, "0"},
    {"final_logit_softcapping", "final_logit_softcapping", HfKind::kFloat},
    {"enable_moe_block", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_gemma4;
constinit const Architecture kArch_gemma4 = {
    "gemma4",
    {},
    read_config,
    tensors,
    forward,
    {kClasses, kKeys, {}, "model.vision_tower.*|model.audio_tower.*|model.embed_vision.*|model.embed_audio.*"}};

}  // namespace sterna
