// The wrapper on WebAssembly SIMD128: four 128-bit quarters. See vec.h.
#pragma once

#include <wasm_simd128.h>

#include "simd/vec.h"

namespace sterna::simd::wasm {
namespace {

struct F32 {
    v128_t a, b, c, d;
};
struct I32 {
    v128_t a, b, c, d;
};
struct B64 {
    v128_t a, b, c, d;
};
struct Mask {
    v128_t a, b, c, d;
};
struct Table16 {
    v128_t v;
};
using Chain = I32;
using Scale = I32;

#define STERNA_1(f, x) {f((x).a), f((x).b), f((x).c), f((x).d)}
#define STERNA_2(f, x, y) {f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)}
#define STERNA_N(f, x, n) {f((x).a, n), f((x).b, n), f((x).c, n), f((x).d, n)}

template <typename T>
STERNA_INLINE T load_any(const void* from) {
    const uint8_t* p = static_cast<const uint8_t*>(from);
    return {wasm_v128_load(p), wasm_v128_load(p + 16), wasm_v128_load(p + 32), wasm_v128_load(p + 48)};
}
template <typename T>
STERNA_INLINE void store_any(void* to, T x) {
    uint8_t* p = static_cast<uint8_t*>(to);
    wasm_v128_store(p, x.a), wasm_v128_store(p + 16, x.b), wasm_v128_store(p + 32, x.c), wasm_v128_store(p + 48, x.d);
}
STERNA_INLINE F32 load_f32(const float* p) {
    return load_any<F32>(p);
}
STERNA_INLINE I32 load_i32(const int32_t* p) {
    return load_any<I32>(p);
}
STERNA_INLINE B64 load_b64(const void* p) {
    return load_any<B64>(p);
}
STERNA_INLINE void store(float* p, F32 x) {
    store_any(p, x);
}
STERNA_INLINE void store(int32_t* p, I32 x) {
    store_any(p, x);
}
STERNA_INLINE void store(uint8_t* p, B64 x) {
    store_any(p, x);
}
STERNA_INLINE F32 splat(float x) {
    v128_t v = wasm_f32x4_splat(x);
    return {v, v, v, v};
}
STERNA_INLINE I32 splat(int32_t x) {
    v128_t v = wasm_i32x4_splat(x);
    return {v, v, v, v};
}
STERNA_INLINE B64 splat_u8(uint8_t x) {
    v128_t v = wasm_u8x16_splat(x);
    return {v, v, v, v};
}
STERNA_INLINE F32 zero_f32() {
    return splat(0.0f);
}
STERNA_INLINE I32 zero_i32() {
    return splat(int32_t(0));
}
STERNA_INLINE B64 zero_b64() {
    return splat_u8(0);
}

STERNA_INLINE F32 operator+(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_add, x, y);
}
STERNA_INLINE F32 operator-(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_sub, x, y);
}
STERNA_INLINE F32 operator*(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_mul, x, y);
}
STERNA_INLINE F32 operator/(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_div, x, y);
}
STERNA_INLINE F32 sqrt(F32 x) {
    return STERNA_1(wasm_f32x4_sqrt, x);
}
STERNA_INLINE F32 abs(F32 x) {
    return STERNA_1(wasm_f32x4_abs, x);
}
// pmin(y, x) is "x < y ? x : y", pmax(y, x) is "y < x ? x : y".
STERNA_INLINE F32 min(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_pmin, y, x);
}
STERNA_INLINE F32 max(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_pmax, y, x);
}

STERNA_INLINE I32 operator+(I32 x, I32 y) {
    return STERNA_2(wasm_i32x4_add, x, y);
}
STERNA_INLINE I32 operator-(I32 x, I32 y) {
    return STERNA_2(wasm_i32x4_sub, x, y);
}
STERNA_INLINE I32 operator*(I32 x, I32 y) {
    return STERNA_2(wasm_i32x4_mul, x, y);
}
STERNA_INLINE I32 operator&(I32 x, I32 y) {
    return STERNA_2(wasm_v128_and, x, y);
}
STERNA_INLINE I32 operator|(I32 x, I32 y) {
    return STERNA_2(wasm_v128_or, x, y);
}
STERNA_INLINE I32 operator^(I32 x, I32 y) {
    return STERNA_2(wasm_v128_xor, x, y);
}
template <int N>
STERNA_INLINE I32 shl(I32 x) {
    return STERNA_N(wasm_i32x4_shl, x, N);
}
template <int N>
STERNA_INLINE I32 shr(I32 x) {
    return STERNA_N(wasm_u32x4_shr, x, N);
}
template <int N>
STERNA_INLINE I32 sar(I32 x) {
    return STERNA_N(wasm_i32x4_shr, x, N);
}

