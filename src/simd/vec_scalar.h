// The wrapper in plain C++: the reference of all others, and what runs where there is nothing better. See vec.h.
#pragma once

#include "simd/vec.h"

namespace sterna::simd::scalar {
namespace {

struct F32 {
    float v[16];
};
struct I32 {
    int32_t v[16];
};
struct B64 {
    uint8_t v[64];
};
struct Mask {
    int32_t v[16];
};  // 0 or -1
struct Table16 {
    uint8_t v[16];
};
using Chain = I32;
using Scale = I32;

#define STERNA_LANES(R, expression)                     \
    R r;                                                \
    for (int i = 0; i < 16; ++i) r.v[i] = (expression); \
    return r
#define STERNA_BYTES(expression)                               \
    B64 r;                                                     \
    for (int i = 0; i < 64; ++i) r.v[i] = uint8_t(expression); \
    return r

STERNA_INLINE uint32_t bits_of(float x) {
    return __builtin_bit_cast(uint32_t, x);
}
STERNA_INLINE float float_of(uint32_t x) {
    return __builtin_bit_cast(float, x);
}

STERNA_INLINE F32 load_f32(const float* p) {
    STERNA_LANES(F32, p[i]);
}
STERNA_INLINE I32 load_i32(const int32_t* p) {
    STERNA_LANES(I32, p[i]);
}
STERNA_INLINE B64 load_b64(const void* p) {
    B64 r;
    __builtin_memcpy(&r, p, 64);
    return r;
}
STERNA_INLINE void store(float* p, F32 x) {
    __builtin_memcpy(p, &x, 64);
}
STERNA_INLINE void store(int32_t* p, I32 x) {
    __builtin_memcpy(p, &x, 64);
}
STERNA_INLINE void store(uint8_t* p, B64 x) {
    __builtin_memcpy(p, &x, 64);
}
STERNA_INLINE F32 splat(float x) {
    STERNA_LANES(F32, x);
}
STERNA_INLINE I32 splat(int32_t x) {
    STERNA_LANES(I32, x);
}
STERNA_INLINE B64 splat_u8(uint8_t x) {
    STERNA_BYTES(x);
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

STERNA_INLINE F32 operator+(F32 a, F32 b) {
    STERNA_LANES(F32, a.v[i] + b.v[i]);
}
STERNA_INLINE F32 operator-(F32 a, F32 b) {
    STERNA_LANES(F32, a.v[i] - b.v[i]);
}
STERNA_INLINE F32 operator*(F32 a, F32 b) {
    STERNA_LANES(F32, a.v[i] * b.v[i]);
}
STERNA_INLINE F32 operator/(F32 a, F32 b) {
    STERNA_LANES(F32, a.v[i] / b.v[i]);
}
STERNA_INLINE F32 sqrt(F32 a) {
    STERNA_LANES(F32, __builtin_sqrtf(a.v[i]));
}
STERNA_INLINE F32 abs(F32 a) {
    STERNA_LANES(F32, float_of(bits_of(a.v[i]) & 0x7fffffffu));
}
STERNA_INLINE F32 min(F32 a, F32 b) {
    STERNA_LANES(F32, a.v[i] < b.v[i] ? a.v[i] : b.v[i]);
}
STERNA_INLINE F32 max(F32 a, F32 b) {
    STERNA_LANES(F32, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}

STERNA_INLINE I32 operator+(I32 a, I32 b) {
    STERNA_LANES(I32, int32_t(uint32_t(a.v[i]) + uint32_t(b.v[i])));
}
STERNA_INLINE I32 operator-(I32 a, I32 b) {
    STERNA_LANES(I32, int32_t(uint32_t(a.v[i]) - uint32_t(b.v[i])));
}
STERNA_INLINE I32 operator*(I32 a, I32 b) {
    STERNA_LANES(I32, int32_t(uint32_t(a.v[i]) * uint32_t(b.v[i])));
}
STERNA_INLINE I32 operator&(I32 a, I32 b) {
    STERNA_LANES(I32, a.v[i] & b.v[i]);
}
STERNA_INLINE I32 operator|(I32 a, I32 b) {
    STERNA_LANES(I32, a.v[i] | b.v[i]);
}
STERNA_INLINE I32 operator^(I32 a, I32 b) {
    STERNA_LANES(I32, a.v[i] ^ b.v[i]);
}
template <int N>
STERNA_INLINE I32 shl(I32 a) {
    STERNA_LANES(I32, int32_t(uint32_t(a.v[i]) << N));
}
template <int N>
STERNA_INLINE I32 shr(I32 a) {
    STERNA_LANES(I32, int32_t(uint32_t(a.v[i]) >> N));
}
template <int N>
STERNA_INLINE I32 sar(I32 a) {
    STERNA_LANES(I32, a.v[i] >> N);
}

STERNA_INLINE Mask lt(F32 a, F32 b) {
    STERNA_LANES(Mask, -int32_t(a.v[i] < b.v[i]));
}
STERNA_INLINE Mask gt(F32 a, F32 b) {
    STERNA_LANES(Mask, -int32_t(a.v[i] > b.v[i]));
}
STERNA_INLINE Mask eq(F32 a, F32 b) {
    STERNA_LANES(Mask, -int32_t(a.v[i] == b.v[i]));
}
STERNA_INLINE Mask lt(I32 a, I32 b) {
    STERNA_LANES(Mask, -int32_t(a.v[i] < b.v[i]));
}
STERNA_INLINE Mask gt(I32 a, I32 b) {
    STERNA_LANES(Mask, -int32_t(a.v[i] > b.v[i]));
}
STERNA_INLINE Mask eq(I32 a, I32 b) {
    STERNA_LANES(Mask, -int32_t(a.v[i] == b.v[i]));
}
STERNA_INLINE F32 select(Mask m, F32 a, F32 b) {
    STERNA_LANES(F32, m.v[i] ? a.v[i] : b.v[i]);
}
STERNA_INLINE I32 select(Mask m, I32 a, I32 b) {
    STERNA_LANES(I32, m.v[i] ? a.v[i] : b.v[i]);
}

STERNA_INLINE I32 as_i32(F32 a) {
    return __builtin_bit_cast(I32, a);
}
STERNA_INLINE F32 as_f32(I32 a) {
    return __builtin_bit_cast(F32, a);
}
STERNA_INLINE F32 to_f32(I32 a) {
    STERNA_LANES(F32, float(a.v[i]));
}
// Below 2^23 adding and taking away 1.5 * 2^23 rounds to nearest even; above it a float is an integer already.
STERNA_INLINE int32_t round_lane(float x) {
    float magnitude = float_of(bits_of(x) & 0x7fffffffu);
    if (!(magnitude < 0x1p23f)) return magnitude < 0x1p31f ? int32_t(x) : INT32_MIN;
    return int32_t(bits_of(x + 0x1.8p23f) - 0x4b400000u);
}
STERNA_INLINE I32 round_i32(F32 a) {
    STERNA_LANES(I32, round_lane(a.v[i]));
}

STERNA_INLINE float half_lane(uint16_t h) {
    uint32_t sign = uint32_t(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff;
    if (exponent == 31) return float_of(sign | 0x7f800000u | mantissa << 13);
    return float_of(sign | bits_of(float_of((exponent << 10 | mantissa) << 13) * 0x1p112f));
}
STERNA_INLINE uint16_t lane_half(float x) {
    uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffffu;
    uint16_t sign = uint16_t((bits >> 16) & 0x8000u);
    if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00);
    if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00);
    // Below 2^-14 adding 0.5 aligns the half's grid with the float's last bit.
    if (magnitude < 0x38800000u) return uint16_t(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u));
    return uint16_t(sign | ((magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13));
}
STERNA_INLINE F32 load_f16(const uint16_t* p) {
    STERNA_LANES(F32, half_lane(p[i]));
}
STERNA_INLINE void store_f16(uint16_t* p, F32 x) {
    for (int i = 0; i < 16; ++i) p[i] = lane_half(x.v[i]);
}
STERNA_INLINE F32 load_bf16(const uint16_t* p) {
    STERNA_LANES(F32, float_of(uint32_t(p[i]) << 16));
}
STERNA_INLINE I32 load_s8(const int8_t* p) {
    STERNA_LANES(I32, p[i]);
}
STERNA_INLINE void store_s8(int8_t* p, I32 x) {
    for (int i = 0; i < 16; ++i) p[i] = int8_t(x.v[i]);
}
STERNA_INLINE I32 load_u16(const uint16_t* p) {
    STERNA_LANES(I32, p[i]);
}
STERNA_INLINE I32 load_u8(const uint8_t* p) {
    STERNA_LANES(I32, p[i]);
}

STERNA_INLINE B64 operator&(B64 a, B64 b) {
    STERNA_BYTES(a.v[i] & b.v[i]);
}
STERNA_INLINE B64 operator|(B64 a, B64 b) {
    STERNA_BYTES(a.v[i] | b.v[i]);
}
STERNA_INLINE B64 operator^(B64 a, B64 b) {
    STERNA_BYTES(a.v[i] ^ b.v[i]);
}
STERNA_INLINE B64 add_u8(B64 a, B64 b) {
    STERNA_BYTES(a.v[i] + b.v[i]);
}
STERNA_INLINE B64 sub_u8(B64 a, B64 b) {
    STERNA_BYTES(a.v[i] - b.v[i]);
}
STERNA_INLINE B64 gt_s8(B64 a, B64 b) {
    STERNA_BYTES(int8_t(a.v[i]) > int8_t(b.v[i]) ? 255 : 0);
}
STERNA_INLINE int byte_pair(B64 a, int i) {
    return a.v[i] | a.v[i + 1] << 8;
}
STERNA_INLINE int16_t s16_at(B64 a, int i) {
    return int16_t(byte_pair(a, 2 * i));
}
STERNA_INLINE void put16(B64& a, int i, int x) {
    a.v[2 * i] = uint8_t(x);
    a.v[2 * i + 1] = uint8_t(x >> 8);
}
template <int N>
STERNA_INLINE B64 shl16(B64 a) {
    B64 r;
    for (int i = 0; i < 32; ++i) put16(r, i, byte_pair(a, 2 * i) << N);
    return r;
}
template <int N>
STERNA_INLINE B64 shr16(B64 a) {
    B64 r;
    for (int i = 0; i < 32; ++i) put16(r, i, byte_pair(a, 2 * i) >> N);
    return r;
}
STERNA_INLINE B64 shift_right16(B64 a, int n) {
    B64 r;
    for (int i = 0; i < 32; ++i) put16(r, i, byte_pair(a, 2 * i) >> n);
    return r;
}
STERNA_INLINE B64 splat4(const int8_t* p) {
    STERNA_BYTES(p[i & 3]);
}
STERNA_INLINE Table16 table16(const void* p) {
    Table16 r;
    __builtin_memcpy(&r, p, 16);
    return r;
}
STERNA_INLINE B64 lookup(Table16 table, B64 x) {
    STERNA_BYTES(table.v[x.v[i] & 15]);
}
template <int I, int J>
STERNA_INLINE B64 pairs_u8(B64 x) {
    B64 r;
    for (int i = 0; i < 16; ++i) put16(r, 2 * i, x.v[4 * i + I]), put16(r, 2 * i + 1, x.v[4 * i + J]);
    return r;
}
template <int I, int J>
STERNA_INLINE B64 pairs_s8(B64 x) {
    B64 r;
    for (int i = 0; i < 16; ++i) put16(r, 2 * i, int8_t(x.v[4 * i + I])), put16(r, 2 * i + 1, int8_t(x.v[4 * i + J]));
    return r;
}
template <int I>
STERNA_INLINE I32 pick(B64 x) {
    STERNA_LANES(I32, x.v[4 * i + I]);
}
STERNA_INLINE I32 lanes_of(B64 x) {
    return __builtin_bit_cast(I32, x);
}
STERNA_INLINE B64 bytes_of(I32 x) {
    return __builtin_bit_cast(B64, x);
}

// See vec.h: all vectors are taken whole.
constexpr int kParts = 1;
STERNA_INLINE I32 join(const I32 (&parts)[kParts]) {
    return parts[0];
}
STERNA_INLINE int32_t dot_lane(const uint8_t* u, const uint8_t* s) {
    return u[0] * int8_t(s[0]) + u[1] * int8_t(s[1]) + u[2] * int8_t(s[2]) + u[3] * int8_t(s[3]);
}
STERNA_INLINE int32_t dot_lane_s8(const uint8_t* w, const uint8_t* s) {
    return int8_t(w[0]) * int8_t(s[0]) + int8_t(w[1]) * int8_t(s[1]) + int8_t(w[2]) * int8_t(s[2]) +
           int8_t(w[3]) * int8_t(s[3]);
}
STERNA_INLINE I32 dot4(I32 acc, B64 u, B64 s) {
    STERNA_LANES(I32, acc.v[i] + dot_lane(u.v + 4 * i, s.v + 4 * i));
}
STERNA_INLINE I32 dot4_s8(I32 acc, B64 w, B64 s) {
    STERNA_LANES(I32, acc.v[i] + dot_lane_s8(w.v + 4 * i, s.v + 4 * i));
}
STERNA_INLINE I32 madd16(B64 a, B64 b) {
    STERNA_LANES(I32, s16_at(a, 2 * i) * s16_at(b, 2 * i) + s16_at(a, 2 * i + 1) * s16_at(b, 2 * i + 1));
}

STERNA_INLINE Chain chain_zero() {
    return zero_i32();
}
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
template <int I>
STERNA_INLINE Scale scale_u8(B64 x) {
    STERNA_LANES(I32, x.v[4 * i + I]);
}
template <int I>
STERNA_INLINE Scale scale_s8(B64 x) {
    STERNA_LANES(I32, int8_t(x.v[4 * i + I]));
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
    __builtin_memcpy(p, &x, 64);
}
STERNA_INLINE Scale load_scale(const uint8_t* p) {
    Scale r;
    __builtin_memcpy(&r, p, 64);
    return r;
}

#undef STERNA_LANES
#undef STERNA_BYTES

}  // namespace
}  // namespace sterna::simd::scalar
