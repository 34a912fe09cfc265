// Row operations: norms, RoPE, elementwise arithmetic, activations, softmax. Element i belongs to lane i % 16; a last
// group shorter than 16 is filled with zeros (sums) or with minus infinity (softmax), so that it adds nothing to the
// other lanes. Needs quantize.inl (max_lane).
namespace sterna::kernels {
namespace {

#include "kernels/math.inl"

// The first n lanes of p, the others minus infinity. n in 1..16.
STERNA_INLINE F32 load_first_or_low(const float* p, int64_t n) {
    float lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = i < n ? p[i] : -__builtin_inff();
    return load_f32(lanes);
}

// The fixed tree: lanes 8 apart, then 4, 2, 1.
inline float sum_lanes(F32 v) {
    alignas(64) float lanes[16];
    store(lanes, v);
    for (int step = 8; step > 0; step /= 2) {
        for (int i = 0; i < step; ++i) lanes[i] = lanes[i] + lanes[i + step];
    }
    return lanes[0];
}

inline float first_lane(F32 v) {
    alignas(64) float lanes[16];
    store(lanes, v);
    return lanes[0];
}

// y[i] = f(x[i]). y may be x.
template <class F>
inline void map(const float* x, int64_t n, float* y, F f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(y + i, f(load_f32(x + i)));
    if (i < n) store_first(y + i, f(load_first(x + i, int(n - i))), int(n - i));
}

// y[i] = f(a[i], b[i]). y may be a or b.
template <class F>
inline void map(const float* a, const float* b, int64_t n, float* y, F f) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) store(y + i, f(load_f32(a + i), load_f32(b + i)));
    if (i < n) store_first(y + i, f(load_first(a + i, int(n - i)), load_first(b + i, int(n - i))), int(n - i));
}

// 16 strided partial sums of f(x[i]) and the tree; f's result in lanes past n is dropped.
template <class F>
inline float sum_of(const float* x, int64_t n, F f) {
    F32 sum = splat(0.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) sum = sum + f(load_f32(x + i));
    if (i < n) {
        alignas(64) float lanes[16];
        store(lanes, f(load_first(x + i, int(n - i))));
        sum = sum + load_first(lanes, int(n - i));
    }
    return sum_lanes(sum);
}

inline float inverse_root(float x) {
    return first_lane(splat(1.0f) / sqrt(splat(x)));
}

void rms_norm(const float* x, const float* weight, float eps, int64_t n, float* y) {
    float squares = sum_of(x, n, [](F32 v) { return v * v; });
    F32 factor = splat(inverse_root(squares / float(n) + eps));
    if (weight) {
        map(x, weight, n, y, [factor](F32 v, F32 w) { return v * factor * w; });
    } else {
        map(x, n, y, [factor](F32 v) { return v * factor; });
    }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y) {
    F32 mean = splat(sum_of(x, n, [](F32 v) { return v; }) / float(n));
    float squares = sum_of(x, n, [mean](F32 v) {
        F32 d = v - mean;
        return d * d;
    });
    F32 factor = splat(inverse_root(squares / float(n) + eps));
    if (weight) {
        map(x, weight, n, y, [mean, factor](F32 v, F32 w) { return (v - mean) * factor * w; });
    } else {
        map(x, n, y, [mean, factor](F32 v) { return (v - mean) * factor; });
    }
    if (bias) map(y, bias, n, y, [](F32 v, F32 b) { return v + b; });
}

// Neighbours turn together: plain code, which compilers turn into shuffles; each value is one product minus or plus
// another.
void rope_adjacent(float* x, int64_t n_heads, int64_t head_dim, int64_t n_pairs, const float* cosine,
                   const float* sine) {
    for (int64_t h = 0; h < n_heads; ++h) {
        float* __restrict head = x + h * head_dim;
        for (int64_t i = 0; i < n_pairs; ++i) {
            float a = head[2 * i], b = head[2 * i + 1];
            head[2 * i] = a * cosine[i] - b * sine[i];
            head[2 * i + 1] = a * sine[i] + b * cosine[i];
        }
    }
}

