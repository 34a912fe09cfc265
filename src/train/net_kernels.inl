// The bodies of net_kernels.h for the instruction set that the including file has chosen.
#include "simd/vec.h"
#include "train/flush_denormals.h"
#include "train/net_kernels.h"

namespace sterna::train {
namespace {

using namespace sterna::simd;
using namespace sterna::simd::STERNA_ISA_NS;

#include "kernels/math.inl"

// a * b + c, rounded once.
#if defined(STERNA_ISA_AVX512)
STERNA_INLINE F32 fma(F32 a, F32 b, F32 c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
constexpr int kPanelsTogether = 2;  // 12 of 32 registers hold sums: more than latency times throughput
#elif defined(STERNA_ISA_AVX2)
STERNA_INLINE F32 fma(F32 a, F32 b, F32 c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
constexpr int kPanelsTogether = 1;
#elif defined(STERNA_ISA_NEON)
STERNA_INLINE F32 fma(F32 a, F32 b, F32 c) {
    return {vfmaq_f32(c.a, a.a, b.a), vfmaq_f32(c.b, a.b, b.b), vfmaq_f32(c.c, a.c, b.c), vfmaq_f32(c.d, a.d, b.d)};
}
constexpr int kPanelsTogether = 1;
#else
STERNA_INLINE F32 fma(F32 a, F32 b, F32 c) {
    for (int i = 0; i < kLanes; ++i) c.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
    return c;
}
constexpr int kPanelsTogether = 1;
#endif

// ---- Matrix products ----------------------------------------------------------------------------------------------

// Sums stay in registers only where the compiler sees each of them by name.
#define STERNA_UNROLL _Pragma("GCC unroll 8")

// R rows times P panels of 16 columns; k terms.
template <int R, int P>
STERNA_INLINE void tile(const float* a, int64_t a_row, int64_t a_term, const float* b, int64_t panel, int64_t k,
                        F32 (&sums)[R][P]) {
    STERNA_UNROLL
    for (int r = 0; r < R; ++r) {
        STERNA_UNROLL
        for (int p = 0; p < P; ++p) sums[r][p] = zero_f32();
    }
    for (int64_t t = 0; t < k; ++t) {
        F32 columns[P];
        STERNA_UNROLL
        for (int p = 0; p < P; ++p) columns[p] = load_f32(b + p * panel);
        STERNA_UNROLL
        for (int r = 0; r < R; ++r) {
            F32 value = splat(a[r * a_row]);
            STERNA_UNROLL
            for (int p = 0; p < P; ++p) sums[r][p] = fma(value, columns[p], sums[r][p]);
        }
        a += a_term;
        b += kPanelColumns;
    }
}

template <int R, int P>
inline void store_tile(F32 (&sums)[R][P], float* c, int64_t c_row, int64_t columns, bool add) {
    STERNA_UNROLL
    for (int r = 0; r < R; ++r) {
        STERNA_UNROLL
        for (int p = 0; p < P; ++p) {
            float* to = c + r * c_row + p * kPanelColumns;
            const int64_t left = columns - p * kPanelColumns;
            if (left >= kPanelColumns) {
                store(to, add ? load_f32(to) + sums[r][p] : sums[r][p]);
            } else if (left > 0) {
                store_first(to, add ? load_first(to, int(left)) + sums[r][p] : sums[r][p], int(left));
            }
        }
    }
}

template <int R, int P>
void tile_product(const float* a, int64_t a_row, int64_t a_term, const float* b, int64_t panel, int64_t k, float* c,
                  int64_t c_row, int64_t columns, bool add) {
    F32 sums[R][P];
    for (int r = 0; r < R; ++r)
        for (int p = 0; p < P; ++p) prefetch(c + r * c_row + p * kPanelColumns);
    // A is either packed or lies row by row: with the step known, the loop needs one pointer for it.
    if (a_row == 1 && a_term == kPanelRows) {
        tile<R, P>(a, 1, kPanelRows, b, panel, k, sums);
    } else {
        tile<R, P>(a, a_row, a_term, b, panel, k, sums);
    }
    store_tile<R, P>(sums, c, c_row, columns, add);
}

template <int N>
struct Rows {
    static constexpr int n = N;
};

template <int P>
void panel_product(const GemmArgs& g, const float* a, const float* b, int64_t panel, int64_t k, int64_t column,
                   bool add) {
    float* c = g.c + column;
    const int64_t columns = g.n - column;
    int64_t i = 0;
    // The next panels come from the L2 or L3 cache; their lines are asked for while these are at work.
    const float* next = b + P * panel;
    const int64_t next_floats = (P * panel * kPanelRows / (g.m > 0 ? g.m : 1) + 15) / 16 * 16;
    auto rows = [&](auto count) STERNA_LAMBDA {
        for (int64_t line = 0; line < next_floats; line += 16) prefetch(next + line);
        next += next_floats;
        tile_product<decltype(count)::n, P>(a, g.a_row, g.a_term, b, panel, k, c + i * g.c_row, g.c_row, columns, add);
    };
    for (; i + kPanelRows <= g.m; i += kPanelRows, a += g.a_group) rows(Rows<int(kPanelRows)>{});
    switch (g.m - i) {
        case 1:
            return rows(Rows<1>{});
        case 2:
            return rows(Rows<2>{});
        case 3:
            return rows(Rows<3>{});
        case 4:
            return rows(Rows<4>{});
        case 5:
            return rows(Rows<5>{});
        default:
            return;
    }
}

void gemm(const GemmArgs& g) {
    const float* a = g.a;
    const float* b = g.b;
    for (int64_t t = 0; t < g.k; t += kDepth) {
        const int64_t k = g.k - t < kDepth ? g.k - t : kDepth;
        const int64_t depth = g.b_rows - t < kDepth ? g.b_rows - t : kDepth;
        const int64_t panel = depth * kPanelColumns;
        const bool add = g.add || t > 0;
        int64_t j = 0;
        for (; j + (kPanelsTogether - 1) * kPanelColumns < g.n; j += kPanelsTogether * kPanelColumns)
            panel_product<kPanelsTogether>(g, a, b + j * depth, panel, k, j, add);
        for (; j < g.n; j += kPanelColumns) panel_product<1>(g, a, b + j * depth, panel, k, j, add);
        a += k * g.a_term;
        b += depth * g.b_columns;
    }
}

// R rows times a panel, as TDPBF16PS adds up.
template <int R>
void bf16_rows(const GemmArgs& g, const float* a, const float* b, int64_t k, float* c, int64_t columns, bool add) {
    F32 sums[R][1];
    STERNA_UNROLL
    for (int r = 0; r < R; ++r) sums[r][0] = zero_f32();
    for (int64_t t = 0; t < k; t += kBf16Terms) {
        const int64_t terms = k - t < kBf16Terms ? k - t : kBf16Terms;
        F32 even[R], odd[R];
        STERNA_UNROLL
        for (int r = 0; r < R; ++r) even[r] = odd[r] = zero_f32();
        for (int64_t pair = 0; pair < terms / 2; ++pair, a += 2 * g.a_term, b += 2 * kPanelColumns) {
            const F32 first = load_f32(b), second = load_f32(b + kPanelColumns);
            STERNA_UNROLL
            for (int r = 0; r < R; ++r) {
                even[r] = fma(splat(a[r * g.a_row]), first, even[r]);
                odd[r] = fma(splat(a[r * g.a_row + g.a_term]), second, odd[r]);
            }
        }
        if (terms % 2 == 1) {
            const F32 last = load_f32(b);
            STERNA_UNROLL
            for (int r = 0; r < R; ++r) even[r] = fma(splat(a[r * g.a_row]), last, even[r]);
        }
        STERNA_UNROLL
        for (int r = 0; r < R; ++r) {
            // The zeros that fill a tile up make a zero's sign positive.
            if (terms + 1 < kBf16Terms) even[r] = even[r] + zero_f32();
            if (terms < kBf16Terms) odd[r] = odd[r] + zero_f32();
            sums[r][0] = sums[r][0] + (even[r] + odd[r]);
        }
    }
    store_tile<R, 1>(sums, c, g.c_row, columns, add);
}

constexpr int64_t kBf16Rows = 3;  // twice as many chains of sums as in tile()
static_assert(kPanelRows % kBf16Rows == 0);

__attribute__((noinline)) void multiply_bf16(const GemmArgs& g) {
    const float* a = g.a;
    const float* b = g.b;
    for (int64_t t = 0; t < g.k; t += kDepth) {
        const int64_t k = g.k - t < kDepth ? g.k - t : kDepth;
        const int64_t depth = g.b_rows - t < kDepth ? g.b_rows - t : kDepth;
        const bool add = g.add || t > 0;
        for (int64_t j = 0; j < g.n; j += kPanelColumns) {
            for (int64_t i = 0; i < g.m; i += kBf16Rows) {
                const float* rows = a + i / kPanelRows * g.a_group + i % kPanelRows * g.a_row;
                float* c = g.c + i * g.c_row + j;
                switch (g.m - i) {
                    case 1:
                        bf16_rows<1>(g, rows, b + j * depth, k, c, g.n - j, add);
                        break;
                    case 2:
                        bf16_rows<2>(g, rows, b + j * depth, k, c, g.n - j, add);
                        break;
                    default:
                        bf16_rows<kBf16Rows>(g, rows, b + j * depth, k, c, g.n - j, add);
                }
            }
        }
        a += k * g.a_term;
        b += depth * g.b_columns;
    }
}

void gemm_bf16(const GemmArgs& g) {
    const FlushDenormals flush;
    multiply_bf16(g);
}

// Rows of a matrix lie far apart, where no hardware looks ahead: a few rows at a time, the next ones on their way.
constexpr int64_t kRowsTogether = 16;

template <class T>
STERNA_INLINE void prefetch_rows(const T* x, int64_t x_row, int64_t n_rows, int64_t n) {
    for (int64_t i = 0; i < n_rows; ++i)
        for (int64_t j = 0; j < n; j += 64 / int64_t(sizeof(T))) prefetch(x + i * x_row + j);
}

// Calls f(first row, rows, first column, columns) for groups of kRowsTogether rows and kColumns columns.
template <int64_t kColumns, class T, class F>
STERNA_INLINE void for_groups(const T* x, int64_t x_row, int64_t k, int64_t n, F f) {
    for (int64_t t = 0; t < k; t += kRowsTogether) {
        const int64_t rows = k - t < kRowsTogether ? k - t : kRowsTogether;
        prefetch_rows(x + (t + rows) * x_row, x_row, k - t - rows < kRowsTogether ? k - t - rows : kRowsTogether, n);
        for (int64_t j = 0; j < n; j += kColumns) f(t, rows, j, n - j < kColumns ? n - j : kColumns);
    }
}

void pack_rows(const float* x, int64_t x_row, int64_t k, int64_t n, int64_t panel, float* b) {
    for_groups<kPanelColumns>(x, x_row, k, n, [=](int64_t t, int64_t rows, int64_t j, int64_t columns) STERNA_LAMBDA {
        const float* from = x + t * x_row + j;
        float* to = b + j / kPanelColumns * panel + t * kPanelColumns;
        if (columns == kPanelColumns) {
            for (int64_t i = 0; i < rows; ++i) store(to + i * kPanelColumns, load_f32(from + i * x_row));
        } else {
            for (int64_t i = 0; i < rows; ++i)
                store(to + i * kPanelColumns, load_first(from + i * x_row, int(columns)));
        }
    });
}

void pack_rows_s8(const int8_t* x, int64_t x_row, int64_t k, int64_t n, int64_t panel, int8_t* b) {
    for_groups<kPanelColumns>(x, x_row, k, n, [=](int64_t t, int64_t rows, int64_t j, int64_t columns) STERNA_LAMBDA {
        const int8_t* from = x + t * x_row + j;
        int8_t* to = b + j / kPanelColumns * panel + t * kPanelColumns;
        for (int64_t i = 0; i < rows; ++i, from += x_row, to += kPanelColumns) {
            if (columns == kPanelColumns) {
                __builtin_memcpy(to, from, size_t(kPanelColumns));
            } else {
                for (int64_t lane = 0; lane < kPanelColumns; ++lane) to[lane] = lane < columns ? from[lane] : int8_t(0);
            }
        }
    });
}

void unpack_s8(const int8_t* x, const float* scale, int64_t k, int64_t n, int64_t panel, float* to) {
    for (int64_t j = 0; j < n; j += kPanelColumns, x += panel)
        for (int64_t t = 0; t < k; ++t, to += kPanelColumns)
            store(to, to_f32(load_s8(x + t * kPanelColumns)) * splat(scale[t]));
}

void pack_columns(const float* x, int64_t x_row, int64_t k, int64_t n, int64_t panel, float* b) {
    for (int64_t j = 0; j < n; j += kPanelColumns, b += panel) {
        const float* from = x + j * x_row;
        const int64_t left = n - j < kPanelColumns ? n - j : kPanelColumns;
        for (int64_t t = 0; t < k; ++t) {
            float* __restrict row = b + t * kPanelColumns;
            for (int64_t lane = 0; lane < left; ++lane) row[lane] = from[lane * x_row + t];
            for (int64_t lane = left; lane < kPanelColumns; ++lane) row[lane] = 0.0f;
        }
    }
}

void pack_turned(const float* x, int64_t x_row, int64_t k, int64_t n, int64_t group, float* a) {
    for_groups<kPanelRows>(x, x_row, k, n, [=](int64_t t, int64_t rows, int64_t j, int64_t columns) STERNA_LAMBDA {
        const float* from = x + t * x_row + j;
        float* to = a + j / kPanelRows * group + t * kPanelRows;
        for (int64_t i = 0; i < rows; ++i, from += x_row, to += kPanelRows) {
            if (columns == kPanelRows) {
                __builtin_memcpy(to, from, size_t(kPanelRows) * sizeof(float));
            } else {
                for (int64_t c = 0; c < kPanelRows; ++c) to[c] = c < columns ? from[c] : 0.0f;
            }
        }
    });
}

// ---- Rows ---------------------------------------------------------------------------------------------------------

// Calls f(i, how to load and put) for groups of 16; in the last, shorter one lanes past n read as zero and are not written.
struct Whole {
    STERNA_INLINE F32 load(const float* p) const { return load_f32(p); }
    STERNA_INLINE void put(float* p, F32 x) const { store(p, x); }
};
struct Part {
    int n;
    STERNA_INLINE F32 load(const float* p) const { return load_first(p, n); }
    STERNA_INLINE void put(float* p, F32 x) const { store_first(p, x, n); }
};
template <class F>
STERNA_INLINE void for_lanes(int64_t n, F f) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) f(i, Whole{});
    if (i < n) f(i, Part{int(n - i)});
}

inline float sum_lanes(F32 v) {
    alignas(64) float lanes[16];
    store(lanes, v);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; ++i) lanes[i] = lanes[i] + lanes[i + step];
    return lanes[0];
}
inline float max_lane(F32 v) {
    alignas(64) float lanes[16];
    store(lanes, v);
    for (int step = 8; step > 0; step /= 2)
        for (int i = 0; i < step; ++i) lanes[i] = lanes[i] > lanes[i + step] ? lanes[i] : lanes[i + step];
    return lanes[0];
}
inline float inverse_root(float x) {
    alignas(64) float lanes[16];
    store(lanes, splat(1.0f) / sqrt(splat(x)));
    return lanes[0];
}

void rms_norm_backward(const float* x, const float* weight, const float* dy, float eps, int64_t n, const float* add,
                       float* dx, float* dweight) {
    F32 squares = zero_f32(), products = zero_f32();
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        F32 v = lanes.load(x + i);
        squares = fma(v, v, squares);
        products = fma(lanes.load(dy + i) * lanes.load(weight + i), v, products);
    });
    const float root = inverse_root(sum_lanes(squares) / float(n) + eps);
    const F32 factor = splat(root);
    const F32 along = splat(-(sum_lanes(products) / float(n) * root * root * root));
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        F32 v = lanes.load(x + i), d = lanes.load(dy + i);
        lanes.put(dweight + i, fma(d * v, factor, lanes.load(dweight + i)));
        F32 result = fma(v, along, d * lanes.load(weight + i) * factor);
        lanes.put(dx + i, add ? lanes.load(add + i) + result : result);
    });
}

