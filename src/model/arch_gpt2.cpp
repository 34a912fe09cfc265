// GPT-2 (124M to 1.5B) and its descendants: "gpt2" files.
//
//   x = embedding + position embedding
//   per layer:  h = layer_norm(x);  q, k, v = W_qkv h + b;  x += W_o attention(q, k, v) + b_o
//               h = layer_norm(x);  x += W_down gelu(W_up h + b_up) + b_down
//   logits = W_out layer_norm(x)                                          W_out is the embedding, mostly
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kNone);
    config.norm = NormKind::kLayer;
    config.norm_eps = float(reader.number("attention.layer_norm_epsilon", 0.0, 1.0, 1e-5));
    config.activation = Activation::kGelu;
    return reader.finish(std::move(config));
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "transformer.wte.weight", "width, vocab"},
    {&Weights::position_embedding, "position_embd.weight", "transformer.wpe.weight", "width, context"},
    {&Weights::output_norm, "output_norm.weight", "transformer.ln_f.weight", "width"},
    {&Weights::output_norm_bias, "output_norm.bias", "transformer.ln_f.bias", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "transformer.h.{}.ln_1.weight", "width"},
    {&L::attn_norm_bias, "blk.{}.attn_norm.bias", "transformer.h.{}.ln_1.bias", "width"},
    {&L::qkv, "blk.{}.attn_qkv.weight", "transformer.h.{}.attn.c_attn.weight", "width, qkv_width", true,
     Change::kTranspose},
    {BiasSlot{&L::qkv}, "blk.{}.attn_qkv.bias", "transformer.h.{}.attn.c_attn.bias", "qkv_width"},
    {&L::attn_output, "blk.{}.attn_output.weight", "transformer.h.{}.attn.c_proj.weight", "o_width, width", true,
     Change::kTranspose},
    {BiasSlot{&L::attn_output}, "blk.{}.attn_output.bias", "transformer.h.{}.attn.c_proj.bias", "width"},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "transformer.h.{}.ln_2.weight", "width"},
    {&L::ffn_norm_bias, "blk.{}.ffn_norm.bias", "transformer.h.{}.ln_2.bias", "width"},
    {&L::up, "blk.{}.ffn_up.weight", "transformer.h.{}.mlp.c_fc.weight", "width, ffn", true, Change::kTranspose},
    {BiasSlot{&L::up}, "blk.{}.ffn_up.bias", "transformer.h.{}.mlp.c_fc.bias", "ffn"},
    {&L::down, "blk.{}.ffn_down.weight", "transformer.h.{}.mlp.c_proj.weight", "ffn, width", true, Change::kTranspose},
    {BiasSlot{&L::down}, "blk.{}.ffn_down.bias", "transformer.h.{}.mlp.c_proj.bias", "width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return {std::begin(kTable), std::end(kTable)};
}

constexpr HfClass kClasses[] = {{"GPT2LMHeadModel"}};
constexpr HfKey kKeys[] = {
    {"n_inner", "feed_forward_length", HfKind::kInt, "4*n_embd"},
    {"layer_norm_epsilon", "attention.layer_norm_epsilon", HfKind::kFloat, "0.00001"},
    {"activation_function", "", HfKind::kIs, "gelu_new", "gelu_new|gelu_pytorch_tanh"},
    {"scale_attn_by_inverse_layer_idx", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_gpt2;
constinit const Architecture kArch_gpt2 = {
    "gpt2", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys, {}, "*.attn.bias|*.attn.masked_bias"}};

}  // namespace sterna
