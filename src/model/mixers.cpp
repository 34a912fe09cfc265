// Sublayers with a recurrent state. The state lies in the sequence's memory and advances token by token in the order of
// positions, so how a prompt is split into steps changes no bit; threads share out channels and heads.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/blocks.h"

namespace sterna {

namespace {

// log(1 + exp(x)), in double for the small values
float softplus(float x) {
    return x > 20.0f ? x : float(kernels::log_f64(1.0 + kernels::exp_f64(double(x))));
}

// x[channel] = sum over j of weight[channel][j] * input j positions back, the oldest first. `history` holds the last
// kernel - 1 inputs of each channel, [kernel - 1][channels], and takes in this one.
void conv_step(const RecurrentConfig& r, const float* weight, float* history, int64_t begin, int64_t end, float* x) {
    for (int64_t channel = begin; channel < end; ++channel) {
        const float* w = weight + channel * r.kernel;
        float sum = 0.0f, input = x[channel];
        for (int64_t j = 0; j + 1 < r.kernel; ++j) sum = sum + w[j] * history[j * r.channels + channel];
        x[channel] = sum + w[r.kernel - 1] * input;
        for (int64_t j = 0; j + 2 < r.kernel; ++j)
            history[j * r.channels + channel] = history[(j + 1) * r.channels + channel];
        if (r.kernel > 1) history[(r.kernel - 2) * r.channels + channel] = input;
    }
}

// The convolution of all rows in place: rows [n_rows][stride], the channels first.
void conv_rows(ForwardContext& c, int64_t layer, float* rows, int64_t stride) {
    constexpr int64_t kChannelsPerTask = 256;
    const RecurrentConfig& r = c.config.recurrent;
    const float* weight = c.weights.layers[size_t(layer)].conv.data();
    int64_t n_tasks = (r.channels + kChannelsPerTask - 1) / kChannelsPerTask;
    c.pool.run(int(n_tasks), [&](int task, int) {
        int64_t begin = task * kChannelsPerTask, end = std::min(begin + kChannelsPerTask, r.channels);
        for (int64_t row = 0; row < c.n_rows; ++row)
            conv_step(r, weight, state_of(c, layer, row), begin, end, rows + row * stride);
    });
}

// One token of one head (Yang et al. 2024, Gated Delta Networks, equation 10), state [key_dim][value_dim]:
//   S = S * decay;  S = S + k (beta (v - S^T k))^T;  out = S^T q
void delta_step(const kernels::Kernels& kernel, const RecurrentConfig& r, float* state, const float* q, const float* k,
                float* v, float decay, float beta, float* out) {
    int64_t n = r.value_dim;
    float* seen = out;  // S^T k until it is used up
    std::fill(seen, seen + n, 0.0f);
    for (int64_t i = 0; i < r.key_dim; ++i) {
        float* row = state + i * n;
        kernel.scale(row, decay, n, row);
        kernel.add_scaled(seen, row, k[i], n, seen);
    }
    for (int64_t i = 0; i < n; ++i) v[i] = (v[i] - seen[i]) * beta;
    std::fill(out, out + n, 0.0f);
    for (int64_t i = 0; i < r.key_dim; ++i) {
        float* row = state + i * n;
        kernel.add_scaled(row, v, k[i], n, row);
        kernel.add_scaled(out, row, q[i], n, out);
    }
}

}  // namespace

void short_conv(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    auto& b = c.buffers;
    int64_t width = c.config.width;
    linear(c, w.mixer_in, {from, c.n_rows, width}, b.mixer);
    for_rows(c, c.n_rows, width, [&](int64_t row, int) {
        float* x = b.mixer + row * 3 * width;
        c.kernels.mul(x, x + 2 * width, width, x);
    });
    conv_rows(c, layer, b.mixer, 3 * width);
    for_rows(c, c.n_rows, width, [&](int64_t row, int) {
        const float* x = b.mixer + row * 3 * width;
        c.kernels.mul(x, x + width, width, b.attn + row * width);
    });
    leave_stream(c, layer, b.attn, width);
    linear(c, w.mixer_out, {b.attn, c.n_rows, width}, b.y);
}

void delta_net(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    const RecurrentConfig& r = c.config.recurrent;
    const auto& k = c.kernels;
    auto& b = c.buffers;
    int64_t n_values = r.n_heads * r.value_dim, n_keys = r.n_key_heads * r.key_dim, stride = c.config.mixer_width;
    // A row: q, k, v of all heads (the channels of the convolution), gates, alphas, betas.
    int64_t gate_at = r.channels, alpha_at = gate_at + n_values, beta_at = alpha_at + r.n_heads;
    Input input{from, c.n_rows, c.config.width};
    b.jobs.clear();
    b.jobs.push_back(matmul_job(w.mixer_in, input, b.mixer, stride));
    b.jobs.push_back(matmul_job(w.mixer_gate, input, b.mixer + gate_at, stride));
    b.jobs.push_back(matmul_job(w.alpha, input, b.mixer + alpha_at, stride));
    b.jobs.push_back(matmul_job(w.beta, input, b.mixer + beta_at, stride));
    run_jobs(c, input, b.jobs);
    conv_rows(c, layer, b.mixer, stride);

    float sharpness = 1.0f / std::sqrt(float(r.key_dim));
    for_rows(c, c.n_rows, r.channels, [&](int64_t row, int) {
        float* x = b.mixer + row * stride;
        k.silu(x, r.channels, x);
        // x / sqrt(sum of squares + 1e-6), as a norm by the mean
        for (int64_t head = 0; head < 2 * r.n_key_heads; ++head) {
            float* part = x + head * r.key_dim;
            k.rms_norm(part, nullptr, 1e-6f / float(r.key_dim), r.key_dim, part);
            k.scale(part, sharpness, r.key_dim, part);
        }
        k.scale(x, sharpness, n_keys, x);  // queries: by the root of their length, as in attention
    });

    int64_t conv_floats = (r.kernel - 1) * r.channels;
    c.pool.run(int(r.n_heads), [&](int head, int) {
        int64_t key_head = head % r.n_key_heads;
        for (int64_t row = 0; row < c.n_rows; ++row) {
            float* x = b.mixer + row * stride;
            float* out = b.attn + row * n_values + head * r.value_dim;
            float* state = state_of(c, layer, row) + conv_floats + head * r.key_dim * r.value_dim;
            float decay =
                kernels::exp_f32(w.decay[size_t(head)] * softplus(x[alpha_at + head] + w.decay_bias[size_t(head)]));
            delta_step(k, r, state, x + key_head * r.key_dim, x + n_keys + key_head * r.key_dim,
                       x + 2 * n_keys + head * r.value_dim, decay, sigmoid(x[beta_at + head]), out);
            k.rms_norm(out, w.mixer_norm.data(), c.config.norm_eps, r.value_dim, out);
            k.silu_mul(x + gate_at + head * r.value_dim, out, r.value_dim, out);
        }
    });
    leave_stream(c, layer, b.attn, n_values);
    linear(c, w.mixer_out, {b.attn, c.n_rows, n_values}, b.y);
}

void gated_attention(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    const Config& config = c.config;
    auto& b = c.buffers;
    int64_t dim = config.dim_k(layer), n_heads = config.n_heads[size_t(layer)], q_width = config.q_width(layer);
    int64_t stride = q_width + config.k_width(layer) + config.v_width(layer);
    Input input{from, c.n_rows, config.width};
    b.jobs.clear();
    b.jobs.push_back(matmul_job(w.q, input, b.mixer, 2 * q_width));
    b.jobs.push_back(matmul_job(w.k, input, b.qkv + q_width, stride));
    b.jobs.push_back(matmul_job(w.v, input, b.qkv + q_width + config.k_width(layer), stride));
    run_jobs(c, input, b.jobs);
    for_rows(c, c.n_rows, 2 * q_width, [&](int64_t row, int) {
        const float* both = b.mixer + row * 2 * q_width;
        for (int64_t head = 0; head < n_heads; ++head)
            std::memcpy(b.qkv + row * stride + head * dim, both + head * 2 * dim, size_t(dim) * sizeof(float));
    });
    rotate_and_store(c, layer);
    attend(c, layer);
    bool last = layer == config.n_layers - 1;
    for_rows(c, c.n_rows, 2 * q_width, [&](int64_t row, int) {
        const float* both = b.mixer + (last ? b.wanted[row] : row) * 2 * q_width;
        float* attn = b.attn + row * q_width;
        for (int64_t head = 0; head < n_heads; ++head)
            for (int64_t i = 0; i < dim; ++i)
                attn[head * dim + i] = attn[head * dim + i] * sigmoid(both[head * 2 * dim + dim + i]);
    });
    project_attention(c, layer);
}

}  // namespace sterna