void silu_mul_backward(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup) {
    const F32 one = splat(1.0f);
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        F32 g = lanes.load(gate + i), u = lanes.load(up + i), d = lanes.load(dy + i);
        F32 sigmoid = one / (one + exp_v(negate_v(g)));
        F32 silu = g * sigmoid;
        lanes.put(dup + i, d * silu);
        lanes.put(dgate + i, d * u * (sigmoid + silu * (one - sigmoid)));
    });
}

void relu2_mul_backward(const float* gate, const float* up, const float* dy, int64_t n, float* dgate, float* dup) {
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        F32 r = max(lanes.load(gate + i), splat(0.0f)), u = lanes.load(up + i), d = lanes.load(dy + i);
        lanes.put(dup + i, d * (r * r));
        lanes.put(dgate + i, d * u * (r + r));
    });
}

float quantize_row(const float* x, int64_t n, float smallest, int8_t* q, float* as_float, int16_t* sums) {
    F32 largest = zero_f32();
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA { largest = max(largest, abs(lanes.load(x + i))); });
    float top = max_lane(largest);
    if (!(top > smallest)) top = smallest;
    const F32 inverse = splat(127.0f / top), limit = splat(127.0f), low = splat(-127.0f);
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        I32 rounded = round_i32(min(max(lanes.load(x + i) * inverse, low), limit));
        if (as_float) lanes.put(as_float + i, to_f32(rounded));
        alignas(64) int32_t values[kLanes];
        if (i + kLanes > n || sums) store(values, rounded);
        if (sums) {
            int32_t sum = 0;
            for (int lane = 0; lane < kLanes; ++lane) sum += values[lane];
            sums[i / kLanes] = int16_t(sum);
        }
        if (i + kLanes <= n) return store_s8(q + i, rounded);
        for (int64_t lane = 0; i + lane < n; ++lane) q[i + lane] = int8_t(values[lane]);
    });
    return top / 127.0f;
}