STERNA_INLINE I32 as_i32(F32 x) {
    return {x.a, x.b, x.c, x.d};
}
STERNA_INLINE F32 as_f32(I32 x) {
    return {x.a, x.b, x.c, x.d};
}
STERNA_INLINE F32 to_f32(I32 x) {
    return STERNA_1(wasm_f32x4_convert_i32x4, x);
}
STERNA_INLINE v128_t round_part(v128_t x) {
    return wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(x));
}
STERNA_INLINE I32 round_i32(F32 x) {
    return STERNA_1(round_part, x);
}

STERNA_INLINE Mask lt(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_lt, x, y);
}
STERNA_INLINE Mask gt(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_gt, x, y);
}
STERNA_INLINE Mask eq(F32 x, F32 y) {
    return STERNA_2(wasm_f32x4_eq, x, y);
}
STERNA_INLINE Mask lt(I32 x, I32 y) {
    return STERNA_2(wasm_i32x4_lt, x, y);
}
STERNA_INLINE Mask gt(I32 x, I32 y) {
    return STERNA_2(wasm_i32x4_gt, x, y);
}
STERNA_INLINE Mask eq(I32 x, I32 y) {
    return STERNA_2(wasm_i32x4_eq, x, y);
}
template <typename T>
STERNA_INLINE T select_any(Mask m, T x, T y) {
    return {wasm_v128_bitselect(x.a, y.a, m.a), wasm_v128_bitselect(x.b, y.b, m.b), wasm_v128_bitselect(x.c, y.c, m.c),
            wasm_v128_bitselect(x.d, y.d, m.d)};
}
STERNA_INLINE F32 select(Mask m, F32 x, F32 y) {
    return select_any(m, x, y);
}
STERNA_INLINE I32 select(Mask m, I32 x, I32 y) {
    return select_any(m, x, y);
}

STERNA_INLINE I32 load_u16(const uint16_t* p) {
    return {wasm_u32x4_load16x4(p), wasm_u32x4_load16x4(p + 4), wasm_u32x4_load16x4(p + 8),
            wasm_u32x4_load16x4(p + 12)};
}
STERNA_INLINE F32 load_bf16(const uint16_t* p) {
    return as_f32(shl<16>(load_u16(p)));
}
// No conversion instruction: the half's bits are moved into float position and scaled by 2^112, which is exact,
// subnormals included.
STERNA_INLINE F32 load_f16(const uint16_t* p) {
    I32 h = load_u16(p), magnitude = h & splat(int32_t(0x7fff));
    F32 scaled = as_f32(shl<13>(magnitude)) * splat(0x1p112f);
    I32 infinite = select(gt(magnitude, splat(int32_t(0x7bff))), splat(int32_t(0x7f800000)), zero_i32());
    return as_f32(as_i32(scaled) | infinite | shl<16>(h & splat(int32_t(0x8000))));
}
STERNA_INLINE void store_f16(uint16_t* p, F32 x) {
    I32 bits = as_i32(x), magnitude = bits & splat(int32_t(0x7fffffff)), sign = shr<16>(bits) & splat(int32_t(0x8000));
    I32 odd = shr<13>(magnitude) & splat(int32_t(1));
    I32 normal = shr<13>(magnitude - splat(int32_t(0x38000000 - 0xfff)) + odd);
    // Below 2^-14 adding 0.5 aligns the half's grid with the float's last bit.
    I32 tiny = as_i32(as_f32(magnitude) + splat(0.5f)) - splat(int32_t(0x3f000000));
    I32 r = select(lt(magnitude, splat(int32_t(0x38800000))), tiny, normal);
    r = select(gt(magnitude, splat(int32_t(0x477fefff))), splat(int32_t(0x7c00)), r);
    r = select(gt(magnitude, splat(int32_t(0x7f800000))), splat(int32_t(0x7e00)), r) | sign;
    wasm_v128_store(p, wasm_u16x8_narrow_i32x4(r.a, r.b));
    wasm_v128_store(p + 8, wasm_u16x8_narrow_i32x4(r.c, r.d));
}
STERNA_INLINE I32 load_s8(const int8_t* p) {
    v128_t lo = wasm_i16x8_load8x8(p), hi = wasm_i16x8_load8x8(p + 8);
    return {wasm_i32x4_extend_low_i16x8(lo), wasm_i32x4_extend_high_i16x8(lo), wasm_i32x4_extend_low_i16x8(hi),
            wasm_i32x4_extend_high_i16x8(hi)};
}
STERNA_INLINE I32 load_u8(const uint8_t* p) {
    v128_t lo = wasm_u16x8_load8x8(p), hi = wasm_u16x8_load8x8(p + 8);
    return {wasm_i32x4_extend_low_i16x8(lo), wasm_i32x4_extend_high_i16x8(lo), wasm_i32x4_extend_low_i16x8(hi),
            wasm_i32x4_extend_high_i16x8(hi)};
}
STERNA_INLINE void store_s8(int8_t* p, I32 x) {
    wasm_v128_store(p, wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(x.a, x.b), wasm_i16x8_narrow_i32x4(x.c, x.d)));
}

