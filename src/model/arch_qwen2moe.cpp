// Qwen 1.5 and 2 mixture of experts (A2.7B, 57B-A14B): "qwen2moe" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o attention(rope(W_q h + b_q), rope(W_k h + b_k), W_v h + b_v)   over halves
//               h = rms_norm(x);  p = softmax(W_router h);  x += sum over the best k of p_e * expert_e(h)
//                                                                + sigmoid(w_s . h) * shared_expert(h)
//   logits = W_out rms_norm(x)
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    if (config.n_experts == 0) reader.reject("qwen2moe.expert_count: missing or 0");
    if (config.shared_ffn_width == 0) reader.reject("qwen2moe.expert_shared_feed_forward_length: missing or 0");
    config.expert_weights_norm = reader.flag("expert_weights_norm", false);
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {BiasSlot{&L::q}, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", "q_width", kOptional},
    {BiasSlot{&L::k}, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", "k_width", kOptional},
    {BiasSlot{&L::v}, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", "v_width", kOptional},
    {&L::shared_router, "blk.{}.ffn_gate_inp_shexp.weight", "model.layers.{}.mlp.shared_expert_gate.weight", "width"},
    {&L::shared_gate, "blk.{}.ffn_gate_shexp.weight", "model.layers.{}.mlp.shared_expert.gate_proj.weight",
     "width, shared_ffn"},
    {&L::shared_up, "blk.{}.ffn_up_shexp.weight", "model.layers.{}.mlp.shared_expert.up_proj.weight",
     "width, shared_ffn"},
    {&L::shared_down, "blk.{}.ffn_down_shexp.weight", "model.layers.{}.mlp.shared_expert.down_proj.weight",
     "shared_ffn, width"},
};

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, tables::kAttention, tables::kExperts, kOwn});
}

constexpr HfClass kClasses[] = {{"Qwen2MoeForCausalLM", {}, "qwen2_moe"}};
constexpr HfKey kKeys[] = {
    {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"},
    {"norm_topk_prob", "expert_weights_norm", HfKind::kBool, "false"},
    {"decoder_sparse_step", "", HfKind::kIs, "1", "1"},
    {"use_sliding_window", "", HfKind::kIs, "false", "false"},
};

}  // namespace

extern const Architecture kArch_qwen2moe;
constinit const Architecture kArch_qwen2moe = {"qwen2moe",       {}, read_config, tensors, pre_norm_decoder,
                                               {kClasses, kKeys}};

}  // namespace sterna
