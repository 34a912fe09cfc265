// The wrapper on AArch64 NEON, with the dot-product instructions where the file is compiled for them: four 128-bit
// quarters. See vec.h.
#pragma once

#include <arm_neon.h>

#include "simd/vec.h"

namespace sterna::simd::STERNA_ISA_NS {
namespace {

struct F32 {
    float32x4_t a, b, c, d;
};
struct I32 {
    int32x4_t a, b, c, d;
};
struct B64 {
    uint8x16_t a, b, c, d;
};
struct Mask {
    uint32x4_t a, b, c, d;
};
struct Table16 {
    uint8x16_t v;
};

#define STERNA_1(f, x) {f((x).a), f((x).b), f((x).c), f((x).d)}
#define STERNA_2(f, x, y) {f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)}
#define STERNA_3(f, x, y, z) \
    {f((x).a, (y).a, (z).a), f((x).b, (y).b, (z).b), f((x).c, (y).c, (z).c), f((x).d, (y).d, (z).d)}

STERNA_INLINE F32 load_f32(const float* p) {
    return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
STERNA_INLINE I32 load_i32(const int32_t* p) {
    return {vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)};
}
STERNA_INLINE B64 load_b64(const void* from) {
    const uint8_t* p = static_cast<const uint8_t*>(from);
    return {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
}
STERNA_INLINE void store(float* p, F32 x) {
    vst1q_f32(p, x.a), vst1q_f32(p + 4, x.b), vst1q_f32(p + 8, x.c), vst1q_f32(p + 12, x.d);
}
STERNA_INLINE void store(int32_t* p, I32 x) {
    vst1q_s32(p, x.a), vst1q_s32(p + 4, x.b), vst1q_s32(p + 8, x.c), vst1q_s32(p + 12, x.d);
}
STERNA_INLINE void store(uint8_t* p, B64 x) {
    vst1q_u8(p, x.a), vst1q_u8(p + 16, x.b), vst1q_u8(p + 32, x.c), vst1q_u8(p + 48, x.d);
}
STERNA_INLINE F32 splat(float x) {
    float32x4_t v = vdupq_n_f32(x);
    return {v, v, v, v};
}
STERNA_INLINE I32 splat(int32_t x) {
    int32x4_t v = vdupq_n_s32(x);
    return {v, v, v, v};
}
STERNA_INLINE B64 splat_u8(uint8_t x) {
    uint8x16_t v = vdupq_n_u8(x);
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
    return STERNA_2(vaddq_f32, x, y);
}
STERNA_INLINE F32 operator-(F32 x, F32 y) {
    return STERNA_2(vsubq_f32, x, y);
}
STERNA_INLINE F32 operator*(F32 x, F32 y) {
    return STERNA_2(vmulq_f32, x, y);
}
STERNA_INLINE F32 operator/(F32 x, F32 y) {
    return STERNA_2(vdivq_f32, x, y);
}
STERNA_INLINE F32 sqrt(F32 x) {
    return STERNA_1(vsqrtq_f32, x);
}
STERNA_INLINE F32 abs(F32 x) {
    return STERNA_1(vabsq_f32, x);
}

STERNA_INLINE I32 operator+(I32 x, I32 y) {
    return STERNA_2(vaddq_s32, x, y);
}
STERNA_INLINE I32 operator-(I32 x, I32 y) {
    return STERNA_2(vsubq_s32, x, y);
}
STERNA_INLINE I32 operator*(I32 x, I32 y) {
    return STERNA_2(vmulq_s32, x, y);
}
STERNA_INLINE I32 operator&(I32 x, I32 y) {
    return STERNA_2(vandq_s32, x, y);
}
STERNA_INLINE I32 operator|(I32 x, I32 y) {
    return STERNA_2(vorrq_s32, x, y);
}
STERNA_INLINE I32 operator^(I32 x, I32 y) {
    return STERNA_2(veorq_s32, x, y);
}
// Shifts by a register of constants: the immediate forms have no shift by 0, and compilers turn the others into them.
STERNA_INLINE int32x4_t shift_s32(int32x4_t x, int n) {
    return vshlq_s32(x, vdupq_n_s32(n));
}
STERNA_INLINE int32x4_t shift_u32(int32x4_t x, int n) {
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(x), vdupq_n_s32(n)));
}
template <int N>
STERNA_INLINE I32 shl(I32 x) {
    return {shift_s32(x.a, N), shift_s32(x.b, N), shift_s32(x.c, N), shift_s32(x.d, N)};
}
template <int N>
STERNA_INLINE I32 sar(I32 x) {
    return {shift_s32(x.a, -N), shift_s32(x.b, -N), shift_s32(x.c, -N), shift_s32(x.d, -N)};
}
template <int N>
STERNA_INLINE I32 shr(I32 x) {
    return {shift_u32(x.a, -N), shift_u32(x.b, -N), shift_u32(x.c, -N), shift_u32(x.d, -N)};
}

STERNA_INLINE I32 as_i32(F32 x) {
    return STERNA_1(vreinterpretq_s32_f32, x);
}
STERNA_INLINE F32 as_f32(I32 x) {
    return STERNA_1(vreinterpretq_f32_s32, x);
}
STERNA_INLINE F32 to_f32(I32 x) {
    return STERNA_1(vcvtq_f32_s32, x);
}
STERNA_INLINE I32 round_i32(F32 x) {
    return STERNA_1(vcvtnq_s32_f32, x);
}

STERNA_INLINE Mask lt(F32 x, F32 y) {
    return STERNA_2(vcltq_f32, x, y);
}
STERNA_INLINE Mask gt(F32 x, F32 y) {
    return STERNA_2(vcgtq_f32, x, y);
}
STERNA_INLINE Mask eq(F32 x, F32 y) {
    return STERNA_2(vceqq_f32, x, y);
}
STERNA_INLINE Mask lt(I32 x, I32 y) {
    return STERNA_2(vcltq_s32, x, y);
}
STERNA_INLINE Mask gt(I32 x, I32 y) {
    return STERNA_2(vcgtq_s32, x, y);
}
STERNA_INLINE Mask eq(I32 x, I32 y) {
    return STERNA_2(vceqq_s32, x, y);
}
STERNA_INLINE F32 select(Mask m, F32 x, F32 y) {
    return STERNA_3(vbslq_f32, m, x, y);
}
STERNA_INLINE I32 select(Mask m, I32 x, I32 y) {
    return STERNA_3(vbslq_s32, m, x, y);
}
STERNA_INLINE F32 min(F32 x, F32 y) {
    return select(lt(x, y), x, y);
}
STERNA_INLINE F32 max(F32 x, F32 y) {
    return select(gt(x, y), x, y);
}

STERNA_INLINE float32x4_t from_half(const uint16_t* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
STERNA_INLINE uint16x4_t to_half(float32x4_t x) {
    return vreinterpret_u16_f16(vcvt_f16_f32(x));
}
STERNA_INLINE F32 load_f16(const uint16_t* p) {
    return {from_half(p), from_half(p + 4), from_half(p + 8), from_half(p + 12)};
}
STERNA_INLINE void store_f16(uint16_t* p, F32 x) {
    vst1_u16(p, to_half(x.a)), vst1_u16(p + 4, to_half(x.b)), vst1_u16(p + 8, to_half(x.c)),
        vst1_u16(p + 12, to_half(x.d));
}
STERNA_INLINE int32x4_t from_u16(const uint16_t* p) {
    return vreinterpretq_s32_u32(vmovl_u16(vld1_u16(p)));
}
STERNA_INLINE I32 load_u16(const uint16_t* p) {
    return {from_u16(p), from_u16(p + 4), from_u16(p + 8), from_u16(p + 12)};
}
STERNA_INLINE F32 load_bf16(const uint16_t* p) {
    return as_f32(shl<16>(load_u16(p)));
}
STERNA_INLINE I32 load_s8(const int8_t* p) {
    int8x16_t x = vld1q_s8(p);
    int16x8_t lo = vmovl_s8(vget_low_s8(x)), hi = vmovl_s8(vget_high_s8(x));
    return {vmovl_s16(vget_low_s16(lo)), vmovl_s16(vget_high_s16(lo)), vmovl_s16(vget_low_s16(hi)),
            vmovl_s16(vget_high_s16(hi))};
}
STERNA_INLINE I32 load_u8(const uint8_t* p) {
    uint8x16_t x = vld1q_u8(p);
    int16x8_t lo = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))),
              hi = vreinterpretq_s16_u16(vmovl_u8(vget_high_u8(x)));
    return {vmovl_s16(vget_low_s16(lo)), vmovl_s16(vget_high_s16(lo)), vmovl_s16(vget_low_s16(hi)),
            vmovl_s16(vget_high_s16(hi))};
}
STERNA_INLINE void store_s8(int8_t* p, I32 x) {
    int16x8_t lo = vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b)), hi = vcombine_s16(vmovn_s32(x.c), vmovn_s32(x.d));
    vst1q_s8(p, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
}

