// Qwen3 mixture of experts (30B-A3B, 235B-A22B, Coder): "qwen3moe" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  q, k = rope(rms_norm per head of W_q h, W_k h)          rope over halves, GQA, head
//   size of its own
//               x += W_o attention(q, k, W_v h)
//               h = rms_norm(x);  p = softmax(W_router h);  x += sum over the best k of p_e / sum(p) * expert_e(h)
//   logits = W_out rms_norm(x)                                                           W_out may be the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kHalf);
    if (config.n_experts == 0) reader.reject("qwen3moe.expert_count: missing or 0");
    return reader.finish(std::move(config));
}

std::vector<TensorSpec> tensors(const Config&) {
    return tables::join({tables::kStem, tables::kPreNorms, tables::kAttention, tables::kHeadNorms, tables::kExperts});
}

constexpr HfClass kClasses[] = {{"Qwen3MoeForCausalLM", {}, "qwen3_moe"}};
constexpr HfKey kKeys[] = {
    {"norm_topk_prob", "expert_weights_norm", HfKind::kBool, "false"},
    {"hidden_act", "", HfKind::kIs, "silu", "silu"},
    {"attention_bias", "", HfKind::kIs, "false", "false"},
    {"use_sliding_window", "", HfKind::kIs, "false", "false"},
    {"decoder_sparse_step", "", HfKind::kIs, "1", "1"},
    {"mlp_only_layers", "", HfKind::kIs, "[]", "[]"},
};
constexpr HfTensor kTensors[] = {
    {"blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj", Change::kFirstHalf},
    {"blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj", Change::kSecondHalf},
    {"blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.down_proj"},
};

}  // namespace

extern const Architecture kArch_qwen3moe;
constinit const Architecture kArch_qwen3moe = {
    "qwen3moe", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys, kTensors}};

}  // namespace sterna
