// The pieces that architectures are made of. A forward pass reads like its block diagram: each call is one box, all
// tokens of the step go through it together, and the pool's threads share out its outputs. Every output row depends on
// its own token only, so batching and chunking change no bit. Thread-compatible: one context per caller thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "model/linear.h"
#include "model/model.h"
#include "model/workspace.h"

namespace sterna {

struct ForwardContext {
    const Config& config;
    const Weights& weights;
    const Step& step;
    Workspace& workspace;
    ThreadPool& pool;
    const kernels::Kernels& kernels;
    Workspace::Buffers& buffers;
    // Rows in the stream: the step's tokens, and from the last layer's attention on only those that want an output.
    int64_t n_rows = 0;

    Status check_cancelled() const;  // once per layer
};

// Runs body(row, worker) for every row; shared out over the pool when there is enough work. `width`: values a row
// touches.
template <typename Body>
void for_rows(ForwardContext& c, int64_t n_rows, int64_t width, Body&& body) {
    constexpr int64_t kInlineValues = 1 << 14;  // some microseconds: below it waking threads costs more than it saves
    if (c.pool.size() == 1 || n_rows < 2 || n_rows * width < kInlineValues) {
        for (int64_t row = 0; row < n_rows; ++row) body(row, 0);
        return;
    }
    int64_t n_tasks = std::min<int64_t>(n_rows, 4 * c.pool.size());
    c.pool.run(int(n_tasks), [&](int task, int worker) {
        for (int64_t row = n_rows * task / n_tasks; row < n_rows * (task + 1) / n_tasks; ++row) body(row, worker);
    });
}

// 1 / (1 + exp(-x))
inline float sigmoid(float x) {
    return 1.0f / (1.0f + kernels::exp_f32(-x));
}

// The layer's recurrent state of the sequence that the row's token belongs to.
inline float* state_of(const ForwardContext& c, int64_t layer, int64_t row) {
    const StepToken& token = c.step.tokens[size_t(row)];
    const StateLayout::Layer& place = c.step.layout.layers[size_t(layer)];
    return reinterpret_cast<float*>(c.step.sequences[size_t(token.sequence)].recurrent + place.recurrent_offset);
}

// y = f(gate) * up, or f(gate) when up is null; f is the config's activation.
void activate(ForwardContext& c, const float* gate, const float* up, int64_t n, float* y);

// x = token embedding * embedding_scale (+ position and token type embeddings, where the weights have them)
void embed(ForwardContext& c);

// to = norm(from) * weight (+ bias), over rows of the config's width; `to` may be `from`.
void norm(ForwardContext& c, const float* from, const std::vector<float>& weight, const std::vector<float>& bias,
          float* to);
inline void norm(ForwardContext& c, const float* from, const std::vector<float>& weight, float* to) {
    norm(c, from, weight, {}, to);
}

// to = norm(from) over rows of n values.
void norm_rows(ForwardContext& c, const float* from, const std::vector<float>& weight, int64_t n, float* to);

// x = x + y * residual_scale
void add_to_stream(ForwardContext& c);

// qkv = projections of `from`, in one run; then per head norms where the weights have them, RoPE, and K and V into the
// cache.
void project_qkv(ForwardContext& c, int64_t layer, const float* from);
void rotate_and_store(ForwardContext& c, int64_t layer);
void store_kv(ForwardContext& c, int64_t layer);  // its last part alone

// x = rms_norm of each part of x as long as the weight: a head, or all of them together. No weight: x stays.
void norm_parts(const kernels::Kernels& k, float* x, int64_t n, const std::vector<float>& weight, float eps);

// At the last layer only rows that want an output stay in the stream: called after the mixer's last use of the others,
// with the rows that it hands on (attend() calls it itself).
void leave_stream(ForwardContext& c, int64_t layer, float* rows, int64_t width);

// attn = attention of each row over what its token may see. At the last layer rows that want no output leave the
// stream.
void attend(ForwardContext& c, int64_t layer);

// y = attn W_o, with attn_sub_norm before it where the weights have one
void project_attention(ForwardContext& c, int64_t layer);

// The whole attention sublayer: from -> y.
inline void attention(ForwardContext& c, int64_t layer, const float* from) {
    project_qkv(c, layer, from);
    rotate_and_store(c, layer);
    attend(c, layer);
    project_attention(c, layer);
}

// The attention sublayer whose output heads are scaled by sigmoid(gate): W_q gives query and gate of each head in turn.
void gated_attention(ForwardContext& c, int64_t layer, const float* from);

// The attention sublayer over compressed keys and values (LatentConfig).
void latent_attention(ForwardContext& c, int64_t layer, const float* from);

// Sublayers with a recurrent state, advanced token by token whatever the step's split (mixers.cpp).
//   short_conv:  b, g, v = W_in from;  y = W_out (g * conv(b * v))
//   delta_net:   q, k, v = silu(conv(W_in from));  y = W_out (norm(delta rule(q, k, v)) * silu(W_gate from))
void short_conv(ForwardContext& c, int64_t layer, const float* from);
void delta_net(ForwardContext& c, int64_t layer, const float* from);

// y = W_down (f(W_gate from) * W_up from), with ffn_sub_norm before W_down where the weights have one; gate_up may be
// one matrix
void gated_ffn(ForwardContext& c, int64_t layer, const float* from);

// y = W_down f(W_up from)
void plain_ffn(ForwardContext& c, int64_t layer, const float* from);

// y = sum over the chosen experts of weight * gated feed-forward of the expert
void moe(ForwardContext& c, int64_t layer, const float* from);

// One of the three above, by the weights that the layer has.
void feed_forward(ForwardContext& c, int64_t layer, const float* from);

// Output: norm, output matrix (or the tied embedding), scale, soft cap.
void logits(ForwardContext& c);

// Output: the rows of x as they are (embedding models).
void hidden_states(ForwardContext& c);

// The whole forward pass of most decoders: per layer norm, attention, norm, feed-forward (experts where the weights
// have them), each sublayer's output added to the stream; then the logits. What differs between them is their config
// and tensor table.
Status pre_norm_decoder(ForwardContext& c);
// The same with another mixer in the place of attention.
using Mixer = void (*)(ForwardContext& c, int64_t layer, const float* from);
Status pre_norm_decoder(ForwardContext& c, Mixer mixer);

// The same with norms behind the sublayers too (gemma), or only there (olmo2: no attn_norm, no ffn_norm).
Status sandwich_norm_decoder(ForwardContext& c);

// The same for layers whose two sublayers read the stream as it enters the layer (gptneox, phi2). Layers without
// ffn_norm share attn_norm.
Status parallel_decoder(ForwardContext& c);

}  // namespace sterna