STERNA_INLINE B64 operator&(B64 x, B64 y) {
    return STERNA_2(wasm_v128_and, x, y);
}
STERNA_INLINE B64 operator|(B64 x, B64 y) {
    return STERNA_2(wasm_v128_or, x, y);
}
STERNA_INLINE B64 operator^(B64 x, B64 y) {
    return STERNA_2(wasm_v128_xor, x, y);
}
STERNA_INLINE B64 add_u8(B64 x, B64 y) {
    return STERNA_2(wasm_i8x16_add, x, y);
}
STERNA_INLINE B64 sub_u8(B64 x, B64 y) {
    return STERNA_2(wasm_i8x16_sub, x, y);
}
STERNA_INLINE B64 gt_s8(B64 x, B64 y) {
    return STERNA_2(wasm_i8x16_gt, x, y);
}
template <int N>
STERNA_INLINE B64 shl16(B64 x) {
    return STERNA_N(wasm_i16x8_shl, x, N);
}
template <int N>
STERNA_INLINE B64 shr16(B64 x) {
    return STERNA_N(wasm_u16x8_shr, x, N);
}
STERNA_INLINE B64 shift_right16(B64 x, int n) {
    return {wasm_u16x8_shr(x.a, uint32_t(n)), wasm_u16x8_shr(x.b, uint32_t(n)), wasm_u16x8_shr(x.c, uint32_t(n)),
            wasm_u16x8_shr(x.d, uint32_t(n))};
}
STERNA_INLINE B64 splat4(const int8_t* p) {
    v128_t v = wasm_v128_load32_splat(p);
    return {v, v, v, v};
}
STERNA_INLINE Table16 table16(const void* p) {
    return {wasm_v128_load(p)};
}
STERNA_INLINE B64 lookup(Table16 t, B64 x) {
    return {wasm_i8x16_swizzle(t.v, x.a), wasm_i8x16_swizzle(t.v, x.b), wasm_i8x16_swizzle(t.v, x.c),
            wasm_i8x16_swizzle(t.v, x.d)};
}

STERNA_INLINE I32 lanes_of(B64 x) {
    return {x.a, x.b, x.c, x.d};
}
STERNA_INLINE B64 bytes_of(I32 x) {
    return {x.a, x.b, x.c, x.d};
}
template <int I>
STERNA_INLINE I32 pick(B64 x) {
    return shr<24>(shl<24 - 8 * I>(lanes_of(x)));
}
template <int I>
STERNA_INLINE Scale scale_u8(B64 x) {
    return pick<I>(x);
}
template <int I>
STERNA_INLINE Scale scale_s8(B64 x) {
    return sar<24>(shl<24 - 8 * I>(lanes_of(x)));
}
template <int I, int J>
STERNA_INLINE B64 pairs_u8(B64 x) {
    return bytes_of(pick<I>(x) | shl<16>(pick<J>(x)));
}
template <int I, int J>
STERNA_INLINE B64 pairs_s8(B64 x) {
    return bytes_of((scale_s8<I>(x) & splat(int32_t(0xffff))) | shl<16>(scale_s8<J>(x)));
}
STERNA_INLINE I32 madd16(B64 x, B64 y) {
    return STERNA_2(wasm_i32x4_dot_i16x8, x, y);
}

