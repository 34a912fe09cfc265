// Attention of n_q query heads that share one KV head over a paged cache. Per chunk of 512 positions: scores (lane =
// position), then maximum, exponentials and their 16 strided sums, then values (lane = channel, positions in order);
// chunks merge in order. Every query head runs the same operations in the same order whatever stands beside it. Needs
// math.inl and rows.inl.

namespace sterna::kernels {
namespace {

// Query heads that share one pass over K or V: their sums stay in registers (AVX2 has room for four of 16 lanes, AVX-512 for
// more, and needs them to hide an addition's latency).
#if defined(STERNA_ISA_AVX512)
constexpr int kQueryGroup = 8;
#else
constexpr int kQueryGroup = 4;
#endif
constexpr int64_t kValueRun = 32;

inline int64_t round_up_16(int64_t n) {
    return (n + 15) / 16 * 16;
}

// Where things lie in AttentionArgs::scratch, in floats; every part starts on 64 bytes.
struct AttentionScratch {
    float* scores;         // [n_q][kAttentionChunk], first scores, then exponentials
    float* chunk;          // [n_q][value_stride] sums of this chunk
    float* total;          // [n_q][value_stride] sums of the chunks so far
    float* maximum;        // [n_q] of the chunks so far
    float* weight;         // [n_q] sum of exponentials so far
    float* chunk_maximum;  // [n_q]
    float* chunk_weight;   // [n_q]
    float* q_scales;       // [n_q][head_dim_k / 32], kQ8_0
    int8_t* q_values;      // [n_q][head_dim_k], kQ8_0
    int16_t* q_sums;       // [n_q][head_dim_k / 32], kQ8_0
    int64_t value_stride, scale_stride, q_stride;
};

inline AttentionScratch lay_out_scratch(float* base, int64_t head_dim_k, int64_t head_dim_v, int64_t n_q) {
    AttentionScratch s;
    s.value_stride = round_up_16(head_dim_v);
    s.scale_stride = (head_dim_k + 31) / 32;
    s.q_stride = round_up_16(head_dim_k);
    s.scores = base;
    s.chunk = s.scores + n_q * kAttentionChunk;
    s.total = s.chunk + n_q * s.value_stride;
    s.maximum = s.total + n_q * s.value_stride;
    s.weight = s.maximum + round_up_16(n_q);
    s.chunk_maximum = s.weight + round_up_16(n_q);
    s.chunk_weight = s.chunk_maximum + round_up_16(n_q);
    s.q_scales = s.chunk_weight + round_up_16(n_q);
    s.q_values = reinterpret_cast<int8_t*>(s.q_scales + round_up_16(n_q * s.scale_stride));
    s.q_sums = reinterpret_cast<int16_t*>(s.q_values + n_q * s.q_stride);
    return s;
}

// One value of a float cache.
struct HalfCell {
    using Type = uint16_t;
    static STERNA_INLINE F32 load(const uint16_t* p) { return load_f16(p); }
};
struct FloatCell {
    using Type = float;
    static STERNA_INLINE F32 load(const float* p) { return load_f32(p); }
};

// scores[i][lane] = scale * sum over d of q[i][d] * k[d][lane], for one tile of 16 positions.
template <int N, class Cell>
inline void score_tile(const typename Cell::Type* k, const float* q, int64_t q_stride, int64_t head_dim, F32 scale,
                       float* scores, const uint8_t* next) {
    F32 sums[N];
    unroll<N>([&](auto i) STERNA_LAMBDA { sums[i] = zero_f32(); });
    for (int64_t d = 0; d < head_dim; ++d) {
        prefetch(next + d * int64_t(16 * sizeof(*k)));
        F32 key = Cell::load(k + 16 * d);
        unroll<N>([&](auto i) STERNA_LAMBDA { sums[i] = sums[i] + splat(q[i * q_stride + d]) * key; });
    }
    unroll<N>([&](auto i) STERNA_LAMBDA { store(scores + i * kAttentionChunk, sums[i] * scale); });
}

// The same from int8: exact integer sums of 32 products, then sum = sum + (q scale * k scale) * float(integer), block
// after block.
template <int N>
inline void score_tile_q8(const uint8_t* k, const AttentionScratch& s, int64_t first_q, int64_t head_dim, F32 scale,
                          float* scores, const uint8_t* next) {
    const uint16_t* k_scales = reinterpret_cast<const uint16_t*>(k + 16 * head_dim);
    F32 sums[N];
    unroll<N>([&](auto i) STERNA_LAMBDA { sums[i] = splat(0.0f); });
    for (int64_t block = 0; block < head_dim / 32; ++block) {
        I32 products[N];
        unroll<N>([&](auto i) STERNA_LAMBDA { products[i] = zero_i32(); });
        for (int step = 0; step < 8; ++step) {
            prefetch(next + (block * 8 + step) * 64);
            B64 key = load_b64(k + (block * 8 + step) * 64);
            unroll<N>([&](auto i) STERNA_LAMBDA {
                B64 query = splat4(s.q_values + (first_q + i) * s.q_stride + block * 32 + step * 4);
                products[i] = dot4_s8(products[i], key, query);
            });
        }
        F32 key_scale = load_f16(k_scales + block * 16);
        unroll<N>([&](auto i) STERNA_LAMBDA {
            int64_t at = (first_q + i) * s.scale_stride + block;
            F32 factor = splat(s.q_scales[at]) * key_scale;
            sums[i] = sums[i] + factor * to_f32(settle_s8(products[i], s.q_sums[at]));
        });
    }
    unroll<N>([&](auto i) STERNA_LAMBDA { store(scores + i * kAttentionChunk, sums[i] * scale); });
}

template <class Cell>
STERNA_INLINE F32 load_cells(const typename Cell::Type* p, int64_t n) {
    typename Cell::Type lanes[16] = {};
    for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
    return Cell::load(lanes);
}

// out[i][c] += p[i][t] * v[t][c] for positions t in order; v(t) gives 16 channels of position t.
template <int N, class Values>
inline void add_values(Values v, int64_t n_positions, const float* p, float* out, int64_t out_stride,
                       const uint8_t* next, int64_t next_step) {
    F32 sums[N];
    unroll<N>([&](auto i) STERNA_LAMBDA { sums[i] = load_f32(out + i * out_stride); });
    for (int64_t t = 0; t < n_positions; ++t) {
        prefetch(next + t * next_step);
        F32 value = v(t);
        unroll<N>([&](auto i) STERNA_LAMBDA { sums[i] = sums[i] + splat(p[i * kAttentionChunk + t]) * value; });
    }
    unroll<N>([&](auto i) STERNA_LAMBDA { store(out + i * out_stride, sums[i]); });
}

template <int N, class Cell>
inline void add_value_rows(const typename Cell::Type* v, int64_t head_dim, int64_t n_positions, const float* p,
                           float* out, int64_t out_stride, const uint8_t* next) {
    constexpr int64_t step = 16 * sizeof(*v);
    int64_t c = 0;
    for (; c + 16 <= head_dim; c += 16, next += n_positions * step) {
        auto values = [v, c, head_dim](int64_t t) { return Cell::load(v + t * head_dim + c); };
        add_values<N>(values, n_positions, p, out + c, out_stride, next, step);
    }
    if (c < head_dim) {
        // The lanes past the row are never stored to the output; they may come from the next row, if there is one and
        // it is long enough.
        int64_t direct = head_dim >= 16 ? n_positions - 1 : 0;
        auto tail = [v, c, head_dim, direct](int64_t t) {
            const auto* row = v + t * head_dim + c;
            return t < direct ? Cell::load(row) : load_cells<Cell>(row, head_dim - c);
        };
        add_values<N>(tail, n_positions, p, out + c, out_stride, next, step);
    }
}

// A value is scale * int8, rounded, before its exponential multiplies it. Scales become floats for 512 channels at a
// time. Requires: n_positions <= kValueRun.
template <int N>
inline void add_values_q8(const uint8_t* v, int64_t head_dim, int64_t n_positions, const float* p, float* out,
                          int64_t out_stride, const uint8_t* next) {
    constexpr int64_t kBlocks = 16;
    alignas(64) float scales[kValueRun * kBlocks];
    int64_t row_bytes = head_dim + head_dim / 32 * 2;
    for (int64_t from = 0; from < head_dim; from += kBlocks * 32) {
        int64_t channels = head_dim - from < kBlocks * 32 ? head_dim - from : kBlocks * 32;
        for (int64_t t = 0; t < n_positions; ++t) {
            const uint16_t* row_scales = reinterpret_cast<const uint16_t*>(v + t * row_bytes + head_dim) + from / 32;
            // Lanes past this row's scales are not used; they may come from the next row, of at least 34 bytes, if
            // there is one.
            F32 row = t + 1 < n_positions ? load_f16(row_scales) : load_cells<HalfCell>(row_scales, channels / 32);
            store(scales + t * kBlocks, row);
        }
        for (int64_t c = 0; c < channels; c += 16, next += n_positions * 16) {
            const int8_t* q = reinterpret_cast<const int8_t*>(v) + from + c;
            const float* scale = scales + c / 32;
            auto values = [q, scale, row_bytes](int64_t t) {
                return splat(scale[t * kBlocks]) * to_f32(load_s8(q + t * row_bytes));
            };
            add_values<N>(values, n_positions, p, out + from + c, out_stride, next, 16);
        }
    }
}

// Calls f(integral constant N, first) for groups of N <= kQueryGroup query heads that cover n_q.
template <int N>
struct Width {
    static constexpr int value = N;
};

template <class F>
inline void for_query_groups(int64_t n_q, F f) {
    int64_t i = 0;
    if constexpr (kQueryGroup > 4)
        for (; i + kQueryGroup <= n_q; i += kQueryGroup) f(Width<kQueryGroup>{}, i);
    for (; i + 4 <= n_q; i += 4) f(Width<4>{}, i);
    switch (n_q - i) {
        case 3:
            f(Width<3>{}, i);
            break;
        case 2:
            f(Width<2>{}, i);
            break;
        case 1:
            f(Width<1>{}, i);
            break;
        default:
            break;
    }
}

inline void quantize_queries(const AttentionArgs& a, const AttentionScratch& s) {
    for (int64_t i = 0; i < a.n_q; ++i) {
        quantize_q8_32(a.q + i * a.q_stride, a.head_dim_k, s.q_values + i * s.q_stride, s.q_scales + i * s.scale_stride,
                       s.q_sums + i * s.scale_stride);
    }
}

inline const uint8_t* k_tile(const AttentionArgs& a, int64_t position) {
    int64_t tile = position % a.page_positions / kTilePositions;
    return a.pages[position / a.page_positions] + a.k_offset +
           tile * k_page_bytes(a.kind, kTilePositions, a.head_dim_k);
}

inline const uint8_t* v_row(const AttentionArgs& a, int64_t position) {
    int64_t slot = position % a.page_positions;
    return a.pages[position / a.page_positions] + a.v_offset + slot * v_page_bytes(a.kind, 1, a.head_dim_v);
}

// Scores of positions [low, high), which lie in one chunk, into s.scores[i][position % 512].
inline void score_chunk(const AttentionArgs& a, const AttentionScratch& s, int64_t low, int64_t high) {
    F32 scale = splat(a.scale);
    for (int64_t tile = low / kTilePositions * kTilePositions; tile < high; tile += kTilePositions) {
        const uint8_t* k = k_tile(a, tile);
        const uint8_t* next = tile + kTilePositions < high ? k_tile(a, tile + kTilePositions) : v_row(a, low);
        float* scores = s.scores + tile % kAttentionChunk;
        for_query_groups(a.n_q, [&](auto width, int64_t i) {
            constexpr int N = decltype(width)::value;
            float* to = scores + i * kAttentionChunk;
            const float* q = a.q + i * a.q_stride;
            switch (a.kind) {
                case KvKind::kF16:
                    score_tile<N, HalfCell>(reinterpret_cast<const uint16_t*>(k), q, a.q_stride, a.head_dim_k, scale,
                                            to, next);
                    break;
                case KvKind::kF32:
                    score_tile<N, FloatCell>(reinterpret_cast<const float*>(k), q, a.q_stride, a.head_dim_k, scale, to,
                                             next);
                    break;
                case KvKind::kQ8_0:
                    score_tile_q8<N>(k, s, i, a.head_dim_k, scale, to, next);
                    break;
            }
        });
    }
}

// Turns the scores of query head i_q into exponentials, low and high counted within the chunk. Lanes of the first and
// last tile outside [low, high) may hold anything, NaN too: they are overwritten with minus infinity before anything is
// computed from them.
inline void exponentials(const AttentionScratch& s, int64_t i_q, int64_t low, int64_t high, float cap) {
    float* scores = s.scores + i_q * kAttentionChunk;
    int64_t first = low / kTilePositions * kTilePositions, last = round_up_16(high);
    for (int64_t i = first; i < low; ++i) scores[i] = -__builtin_inff();
    for (int64_t i = high; i < last; ++i) scores[i] = -__builtin_inff();
    if (cap > 0) softcap(scores + low, cap, high - low, scores + low);
    F32 best = splat(-__builtin_inff());
    for (int64_t i = first; i < last; i += 16) best = max(best, load_f32(scores + i));
    float maximum = max_lane(best);
    F32 shift = splat(maximum), sum = splat(0.0f);
    for (int64_t i = first; i < last; i += 16) {
        F32 e = exp_v(load_f32(scores + i) - shift);
        store(scores + i, e);
        sum = sum + e;
    }
    s.chunk_maximum[i_q] = maximum;
    s.chunk_weight[i_q] = sum_lanes(sum);
}

// s.chunk[i] = sum over positions [low, high) of exponential * value.
inline void sum_values(const AttentionArgs& a, const AttentionScratch& s, int64_t low, int64_t high) {
    for (int64_t i = 0; i < a.n_q * s.value_stride; i += 16) store(s.chunk + i, zero_f32());
    for (int64_t at = low; at < high;) {
        // At most kValueRun positions of one page: they stay in the first-level cache for all query heads.
        int64_t slot = at % a.page_positions;
        int64_t n = a.page_positions - slot < high - at ? a.page_positions - slot : high - at;
        n = n < kValueRun ? n : kValueRun;
        const uint8_t* v = v_row(a, at);
        const uint8_t* next = at + n < high ? v_row(a, at + n) : high < a.end ? k_tile(a, high) : v;
        for_query_groups(a.n_q, [&](auto width, int64_t i) {
            constexpr int N = decltype(width)::value;
            const float* p = s.scores + i * kAttentionChunk + at % kAttentionChunk;
            float* out = s.chunk + i * s.value_stride;
            switch (a.kind) {
                case KvKind::kF16:
                    add_value_rows<N, HalfCell>(reinterpret_cast<const uint16_t*>(v), a.head_dim_v, n, p, out,
                                                s.value_stride, next);
                    break;
                case KvKind::kF32:
                    add_value_rows<N, FloatCell>(reinterpret_cast<const float*>(v), a.head_dim_v, n, p, out,
                                                 s.value_stride, next);
                    break;
                case KvKind::kQ8_0:
                    add_values_q8<N>(v, a.head_dim_v, n, p, out, s.value_stride, next);
                    break;
            }
        });
        at += n;
    }
}

// total = total * exp(maximum - both) + chunk * exp(chunk maximum - both), where both is the larger maximum; weights
// likewise.
inline void merge_chunk(const AttentionScratch& s, int64_t i, bool first) {
    float* total = s.total + i * s.value_stride;
    const float* added = s.chunk + i * s.value_stride;
    if (first) {
        s.maximum[i] = s.chunk_maximum[i];
        s.weight[i] = s.chunk_weight[i];
        for (int64_t c = 0; c < s.value_stride; c += 16) store(total + c, load_f32(added + c));
        return;
    }
    float both = s.maximum[i] > s.chunk_maximum[i] ? s.maximum[i] : s.chunk_maximum[i];
    float keep = exp_f32(s.maximum[i] - both), gain = exp_f32(s.chunk_maximum[i] - both);
    s.maximum[i] = both;
    s.weight[i] = s.weight[i] * keep + s.chunk_weight[i] * gain;
    F32 k = splat(keep), g = splat(gain);
    for (int64_t c = 0; c < s.value_stride; c += 16) {
        store(total + c, load_f32(total + c) * k + load_f32(added + c) * g);
    }
}

// out = total / weight; a sink adds exp(sink) to the weight and nothing to the sum.
inline void finish_attention(const AttentionArgs& a, const AttentionScratch& s, int64_t i) {
    const float* total = s.total + i * s.value_stride;
    float keep = 1, weight = s.weight[i];
    if (a.sinks) {
        float both = s.maximum[i] > a.sinks[i] ? s.maximum[i] : a.sinks[i];
        keep = exp_f32(s.maximum[i] - both);
        weight = weight * keep + exp_f32(a.sinks[i] - both);
    }
    F32 factor = splat(keep / weight);
    map(total, a.head_dim_v, a.out + i * a.out_stride, [factor](F32 v) { return v * factor; });
}

// The sums of one chunk stand in a part as the scratch's do: chunk, chunk_maximum, chunk_weight.
inline void take_sums(const AttentionArgs& a, AttentionScratch& s, float* part) {
    s.chunk = part;
    s.chunk_maximum = part + a.n_q * s.value_stride;
    s.chunk_weight = s.chunk_maximum + round_up_16(a.n_q);
}

void attention(const AttentionArgs& a) {
    AttentionScratch s = lay_out_scratch(a.scratch, a.head_dim_k, a.head_dim_v, a.n_q);
    if (a.part) take_sums(a, s, a.part);
    if (a.kind == KvKind::kQ8_0) quantize_queries(a, s);
    bool first = true;
    for (int64_t chunk = a.begin / kAttentionChunk * kAttentionChunk; chunk < a.end; chunk += kAttentionChunk) {
        int64_t low = a.begin > chunk ? a.begin : chunk;
        int64_t high = a.end < chunk + kAttentionChunk ? a.end : chunk + kAttentionChunk;
        score_chunk(a, s, low, high);
        for (int64_t i = 0; i < a.n_q; ++i) exponentials(s, i, low - chunk, high - chunk, a.softcap);
        sum_values(a, s, low, high);
        if (a.part) return;
        for (int64_t i = 0; i < a.n_q; ++i) merge_chunk(s, i, first);
        first = false;
    }
    for (int64_t i = 0; i < a.n_q; ++i) finish_attention(a, s, i);
}

void attention_merge(const AttentionArgs& a, const float* parts) {
    AttentionScratch s = lay_out_scratch(a.scratch, a.head_dim_k, a.head_dim_v, a.n_q);
    const int64_t first = a.begin / kAttentionChunk, last = (a.end - 1) / kAttentionChunk;
    const int64_t part_floats = attention_part_floats(a.head_dim_v, a.n_q);
    for (int64_t chunk = first; chunk <= last; ++chunk) {
        take_sums(a, s, const_cast<float*>(parts) + (chunk - first) * part_floats);
        for (int64_t i = 0; i < a.n_q; ++i) merge_chunk(s, i, chunk == first);
    }
    for (int64_t i = 0; i < a.n_q; ++i) finish_attention(a, s, i);
}

}  // namespace
}  // namespace sterna::kernels
