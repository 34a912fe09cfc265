// The wrapper on AVX-512 F, BW, DQ, VL and VNNI: one register. See vec.h.
#pragma once

#ifndef STERNA_EMULATE_AVX512  // a test brings the same intrinsics in software
#include <immintrin.h>
#endif

#include "simd/vec.h"

namespace sterna::simd::avx512 {
namespace {

struct F32 {
    __m512 v;
};
struct I32 {
    __m512i v;
};
struct B64 {
    __m512i v;
};
struct Mask {
    __mmask16 m;
};
struct Table16 {
    __m512i all;
};
using Chain = I32;
using Scale = I32;

STERNA_INLINE F32 load_f32(const float* p) {
    return {_mm512_loadu_ps(p)};
}
STERNA_INLINE I32 load_i32(const int32_t* p) {
    return {_mm512_loadu_si512(p)};
}
STERNA_INLINE B64 load_b64(const void* p) {
    return {_mm512_loadu_si512(p)};
}
STERNA_INLINE void store(float* p, F32 x) {
    _mm512_storeu_ps(p, x.v);
}
STERNA_INLINE void store(int32_t* p, I32 x) {
    _mm512_storeu_si512(p, x.v);
}
STERNA_INLINE void store(uint8_t* p, B64 x) {
    _mm512_storeu_si512(p, x.v);
}
STERNA_INLINE F32 splat(float x) {
    return {_mm512_set1_ps(x)};
}
STERNA_INLINE I32 splat(int32_t x) {
    return {_mm512_set1_epi32(x)};
}
STERNA_INLINE B64 splat_u8(uint8_t x) {
    return {_mm512_set1_epi8(int8_t(x))};
}
STERNA_INLINE F32 zero_f32() {
    return {_mm512_setzero_ps()};
}
STERNA_INLINE I32 zero_i32() {
    return {_mm512_setzero_si512()};
}
STERNA_INLINE B64 zero_b64() {
    return {_mm512_setzero_si512()};
}

STERNA_INLINE F32 operator+(F32 a, F32 b) {
    return {_mm512_add_ps(a.v, b.v)};
}
STERNA_INLINE F32 operator-(F32 a, F32 b) {
    return {_mm512_sub_ps(a.v, b.v)};
}
STERNA_INLINE F32 operator*(F32 a, F32 b) {
    return {_mm512_mul_ps(a.v, b.v)};
}
STERNA_INLINE F32 operator/(F32 a, F32 b) {
    return {_mm512_div_ps(a.v, b.v)};
}
STERNA_INLINE F32 sqrt(F32 a) {
    return {_mm512_sqrt_ps(a.v)};
}
STERNA_INLINE F32 min(F32 a, F32 b) {
    return {_mm512_min_ps(a.v, b.v)};
}
STERNA_INLINE F32 max(F32 a, F32 b) {
    return {_mm512_max_ps(a.v, b.v)};
}

STERNA_INLINE I32 operator+(I32 a, I32 b) {
    return {_mm512_add_epi32(a.v, b.v)};
}
STERNA_INLINE I32 operator-(I32 a, I32 b) {
    return {_mm512_sub_epi32(a.v, b.v)};
}
STERNA_INLINE I32 operator*(I32 a, I32 b) {
    return {_mm512_mullo_epi32(a.v, b.v)};
}
STERNA_INLINE I32 operator&(I32 a, I32 b) {
    return {_mm512_and_si512(a.v, b.v)};
}
STERNA_INLINE I32 operator|(I32 a, I32 b) {
    return {_mm512_or_si512(a.v, b.v)};
}
STERNA_INLINE I32 operator^(I32 a, I32 b) {
    return {_mm512_xor_si512(a.v, b.v)};
}
template <int N>
STERNA_INLINE I32 shl(I32 a) {
    return {_mm512_slli_epi32(a.v, N)};
}
template <int N>
STERNA_INLINE I32 shr(I32 a) {
    return {_mm512_srli_epi32(a.v, N)};
}
template <int N>
STERNA_INLINE I32 sar(I32 a) {
    return {_mm512_srai_epi32(a.v, N)};
}

STERNA_INLINE I32 as_i32(F32 a) {
    return {_mm512_castps_si512(a.v)};
}
STERNA_INLINE F32 as_f32(I32 a) {
    return {_mm512_castsi512_ps(a.v)};
}
STERNA_INLINE F32 abs(F32 a) {
    return as_f32(as_i32(a) & splat(int32_t(0x7fffffff)));
}
STERNA_INLINE F32 to_f32(I32 a) {
    return {_mm512_cvtepi32_ps(a.v)};
}
STERNA_INLINE I32 round_i32(F32 a) {
    return {_mm512_cvtps_epi32(a.v)};
}

STERNA_INLINE Mask lt(F32 a, F32 b) {
    return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
STERNA_INLINE Mask gt(F32 a, F32 b) {
    return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)};
}
STERNA_INLINE Mask eq(F32 a, F32 b) {
    return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)};
}
STERNA_INLINE Mask gt(I32 a, I32 b) {
    return {_mm512_cmpgt_epi32_mask(a.v, b.v)};
}
STERNA_INLINE Mask lt(I32 a, I32 b) {
    return gt(b, a);
}
STERNA_INLINE Mask eq(I32 a, I32 b) {
    return {_mm512_cmpeq_epi32_mask(a.v, b.v)};
}
STERNA_INLINE F32 select(Mask m, F32 a, F32 b) {
    return {_mm512_mask_blend_ps(m.m, b.v, a.v)};
}
STERNA_INLINE I32 select(Mask m, I32 a, I32 b) {
    return {_mm512_mask_blend_epi32(m.m, b.v, a.v)};
}

