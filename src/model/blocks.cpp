#include "model/blocks.h"

#include <cstring>

namespace sterna {

Status ForwardContext::check_cancelled() const {
    if (step.cancel && step.cancel->load(std::memory_order_relaxed))
        return fail(ErrorCode::kCancelled, "forward pass: cancelled");
    return {};
}

namespace {

// (clamp(up, -7, 7) + 1) * g * sigmoid(1.702 g), g = min(gate, 7) (gpt-oss model card, section 2.2)
void swiglu_clamped(ForwardContext& c, const float* gate, const float* up, int64_t n, float* y) {
    constexpr float kAlpha = 1.702f, kLimit = 7.0f;
    constexpr int64_t kStrip = 256;
    float steep[kStrip], factor[kStrip];
    for (int64_t begin = 0; begin < n; begin += kStrip) {
        int64_t m = std::min(kStrip, n - begin);
        for (int64_t i = 0; i < m; ++i) {
            steep[i] = std::min(gate[begin + i], kLimit) * kAlpha;
            factor[i] = (std::max(std::min(up[begin + i], kLimit), -kLimit) + 1.0f) * (1.0f / kAlpha);
        }
        c.kernels.silu_mul(steep, factor, m, y + begin);
    }
}

}  // namespace

void activate(ForwardContext& c, const float* gate, const float* up, int64_t n, float* y) {
    const auto& k = c.kernels;
    switch (c.config.activation) {
        case Activation::kSilu:
            return up ? k.silu_mul(gate, up, n, y) : k.silu(gate, n, y);
        case Activation::kGelu:
            return up ? k.gelu_mul(gate, up, n, y) : k.gelu(gate, n, y);
        case Activation::kGeluErf:
            k.gelu_erf(gate, n, y);
            if (up) k.mul(y, up, n, y);
            return;
        case Activation::kRelu2:
            if (up) return k.relu2_mul(gate, up, n, y);
            for (int64_t i = 0; i < n; ++i) y[i] = gate[i] > 0.0f ? gate[i] * gate[i] : 0.0f;
            return;
        case Activation::kSwigluClamped:
            return swiglu_clamped(c, gate, up, n, y);
    }
}

void embed(ForwardContext& c) {
    const Weights& w = c.weights;
    int64_t width = c.config.width;
    for_rows(c, c.n_rows, width, [&](int64_t row, int) {
        float* x = c.buffers.x + row * width;
        const StepToken& token = c.step.tokens[size_t(row)];
        w.token_embedding.unpack_row(token.token, x);
        if (c.config.embedding_scale != 1.0f) c.kernels.scale(x, c.config.embedding_scale, width, x);
        // Every token is of the first type: a text for an embedding has one segment.
        if (!w.token_type_embedding.empty()) c.kernels.add(x, w.token_type_embedding.data(), width, x);
        if (!w.position_embedding.empty())
            c.kernels.add(x, w.position_embedding.data() + token.position * width, width, x);
    });
}

void norm(ForwardContext& c, const float* from, const std::vector<float>& weight, const std::vector<float>& bias,
          float* to) {
    int64_t width = c.config.width;
    const float* w = weight.empty() ? nullptr : weight.data();
    const float* b = bias.empty() ? nullptr : bias.data();
    for_rows(c, c.n_rows, width, [&](int64_t row, int) {
        if (c.config.norm == NormKind::kLayer)
            c.kernels.layer_norm(from + row * width, w, b, c.config.norm_eps, width, to + row * width);
        else
            c.kernels.rms_norm(from + row * width, w, c.config.norm_eps, width, to + row * width);
    });
}

void norm_rows(ForwardContext& c, const float* from, const std::vector<float>& weight, int64_t n, float* to) {
    for_rows(c, c.n_rows, n, [&](int64_t row, int) {
        c.kernels.rms_norm(from + row * n, weight.data(), c.config.norm_eps, n, to + row * n);
    });
}

void add_to_stream(ForwardContext& c) {
    int64_t width = c.config.width;
    float scale = c.config.residual_scale;
    for_rows(c, c.n_rows, width, [&](int64_t row, int) {
        float* x = c.buffers.x + row * width;
        const float* y = c.buffers.y + row * width;
        if (scale == 1.0f)
            c.kernels.add(x, y, width, x);
        else
            c.kernels.add_scaled(x, y, scale, width, x);
    });
}

void gated_ffn(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    auto& b = c.buffers;
    int64_t ffn = c.config.ffn_width[size_t(layer)];
    Input input{from, c.n_rows, c.config.width};
    bool fused = !w.gate_up.weight.empty();
    bool halves_meet_in_panel = fused && ffn % kernels::kPanelRows != 0;

    MatmulJob job = matmul_job(fused ? w.gate_up : w.gate, input, b.ffn, 2 * ffn);
    if (!halves_meet_in_panel) {
        job.second = fused ? job.main : matmul_job(w.up, input, b.ffn + ffn, 2 * ffn).main;
        if (fused) job.second.first_panel = job.n_panels = ffn / kernels::kPanelRows;
        job.n_out = ffn;
        job.second_out = b.ffn + ffn;
        job.act = b.act;
        job.act_stride = ffn;
    }
    run_jobs(c, input, {&job, 1});
    if (halves_meet_in_panel)
        for_rows(c, c.n_rows, ffn, [&](int64_t row, int) {
            const float* gate = b.ffn + row * 2 * ffn;
            activate(c, gate, gate + ffn, ffn, b.act + row * ffn);
        });
    if (!w.ffn_sub_norm.empty()) norm_rows(c, b.act, w.ffn_sub_norm, ffn, b.act);
    linear(c, w.down, {b.act, c.n_rows, ffn}, b.y);
}

void plain_ffn(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    auto& b = c.buffers;
    int64_t ffn = c.config.ffn_width[size_t(layer)];
    Input input{from, c.n_rows, c.config.width};
    MatmulJob job = matmul_job(w.up, input, b.ffn, ffn);
    job.act = b.act;
    job.act_stride = ffn;
    run_jobs(c, input, {&job, 1});
    linear(c, w.down, {b.act, c.n_rows, ffn}, b.y);
}

void logits(ForwardContext& c) {
    const Weights& w = c.weights;
    norm(c, c.buffers.x, w.output_norm, w.output_norm_bias, c.buffers.h);
    Input input{c.buffers.h, c.n_rows, c.config.width};
    int64_t n = c.config.vocab_size;
    MatmulJob job = matmul_job(w.output, input, c.step.output, n);
    if (w.output.weight.empty()) {
        job.main.matrix = &w.token_embedding;
        job.n_panels = w.token_embedding.n_panels();
        job.n_out = w.token_embedding.n_rows();
    }
    job.main.scale *= c.config.logit_scale;
    run_jobs(c, input, {&job, 1});
    if (c.config.logit_softcap > 0.0f)
        for_rows(c, c.n_rows, n, [&](int64_t row, int) {
            float* out = c.step.output + row * n;
            c.kernels.softcap(out, c.config.logit_softcap, n, out);
        });
}

void hidden_states(ForwardContext& c) {
    if (c.n_rows > 0) std::memcpy(c.step.output, c.buffers.x, size_t(c.n_rows * c.config.width) * sizeof(float));
}

void feed_forward(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    if (!w.gate_experts.matrices.empty())
        moe(c, layer, from);
    else if (w.gate.weight.empty() && w.gate_up.weight.empty())
        plain_ffn(c, layer, from);
    else
        gated_ffn(c, layer, from);
}

Status sandwich_norm_decoder(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        if (!w.attn_norm.empty()) norm(c, b.x, w.attn_norm, b.h);
        attention(c, layer, w.attn_norm.empty() ? b.x : b.h);
        norm(c, b.y, w.post_attention_norm, b.y);
        add_to_stream(c);
        if (!w.ffn_norm.empty()) norm(c, b.x, w.ffn_norm, b.h);
        feed_forward(c, layer, w.ffn_norm.empty() ? b.x : b.h);
        norm(c, b.y, w.post_ffn_norm, b.y);
        add_to_stream(c);
    }
    logits(c);
    return {};
}

