// What a model is: its shape and its peculiarities, as data. One struct for every architecture; a forward pass reads
// the fields it uses. Filled by an architecture's read_config from file metadata, checked there, immutable afterwards.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"

namespace sterna {

constexpr int64_t kMaxExpertGroups = 64;

struct ModelLimits {
    int64_t max_layers = 1024;
    int64_t max_width = 1 << 17;
    int64_t max_ffn_width = 1 << 20;
    int64_t max_heads = 1 << 12;
    int64_t max_head_dim = 1024;
    int64_t max_vocab = 1 << 22;
    int64_t max_experts = 1024;
    int64_t max_context = 1 << 24;
};

enum class NormKind { kRms, kLayer };
// kGelu: the tanh form. kSwigluClamped: gpt-oss, (clamp(up) + 1) * gate * sigmoid(1.702 gate), both limited to 7.
enum class Activation { kSilu, kGelu, kGeluErf, kRelu2, kSwigluClamped };
enum class RopeStyle { kNone, kAdjacent, kHalf };  // pairs (2i, 2i+1), or (i, i + n/2)
enum class RopeScaling { kNone, kLinear, kYarn, kLongRope };

struct RopeConfig {
    RopeStyle style = RopeStyle::kNone;
    int64_t n_dims = 0;        // values of a head that turn
    int64_t n_dims_local = 0;  // in layers with theta_local
    double theta = 10000.0;
    double theta_local = 0.0;  // sliding-window layers, when different (gemma3); else 0. They are never scaled.
    RopeScaling scaling = RopeScaling::kNone;
    double factor = 1.0;  // context extension
    int64_t original_context = 0;
    double attention_factor = 1.0;                                         // longrope and yarn: multiplies cos and sin
    double extrapolation_factor = 1.0, beta_fast = 32.0, beta_slow = 1.0;  // yarn
    bool rounded_ramp = true;  // yarn: the ramp between kept and interpolated pairs begins and ends at whole pairs
};

// How a router's scores become weights: over all experts by softmax, or each by a sigmoid (deepseek V3).
enum class ExpertGating { kSoftmax, kSigmoid };
enum class Pooling { kNone, kMean, kCls, kLast };

// Layers with a recurrent state: a causal convolution over the last `kernel` positions of each channel, and a state of
// n_heads matrices [key_dim][value_dim]; n_key_heads of keys and queries, each for n_heads / n_key_heads value heads.
struct RecurrentConfig {
    int64_t kernel = 0, channels = 0;
    int64_t n_heads = 0, n_key_heads = 0, key_dim = 0, value_dim = 0;
};

// Multi-head latent attention (DeepSeek-V2 report, section 2.1): all heads share one key and value of `rank` values,
// and `head_dim_k - rank` values that carry the position.
struct LatentConfig {
    int64_t q_rank = 0;  // 0: queries are projected at once
    int64_t rank = 0, nope_dim = 0, value_dim = 0;
};

struct Config {
    std::string architecture;
    int64_t n_layers = 0;
    int64_t width = 0;  // embedding length
    int64_t vocab_size = 0;
    int64_t context_length = 0;       // trained
    std::vector<int64_t> n_heads;     // per layer
    std::vector<int64_t> n_kv_heads;  // per layer
    std::vector<int64_t> ffn_width;   // per layer
    int64_t head_dim_k = 0;           // of every layer without an entry of its own in layer_head_dim_k
    int64_t head_dim_v = 0;
    std::vector<int64_t> layer_head_dim_k, layer_head_dim_v;  // per layer; empty: all alike
    std::vector<int64_t> kv_layer;  // per layer: whose KV it reads (its own index: its own; -1: none); empty: own
    std::vector<int64_t> recurrent_bytes;  // per layer: of a sequence's recurrent state; empty: none
    RecurrentConfig recurrent;             // of the layers that have such a state
    LatentConfig latent;                   // of attention over compressed keys and values
    // Values per token that a mixer other than plain attention keeps in hand: projections, and gathered heads.
    int64_t mixer_width = 0, mixed_width = 0;
    NormKind norm = NormKind::kRms;
    float norm_eps = 1e-5f;
    Activation activation = Activation::kSilu;
    RopeConfig rope;
    int64_t sliding_window = 0;      // positions seen, including the own one; 0: all
    std::vector<bool> is_sliding;    // per layer
    std::vector<bool> no_rope;       // per layer: q and k stay as they are; empty: all turn
    float attention_scale = 0.0f;    // multiplies q.k; set by read_config (1/sqrt(head_dim) unless told)
    bool value_norm = false;         // values are normed by head, without weights (gemma4)
    int64_t per_layer_width = 0;     // of the embedding that each layer adds for each token (gemma4)
    float attention_softcap = 0.0f;  // 0: none
    float logit_softcap = 0.0f;      // 0: none
    float embedding_scale = 1.0f;
    float residual_scale = 1.0f;
    float logit_scale = 1.0f;  // multiplies the logits
    int64_t n_experts = 0, n_experts_used = 0, expert_ffn_width = 0;
    int64_t shared_ffn_width = 0;  // of the experts that every token goes through, together; 0: none
    int64_t n_dense_layers = 0;    // the first ones, which have no experts
    int64_t n_expert_groups = 1, n_expert_groups_used = 1;  // experts are chosen from the best groups only
    ExpertGating expert_gating = ExpertGating::kSoftmax;
    bool expert_weights_norm = false;  // chosen weights are divided by their sum
    float expert_weights_scale = 1.0f;
    bool parallel_sublayers = false;  // both read the stream as it enters the layer
    bool causal = true;
    Pooling pooling = Pooling::kNone;
    int64_t n_token_types = 0;  // of those in the file, the first ones that are used (bert: 1)

