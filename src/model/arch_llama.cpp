// Llama 1-3, Mistral, Mixtral, TinyLlama, SmolLM2, Gorilla, DeepSeek-Coder, Falcon 3: "llama" files.
//
//   x = embedding
//   per layer:  h = rms_norm(x);  x += W_o attention(rope(W_q h), rope(W_k h), W_v h)     rope over adjacent pairs, GQA
//               h = rms_norm(x);  x += W_down (silu(W_gate h) * W_up h)                   or the same over chosen
//               experts
//   logits = W_out rms_norm(x)                                                           W_out may be the embedding
#include "model/blocks.h"
#include "model/tables.h"

namespace sterna {

namespace {

Result<Config> read_config(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture) {
    ConfigReader reader(metadata, limits, architecture);
    Config config = reader.common(RopeStyle::kAdjacent);
    reader.sliding_window(config, 0);  // Mistral 7B v0.1
    return reader.finish(std::move(config));
}

constexpr TensorSpec kOwn[] = {
    {&Weights::rope_factors, "rope_freqs.weight", "", "rope_pairs", kOptional},  // Llama 3.1 and later
};

constexpr TensorSpec kExperts[] = {
    {&LayerWeights::router, "blk.{}.ffn_gate_inp.weight", "model.layers.{}.block_sparse_moe.gate.weight",
     "width, experts"},
    {&LayerWeights::gate_experts, "blk.{}.ffn_gate_exps.weight",
     "model.layers.{}.block_sparse_moe.experts.{}.w1.weight", "width, expert_ffn, experts", true, Change::kStack},
    {&LayerWeights::up_experts, "blk.{}.ffn_up_exps.weight", "model.layers.{}.block_sparse_moe.experts.{}.w3.weight",
     "width, expert_ffn, experts", true, Change::kStack},
    {&LayerWeights::down_experts, "blk.{}.ffn_down_exps.weight",
     "model.layers.{}.block_sparse_moe.experts.{}.w2.weight", "expert_ffn, width, experts", true, Change::kStack},
};

std::vector<TensorSpec> tensors(const Config& config) {
    std::vector<TensorSpec> table;
    tables::append(table, tables::kStem);
    tables::append(table, kOwn);
    tables::append(table, tables::kPreNorms);
    tables::append(table, tables::kAttentionAdjacent);
    if (config.n_experts > 0) {
        tables::append(table, kExperts);
    } else {
        tables::append(table, tables::kGatedFfn);
        tables::append(table, tables::kFfnBiases);
    }
    return table;
}

constexpr HfClass kClasses[] = {{"LlamaForCausalLM"},
                                {"LLaMAForCausalLM"},
                                {"MistralForCausalLM", {}, "mistral"},
                                {"MixtralForCausalLM", {}, "mixtral"}};
constexpr HfKey kKeys[] = {
    {"sliding_window", "attention.sliding_window"},
    {"hidden_act", "", HfKind::kIs, "silu", "silu|swish"},
};
constexpr HfTensor kTensors[] = {
    {"blk.{}.ffn_gate_inp.weight", "model.layers.{}.mlp.gate.weight"},
    {"blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj", Change::kFirstHalf},
    {"blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.gate_up_proj", Change::kSecondHalf},
    {"blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.down_proj"},
};

}  // namespace

extern const Architecture kArch_llama;
constinit const Architecture kArch_llama = {
    "llama", {}, read_config, tensors, pre_norm_decoder, {kClasses, kKeys, kTensors}};

}  // namespace sterna
