// The attention sublayer of blocks.h: projections, RoPE and cache, and attention itself shared out by tokens and KV
// heads.
#include <algorithm>
#include <cstring>

#include "model/blocks.h"

namespace sterna {

namespace {

// With fewer heads than this for each worker, the chunks of a head are shared out too.
constexpr int64_t kHeadsPerWorker = 4;
constexpr int64_t kTokensPerTask =
    8;  // in prefill: enough work for a task, and their K and V are still in the core's cache

int64_t qkv_stride(const Config& config, int64_t layer) {
    return config.q_width(layer) + config.k_width(layer) + config.v_width(layer);
}

uint8_t* page_of(const Step& step, const StepToken& token) {
    return step.sequences[size_t(token.sequence)].pages[size_t(token.position / StateLayout::kPagePositions)];
}

// rows[i] = rows[index of the i-th token that wants an output]
void keep_wanted(const ForwardContext& c, float* rows, int64_t width) {
    for (int64_t row = 0; row < c.buffers.n_wanted; ++row) {
        int64_t from = c.buffers.wanted[row];
        if (from != row) std::memcpy(rows + row * width, rows + from * width, size_t(width) * sizeof(float));
    }
}

// K and V of the row's token into its page.
void store_row(ForwardContext& c, int64_t layer, int64_t row) {
    const Config& config = c.config;
    const StateLayout::Layer& place = c.step.layout.layers[size_t(layer)];
    if (!place.owns_kv) return;
    const StepToken& token = c.step.tokens[size_t(row)];
    const float* key = c.buffers.qkv + row * qkv_stride(config, layer) + config.q_width(layer);
    const float* value = key + config.k_width(layer);
    kernels::KvStoreArgs args = {};
    args.kind = c.step.layout.kv_kind;
    args.page = page_of(c.step, token);
    args.page_positions = StateLayout::kPagePositions;
    args.slot = token.position % StateLayout::kPagePositions;
    args.head_dim_k = config.dim_k(layer);
    args.head_dim_v = config.dim_v(layer);
    for (int64_t head = 0; head < config.n_kv_heads[size_t(layer)]; ++head) {
        args.k_offset = place.k_offset + head * place.head_stride_k;
        args.v_offset = place.v_offset + head * place.head_stride_v;
        args.k = key + head * args.head_dim_k;
        args.v = value + head * args.head_dim_v;
        c.kernels.kv_store(args);
    }
}

// Few heads and many workers: the chunks of a head are reduced apart and merge in order, with the bits of one pass.
// Returns: false, with nothing done, when there is but one chunk or no room for the parts.
template <typename ArgsOf>
bool attend_by_chunks(ForwardContext& c, int64_t n_out, int64_t n_kv_heads, int64_t part_floats, ArgsOf args_of) {
    struct Chunks {
        int64_t first, n;
    };
    auto chunks = [](const kernels::AttentionArgs& args) {
        int64_t first = args.begin / kernels::kAttentionChunk;
        return Chunks{first, (args.end - 1) / kernels::kAttentionChunk + 1 - first};
    };
    int64_t most = 0;
    for (int64_t row = 0; row < n_out; ++row) most = std::max(most, chunks(args_of(row, 0, 0)).n);
    int64_t n_pairs = n_out * n_kv_heads;
    if (most <= 1 || n_pairs * most * part_floats > c.buffers.attention_part_room) return false;
    c.pool.run(int(n_pairs * most), [&](int index, int worker) {
        int64_t pair = index / most, chunk = index % most;
        kernels::AttentionArgs args = args_of(pair % n_out, pair / n_out, worker);
        Chunks own = chunks(args);
        if (chunk >= own.n) return;
        args.part = c.buffers.attention_parts + (pair * most + chunk) * part_floats;
        args.begin = std::max(args.begin, (own.first + chunk) * kernels::kAttentionChunk);
        args.end = std::min(args.end, (own.first + chunk + 1) * kernels::kAttentionChunk);
        c.kernels.attention(args);
    });
    c.pool.run(int(n_pairs), [&](int pair, int worker) {
        c.kernels.attention_merge(args_of(pair % n_out, pair / n_out, worker),
                                  c.buffers.attention_parts + pair * most * part_floats);
    });
    return true;
}

}  // namespace

void leave_stream(ForwardContext& c, int64_t layer, float* rows, int64_t width) {
    if (layer != c.config.n_layers - 1) return;
    keep_wanted(c, c.buffers.x, c.config.width);
    if (rows) keep_wanted(c, rows, width);
    c.n_rows = c.buffers.n_wanted;
}

void norm_parts(const kernels::Kernels& k, float* x, int64_t n, const std::vector<float>& weight, float eps) {
    int64_t part = int64_t(weight.size());
    for (int64_t begin = 0; part > 0 && begin < n; begin += part)
        k.rms_norm(x + begin, weight.data(), eps, part, x + begin);
}

void project_qkv(ForwardContext& c, int64_t layer, const float* from) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    Input input{from, c.n_rows, c.config.width};
    int64_t stride = qkv_stride(c.config, layer);
    float* out = c.buffers.qkv;
    auto& jobs = c.buffers.jobs;
    jobs.clear();
    if (!w.qkv.weight.empty()) {
        jobs.push_back(matmul_job(w.qkv, input, out, stride));
    } else {
        jobs.push_back(matmul_job(w.q, input, out, stride));
        if (!w.k.weight.empty()) jobs.push_back(matmul_job(w.k, input, out + c.config.q_width(layer), stride));
        if (!w.v.weight.empty())
            jobs.push_back(matmul_job(w.v, input, out + c.config.q_width(layer) + c.config.k_width(layer), stride));
    }
    run_jobs(c, input, jobs);
}

