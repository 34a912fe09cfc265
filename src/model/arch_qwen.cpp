// The first Qwen (1.8B, 7B, 14B, 72B of 2023): "qwen" files. Its log-n attention and dynamic NTK, which act beyond the
// trained context only, are left out.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  q, k, v = W_qkv h + b_qkv;  x += W_o attention(rope(q), rope(k), v)     rope over
//   halves, no GQA
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)
//   logits = W_out rms_norm(x)
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    // Its config.json counts gate and up together, and files keep that number.
    for (int64_t& width : config.ffn_width) {
        if (width % 2) reader.reject(fmt::format("qwen.feed_forward_length: {}, expected an even number", width));
        width /= 2;
    }
    return reader.finish(std::move(config));
}

constexpr TensorSpec kTable[] = {
    {&Weights::token_embedding, "token_embd.weight", "transformer.wte.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "transformer.ln_f.weight", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab"},
    {&LayerWeights::attn_norm, "blk.{}.attn_norm.weight", "transformer.h.{}.ln_1.weight", "width"},
    {&LayerWeights::qkv, "blk.{}.attn_qkv.weight", "transformer.h.{}.attn.c_attn.weight", "width, qkv_width"},
    {BiasSlot{&LayerWeights::qkv}, "blk.{}.attn_qkv.bias", "transformer.h.{}.attn.c_attn.bias", "qkv_width"},
    {&LayerWeights::attn_output, "blk.{}.attn_output.weight", "transformer.h.{}.attn.c_proj.weight", "o_width, width"},
    {&LayerWeights::ffn_norm, "blk.{}.ffn_norm.weight", "transformer.h.{}.ln_2.weight", "width"},
    {&LayerWeights::gate, "blk.{}.ffn_gate.weight", "transformer.h.{}.mlp.w2.weight", "width, ffn"},
    {&LayerWeights::up, "blk.{}.ffn_up.weight", "transformer.h.{}.mlp.w1.weight", "width, ffn"},
    {&LayerWeights::down, "blk.{}.ffn_down.weight", "transformer.h.{}.mlp.c_proj.weight", "ffn, width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return {std::begin(kTable), std::end(kTable)};
}

constexpr HfClass kClasses[] = {{"QWenLMHeadModel"}};
constexpr HfKey kKeys[] = {
    {"layer_norm_epsilon", "attention.layer_norm_rms_epsilon", HfKind::kFloat},
    {"kv_channels", "attention.key_length"},
    {"kv_channels", "attention.value_length"},
};

}  // namespace

extern const Architecture kArch_qwen;
constinit const Architecture kArch_qwen = {"qwen", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
