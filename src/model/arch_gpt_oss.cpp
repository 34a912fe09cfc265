// gpt-oss (20B, 120B): "gpt-oss" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o attention(rope(W_q h + b), rope(W_k h + b), W_v h + b) + b_o    YaRN over halves;
//                                              sinks: a logit per head in the denominator; every other layer sees 128
//               h = rms_norm(x);  p = softmax over the best k of W_router h + b_r
//               x += sum of p_e * expert_e(h)          expert: W_down ((clamp(up) + 1) * gate * sigmoid(1.702 gate)) + b
//   logits = W_out rms_norm(x)
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    if (config.n_experts == 0) reader.reject("gpt-oss.expert_count: missing or 0");
    config.activation = Activation::kSwigluClamped;
    config.rope.rounded_ramp = false;
    reader.sliding_window(config, 2, 128);
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width"},
    {&L::ffn_norm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight", "width"},
    {BiasSlot{&L::q}, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", "q_width"},
    {BiasSlot{&L::k}, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", "k_width"},
    {BiasSlot{&L::v}, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", "v_width"},
    {BiasSlot{&L::attn_output}, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias", "width"},
    {&L::attn_sinks, "blk.{}.attn_sinks.weight", "model.layers.{}.self_attn.sinks", "heads"},
    {&L::router, "blk.{}.ffn_gate_inp.weight", "model.layers.{}.mlp.router.weight", "width, experts"},
    {BiasSlot{&L::router}, "blk.{}.ffn_gate_inp.bias", "model.layers.{}.mlp.router.bias", "experts"},
    {&L::gate_experts, "blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj",
     "width, expert_ffn, experts", true, Change::kTransposeEven},
    {&L::up_experts, "blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj",
     "width, expert_ffn, experts", true, Change::kTransposeOdd},
    {&L::down_experts, "blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.down_proj",
     "expert_ffn, width, experts", true, Change::kTranspose},
    {ExpertBiasSlot{&L::gate_experts}, "blk.{}.ffn_gate_exps.bias", "model.layers.{}.mlp.experts.gate_up_proj_bias",
     "expert_ffn, experts", true, Change::kEvenColumns},
    {ExpertBiasSlot{&L::up_experts}, "blk.{}.ffn_up_exps.bias", "model.layers.{}.mlp.experts.gate_up_proj_bias",
     "expert_ffn, experts", true, Change::kOddColumns},
    {ExpertBiasSlot{&L::down_experts}, "blk.{}.ffn_down_exps.bias", "model.layers.{}.mlp.experts.down_proj_bias",
     "width, experts"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kAttention, kOwn});
}

constexpr HfClass kClasses[] = {{"GptOssForCausalLM", {}, "gpt_oss"}};
constexpr HfKey kKeys[] = {
    {"intermediate_size", "expert_feed_forward_length"},
    {"sliding_window", "attention.sliding_window"},
    {"swiglu_alpha", "", HfKind::kIs, "1.702", "1.702"},
    {"swiglu_limit", "", HfKind::kIs, "7.0", "7.0|7"},
};

}  // namespace

extern const Architecture kArch_gpt_oss;
constinit const Architecture kArch_gpt_oss = {"gpt-oss", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
