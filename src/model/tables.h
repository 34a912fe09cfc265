// Rows of tensor tables that many architectures share; each architecture appends what is its own. Names on the left are
// GGUF's, on the right those of Hugging Face checkpoints of the Llama pattern.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "model/weights.h"

namespace sterna::tables {

// Embedding, final norm, output matrix (absent: tied).
inline constexpr TensorSpec kStem[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "model.norm.weight", "width"},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
};

// Norms before the two sublayers.
inline constexpr TensorSpec kPreNorms[] = {
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width"},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "model.layers.{}.post_attention_layernorm.weight", "width"},
};

// Projections for half-split RoPE: rows stay as they are.
inline constexpr TensorSpec kAttention[] = {
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, q_width"},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width"},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width"},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight", "o_width, width"},
};

// The same for adjacent-pair RoPE, with the biases that some Llama descendants have.
inline constexpr TensorSpec kAttentionAdjacent[] = {
    {&L::q, "blk.{}.attn_q.weight", "model.layers.{}.self_attn.q_proj.weight", "width, q_width", true,
     Change::kInterleaveQ},
    {&L::k, "blk.{}.attn_k.weight", "model.layers.{}.self_attn.k_proj.weight", "width, k_width", true,
     Change::kInterleaveK},
    {&L::v, "blk.{}.attn_v.weight", "model.layers.{}.self_attn.v_proj.weight", "width, v_width"},
    {&L::attn_output, "blk.{}.attn_output.weight", "model.layers.{}.self_attn.o_proj.weight", "o_width, width"},
    {BiasSlot{&L::q}, "blk.{}.attn_q.bias", "model.layers.{}.self_attn.q_proj.bias", "q_width", kOptional,
     Change::kInterleaveQ},
    {BiasSlot{&L::k}, "blk.{}.attn_k.bias", "model.layers.{}.self_attn.k_proj.bias", "k_width", kOptional,
     Change::kInterleaveK},
    {BiasSlot{&L::v}, "blk.{}.attn_v.bias", "model.layers.{}.self_attn.v_proj.bias", "v_width", kOptional},
    {BiasSlot{&L::attn_output}, "blk.{}.attn_output.bias", "model.layers.{}.self_attn.o_proj.bias", "width", kOptional},
};

// RMS norm of every query and key head.
inline constexpr TensorSpec kHeadNorms[] = {
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", "head_dim_k"},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", "head_dim_k"},
};

inline constexpr TensorSpec kGatedFfn[] = {
    {&L::gate, "blk.{}.ffn_gate.weight", "model.layers.{}.mlp.gate_proj.weight", "width, ffn"},
    {&L::up, "blk.{}.ffn_up.weight", "model.layers.{}.mlp.up_proj.weight", "width, ffn"},
    {&L::down, "blk.{}.ffn_down.weight", "model.layers.{}.mlp.down_proj.weight", "ffn, width"},
};

inline constexpr TensorSpec kFfnBiases[] = {
    {BiasSlot{&L::gate}, "blk.{}.ffn_gate.bias", "model.layers.{}.mlp.gate_proj.bias", "ffn", kOptional},
    {BiasSlot{&L::up}, "blk.{}.ffn_up.bias", "model.layers.{}.mlp.up_proj.bias", "ffn", kOptional},
    {BiasSlot{&L::down}, "blk.{}.ffn_down.bias", "model.layers.{}.mlp.down_proj.bias", "width", kOptional},
};

// Stem and norms of Gemma: norms before and behind each sublayer.
inline constexpr TensorSpec kGemma[] = {
    {&Weights::token_embedding, "token_embd.weight", "model.embed_tokens.weight", "width, vocab"},
    {&Weights::output_norm, "output_norm.weight", "model.norm.weight", "width", true, Change::kPlusOne},
    {&Weights::output, "output.weight", "lm_head.weight", "width, vocab", kOptional},
    {&L::attn_norm, "blk.{}.attn_norm.weight", "model.layers.{}.input_layernorm.weight", "width", true,
     Change::kPlusOne},
    {&L::post_attention_norm, "blk.{}.post_attention_norm.weight", "model.layers.{}.post_attention_layernorm.weight",
     "width", true, Change::kPlusOne},
    {&L::ffn_norm, "blk.{}.ffn_norm.weight", "model.layers.{}.pre_feedforward_layernorm.weight", "width", true,
     Change::kPlusOne},
    {&L::post_ffn_norm, "blk.{}.post_ffw_norm.weight", "model.layers.{}.post_feedforward_layernorm.weight", "width",
     true, Change::kPlusOne},
};

inline constexpr TensorSpec kHeadNormsPlusOne[] = {
    {&L::attn_q_norm, "blk.{}.attn_q_norm.weight", "model.layers.{}.self_attn.q_norm.weight", "head_dim_k", true,
     Change::kPlusOne},
    {&L::attn_k_norm, "blk.{}.attn_k_norm.weight", "model.layers.{}.self_attn.k_norm.weight", "head_dim_k", true,
     Change::kPlusOne},
};

// Experts chosen by a router (Qwen's names).
inline constexpr TensorSpec kExperts[] = {
    {&L::router, "blk.{}.ffn_gate_inp.weight", "model.layers.{}.mlp.gate.weight", "width, experts"},
    {&L::gate_experts, "blk.{}.ffn_gate_exps.weight", "model.layers.{}.mlp.experts.{}.gate_proj.weight",
     "width, expert_ffn, experts", true, Change::kStack},
    {&L::up_experts, "blk.{}.ffn_up_exps.weight", "model.layers.{}.mlp.experts.{}.up_proj.weight",
     "width, expert_ffn, experts", true, Change::kStack},
    {&L::down_experts, "blk.{}.ffn_down_exps.weight", "model.layers.{}.mlp.experts.{}.down_proj.weight",
     "expert_ffn, width, experts", true, Change::kStack},
};

inline void append(std::vector<TensorSpec>& table, std::span<const TensorSpec> rows) {
    table.insert(table.end(), rows.begin(), rows.end());
}

inline std::vector<TensorSpec> join(std::initializer_list<std::span<const TensorSpec>> parts) {
    std::vector<TensorSpec> table;
    for (std::span<const TensorSpec> part : parts) append(table, part);
    return table;
}

}  // namespace sterna::tables
