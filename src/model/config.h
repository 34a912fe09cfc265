// What a model is: its shape and its peculiarities, as data. One struct for every architecture; a forward pass reads the fields it
// uses. Filled by an architecture's read_config from file metadata, checked there, immutable afterwards.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sterna {

struct ModelLimits {
    int64_t max_layers = 1024;
    int64_t max_width = 1 << 17;
    int64_t max_heads = 1 << 12;
    int64_t max_head_dim = 1024;
    int64_t max_vocab = 1 << 20;
    int64_t max_experts = 1024;
    int64_t max_context = 1 << 24;
};

enum class RopeStyle { kNone, kAdjacent, kHalf };
enum class RopeScaling { kNone, kLinear, kYarn, kLongRope };

struct RopeConfig {
    RopeStyle style = RopeStyle::kNone;
    int64_t n_dims = 0;            // values of a head that turn
    double theta = 10000.0;
    double theta_local = 0.0;      // sliding-window layers, when different (gemma3); else 0
    RopeScaling scaling = RopeScaling::kNone;
    double factor = 1.0;           // context extension
    int64_t original_context = 0;
    double attention_factor = 1.0; // longrope and yarn: multiplies cos and sin
    double extrapolation_factor = 1.0, beta_fast = 32.0, beta_slow = 1.0;  // yarn
};

enum class Pooling { kNone, kMean, kCls, kLast };

struct Config {
    std::string architecture;
    int64_t n_layers = 0;
    int64_t width = 0;             // embedding length
    int64_t vocab_size = 0;
    int64_t context_length = 0;    // trained
    std::vector<int64_t> n_heads;     // per layer
    std::vector<int64_t> n_kv_heads;  // per layer
    std::vector<int64_t> ffn_width;   // per layer
    int64_t head_dim_k = 0;        // of most layers; layer_head_dim_* override
    int64_t head_dim_v = 0;
    float norm_eps = 1e-5f;
    RopeConfig rope;
    int64_t sliding_window = 0;              // positions seen, including the own one; 0: all
    std::vector<bool> is_sliding;            // per layer
    float attention_scale = 0.0f;            // multiplies q.k; set by read_config (1/sqrt(head_dim) unless told)
    float attention_softcap = 0.0f;          // 0: none
    float logit_softcap = 0.0f;              // 0: none
    float embedding_scale = 1.0f;
    float residual_scale = 1.0f;
    float logit_scale = 1.0f;                // multiplies the logits
    int64_t n_experts = 0, n_experts_used = 0, expert_ffn_width = 0;
    bool expert_weights_norm = false;        // chosen weights are divided by their sum
    float expert_weights_scale = 1.0f;
    bool causal = true;
    Pooling pooling = Pooling::kNone;
    int64_t n_token_types = 0;               // bert
};

}  // namespace sterna
