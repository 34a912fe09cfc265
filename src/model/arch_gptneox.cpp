// GPT-NeoX, Pythia, Dolly, RedPajama-INCITE: "gptneox" files.
//
//   x = embedding
//   per layer:  h = layer_norm(x);  q, k, v = W_qkv h + b;  a = W_o attention(rope(q), rope(k), v) + b_o
//                                                              rope over halves of a quarter of the head
//               x = x + a + W_down gelu(W_up layer_norm'(x) + b_up) + b_down       parallel; a few models: one after
//                                                                                  the other, norm' of x + a
//   logits = W_out layer_norm(x)
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    config.norm = NormKind::kLayer;
    config.norm_eps = float(reader.number("attention.layer_norm_epsilon", 0.0, 1.0, 1e-5));
    config.activation = Activation::kGeluErf;
    config.parallel_sublayers = reader.flag("use_parallel_residual", true);
    return reader.finish(std::move(config));
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "gpt_neox.embed_in.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "gpt_neox.final_layer_norm.weight", "width"},
    {&Weights::output_norm_bias, "output_norm.bias", "gpt_neox.final_layer_norm.bias", "width"},
    {&Weights::output, "output.weight", "embed_out.weight", "width, vocab", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "gpt_neox.layers.{}.input_layernorm.weight", "width"},
    {&L::attn_norm_bias, "blk.{}.attn_norm.bias", "gpt_neox.layers.{}.input_layernorm.bias", "width"},
    {&L::qkv, "blk.{}.attn_qkv.weight", "gpt_neox.layers.{}.attention.query_key_value.weight", "width, qkv_width", true,
     Change::kHeadsQkv},
    {BiasSlot{&L::qkv}, "blk.{}.attn_qkv.bias", "gpt_neox.layers.{}.attention.query_key_value.bias", "qkv_width", true,
     Change::kHeadsQkv},
    {&L::attn_output, "blk.{}.attn_output.weight", "gpt_neox.layers.{}.attention.dense.weight", "o_width, width"},
    {BiasSlot{&L::attn_output}, "blk.{}.attn_output.bias", "gpt_neox.layers.{}.attention.dense.bias", "width"},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "gpt_neox.layers.{}.post_attention_layernorm.weight", "width"},
    {&L::ffn_norm_bias, "blk.{}.ffn_norm.bias", "gpt_neox.layers.{}.post_attention_layernorm.bias", "width"},
    {&L::up, "blk.{}.ffn_up.weight", "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight", "width, ffn"},
    {BiasSlot{&L::up}, "blk.{}.ffn_up.bias", "gpt_neox.layers.{}.mlp.dense_h_to_4h.bias", "ffn"},
    {&L::down, "blk.{}.ffn_down.weight", "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight", "ffn, width"},
    {BiasSlot{&L::down}, "blk.{}.ffn_down.bias", "gpt_neox.layers.{}.mlp.dense_4h_to_h.bias", "width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return {std::begin(kTable), std::end(kTable)};
}

Status forward(ForwardContext& c) {
    return c.config.parallel_sublayers ? parallel_decoder(c) : pre_norm_decoder(c);
}

constexpr HfClass kClasses[] = {{"GPTNeoXForCausalLM", {}, "gpt_neox"}};
constexpr HfKey kKeys[] = {
    {"layer_norm_eps", "attention.layer_norm_epsilon", HfKind::kFloat, "0.00001"},
    {"use_parallel_residual", "use_parallel_residual", HfKind::kBool, "true"},
    {"hidden_act", "", HfKind::kIs, "gelu", "gelu"},
    {"attention_bias", "", HfKind::kIs, "true", "true"},
};
constexpr HfTensor kTensors[] = {{"output.weight", "lm_head.weight"}};

}  // namespace

extern const Architecture kArch_gptneox;
constinit const Architecture kArch_gptneox = {
    "gptneox", {},      read_config,
    tensors,   forward, {kClasses, kKeys, kTensors, "*.attention.bias|*.attention.masked_bias|*.rotary_emb.inv_freq"}};

}  // namespace sterna