void s8_to_f32(const int8_t* q, int64_t n, float* y) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(y + i, to_f32(load_s8(q + i)));
    for (; i < n; ++i) y[i] = float(q[i]);
}

void scale_columns(float* y, float row_scale, const float* column_scale, int64_t n) {
    const F32 row = splat(row_scale);
    for_lanes(n, [&](int64_t i, auto lanes)
                     STERNA_LAMBDA { lanes.put(y + i, lanes.load(y + i) * (row * lanes.load(column_scale + i))); });
}

void ternarize(const float* x, float factor, int64_t n, float* y) {
    const F32 f = splat(factor), one = splat(1.0f), minus = splat(-1.0f);
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        lanes.put(y + i, to_f32(round_i32(min(max(lanes.load(x + i) * f, minus), one))));
    });
}

float dot(const float* a, const float* b, int64_t n) {
    F32 sum = zero_f32();
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA { sum = fma(lanes.load(a + i), lanes.load(b + i), sum); });
    return sum_lanes(sum);
}

float sum_abs(const float* x, int64_t n) {
    F32 sum = zero_f32();
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA { sum = sum + abs(lanes.load(x + i)); });
    return sum_lanes(sum);
}

void exp_minus(const float* x, float offset, int64_t n, float* y) {
    const F32 o = splat(offset);
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA { lanes.put(y + i, exp_v(lanes.load(x + i) - o)); });
}

