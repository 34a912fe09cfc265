// Multi-head latent attention (DeepSeek-V2 report, section 2.1): the cache holds one compressed key and value per
// position for all heads. W_k_b takes a head's query into the latent space, W_v_b the attended latent out of it, so
// attention itself is that of one KV head whose key is [latent | turned part] and whose value is the latent.
#include <cstring>

#include "model/blocks.h"

namespace sterna {

namespace {

// One matrix per head: out[t][head] = matrix[head] * from[head][t]. `from` is [n_heads][n_rows][n_in].
void heads_linear(ForwardContext& c, const Experts& matrices, const float* from, int64_t n_in, float* out,
                  int64_t head_stride, int64_t row_stride) {
    auto& b = c.buffers;
    int64_t n_heads = int64_t(matrices.matrices.size());
    b.jobs.clear();
    for (int64_t head = 0; head < n_heads; ++head) {
        const PackedMatrix& matrix = matrices.matrices[size_t(head)];
        MatmulJob job;
        job.main = {&matrix, nullptr, 1.0f, 0, out + head * head_stride};
        job.n_panels = matrix.n_panels();
        job.n_out = matrix.n_rows();
        job.out_stride = row_stride;
        job.row_begin = head * c.n_rows;
        job.n_rows = c.n_rows;
        b.jobs.push_back(job);
    }
    run_jobs(c, {from, n_heads * c.n_rows, n_in}, b.jobs);
}

}  // namespace

void latent_attention(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    const Config& config = c.config;
    const LatentConfig& latent = config.latent;
    const auto& k = c.kernels;
    auto& b = c.buffers;
    int64_t n_heads = config.n_heads[size_t(layer)], turned = config.rope.n_dims;
    int64_t nope = latent.nope_dim, raw = nope + turned, key_dim = latent.rank + turned;
    int64_t stride = config.q_width(layer) + config.k_width(layer) + config.v_width(layer);
    float* key = b.qkv + config.q_width(layer);

    // Queries [T][n_heads][nope | turned] into mixer; the shared key into its place.
    Input input{from, c.n_rows, config.width};
    b.jobs.clear();
    b.jobs.push_back(matmul_job(w.kv_a, input, key, stride));
    float* low = b.mixer + c.n_rows * n_heads * raw;  // behind the queries
    b.jobs.push_back(latent.q_rank > 0 ? matmul_job(w.q_a, input, low, latent.q_rank)
                                       : matmul_job(w.q, input, b.mixer, n_heads * raw));
    run_jobs(c, input, b.jobs);
    if (latent.q_rank > 0) {
        norm_rows(c, low, w.q_a_norm, latent.q_rank, low);
        linear(c, w.q_b, {low, c.n_rows, latent.q_rank}, b.mixer);
    }

    // The parts without position, head by head, into the latent space.
    for_rows(c, c.n_rows, n_heads * raw, [&](int64_t row, int) {
        for (int64_t head = 0; head < n_heads; ++head) {
            const float* query = b.mixer + (row * n_heads + head) * raw;
            std::memcpy(b.mixed + (head * c.n_rows + row) * nope, query, size_t(nope) * sizeof(float));
            std::memcpy(b.qkv + row * stride + head * key_dim + latent.rank, query + nope,
                        size_t(turned) * sizeof(float));
        }
        float* own = key + row * stride;
        k.rms_norm(own, w.kv_a_norm.data(), config.norm_eps, latent.rank, own);
        std::memcpy(own + key_dim, own, size_t(latent.rank) * sizeof(float));  // the value
    });
    heads_linear(c, w.k_b, b.mixed, nope, b.qkv, key_dim, stride);
    for_rows(c, c.n_rows, n_heads * turned, [&](int64_t row, int) {
        const float* cosine = b.cos_global + row * turned / 2;
        const float* sine = b.sin_global + row * turned / 2;
        for (int64_t head = 0; head <= n_heads; ++head)  // the key stands where one more head would
            k.rope_adjacent(b.qkv + row * stride + head * key_dim + latent.rank, 1, turned, turned / 2, cosine, sine);
    });
    store_kv(c, layer);
    attend(c, layer);

    for_rows(c, c.n_rows, n_heads * latent.rank, [&](int64_t row, int) {
        for (int64_t head = 0; head < n_heads; ++head)
            std::memcpy(b.mixed + (head * c.n_rows + row) * latent.rank, b.attn + (row * n_heads + head) * latent.rank,
                        size_t(latent.rank) * sizeof(float));
    });
    int64_t n_values = n_heads * latent.value_dim;
    heads_linear(c, w.v_b, b.mixed, latent.rank, b.mixer, latent.value_dim, n_values);
    linear(c, w.attn_output, {b.mixer, c.n_rows, n_values}, b.y);
}

}  // namespace sterna