    int64_t dim_k(int64_t layer) const {
        return layer_head_dim_k.empty() ? head_dim_k : layer_head_dim_k[size_t(layer)];
    }
    int64_t dim_v(int64_t layer) const {
        return layer_head_dim_v.empty() ? head_dim_v : layer_head_dim_v[size_t(layer)];
    }
    bool is_recurrent(int64_t layer) const { return !recurrent_bytes.empty() && recurrent_bytes[size_t(layer)] > 0; }
    bool has_experts(int64_t layer) const { return n_experts > 0 && layer >= n_dense_layers; }
    bool turns(int64_t layer) const {
        return rope.style != RopeStyle::kNone && (no_rope.empty() || !no_rope[size_t(layer)]);
    }
    int64_t q_width(int64_t layer) const { return n_heads[size_t(layer)] * dim_k(layer); }
    int64_t k_width(int64_t layer) const { return n_kv_heads[size_t(layer)] * dim_k(layer); }
    int64_t v_width(int64_t layer) const { return n_kv_heads[size_t(layer)] * dim_v(layer); }
    int64_t o_width(int64_t layer) const { return n_heads[size_t(layer)] * dim_v(layer); }
};

// Reads keys "{architecture}.{name}" and keeps the first thing that is wrong; the values it returns afterwards are
// harmless. Used by every read_config: read all fields, then return finish().
class ConfigReader {
public:
    // `architecture` is the file's general.architecture, which prefixes its keys. Lifetime: the metadata outlives the
    // reader.
    ConfigReader(const Metadata& metadata, const ModelLimits& limits, std::string_view architecture);

    static constexpr int64_t kRequired = std::numeric_limits<int64_t>::min();

    bool has(std::string_view name) const;
    // Absent: `otherwise` (kRequired: an error). Outside [low, high] or not an integer: an error.
    int64_t integer(std::string_view name, int64_t low, int64_t high, int64_t otherwise = kRequired);
    // One value for all layers or an array with one per layer (longer arrays: the first n).
    std::vector<int64_t> per_layer(std::string_view name, int64_t n, int64_t low, int64_t high,
                                   int64_t otherwise = kRequired);
    double number(std::string_view name, double low, double high, double otherwise);
    bool flag(std::string_view name, bool otherwise);
    std::string_view text(std::string_view name);  // empty when absent

    // Everything that most architectures share: sizes, heads, norm, rope, window, experts. `style` is how this
    // architecture pairs the values that turn.
    // `min_kv_heads` 0: layers without KV heads are allowed (kv_layer says -1 for them).
    Config common(RopeStyle style, int64_t min_kv_heads = 1);
    void rope(Config& config, RopeStyle style);
    // {architecture}.attention.sliding_window for every layer but each `pattern`-th (0: all layers slide). Absent:
    // `otherwise`.
    void sliding_window(Config& config, int64_t pattern, int64_t otherwise = 0);

    void reject(std::string message);  // kept when it is the first
    Result<Config> finish(Config config);

    const ModelLimits& limits() const { return limits_; }

private:
    std::string key(std::string_view name) const;

    const Metadata& metadata_;
    ModelLimits limits_;
    std::string architecture_;
    std::string error_;
};

}  // namespace sterna
