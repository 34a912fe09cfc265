// The wrapper on AVX2 and F16C: two 256-bit halves. See vec.h.
#pragma once

#include <immintrin.h>

#include "simd/vec.h"

namespace sterna::simd::avx2 {
namespace {

struct F32 {
    __m256 lo, hi;
};
struct I32 {
    __m256i lo, hi;
};
struct B64 {
    __m256i lo, hi;
};
struct Mask {
    __m256 lo, hi;
};
struct Table16 {
    __m256i both;
};
struct Chain {
    __m256i lo, hi;
};  // int16: two per lane
struct Scale {
    __m256i lo, hi;
};  // int16, twice per lane

#define STERNA_1(f, a) {f((a).lo), f((a).hi)}
#define STERNA_2(f, a, b) {f((a).lo, (b).lo), f((a).hi, (b).hi)}
#define STERNA_N(f, a, n) {f((a).lo, n), f((a).hi, n)}

STERNA_INLINE __m256i load_256(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}
STERNA_INLINE void store_256(void* p, __m256i x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), x);
}
STERNA_INLINE __m128i load_128(const void* p) {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

STERNA_INLINE F32 load_f32(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
STERNA_INLINE I32 load_i32(const int32_t* p) {
    return {load_256(p), load_256(p + 8)};
}
STERNA_INLINE B64 load_b64(const void* p) {
    return {load_256(p), load_256(static_cast<const uint8_t*>(p) + 32)};
}
STERNA_INLINE void store(float* p, F32 x) {
    _mm256_storeu_ps(p, x.lo), _mm256_storeu_ps(p + 8, x.hi);
}
STERNA_INLINE void store(int32_t* p, I32 x) {
    store_256(p, x.lo), store_256(p + 8, x.hi);
}
STERNA_INLINE void store(uint8_t* p, B64 x) {
    store_256(p, x.lo), store_256(p + 32, x.hi);
}
STERNA_INLINE F32 splat(float x) {
    return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
STERNA_INLINE I32 splat(int32_t x) {
    return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
STERNA_INLINE B64 splat_u8(uint8_t x) {
    return {_mm256_set1_epi8(char(x)), _mm256_set1_epi8(char(x))};
}
STERNA_INLINE F32 zero_f32() {
    return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
STERNA_INLINE I32 zero_i32() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
STERNA_INLINE B64 zero_b64() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}

STERNA_INLINE F32 operator+(F32 a, F32 b) {
    return STERNA_2(_mm256_add_ps, a, b);
}
STERNA_INLINE F32 operator-(F32 a, F32 b) {
    return STERNA_2(_mm256_sub_ps, a, b);
}
STERNA_INLINE F32 operator*(F32 a, F32 b) {
    return STERNA_2(_mm256_mul_ps, a, b);
}
STERNA_INLINE F32 operator/(F32 a, F32 b) {
    return STERNA_2(_mm256_div_ps, a, b);
}
STERNA_INLINE F32 sqrt(F32 a) {
    return STERNA_1(_mm256_sqrt_ps, a);
}
STERNA_INLINE F32 min(F32 a, F32 b) {
    return STERNA_2(_mm256_min_ps, a, b);
}
STERNA_INLINE F32 max(F32 a, F32 b) {
    return STERNA_2(_mm256_max_ps, a, b);
}
STERNA_INLINE F32 abs(F32 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}

STERNA_INLINE I32 operator+(I32 a, I32 b) {
    return STERNA_2(_mm256_add_epi32, a, b);
}
STERNA_INLINE I32 operator-(I32 a, I32 b) {
    return STERNA_2(_mm256_sub_epi32, a, b);
}
STERNA_INLINE I32 operator*(I32 a, I32 b) {
    return STERNA_2(_mm256_mullo_epi32, a, b);
}
STERNA_INLINE I32 operator&(I32 a, I32 b) {
    return STERNA_2(_mm256_and_si256, a, b);
}
STERNA_INLINE I32 operator|(I32 a, I32 b) {
    return STERNA_2(_mm256_or_si256, a, b);
}
STERNA_INLINE I32 operator^(I32 a, I32 b) {
    return STERNA_2(_mm256_xor_si256, a, b);
}
template <int N>
STERNA_INLINE I32 shl(I32 a) {
    return STERNA_N(_mm256_slli_epi32, a, N);
}
template <int N>
STERNA_INLINE I32 shr(I32 a) {
    return STERNA_N(_mm256_srli_epi32, a, N);
}
template <int N>
STERNA_INLINE I32 sar(I32 a) {
    return STERNA_N(_mm256_srai_epi32, a, N);
}

STERNA_INLINE I32 as_i32(F32 a) {
    return STERNA_1(_mm256_castps_si256, a);
}
STERNA_INLINE F32 as_f32(I32 a) {
    return STERNA_1(_mm256_castsi256_ps, a);
}
STERNA_INLINE F32 to_f32(I32 a) {
    return STERNA_1(_mm256_cvtepi32_ps, a);
}
STERNA_INLINE I32 round_i32(F32 a) {
    return STERNA_1(_mm256_cvtps_epi32, a);
}

STERNA_INLINE Mask lt(F32 a, F32 b) {
    return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
STERNA_INLINE Mask gt(F32 a, F32 b) {
    return {_mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ)};
}
STERNA_INLINE Mask eq(F32 a, F32 b) {
    return {_mm256_cmp_ps(a.lo, b.lo, _CMP_EQ_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_EQ_OQ)};
}
STERNA_INLINE Mask mask_of(I32 a) {
    return STERNA_1(_mm256_castsi256_ps, a);
}
STERNA_INLINE Mask gt(I32 a, I32 b) {
    return mask_of(STERNA_2(_mm256_cmpgt_epi32, a, b));
}
STERNA_INLINE Mask lt(I32 a, I32 b) {
    return gt(b, a);
}
STERNA_INLINE Mask eq(I32 a, I32 b) {
    return mask_of(STERNA_2(_mm256_cmpeq_epi32, a, b));
}
STERNA_INLINE F32 select(Mask m, F32 a, F32 b) {
    return {_mm256_blendv_ps(b.lo, a.lo, m.lo), _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}
STERNA_INLINE I32 select(Mask m, I32 a, I32 b) {
    return as_i32(select(m, as_f32(a), as_f32(b)));
}

STERNA_INLINE F32 load_f16(const uint16_t* p) {
    return {_mm256_cvtph_ps(load_128(p)), _mm256_cvtph_ps(load_128(p + 8))};
}
STERNA_INLINE void store_f16(uint16_t* p, F32 x) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
}
STERNA_INLINE I32 load_u16(const uint16_t* p) {
    return {_mm256_cvtepu16_epi32(load_128(p)), _mm256_cvtepu16_epi32(load_128(p + 8))};
}
STERNA_INLINE F32 load_bf16(const uint16_t* p) {
    return as_f32(shl<16>(load_u16(p)));
}
STERNA_INLINE I32 load_s8(const int8_t* p) {
    __m128i x = load_128(p);
    return {_mm256_cvtepi8_epi32(x), _mm256_cvtepi8_epi32(_mm_srli_si128(x, 8))};
}
STERNA_INLINE I32 load_u8(const uint8_t* p) {
    __m128i x = load_128(p);
    return {_mm256_cvtepu8_epi32(x), _mm256_cvtepu8_epi32(_mm_srli_si128(x, 8))};
}
STERNA_INLINE void store_s8(int8_t* p, I32 x) {
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.lo, x.hi), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

STERNA_INLINE B64 operator&(B64 a, B64 b) {
    return STERNA_2(_mm256_and_si256, a, b);
}
STERNA_INLINE B64 operator|(B64 a, B64 b) {
    return STERNA_2(_mm256_or_si256, a, b);
}
STERNA_INLINE B64 operator^(B64 a, B64 b) {
    return STERNA_2(_mm256_xor_si256, a, b);
}
STERNA_INLINE B64 add_u8(B64 a, B64 b) {
    return STERNA_2(_mm256_add_epi8, a, b);
}
STERNA_INLINE B64 sub_u8(B64 a, B64 b) {
    return STERNA_2(_mm256_sub_epi8, a, b);
}
STERNA_INLINE B64 gt_s8(B64 a, B64 b) {
    return STERNA_2(_mm256_cmpgt_epi8, a, b);
}
template <int N>
STERNA_INLINE B64 shl16(B64 a) {
    return STERNA_N(_mm256_slli_epi16, a, N);
}
template <int N>
STERNA_INLINE B64 shr16(B64 a) {
    return STERNA_N(_mm256_srli_epi16, a, N);
}
STERNA_INLINE B64 shift_right16(B64 a, int n) {
    const __m128i count = _mm_cvtsi32_si128(n);
    return {_mm256_srl_epi16(a.lo, count), _mm256_srl_epi16(a.hi, count)};
}
STERNA_INLINE B64 splat4(const int8_t* p) {
    int32_t x;
    __builtin_memcpy(&x, p, 4);
    __m256i all = _mm256_set1_epi32(x);
    return {all, all};
}
STERNA_INLINE Table16 table16(const void* p) {
    return {_mm256_broadcastsi128_si256(load_128(p))};
}
STERNA_INLINE B64 lookup(Table16 table, B64 x) {
    return {_mm256_shuffle_epi8(table.both, x.lo), _mm256_shuffle_epi8(table.both, x.hi)};
}

// A byte shuffle inside each lane: A, B, C, D choose bytes 0-3, or make a zero where they are -1.
template <int A, int B, int C, int D>
STERNA_INLINE __m256i lane_shuffle(__m256i x) {
    constexpr int z = -128;
    return _mm256_shuffle_epi8(
        x, _mm256_setr_epi8(
               A < 0 ? z : A, B < 0 ? z : B, C < 0 ? z : C, D < 0 ? z : D, A < 0 ? z : A + 4, B < 0 ? z : B + 4,
               C < 0 ? z : C + 4, D < 0 ? z : D + 4, A < 0 ? z : A + 8, B < 0 ? z : B + 8, C < 0 ? z : C + 8,
               D < 0 ? z : D + 8, A < 0 ? z : A + 12, B < 0 ? z : B + 12, C < 0 ? z : C + 12, D < 0 ? z : D + 12,
               A < 0 ? z : A, B < 0 ? z : B, C < 0 ? z : C, D < 0 ? z : D, A < 0 ? z : A + 4, B < 0 ? z : B + 4,
               C < 0 ? z : C + 4, D < 0 ? z : D + 4, A < 0 ? z : A + 8, B < 0 ? z : B + 8, C < 0 ? z : C + 8,
               D < 0 ? z : D + 8, A < 0 ? z : A + 12, B < 0 ? z : B + 12, C < 0 ? z : C + 12, D < 0 ? z : D + 12));
}
template <int I, int J>
STERNA_INLINE B64 pairs_u8(B64 x) {
    return {lane_shuffle<I, -1, J, -1>(x.lo), lane_shuffle<I, -1, J, -1>(x.hi)};
}
template <int I, int J>
STERNA_INLINE B64 pairs_s8(B64 x) {
    return {_mm256_srai_epi16(lane_shuffle<-1, I, -1, J>(x.lo), 8),
            _mm256_srai_epi16(lane_shuffle<-1, I, -1, J>(x.hi), 8)};
}
template <int I>
STERNA_INLINE I32 pick(B64 x) {
    return {lane_shuffle<I, -1, -1, -1>(x.lo), lane_shuffle<I, -1, -1, -1>(x.hi)};
}
STERNA_INLINE I32 lanes_of(B64 x) {
    return {x.lo, x.hi};
}
STERNA_INLINE B64 bytes_of(I32 x) {
    return {x.lo, x.hi};
}

// Half the registers' number of vectors fits them.
constexpr int kParts = 2;
STERNA_INLINE I32 join(const I32 (&parts)[kParts]) {
    return {parts[0].lo, parts[1].hi};
}

// maddubs adds two u8 x s8 products in int16: 2 * 127 * 127 fits, so u7 weights never saturate.
STERNA_INLINE I32 madd16(B64 a, B64 b) {
    return STERNA_2(_mm256_madd_epi16, a, b);
}
STERNA_INLINE Chain chain_zero() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256()};
}
// The addition is written in assembly because gcc 12 else copies and spills the sums of a loop; it stays in its
// register this way.
STERNA_INLINE __m256i add_in_place16(__m256i sum, __m256i x) {
    __asm__("vpaddw %1, %0, %0" : "+x"(sum) : "x"(x));
    return sum;
}
STERNA_INLINE __m256i add_in_place32(__m256i sum, __m256i x) {
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(x));
    return sum;
}
// -zero * (sum of bytes 0 and 1 of each four, sum of bytes 2 and 3), as the two int16 of a lane.
template <int N>
STERNA_INLINE int32_t chain_offset(const int8_t* q, int32_t zero, int32_t) {
    const __m128i ones = _mm_set1_epi8(1);
    __m128i sum = _mm_setzero_si128();
    for (int i = 0; i < N; i += 16) sum = _mm_add_epi16(sum, _mm_maddubs_epi16(ones, load_128(q + i)));
    sum = _mm_add_epi16(sum, _mm_srli_si128(sum, 8));
    sum = _mm_add_epi16(sum, _mm_srli_si128(sum, 4));
    return _mm_cvtsi128_si32(_mm_mullo_epi16(sum, _mm_set1_epi16(int16_t(-zero))));
}
STERNA_INLINE Chain chain_start(int32_t offset) {
    const __m256i both = _mm256_set1_epi32(offset);
    return {both, both};
}
STERNA_INLINE Chain chain_dot(Chain chain, B64 u, B64 s) {
    return {add_in_place16(chain.lo, _mm256_maddubs_epi16(u.lo, s.lo)),
            add_in_place16(chain.hi, _mm256_maddubs_epi16(u.hi, s.hi))};
}
STERNA_INLINE I32 widen(Chain chain) {
    const __m256i ones = _mm256_set1_epi16(1);
    return {_mm256_madd_epi16(chain.lo, ones), _mm256_madd_epi16(chain.hi, ones)};
}
STERNA_INLINE I32 widen(Chain chain, Scale scale) {
    return STERNA_2(_mm256_madd_epi16, chain, scale);
}
template <int I>
STERNA_INLINE Scale scale_u8(B64 x) {
    return {lane_shuffle<I, -1, I, -1>(x.lo), lane_shuffle<I, -1, I, -1>(x.hi)};
}
template <int I>
STERNA_INLINE Scale scale_s8(B64 x) {
    return {_mm256_srai_epi16(lane_shuffle<-1, I, -1, I>(x.lo), 8),
            _mm256_srai_epi16(lane_shuffle<-1, I, -1, I>(x.hi), 8)};
}
STERNA_INLINE void store_scale(uint8_t* p, Scale x) {
    store_256(p, x.lo), store_256(p + 32, x.hi);
}
STERNA_INLINE Scale load_scale(const uint8_t* p) {
    return {load_256(p), load_256(p + 32)};
}

// |w| is at most 128 as an unsigned byte and 2 * 128 * 127 fits: the sign moves over to the activation, and the scale
// into the widening.
using SignedChain = I32;
STERNA_INLINE SignedChain signed_zero() {
    return zero_i32();
}
STERNA_INLINE Scale scale_one() {
    return {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
}
STERNA_INLINE __m256i signed_part(__m256i w, __m256i s) {
    return _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(s, w));
}
STERNA_INLINE SignedChain signed_dot(SignedChain chain, B64 w, B64 s, Scale scale) {
    const I32 sums = widen(Chain{signed_part(w.lo, s.lo), signed_part(w.hi, s.hi)}, scale);
    return {add_in_place32(chain.lo, sums.lo), add_in_place32(chain.hi, sums.hi)};
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t) {
    return chain;
}
STERNA_INLINE I32 settle(SignedChain chain, int32_t, Scale) {
    return chain;
}
STERNA_INLINE I32 dot4_s8(I32 acc, B64 w, B64 s) {
    return signed_dot(acc, w, s, scale_one());
}
STERNA_INLINE I32 settle_s8(I32 acc, int32_t) {
    return acc;
}

#undef STERNA_1
#undef STERNA_2
#undef STERNA_N

}  // namespace
}  // namespace sterna::simd::avx2