void rotate_and_store(ForwardContext& c, int64_t layer) {
    const Config& config = c.config;
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    const auto& k = c.kernels;
    int64_t dim = config.dim_k(layer), n_heads = config.n_heads[size_t(layer)],
            n_kv_heads = config.n_kv_heads[size_t(layer)];
    int64_t stride = qkv_stride(config, layer), dim_v = config.dim_v(layer);
    bool local = config.rope.theta_local > 0.0 && config.is_sliding[size_t(layer)];
    int64_t pairs = (local ? config.rope.n_dims_local : config.rope.n_dims) / 2;
    bool owns_kv = c.step.layout.layers[size_t(layer)].owns_kv;
    const float* cosine = local ? c.buffers.cos_local : c.buffers.cos_global;
    const float* sine = local ? c.buffers.sin_local : c.buffers.sin_global;
    auto turn = config.rope.style == RopeStyle::kAdjacent ? k.rope_adjacent : k.rope_half;

    for_rows(c, c.n_rows, 4 * stride, [&](int64_t row, int) {
        float* q = c.buffers.qkv + row * stride;
        float* key = q + config.q_width(layer);
        norm_parts(k, q, config.q_width(layer), w.attn_q_norm, config.norm_eps);
        if (config.turns(layer)) turn(q, n_heads, dim, pairs, cosine + row * pairs, sine + row * pairs);
        if (!owns_kv) return;
        float* value = key + config.k_width(layer);
        // A layer without a value matrix takes the key for it, before norm and RoPE.
        if (w.v.weight.empty() && w.qkv.weight.empty())
            std::memcpy(value, key, size_t(config.v_width(layer)) * sizeof(float));
        for (int64_t head = 0; config.value_norm && head < n_kv_heads; ++head)
            k.rms_norm(value + head * dim_v, nullptr, config.norm_eps, dim_v, value + head * dim_v);
        norm_parts(k, key, config.k_width(layer), w.attn_k_norm, config.norm_eps);
        if (config.turns(layer)) turn(key, n_kv_heads, dim, pairs, cosine + row * pairs, sine + row * pairs);
        store_row(c, layer, row);
    });
}

