// Granite 3 (dense): "granite" files. Llama with four scales.
//
//   x = embedding * embedding_scale
//   per layer:  h = rms_norm(x);  x += residual_scale * W_o attention(rope(W_q h), rope(W_k h), W_v h)     rope over
//   adjacent pairs;
//               h = rms_norm(x);  x += residual_scale * W_down (silu(W_gate h) * W_up h)                 q.k times
//               attention.scale
//   logits = W_out rms_norm(x) / logit_scale                                                             W_out may be
//   the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kAdjacent);
    config.embedding_scale = float(reader.number("embedding_scale", -1e6, 1e6, 1.0));
    config.residual_scale = float(reader.number("residual_scale", -1e6, 1e6, 1.0));
    config.logit_scale = float(1.0 / reader.number("logit_scale", 1e-6, 1e6, 1.0));
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {&Weights::rope_factors, "rope_freqs.weight", "", "rope_pairs", kOptional},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join(
        {tables::kStem, kOwn, tables::kPreNorms, tables::kAttentionAdjacent, tables::kGatedFfn, tables::kFfnBiases});
}

constexpr HfClass kClasses[] = {{"GraniteForCausalLM"}};
constexpr HfKey kKeys[] = {
    {"embedding_multiplier", "embedding_scale", HfKind::kFloat},
    {"attention_multiplier", "attention.scale", HfKind::kFloat},
    {"residual_multiplier", "residual_scale", HfKind::kFloat},
    {"logits_scaling", "logit_scale", HfKind::kFloat},
    {"hidden_act", "", HfKind::kIs, "silu", "silu"},
};

}  // namespace

extern const Architecture kArch_granite;
constinit const Architecture kArch_granite = {"granite", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