// See vec.h: all vectors are taken whole.
constexpr int kParts = 1;
STERNA_INLINE I32 join(const I32 (&parts)[kParts]) {
    return parts[0];
}

// Even and odd bytes as int16, so that one dot of int16 pairs leaves a lane's sum in the lane.
STERNA_INLINE v128_t even_s8(v128_t x) {
    return wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8);
}
STERNA_INLINE v128_t odd_s8(v128_t x) {
    return wasm_i16x8_shr(x, 8);
}
STERNA_INLINE v128_t dot_part(v128_t acc, v128_t u, v128_t even, v128_t odd) {
    v128_t sum = wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_v128_and(u, wasm_i16x8_const_splat(255)), even),
                                wasm_i32x4_dot_i16x8(wasm_u16x8_shr(u, 8), odd));
    return wasm_i32x4_add(acc, sum);
}
STERNA_INLINE v128_t dot_part_s8(v128_t acc, v128_t w, v128_t even, v128_t odd) {
    return wasm_i32x4_add(acc,
                          wasm_i32x4_add(wasm_i32x4_dot_i16x8(even_s8(w), even), wasm_i32x4_dot_i16x8(odd_s8(w), odd)));
}
// All quarters of s are equal wherever these are called (splat4); the compiler shares the work on them.
STERNA_INLINE I32 dot4(I32 acc, B64 u, B64 s) {
    return {dot_part(acc.a, u.a, even_s8(s.a), odd_s8(s.a)), dot_part(acc.b, u.b, even_s8(s.b), odd_s8(s.b)),
            dot_part(acc.c, u.c, even_s8(s.c), odd_s8(s.c)), dot_part(acc.d, u.d, even_s8(s.d), odd_s8(s.d))};
}
STERNA_INLINE I32 dot4_s8(I32 acc, B64 w, B64 s) {
    return {dot_part_s8(acc.a, w.a, even_s8(s.a), odd_s8(s.a)), dot_part_s8(acc.b, w.b, even_s8(s.b), odd_s8(s.b)),
            dot_part_s8(acc.c, w.c, even_s8(s.c), odd_s8(s.c)), dot_part_s8(acc.d, w.d, even_s8(s.d), odd_s8(s.d))};
}

STERNA_INLINE Chain chain_zero() {
    return zero_i32();
}
// Where a chain starts so that weights `zero` too large give the sum of (weight - zero) * s; `sum` is that of the N
// values at q.
template <int N>
STERNA_INLINE int32_t chain_offset(const int8_t*, int32_t zero, int32_t sum) {
    return -zero * sum;
}
STERNA_INLINE Chain chain_start(int32_t offset) {
    return splat(offset);
}
STERNA_INLINE Chain chain_dot(Chain chain, B64 u, B64 s) {
    return dot4(chain, u, s);
}
STERNA_INLINE I32 widen(Chain chain) {
    return chain;
}
STERNA_INLINE I32 widen(Chain chain, Scale scale) {
    return chain * scale;
}
using SignedChain = Chain;
STERNA_INLINE SignedChain signed_zero() {
    return chain_zero();
}
STERNA_INLINE Scale scale_one() {
    return splat(int32_t(1));
}
STERNA_INLINE SignedChain signed_dot(SignedChain chain, B64 w, B64 s, Scale) {
    return dot4_s8(chain, w, s);
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t) {
    return widen(chain);
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t, Scale scale) {
    return widen(chain, scale);
}
STERNA_INLINE I32 settle_s8(I32 acc, int32_t) {
    return acc;
}
STERNA_INLINE void store_scale(uint8_t* p, Scale x) {
    store_any(p, x);
}
STERNA_INLINE Scale load_scale(const uint8_t* p) {
    return load_any<Scale>(p);
}

#undef STERNA_1
#undef STERNA_2
#undef STERNA_N

}  // namespace
}  // namespace sterna::simd::wasm
