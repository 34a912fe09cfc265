// Gemma 2 (2B, 9B, 27B): "gemma2" files.
//
//   x = embedding * sqrt(width)
//   per layer:  h = rms_norm(x);  x += rms_norm(W_o attention(rope(W_q h), rope(W_k h), W_v h))    soft-capped scores;
//                                                                          every other layer sees a window
//               h = rms_norm(x);  x += rms_norm(W_down (gelu(W_gate h) * W_up h))
//   logits = softcap(embedding^T rms_norm(x))
#include <cmath>

#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

constexpr int64_t kLayersOf27B = 46;

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    config.activation = Activation::kGelu;
    config.embedding_scale = float(std::sqrt(double(config.width)));
    reader.sliding_window(config, 2, 4096);
    config.attention_softcap = float(reader.number("attn_logit_softcapping", 0.0, 1e6, 50.0));
    config.logit_softcap = float(reader.number("final_logit_softcapping", 0.0, 1e6, 30.0));
    // The 27B model scales by width / heads (144) instead of the head size (128); files do not say so.
    if (!reader.has("attention.scale") && config.n_layers == kLayersOf27B)
        config.attention_scale = float(1.0 / std::sqrt(double(config.width / config.n_heads[0])));
    return reader.finish(std::move(config));
}

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kGemma, tables::kAttention, tables::kGatedFfn});
}

constexpr HfClass kClasses[] = {{"Gemma2ForCausalLM"}};
constexpr HfKey kKeys[] = {
    {"sliding_window", "attention.sliding_window"},
    {"query_pre_attn_scalar", "attention.scale", HfKind::kInverseRoot, "256"},
    {"attn_logit_softcapping", "attn_logit_softcapping", HfKind::kFloat},
    {"final_logit_softcapping", "final_logit_softcapping", HfKind::kFloat},
    {"hidden_activation|hidden_act", "", HfKind::kIs, "gelu_pytorch_tanh", "gelu_pytorch_tanh|gelu"},
};

}  // namespace

extern const Architecture kArch_gemma2;
constinit const Architecture kArch_gemma2 = {"gemma2",         {}, read_config, tensors, sandwich_norm_decoder,
                                             {kClasses, kKeys}};

}  // namespace sterna