void softmax_backward(const float* p, const float* dp, float delta, float scale, int64_t n, float* ds) {
    const F32 d = splat(delta), s = splat(scale);
    for_lanes(n, [&](int64_t i, auto lanes)
                     STERNA_LAMBDA { lanes.put(ds + i, lanes.load(p + i) * (lanes.load(dp + i) - d) * s); });
}

void round_bf16(const float* x, int64_t n, float* y) {
    const I32 almost_half = splat(int32_t(0x7fff)), one = splat(int32_t(1)), high = splat(int32_t(0xffff0000u));
    for_lanes(n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        const I32 bits = as_i32(lanes.load(x + i));
        lanes.put(y + i, as_f32((bits + almost_half + (shr<16>(bits) & one)) & high));
    });
}

void adam(const AdamArgs& a) {
    const F32 clip = splat(a.gradient_scale), beta1 = splat(a.beta1), beta2 = splat(a.beta2);
    const F32 rest1 = splat(1.0f - a.beta1), rest2 = splat(1.0f - a.beta2);
    const F32 rate = splat(-a.rate), scale = splat(a.square_scale), epsilon = splat(a.epsilon), keep = splat(a.keep);
    for_lanes(a.n, [&](int64_t i, auto lanes) STERNA_LAMBDA {
        F32 g = lanes.load(a.gradient + i) * clip;
        F32 mean = fma(beta1, lanes.load(a.mean + i), rest1 * g);
        F32 square = fma(beta2, lanes.load(a.square + i), rest2 * (g * g));
        lanes.put(a.mean + i, mean);
        lanes.put(a.square + i, square);
        F32 step = mean / (sqrt(square * scale) + epsilon);
        lanes.put(a.value + i, fma(step, rate, lanes.load(a.value + i) * keep));
    });
}

