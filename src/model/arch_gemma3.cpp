// Gemma 3 (text of 270M to 27B): "gemma3" files.
//
//   x = embedding * sqrt(width)
//   per layer:  h = rms_norm(x);  q, k = rope(rms_norm per head of W_q h, W_k h)
//               x += rms_norm(W_o attention(q, k, W_v h))
//               h = rms_norm(x);  x += rms_norm(W_down (gelu(W_gate h) * W_up h))
//   logits = embedding^T rms_norm(x)
//
// Five layers see a window (theta 10,000), then one sees all (theta 1,000,000). Norm weights are stored with 1 added.
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

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kGemma, tables::kHeadNormsPlusOne, tables::kAttention, tables::kGatedFfn});
}

constexpr HfClass kClasses[] = {{"Gemma3ForCausalLM", {}, "gemma3_text"}, {"Gemma3ForConditionalGeneration"}};
// The published config.json of the multimodal sizes leaves out what is as in transformers' Gemma3TextConfig.
constexpr HfKey kKeys[] = {
    {"num_attention_heads", "attention.head_count", HfKind::kInt, "8"},
    {"num_key_value_heads", "attention.head_count_kv", HfKind::kInt, "4"},
    {"head_dim", "attention.key_length", HfKind::kInt, "256"},
    {"head_dim", "attention.value_length", HfKind::kInt, "256"},
    {"max_position_embeddings", "context_length", HfKind::kInt, "131072"},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", HfKind::kFloat, "0.000001"},
    {"", "rope.freq_base", HfKind::kFloat, "1000000"},
    {"query_pre_attn_scalar", "attention.scale", HfKind::kInverseRoot, "256"},
    {"sliding_window", "attention.sliding_window", HfKind::kInt, "4096"},
    {"sliding_window_pattern|_sliding_window_pattern", "attention.sliding_window_pattern"},
    {"layer_types", "attention.sliding_window_pattern", HfKind::kPeriod, "", "full_attention", "sliding_attention"},
    {"attn_logit_softcapping", "attn_logit_softcapping", HfKind::kFloat},
    {"final_logit_softcapping", "final_logit_softcapping", HfKind::kFloat},
    {"hidden_activation|hidden_act", "", HfKind::kIs, "gelu_pytorch_tanh", "gelu_pytorch_tanh"},
    {"use_bidirectional_attention", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_gemma3;
constinit const Architecture kArch_gemma3 = {"gemma3",         {}, read_config, tensors, sandwich_norm_decoder,
                                             {kClasses, kKeys}};

}  // namespace sterna