void store_kv(ForwardContext& c, int64_t layer) {
    for_rows(c, c.n_rows, 4 * qkv_stride(c.config, layer), [&](int64_t row, int) { store_row(c, layer, row); });
}

void attend(ForwardContext& c, int64_t layer) {
    const Config& config = c.config;
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    const StateLayout::Layer& place = c.step.layout.layers[size_t(layer)];
    int64_t dim_k = config.dim_k(layer), dim_v = config.dim_v(layer), n_kv_heads = config.n_kv_heads[size_t(layer)];
    int64_t group = config.n_heads[size_t(layer)] / n_kv_heads;
    int64_t stride = qkv_stride(config, layer), o_width = config.o_width(layer);
    int64_t window = config.is_sliding[size_t(layer)] ? config.sliding_window : 0;
    bool last = layer == config.n_layers - 1;
    int64_t n_out = last ? c.buffers.n_wanted : c.n_rows;

    auto args_of = [&](int64_t out_row, int64_t head, int worker) {
        int64_t row = last ? c.buffers.wanted[out_row] : out_row;
        const StepToken& token = c.step.tokens[size_t(row)];
        kernels::AttentionArgs args = {};
        args.kind = c.step.layout.kv_kind;
        args.pages = c.step.sequences[size_t(token.sequence)].pages.data();
        args.page_positions = StateLayout::kPagePositions;
        args.k_offset = place.k_offset + head * place.head_stride_k;
        args.v_offset = place.v_offset + head * place.head_stride_v;
        args.begin = window > 0 ? std::max<int64_t>(0, token.position + 1 - window) : 0;
        args.end = c.buffers.end[row];
        args.head_dim_k = dim_k;
        args.head_dim_v = dim_v;
        args.n_q = group;
        args.q = c.buffers.qkv + row * stride + head * group * dim_k;
        args.q_stride = dim_k;
        args.out = c.buffers.attn + out_row * o_width + head * group * dim_v;
        args.out_stride = dim_v;
        args.scale = config.attention_scale;
        args.softcap = config.attention_softcap;
        args.sinks = w.attn_sinks.empty() ? nullptr : w.attn_sinks.data() + head * group;
        args.scratch = c.buffers.attention_scratch + worker * c.buffers.attention_stride;
        return args;
    };

    int64_t positions = 0;
    for (int64_t row = 0; row < c.n_rows; ++row) positions += c.buffers.end[row];
    bool alone = c.pool.size() == 1 || positions * group * dim_k < (1 << 14);
    if (!alone && n_out * n_kv_heads < kHeadsPerWorker * c.pool.size() &&
        attend_by_chunks(c, n_out, n_kv_heads, kernels::attention_part_floats(dim_v, group), args_of)) {
        leave_stream(c, layer, nullptr, 0);
        return;
    }
    int64_t per_task = n_out >= 8 * kTokensPerTask ? kTokensPerTask : 1;
    int64_t n_groups = (n_out + per_task - 1) / per_task;
    auto task = [&](int index, int worker) {
        // Head by head, so that neighbouring tasks read the same K and V.
        int64_t head = index / n_groups, first = index % n_groups * per_task;
        for (int64_t row = first; row < std::min(first + per_task, n_out); ++row)
            c.kernels.attention(args_of(row, head, worker));
    };
    if (alone)
        for (int64_t index = 0; index < n_kv_heads * n_groups; ++index) task(int(index), 0);
    else
        c.pool.run(int(n_kv_heads * n_groups), task);
    leave_stream(c, layer, nullptr, 0);
}

void project_attention(ForwardContext& c, int64_t layer) {
    const LayerWeights& w = c.weights.layers[size_t(layer)];
    int64_t n = c.config.o_width(layer);
    if (!w.attn_sub_norm.empty()) norm_rows(c, c.buffers.attn, w.attn_sub_norm, n, c.buffers.attn);
    linear(c, w.attn_output, {c.buffers.attn, c.n_rows, n}, c.buffers.y);
}

}  // namespace sterna