STERNA_INLINE B64 operator&(B64 x, B64 y) {
    return STERNA_2(vandq_u8, x, y);
}
STERNA_INLINE B64 operator|(B64 x, B64 y) {
    return STERNA_2(vorrq_u8, x, y);
}
STERNA_INLINE B64 operator^(B64 x, B64 y) {
    return STERNA_2(veorq_u8, x, y);
}
STERNA_INLINE B64 add_u8(B64 x, B64 y) {
    return STERNA_2(vaddq_u8, x, y);
}
STERNA_INLINE B64 sub_u8(B64 x, B64 y) {
    return STERNA_2(vsubq_u8, x, y);
}
STERNA_INLINE uint8x16_t greater_s8(uint8x16_t x, uint8x16_t y) {
    return vcgtq_s8(vreinterpretq_s8_u8(x), vreinterpretq_s8_u8(y));
}
STERNA_INLINE B64 gt_s8(B64 x, B64 y) {
    return STERNA_2(greater_s8, x, y);
}
STERNA_INLINE uint8x16_t shift_u16(uint8x16_t x, int n) {
    return vreinterpretq_u8_u16(vshlq_u16(vreinterpretq_u16_u8(x), vdupq_n_s16(int16_t(n))));
}
template <int N>
STERNA_INLINE B64 shl16(B64 x) {
    return {shift_u16(x.a, N), shift_u16(x.b, N), shift_u16(x.c, N), shift_u16(x.d, N)};
}
template <int N>
STERNA_INLINE B64 shr16(B64 x) {
    return {shift_u16(x.a, -N), shift_u16(x.b, -N), shift_u16(x.c, -N), shift_u16(x.d, -N)};
}
STERNA_INLINE B64 shift_right16(B64 x, int n) {
    return {shift_u16(x.a, -n), shift_u16(x.b, -n), shift_u16(x.c, -n), shift_u16(x.d, -n)};
}
STERNA_INLINE B64 splat4(const int8_t* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    uint8x16_t v = vreinterpretq_u8_s32(vdupq_n_s32(x));
    return {v, v, v, v};
}
STERNA_INLINE Table16 table16(const void* p) {
    return {vld1q_u8(static_cast<const uint8_t*>(p))};
}
STERNA_INLINE B64 lookup(Table16 t, B64 x) {
    return {vqtbl1q_u8(t.v, x.a), vqtbl1q_u8(t.v, x.b), vqtbl1q_u8(t.v, x.c), vqtbl1q_u8(t.v, x.d)};
}

