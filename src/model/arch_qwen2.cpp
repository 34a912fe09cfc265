// Qwen2 and Qwen2.5 (dense): "qwen2" files, also the DeepSeek-R1 distillates of them.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o attention(rope(W_q h + b_q), rope(W_k h + b_k), W_v h + b_v)    rope over
//   halves, GQA
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)                                                                            W_out may be
//   the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    return reader.finish(reader.common(RopeStyle::kHalf));
}

constexpr TensorSpec kOwn[] = {
    {BiasSlot{&LayerWeights::q}, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", "q_width"},
    {BiasSlot{&LayerWeights::k}, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", "k_width"},
    {BiasSlot{&LayerWeights::v}, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", "v_width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, tables::kAttention, kOwn, tables::kGatedFfn});
}

constexpr HfClass kClasses[] = {{"Qwen2ForCausalLM"}, {"Qwen2Model"}};
constexpr HfKey kKeys[] = {
    {"hidden_act", "", HfKind::kIs, "silu", "silu"},
    {"use_sliding_window", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_qwen2;
constinit const Architecture kArch_qwen2 = {"qwen2", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
