// exp, tanh and what activations need, over one vector: the same operations in the same order for 16 lanes (isa_*.cpp)
// and for one (math_f32.cpp), so that a scalar result is a lane's result. Coefficients: tools/make_math_golden.py
// --fit.

// e^x, at most 1.1 units in the last place, results below 2^-126 included; 0 and infinity beyond the range, NaN for
// NaN.
STERNA_INLINE F32 exp_v(F32 x) {
    // e^-104 = 2^-150.04 rounds to 0 and e^89 to infinity, so nothing outside needs its own path.
    const F32 low = splat(-104.0f), high = splat(89.0f), magic = splat(12582912.0f);
    x = select(lt(x, low), low, x);
    x = select(gt(x, high), high, x);
    // Adding 1.5 * 2^23 leaves round(x / ln 2) in the low bits: no conversion, whose result for NaN differs between
    // machines.
    F32 shifted = x * splat(0x1.715476p+0f) + magic;
    I32 n = as_i32(shifted) - as_i32(magic);
    F32 nf = shifted - magic;
    // ln 2 = 0x1.62e4p-1 (15 bits: its product with n is exact) + 0x1.7f7d1cp-20
    F32 r = (x - nf * splat(0x1.62e4p-1f)) - nf * splat(0x1.7f7d1cp-20f);
    F32 p = r * splat(0x1.6d75eep-10f) + splat(0x1.120be6p-7f);
    p = p * r + splat(0x1.5554b8p-5f);
    p = p * r + splat(0x1.5554dcp-3f);
    p = p * r + splat(0.5f);
    F32 e = splat(1.0f) + (r + r * r * p);
    // 2^n in two factors: a result below 2^-126 rounds once, one near 2^128 does not overflow early.
    I32 half = sar<1>(n);
    I32 bias = splat(int32_t(127));
    e = e * as_f32(shl<23>(half + bias));
    return e * as_f32(shl<23>(n - half + bias));
}

STERNA_INLINE F32 negate_v(F32 x) {
    return as_f32(as_i32(x) ^ splat(int32_t(0x80000000u)));
}

// At most 2 units in the last place.
STERNA_INLINE F32 tanh_v(F32 x) {
    const F32 one = splat(1.0f);
    F32 size = abs(x);
    F32 z = size * size;
    F32 p = z * splat(-0x1.90a25cp-8f) + splat(0x1.583aacp-6f);
    p = p * z + splat(-0x1.b92c2cp-5f);
    p = p * z + splat(0x1.110e3ep-3f);
    p = p * z + splat(-0x1.555552p-2f);
    F32 near = size + size * z * p;
    F32 far = one - splat(2.0f) / (exp_v(size + size) + one);
    F32 value = select(lt(size, splat(0.625f)), near, far);
    return as_f32(as_i32(value) | (as_i32(x) & splat(int32_t(0x80000000u))));
}

STERNA_INLINE F32 silu_v(F32 x) {
    return x / (splat(1.0f) + exp_v(negate_v(x)));
}

// 0.5 x (1 + tanh u) = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3): one exponential, and no cancellation.
STERNA_INLINE F32 gelu_v(F32 x) {
    F32 u = x * (splat(1.5957691216f) + splat(0.0713548163f) * (x * x));
    return x / (splat(1.0f) + exp_v(negate_v(u)));
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|), with Phi(-t) = exp(-t^2 / 2) w P(w), w = 1 / (1 + 0.4 t). Absolute error below
// 6e-8 and half a unit in the last place of the result.
STERNA_INLINE F32 gelu_erf_v(F32 x) {
    const F32 one = splat(1.0f);
    F32 size = abs(x);
    F32 w = one / (one + splat(0.4f) * size);
    F32 p = w * splat(-0x1.388ffep-5f) + splat(0x1.8c10c6p-3f);
    p = p * w + splat(-0x1.6f0c0cp-2f);
    p = p * w + splat(0x1.dd8d6ep-3f);
    p = p * w + splat(0x1.1e050ap-13f);
    p = p * w + splat(0x1.395332p-3f);
    p = p * w + splat(0x1.41f0a6p-3f);
    p = p * w + splat(0x1.471286p-3f);
    F32 tail = exp_v(splat(-0.5f) * size * size) * (w * p);
    return max(x, splat(0.0f)) - size * tail;
}