STERNA_INLINE I32 lanes_of(B64 x) {
    return STERNA_1(vreinterpretq_s32_u8, x);
}
STERNA_INLINE B64 bytes_of(I32 x) {
    return STERNA_1(vreinterpretq_u8_s32, x);
}
template <int I>
STERNA_INLINE I32 pick(B64 x) {
    return shr<24>(shl<24 - 8 * I>(lanes_of(x)));
}
template <int I>
STERNA_INLINE I32 pick_s8(B64 x) {
    return sar<24>(shl<24 - 8 * I>(lanes_of(x)));
}
template <int I, int J>
STERNA_INLINE B64 pairs_u8(B64 x) {
    return bytes_of(pick<I>(x) | shl<16>(pick<J>(x)));
}
template <int I, int J>
STERNA_INLINE B64 pairs_s8(B64 x) {
    return bytes_of((pick_s8<I>(x) & splat(int32_t(0xffff))) | shl<16>(pick_s8<J>(x)));
}

STERNA_INLINE int32x4_t madd16_part(uint8x16_t x, uint8x16_t y) {
    int16x8_t p = vreinterpretq_s16_u8(x), q = vreinterpretq_s16_u8(y);
    return vpaddq_s32(vmull_s16(vget_low_s16(p), vget_low_s16(q)), vmull_s16(vget_high_s16(p), vget_high_s16(q)));
}
STERNA_INLINE I32 madd16(B64 x, B64 y) {
    return STERNA_2(madd16_part, x, y);
}