void rope_half(float* x, int64_t n_heads, int64_t head_dim, int64_t n_pairs, const float* cosine, const float* sine) {
    for (int64_t h = 0; h < n_heads; ++h) {
        float* first = x + h * head_dim;
        float* second = first + n_pairs;
        int64_t i = 0;
        for (; i + 16 <= n_pairs; i += 16) {
            F32 a = load_f32(first + i), b = load_f32(second + i), c = load_f32(cosine + i), s = load_f32(sine + i);
            store(first + i, a * c - b * s);
            store(second + i, a * s + b * c);
        }
        for (; i < n_pairs; ++i) {
            float a = first[i], b = second[i];
            first[i] = a * cosine[i] - b * sine[i];
            second[i] = a * sine[i] + b * cosine[i];
        }
    }
}

void add_rows(const float* a, const float* b, int64_t n, float* y) {
    map(a, b, n, y, [](F32 u, F32 v) { return u + v; });
}
void mul_rows(const float* a, const float* b, int64_t n, float* y) {
    map(a, b, n, y, [](F32 u, F32 v) { return u * v; });
}
void scale_row(const float* a, float factor, int64_t n, float* y) {
    F32 f = splat(factor);
    map(a, n, y, [f](F32 u) { return u * f; });
}
void add_scaled(const float* a, const float* b, float factor, int64_t n, float* y) {
    F32 f = splat(factor);
    map(a, b, n, y, [f](F32 u, F32 v) { return u + v * f; });
}

void silu_mul(const float* gate, const float* up, int64_t n, float* y) {
    map(gate, up, n, y, [](F32 g, F32 u) { return silu_v(g) * u; });
}
void gelu_mul(const float* gate, const float* up, int64_t n, float* y) {
    map(gate, up, n, y, [](F32 g, F32 u) { return gelu_v(g) * u; });
}
void relu2_mul(const float* gate, const float* up, int64_t n, float* y) {
    map(gate, up, n, y, [](F32 g, F32 u) {
        F32 r = max(g, splat(0.0f));
        return r * r * u;
    });
}
void gelu(const float* x, int64_t n, float* y) {
    map(x, n, y, [](F32 v) { return gelu_v(v); });
}
void gelu_erf(const float* x, int64_t n, float* y) {
    map(x, n, y, [](F32 v) { return gelu_erf_v(v); });
}
void silu(const float* x, int64_t n, float* y) {
    map(x, n, y, [](F32 v) { return silu_v(v); });
}
void softcap(const float* x, float cap, int64_t n, float* y) {
    F32 c = splat(cap);
    map(x, n, y, [c](F32 v) { return c * tanh_v(v / c); });
}

inline float max_of(const float* x, int64_t n) {
    F32 best = splat(-__builtin_inff());
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) best = max(best, load_f32(x + i));
    if (i < n) best = max(best, load_first_or_low(x + i, n - i));
    return max_lane(best);
}

float softmax(const float* x, int64_t n, float* y) {
    float top = max_of(x, n);
    F32 shift = splat(top);
    F32 sum = splat(0.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        F32 e = exp_v(load_f32(x + i) - shift);
        store(y + i, e);
        sum = sum + e;
    }
    if (i < n) {
        F32 e = exp_v(load_first_or_low(x + i, n - i) - shift);
        store_first(y + i, e, int(n - i));
        sum = sum + e;
    }
    float total = sum_lanes(sum);
    scale_row(y, 1.0f / total, n, y);
    return log_f32(total) + top;
}

float log_sum_exp(const float* x, int64_t n) {
    float top = max_of(x, n);
    F32 shift = splat(top);
    F32 sum = splat(0.0f);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) sum = sum + exp_v(load_f32(x + i) - shift);
    if (i < n) sum = sum + exp_v(load_first_or_low(x + i, n - i) - shift);
    return log_f32(sum_lanes(sum)) + top;
}

}  // namespace
}  // namespace sterna::kernels
