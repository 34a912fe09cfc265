// Mixture of experts: a router chooses for each token; rows are sorted by expert, so that an expert's weights are read
// once for all its tokens; the results join in order of rank. Each token's sum is the same whatever else is in the
// batch.
#include <cstring>

#include "model/blocks.h"

namespace sterna {

namespace {

// The best of those not taken yet, ties by the lower index. Also right when scores are NaN: different ones each time.
template <typename Score, typename Taken>
int64_t best_of(int64_t n, Score&& score, Taken&& taken) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i)
        if (!taken(i) && (best < 0 || score(i) > score(best))) best = i;
    return best;
}

// Experts in groups: only those of the best groups may be chosen, a bit each. A group is as good as its two best experts
// together (DeepSeek-V3 report, section 2.1.2), or as its best one where there is no bias (V2).
uint64_t good_groups(const Config& config, const float* score, bool two_best) {
    static_assert(kMaxExpertGroups <= 64);
    int64_t n = config.n_expert_groups, size = config.n_experts / n;
    float worth[kMaxExpertGroups];
    for (int64_t group = 0; group < n; ++group) {
        const float* s = score + group * size;
        int64_t first = best_of(size, [&](int64_t i) { return s[i]; }, [](int64_t) { return false; });
        worth[group] = s[first];
        if (!two_best || size < 2) continue;
        int64_t second = best_of(size, [&](int64_t i) { return s[i]; }, [&](int64_t i) { return i == first; });
        worth[group] = s[first] + s[second];
    }
    uint64_t good = 0;
    for (int64_t i = 0; i < config.n_expert_groups_used; ++i)
        good |=
            uint64_t(1) << best_of(n, [&](int64_t g) { return worth[g]; }, [&](int64_t g) { return good >> g & 1; });
    return good;
}

// Chooses k experts by descending score: the probability, plus the bias where there is one. Weights are probabilities.
void choose(const Config& config, const std::vector<float>& bias, const float* probability, float* score,
            int32_t* expert, float* weight) {
    int64_t k = config.n_experts_used, n = config.n_experts;
    for (int64_t e = 0; e < n; ++e) score[e] = bias.empty() ? probability[e] : probability[e] + bias[size_t(e)];
    bool grouped = config.n_expert_groups_used < config.n_expert_groups;
    uint64_t good = grouped ? good_groups(config, score, !bias.empty()) : 0;
    int64_t group_size = n / config.n_expert_groups;
    float sum = 0.0f;
    for (int64_t rank = 0; rank < k; ++rank) {
        int64_t best = best_of(
            n, [&](int64_t e) { return score[e]; },
            [&](int64_t e) {
                for (int64_t i = 0; i < rank; ++i)
                    if (expert[i] == e) return true;
                return grouped && !(good >> e / group_size & 1);
            });
        expert[rank] = int32_t(best);
        weight[rank] = probability[best];
        sum = sum + probability[best];
    }
    for (int64_t rank = 0; rank < k; ++rank) {
        if (config.expert_weights_norm) weight[rank] = weight[rank] / sum;
        weight[rank] = weight[rank] * config.expert_weights_scale;
    }
}

void route(ForwardContext& c, const LayerWeights& w, const float* from) {
    auto& b = c.buffers;
    int64_t n_experts = c.config.n_experts, k = c.config.n_experts_used;
    linear(c, w.router, {from, c.n_rows, c.config.width}, b.router);
    for_rows(c, c.n_rows, n_experts * k, [&](int64_t row, int) {
        float* probability = b.router + row * n_experts;
        if (c.config.expert_gating == ExpertGating::kSoftmax)
            c.kernels.softmax(probability, n_experts, probability);
        else
            for (int64_t e = 0; e < n_experts; ++e) probability[e] = sigmoid(probability[e]);
        choose(c.config, w.expert_bias, probability, b.expert_score + row * n_experts, b.expert + row * k,
               b.expert_weight + row * k);
    });
}

const float* bias_of(const Experts& experts, int64_t expert, int64_t n) {
    return experts.bias.empty() ? nullptr : experts.bias.data() + expert * n;
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
        job.main = {&gate, bias_of(w.gate_experts, e, ffn), 1.0f, 0, b.ffn + begin * 2 * ffn};
        job.second = {&w.up_experts.matrices[size_t(e)], bias_of(w.up_experts, e, ffn), 1.0f, 0,
                      b.ffn + begin * 2 * ffn + ffn};
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
        job.main = {&down, bias_of(w.down_experts, e, width), 1.0f, 0, b.expert_out + begin * width};
        job.n_panels = down.n_panels();
        job.n_out = width;
        job.out_stride = width;
        job.row_begin = begin;
        job.n_rows = rows;
        b.jobs.push_back(job);
    }
    run_jobs(c, {b.act, n, ffn}, b.jobs);
}

// y = y + (sigmoid(W_r from) *) expert(from), for the expert that sees every token.
void add_shared_expert(ForwardContext& c, const LayerWeights& w, const float* from) {
    auto& b = c.buffers;
    int64_t width = c.config.width, ffn = c.config.shared_ffn_width;
    Input input{from, c.n_rows, width};
    MatmulJob job = matmul_job(w.shared_gate, input, b.ffn, 2 * ffn);
    job.second = matmul_job(w.shared_up, input, b.ffn + ffn, 2 * ffn).main;
    job.second_out = b.ffn + ffn;
    job.act = b.act;
    job.act_stride = ffn;
    run_jobs(c, input, {&job, 1});
    linear(c, w.shared_down, {b.act, c.n_rows, ffn}, b.expert_out);
    bool gated = !w.shared_router.weight.empty();
    if (gated) linear(c, w.shared_router, input, b.router);
    for_rows(c, c.n_rows, width, [&](int64_t row, int) {
        float* y = b.y + row * width;
        if (gated)
            c.kernels.add_scaled(y, b.expert_out + row * width, sigmoid(b.router[row]), width, y);
        else
            c.kernels.add(y, b.expert_out + row * width, width, y);
    });
}

}  // namespace

void moe(ForwardContext& c, int64_t layer, const float* from) {
    if (c.n_rows == 0) return;
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    auto& b = c.buffers;
    int64_t k = c.config.n_experts_used, width = c.config.width;
    route(c, w, from);
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
    if (!w.shared_gate.weight.empty()) add_shared_expert(c, w, from);
}

}  // namespace sterna
