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

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kGemma, tables::kHeadNormsPlusOne, tables::kAttention, tables::kGatedFfn});
}

}  // namespace

extern const Architecture kArch_gemma3;
constinit const Architecture kArch_gemma3 = {"gemma3", {}, read_config, tensors, sandwich_norm_decoder};

}  // namespace sterna