Status parallel_decoder(ForwardContext& c) {
    auto& b = c.buffers;
    embed(c);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        norm(c, b.x, w.attn_norm, w.attn_norm_bias, b.h);
        project_qkv(c, layer, b.h);
        rotate_and_store(c, layer);
        attend(c, layer);
        // At the last layer rows have left the stream: the norm is made anew from those that stayed.
        bool own_norm = !w.ffn_norm.empty();
        if (own_norm)
            norm(c, b.x, w.ffn_norm, w.ffn_norm_bias, b.h);
        else if (layer == c.config.n_layers - 1)
            norm(c, b.x, w.attn_norm, w.attn_norm_bias, b.h);
        project_attention(c, layer);
        add_to_stream(c);
        feed_forward(c, layer, b.h);
        add_to_stream(c);
    }
    logits(c);
    return {};
}

Status pre_norm_decoder(ForwardContext& c, Mixer mixer) {
    auto& b = c.buffers;
    embed(c);
    for (int64_t layer = 0; layer < c.config.n_layers; ++layer) {
        STERNA_CHECK(c.check_cancelled());
        const LayerWeights& w = c.weights.layers[size_t(layer)];
        norm(c, b.x, w.attn_norm, w.attn_norm_bias, b.h);
        mixer(c, layer, b.h);
        add_to_stream(c);
        norm(c, b.x, w.ffn_norm, w.ffn_norm_bias, b.h);
        feed_forward(c, layer, b.h);
        add_to_stream(c);
    }
    logits(c);
    return {};
}

Status pre_norm_decoder(ForwardContext& c) {
    return pre_norm_decoder(c, attention);
}

}  // namespace sterna
