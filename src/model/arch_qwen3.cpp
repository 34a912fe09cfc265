// Qwen3 (dense): "qwen3" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  q, k = rope(rms_norm per head of W_q h, W_k h)          rope over halves, GQA, head
//   size of its own
//               x += W_o attention(q, k, W_v h)
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)                                                           W_out may be the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    return reader.finish(reader.common(RopeStyle::kHalf));
}

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, tables::kAttention, tables::kHeadNorms, tables::kGatedFfn});
}

constexpr HfClass kClasses[] = {{"Qwen3ForCausalLM"}, {"Qwen3Model"}};
constexpr HfKey kKeys[] = {
    {"hidden_act", "", HfKind::kIs, "silu", "silu"},
    {"attention_bias", "", HfKind::kIs, "false", "false"},
    {"use_sliding_window", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_qwen3;
constinit const Architecture kArch_qwen3 = {"qwen3", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
