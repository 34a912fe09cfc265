// Phi-3, Phi-3.5 (mini, medium), Phi-4 and Phi-4-mini: "phi3" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  q, k, v = W_qkv h;  x += W_o attention(rope(q), rope(k), v)   rope over halves of a
//   part of the head,
//               h = rms_norm(x);  gate, up = W_gate_up h                                       longrope factors; window
//               x += W_down (silu(gate) * up)
//   logits = W_out rms_norm(x)                                                                 W_out may be the
//   embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    reader.sliding_window(config, 0);
    // Files with longrope factors do not name the scaling.
    if (config.rope.scaling == RopeScaling::kNone) config.rope.scaling = RopeScaling::kLongRope;
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {&Weights::rope_factors_long, "rope_factors_long.weight", "", "rope_pairs", kOptional},
    {&Weights::rope_factors_short, "rope_factors_short.weight", "", "rope_pairs", kOptional},
    {&LayerWeights::qkv, "blk.{}.attn_qkv.weight", "model.layers.{}.self_attn.qkv_proj.weight", "width, qkv_width"},
    {&LayerWeights::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight",
     "o_width, width"},
    {&LayerWeights::gate_up, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.gate_up_proj.weight", "width, twice_ffn"},
    {&LayerWeights::down, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight", "ffn, width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, kOwn});
}

constexpr HfClass kClasses[] = {{"Phi3ForCausalLM"}};
constexpr HfKey kKeys[] = {
    {"sliding_window", "attention.sliding_window"},
    {"hidden_act", "", HfKind::kIs, "silu", "silu"},
};

}  // namespace

extern const Architecture kArch_phi3;
constinit const Architecture kArch_phi3 = {"phi3", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys}};

}  // namespace sterna