STERNA_INLINE __m256i load_256(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
STERNA_INLINE __m128i load_128(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}
STERNA_INLINE F32 load_f16(const uint16_t* p) {
    return {_mm512_cvtph_ps(load_256(p))};
}
STERNA_INLINE void store_f16(uint16_t* p, F32 x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}
STERNA_INLINE I32 load_u16(const uint16_t* p) {
    return {_mm512_cvtepu16_epi32(load_256(p))};
}
STERNA_INLINE F32 load_bf16(const uint16_t* p) {
    return as_f32(shl<16>(load_u16(p)));
}
STERNA_INLINE I32 load_s8(const int8_t* p) {
    return {_mm512_cvtepi8_epi32(load_128(p))};
}
STERNA_INLINE I32 load_u8(const uint8_t* p) {
    return {_mm512_cvtepu8_epi32(load_128(p))};
}
STERNA_INLINE void store_s8(int8_t* p, I32 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x.v));
}

STERNA_INLINE B64 operator&(B64 a, B64 b) {
    return {_mm512_and_si512(a.v, b.v)};
}
STERNA_INLINE B64 operator|(B64 a, B64 b) {
    return {_mm512_or_si512(a.v, b.v)};
}
STERNA_INLINE B64 operator^(B64 a, B64 b) {
    return {_mm512_xor_si512(a.v, b.v)};
}
STERNA_INLINE B64 add_u8(B64 a, B64 b) {
    return {_mm512_add_epi8(a.v, b.v)};
}
STERNA_INLINE B64 sub_u8(B64 a, B64 b) {
    return {_mm512_sub_epi8(a.v, b.v)};
}
STERNA_INLINE B64 gt_s8(B64 a, B64 b) {
    return {_mm512_movm_epi8(_mm512_cmpgt_epi8_mask(a.v, b.v))};
}
template <int N>
STERNA_INLINE B64 shl16(B64 a) {
    return {_mm512_slli_epi16(a.v, N)};
}
template <int N>
STERNA_INLINE B64 shr16(B64 a) {
    return {_mm512_srli_epi16(a.v, N)};
}
STERNA_INLINE B64 shift_right16(B64 a, int n) {
    return {_mm512_srl_epi16(a.v, _mm_cvtsi32_si128(n))};
}
STERNA_INLINE B64 splat4(const int8_t* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    return {_mm512_set1_epi32(x)};
}
STERNA_INLINE Table16 table16(const void* p) {
    return {_mm512_broadcast_i32x4(load_128(p))};
}
STERNA_INLINE B64 lookup(Table16 table, B64 x) {
    return {_mm512_shuffle_epi8(table.all, x.v)};
}

STERNA_INLINE I32 lanes_of(B64 x) {
    return {x.v};
}
STERNA_INLINE B64 bytes_of(I32 x) {
    return {x.v};
}
template <int I>
STERNA_INLINE I32 pick(B64 x) {
    return shr<8 * I>(lanes_of(x)) & splat(int32_t(255));
}
template <int I, int J>
STERNA_INLINE B64 pairs_u8(B64 x) {
    return bytes_of(pick<I>(x) | shl<16>(pick<J>(x)));
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
STERNA_INLINE B64 pairs_s8(B64 x) {
    return bytes_of((scale_s8<I>(x) & splat(int32_t(0xffff))) | shl<16>(scale_s8<J>(x)));
}

// See vec.h: all vectors are taken whole.
constexpr int kParts = 1;
STERNA_INLINE I32 join(const I32 (&parts)[kParts]) {
    return parts[0];
}
// Around the intrinsic gcc 12 copies every sum twice in a loop.
STERNA_INLINE I32 dot4(I32 acc, B64 u, B64 s) {
#ifdef STERNA_EMULATE_AVX512
    return {_mm512_dpbusd_epi32(acc.v, u.v, s.v)};
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(u.v), "v"(s.v));
    return acc;
#endif
}
STERNA_INLINE I32 madd16(B64 a, B64 b) {
    return {_mm512_madd_epi16(a.v, b.v)};
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
// dpbusd wants unsigned weights: w + 128, and the 128 times the sum of s is taken out at the end.
using SignedChain = I32;
STERNA_INLINE SignedChain signed_zero() {
    return zero_i32();
}
STERNA_INLINE Scale scale_one() {
    return splat(int32_t(1));
}
STERNA_INLINE SignedChain signed_dot(SignedChain chain, B64 w, B64 s, Scale) {
    return dot4(chain, w ^ splat_u8(128), s);
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t sum) {
    return chain - splat(int32_t(128 * sum));
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t sum, Scale scale) {
    return settle(chain, sum) * scale;
}
STERNA_INLINE I32 dot4_s8(I32 acc, B64 w, B64 s) {
    return signed_dot(acc, w, s, scale_one());
}
STERNA_INLINE I32 settle_s8(I32 acc, int32_t sum) {
    return settle(acc, sum);
}
STERNA_INLINE void store_scale(uint8_t* p, Scale x) {
    _mm512_storeu_si512(p, x.v);
}
STERNA_INLINE Scale load_scale(const uint8_t* p) {
    return {_mm512_loadu_si512(p)};
}

}  // namespace
}  // namespace sterna::simd::avx512
