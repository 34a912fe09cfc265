// OLMo 2 (1B to 32B): "olmo2" files. No norm before a sublayer, one behind it.
//
//   x = embedding
//   per layer:  q, k = rope(rms_norm(W_q x), rms_norm(W_k x))       norms over all heads together; rope over halves
//               x += rms_norm(W_o attention(q, k, W_v x))
//               x += rms_norm(W_down (silu(W_gate x) * W_up x))
//   logits = W_out rms_norm(x)
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    return reader.finish(reader.common(RopeStyle::kHalf));
}

constexpr TensorSpec kOwn[] = {
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", "q_width"},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", "k_width"},
    {&L::post_attention_norm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight",
     "width"},
    {&L::post_ffn_norm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_feedforward_layernorm.weight", "width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kAttention, kOwn, tables::kGatedFfn});
}

constexpr HfClass kClasses[] = {{"Olmo2ForCausalLM"}};

}  // namespace

extern const Architecture kArch_olmo2;
constinit const Architecture kArch_olmo2 = {"olmo2", {}, read_config, tensors, sandwich_norm_decoder, {kClasses}};

}  // namespace sterna
