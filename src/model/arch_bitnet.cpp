// BitNet b1.58: "bitnet" files (the first, SiLU) and "bitnet-b1.58" or "bitnet-25" files (2B-4T, squared ReLU). Ternary
// matrices, each with one scale that multiplies its output.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o rms_norm(attention(rope(W_q h), rope(W_k h), W_v h))     rope over halves,
//   GQA
//               h = rms_norm(x);  x += W_down rms_norm(f(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)                                                                     W_out may be the
//   embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    config.activation = architecture == "bitnet" ? Activation::kSilu : Activation::kRelu2;
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {&L::attn_sub_norm, "blk.{}.attn_sub_norm.weight", "model.layers.{}.self_attn.attn_sub_norm.weight", "o_width"},
    {&L::ffn_sub_norm, "blk.{}.ffn_sub_norm.weight", "model.layers.{}.mlp.ffn_sub_norm.weight", "ffn"},
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, q_width", true,
     Change::kTernaryScale},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width", true,
     Change::kTernaryScale},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width", true,
     Change::kTernaryScale},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight", "o_width, width", true,
     Change::kTernaryScale},
    {&L::gate, "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight", "width, ffn", true,
     Change::kTernaryScale},
    {&L::up, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight", "width, ffn", true, Change::kTernaryScale},
    {&L::down, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight", "ffn, width", true,
     Change::kTernaryScale},
    {ScaleSlot{&L::q}, "blk.{}.attn_q.scale", "", "1", kOptional},
    {ScaleSlot{&L::k}, "blk.{}.attn_k.scale", "", "1", kOptional},
    {ScaleSlot{&L::v}, "blk.{}.attn_v.scale", "", "1", kOptional},
    {ScaleSlot{&L::attn_output}, "blk.{}.attn_output.scale", "", "1", kOptional},
    {ScaleSlot{&L::gate}, "blk.{}.ffn_gate.scale", "", "1", kOptional},
    {ScaleSlot{&L::up}, "blk.{}.ffn_up.scale", "", "1", kOptional},
    {ScaleSlot{&L::down}, "blk.{}.ffn_down.scale", "", "1", kOptional},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, kOwn});
}

constexpr HfClass kClasses[] = {{"BitNetForCausalLM", "bitnet-b1.58", "bitnet"}, {"BitnetForCausalLM", "bitnet"}};
constexpr HfKey kKeys[] = {
    {"hidden_act", "", HfKind::kIs, "relu2", "relu2|silu"},
};
constexpr HfTensor kTensors[] = {
    // The first.
    {"blk.{}.attn_sub_norm.weight", "model.layers.{}.self_attn.inner_attn_ln.weight"},
    {"blk.{}.ffn_sub_norm.weight", "model.layers.{}.mlp.ffn_layernorm.weight"},
};

}  // namespace

extern const Architecture kArch_bitnet;
constinit const Architecture kArch_bitnet = {"bitnet",         {"bitnet-b1.58", "bitnet-25"}, read_config, tensors,
                                             pre_norm_decoder, {kClasses, kKeys, kTensors}};

}  // namespace sterna
