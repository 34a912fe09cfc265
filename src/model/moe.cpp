// Mixture of experts: a router chooses for each token; rows are sorted by expert, so that an expert's weights are read
// once for all its tokens; the results join in order of rank. Each token's sum is the same whatever else is in the
// batch.
#include <cstring>

#include "model/blocks.h"

namespace sterna {

namespace {

// Chooses k experts by descending probability, ties by the lower id. Also right when probabilities are NaN: k different
// experts.
void choose(const Config& config, const float* probability, int32_t* expert, float* weight) {
    int64_t k = config.n_experts_used;
    float sum = 0.0f;
    for (int64_t rank = 0; rank < k; ++rank) {
        int64_t best = -1;
        for (int64_t e = 0; e < config.n_experts; ++e) {
            bool taken = false;
            for (int64_t i = 0; i < rank; ++i) taken = taken || expert[i] == e;
            if (!taken && (best < 0 || probability[e] > probability[best])) best = e;
        }
        expert[rank] = int32_t(best);
        weight[rank] = probability[best];
        sum = sum + probability[best];
    }
    for (int64_t rank = 0; rank < k; ++rank) {
        if (config.expert_weights_norm) weight[rank] = weight[rank] / sum;
        weight[rank] = weight[rank] * config.expert_weights_scale;
    }
}

void route(ForwardContext& c, const Linear& router, const float* from) {
    auto& b = c.buffers;
    int64_t n_experts = c.config.n_experts, k = c.config.n_experts_used;
    linear(c, router, {from, c.n_rows, c.config.width}, b.router);
    for_rows(c, c.n_rows, n_experts * k, [&](int64_t row, int) {
        float* scores = b.router + row * n_experts;
        c.kernels.softmax(scores, n_experts, scores);
        choose(c.config, scores, b.expert + row * k, b.expert_weight + row * k);
    });
}

// slot[choice]: rows of one expert stand together, in order of tokens. Fills expert_in.
void sort_by_expert(ForwardContext& c, const float* from) {
    auto& b = c.buffers;
    int64_t n_experts = c.config.n_experts, k = c.config.n_experts_used, width = c.config.width, n = c.n_rows * k;
    std::memset(b.expert_begin, 0, size_t(n_experts + 1) * sizeof(int64_t));
    for (int64_t i = 0; i < n; ++i) ++b.expert_begin[b.expert[i] + 1];
    for (int64_t e = 0; e < n_experts; ++e) b.expert_begin[e + 1] += b.expert_begin[e];
    for (int64_t i = 0; i < n; ++i) b.slot[i] = b.expert_begin[b.expert[i]]++;
    for (int64_t e = n_experts; e > 0; --e) b.expert_begin[e] = b.expert_begin[e - 1];
    b.expert_begin[0] = 0;
    for_rows(c, n, width, [&](int64_t i, int) {
        std::memcpy(b.expert_in + b.slot[i] * width, from + i / k * width, size_t(width) * sizeof(float));
    });
}

void run_experts(ForwardContext& c, const LayerWeights& w) {
    auto& b = c.buffers;
    int64_t width = c.config.width, ffn = c.config.expert_ffn_width, n = c.n_rows * c.config.n_experts_used;
    b.jobs.clear();
    for (int64_t e = 0; e < c.config.n_experts; ++e) {
        int64_t begin = b.expert_begin[e], rows = b.expert_begin[e + 1] - begin;
        if (rows == 0) continue;
        const PackedMatrix& gate = w.gate_experts.matrices[size_t(e)];
        MatmulJob job;
        job.main = {&gate, nullptr, 1.0f, 0, b.ffn + begin * 2 * ffn};
        job.second = {&w.up_experts.matrices[size_t(e)], nullptr, 1.0f, 0, b.ffn + begin * 2 * ffn + ffn};
        job.second_out = job.second.out;
        job.n_panels = gate.n_panels();
        job.n_out = ffn;
        job.out_stride = 2 * ffn;
        job.row_begin = begin;
        job.n_rows = rows;
        job.act = b.act + begin * ffn;
        job.act_stride = ffn;
        b.jobs.push_back(job);
    }
    run_jobs(c, {b.expert_in, n, width}, b.jobs);
    b.jobs.clear();
    for (int64_t e = 0; e < c.config.n_experts; ++e) {
        int64_t begin = b.expert_begin[e], rows = b.expert_begin[e + 1] - begin;
        if (rows == 0) continue;
        const PackedMatrix& down = w.down_experts.matrices[size_t(e)];
        MatmulJob job;
        job.main = {&down, nullptr, 1.0f, 0, b.expert_out + begin * width};
        job.n_panels = down.n_panels();
        job.n_out = width;
        job.out_stride = width;
        job.row_begin = begin;
        job.n_rows = rows;
        b.jobs.push_back(job);
    }
    run_jobs(c, {b.act, n, ffn}, b.jobs);
}

}  // namespace

void moe(ForwardContext& c, int64_t layer, const float* from) {
    if (c.n_rows == 0) return;
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    auto& b = c.buffers;
    int64_t k = c.config.n_experts_used, width = c.config.width;
    route(c, w.router, from);
    sort_by_expert(c, from);
    run_experts(c, w);
    for_rows(c, c.n_rows, width * k, [&](int64_t row, int) {
        float* y = b.y + row * width;
        for (int64_t rank = 0; rank < k; ++rank) {
            const float* out = b.expert_out + b.slot[row * k + rank] * width;
            float weight = b.expert_weight[row * k + rank];
            if (rank == 0)
                c.kernels.scale(out, weight, width, y);
            else
                c.kernels.add_scaled(y, out, weight, width, y);
        }
    });
}

}  // namespace sterna