// See vec.h: all vectors are taken whole.
constexpr int kParts = 1;
STERNA_INLINE I32 join(const I32 (&parts)[kParts]) {
    return parts[0];
}

#ifdef __ARM_FEATURE_DOTPROD
STERNA_INLINE int32x4_t dot_part(int32x4_t acc, uint8x16_t w, uint8x16_t s) {
    return vdotq_s32(acc, vreinterpretq_s8_u8(w), vreinterpretq_s8_u8(s));
}
STERNA_INLINE I32 dot4(I32 acc, B64 u, B64 s) {
    return STERNA_3(dot_part, acc, u, s);
}
using Chain = I32;
STERNA_INLINE Chain chain_zero() {
    return zero_i32();
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
#else
// Products of two s8 fit int16, and so does the sum of two (2 * 128 * 127); pairs are added up in int32 and joined when
// widened.
struct ChainPart {
    int32x4_t lo, hi;
};
struct Chain {
    ChainPart a, b, c, d;
};
STERNA_INLINE ChainPart chain_part(ChainPart chain, uint8x16_t w, uint8x16_t s) {
    int8x16_t p = vreinterpretq_s8_u8(w), q = vreinterpretq_s8_u8(s);
    return {vpadalq_s16(chain.lo, vmull_s8(vget_low_s8(p), vget_low_s8(q))),
            vpadalq_s16(chain.hi, vmull_high_s8(p, q))};
}
STERNA_INLINE int32x4_t join_part(ChainPart x) {
    return vpaddq_s32(x.lo, x.hi);
}
STERNA_INLINE Chain chain_zero() {
    ChainPart zero = {vdupq_n_s32(0), vdupq_n_s32(0)};
    return {zero, zero, zero, zero};
}
STERNA_INLINE Chain chain_start(int32_t offset) {
    const int32x4_t pairs = vreinterpretq_s32_u64(vdupq_n_u64(uint32_t(offset)));  // in one lane of each two
    const ChainPart part = {pairs, pairs};
    return {part, part, part, part};
}
STERNA_INLINE Chain chain_dot(Chain chain, B64 u, B64 s) {
    return STERNA_3(chain_part, chain, u, s);
}
STERNA_INLINE I32 widen(Chain chain) {
    return STERNA_1(join_part, chain);
}
#endif

// Where a chain starts so that weights `zero` too large give the sum of (weight - zero) * s; `sum` is that of the N
// values at q.
template <int N>
STERNA_INLINE int32_t chain_offset(const int8_t*, int32_t zero, int32_t sum) {
    return -zero * sum;
}

using Scale = I32;
STERNA_INLINE I32 widen(Chain chain, Scale scale) {
    return widen(chain) * scale;
}
template <int I>
STERNA_INLINE Scale scale_u8(B64 x) {
    return pick<I>(x);
}
template <int I>
STERNA_INLINE Scale scale_s8(B64 x) {
    return pick_s8<I>(x);
}
using SignedChain = Chain;
STERNA_INLINE SignedChain signed_zero() {
    return chain_zero();
}
STERNA_INLINE Scale scale_one() {
    return splat(int32_t(1));
}
STERNA_INLINE SignedChain signed_dot(SignedChain chain, B64 w, B64 s, Scale) {
    return chain_dot(chain, w, s);
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t) {
    return widen(chain);
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t, Scale scale) {
    return widen(chain, scale);
}
STERNA_INLINE I32 dot4_s8(I32 acc, B64 w, B64 s) {
    return acc + widen(chain_dot(chain_zero(), w, s));
}
STERNA_INLINE I32 settle_s8(I32 acc, int32_t) {
    return acc;
}
STERNA_INLINE void store_scale(uint8_t* p, Scale x) {
    store(p, bytes_of(x));
}
STERNA_INLINE Scale load_scale(const uint8_t* p) {
    return lanes_of(load_b64(p));
}

#undef STERNA_1
#undef STERNA_2
#undef STERNA_3

}  // namespace
}  // namespace sterna::simd::STERNA_ISA_NS
