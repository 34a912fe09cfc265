// Phi-1, Phi-1.5, Phi-2: "phi2" files.
//
//   x = embedding
//   per layer:  h = layer_norm(x)                                 one norm for both sublayers, which run in parallel
//               x = x + W_o attention(rope(W_q h + b), rope(W_k h + b), W_v h + b) + b_o + W_down gelu(W_up h + b) + b
//                                                                 rope over halves of a part of the head
//   logits = W_out layer_norm(x) + b_out
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    config.norm = NormKind::kLayer;
    config.norm_eps = float(reader.number("attention.layer_norm_epsilon", 0.0, 1.0, 1e-5));
    config.activation = Activation::kGelu;
    return reader.finish(std::move(config));
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "model.final_layernorm.weight", "width"},
    {&Weights::output_norm_bias, "output_norm.bias", "model.final_layernorm.bias", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab"},
    {OutputBiasSlot{}, "output.bias", "lm_head.bias", "vocab"},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width"},
    {&L::attn_norm_bias, "blk.{}.attn_norm.bias", "model.layers.{}.input_layernorm.bias", "width"},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.dense.weight", "o_width, width"},
    {BiasSlot{&L::attn_output}, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.dense.bias", "width"},
    {&L::up, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.fc1.weight", "width, ffn"},
    {BiasSlot{&L::up}, "blk.{}.ffn_up.bias", "model.layers.{}.mlp.fc1.bias", "ffn"},
    {&L::down, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.fc2.weight", "ffn, width"},
    {BiasSlot{&L::down}, "blk.{}.ffn_down.bias", "model.layers.{}.mlp.fc2.bias", "width"},
};

// Files hold q, k and v in one matrix or in three.
constexpr TensorSpec kQkv[] = {
    {&L::qkv, "blk.{}.attn_qkv.weight", "", "width, qkv_width", kOptional},
    {BiasSlot{&L::qkv}, "blk.{}.attn_qkv.bias", "", "qkv_width", kOptional},
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, q_width", true, Change::kNone,
     nullptr, "blk.{}.attn_qkv.weight"},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width", true, Change::kNone,
     nullptr, "blk.{}.attn_qkv.weight"},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width", true, Change::kNone,
     nullptr, "blk.{}.attn_qkv.weight"},
    {BiasSlot{&L::q}, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", "q_width", kOptional},
    {BiasSlot{&L::k}, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", "k_width", kOptional},
    {BiasSlot{&L::v}, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", "v_width", kOptional},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({kTable, kQkv});
}

constexpr HfClass kClasses[] = {{"PhiForCausalLM", {}, "phi"}};
constexpr HfKey kKeys[] = {
    {"layer_norm_eps", "attention.layer_norm_epsilon", HfKind::kFloat, "0.00001"},
    {"hidden_act", "", HfKind::kIs, "gelu_new", "gelu_new|gelu_pytorch_tanh"},
    {"qk_layernorm", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_phi2;
constinit const Architecture kArch_phi2 = {"phi2", {}, read_config, tensors, parallel_decoder, {kClasses, kKeys}};

}  // namespace sterna