void scale_add(float a, const float* x, float b, int64_t n, float* y) {
    const F32 u = splat(a), v = splat(b);
    for_lanes(n, [&](int64_t i, auto lanes)
                     STERNA_LAMBDA { lanes.put(y + i, fma(u, lanes.load(x + i), v * lanes.load(y + i))); });
}

}  // namespace

extern const NetKernels STERNA_TABLE;
const NetKernels STERNA_TABLE = {
    .name = STERNA_TABLE_NAME,
    .gemm = gemm,
    .gemm_bf16 = gemm_bf16,
    .pack_rows = pack_rows,
    .pack_rows_s8 = pack_rows_s8,
    .unpack_s8 = unpack_s8,
    .pack_columns = pack_columns,
    .pack_turned = pack_turned,
    .rms_norm_backward = rms_norm_backward,
    .silu_mul_backward = silu_mul_backward,
    .relu2_mul_backward = relu2_mul_backward,
    .quantize_row = quantize_row,
    .s8_to_f32 = s8_to_f32,
    .scale_columns = scale_columns,
    .ternarize = ternarize,
    .dot = dot,
    .sum_abs = sum_abs,
    .exp_minus = exp_minus,
    .softmax_backward = softmax_backward,
    .round_bf16 = round_bf16,
    .adam = adam,
    .scale_add = scale_add,
};

}  // namespace sterna::train
