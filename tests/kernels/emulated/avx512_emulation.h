// AVX-512 intrinsics in software (SIMDe), so that the AVX-512 bodies are compared with the others on a CPU that lacks
// them. Tests only. What SIMDe 0.7.4 does not have is written out here.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_NATIVE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#pragma GCC diagnostic pop

#include "base/half.h"

namespace sterna_emulation {

template <typename To, typename From>
inline void copy(To& to, const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    __builtin_memcpy(&to, &from, sizeof to);
}

inline simde__m512 from_halves(simde__m256i x) {
    uint16_t h[16];
    float f[16];
    copy(h, x);
    for (int i = 0; i < 16; ++i) f[i] = sterna::half_to_float(h[i]);
    simde__m512 r;
    copy(r, f);
    return r;
}
inline simde__m256i to_halves(simde__m512 x) {
    uint16_t h[16];
    float f[16];
    copy(f, x);
    for (int i = 0; i < 16; ++i) h[i] = sterna::float_to_half(f[i]);
    simde__m256i r;
    copy(r, h);
    return r;
}
inline simde__m512 to_floats(simde__m512i x) {
    int32_t n[16];
    float f[16];
    copy(n, x);
    for (int i = 0; i < 16; ++i) f[i] = float(n[i]);
    simde__m512 r;
    copy(r, f);
    return r;
}
// cvtps: to nearest even; out of range and NaN give 0x80000000.
inline simde__m512i to_ints(simde__m512 x) {
    int32_t n[16];
    float f[16];
    copy(f, x);
    for (int i = 0; i < 16; ++i)
        n[i] = __builtin_fabsf(f[i]) < 0x1p31f ? int32_t(__builtin_nearbyintf(f[i])) : INT32_MIN;
    simde__m512i r;
    copy(r, n);
    return r;
}
template <typename T, typename V>
inline simde__m512i widened(V x) {
    T narrow[16];
    int32_t n[16];
    copy(narrow, x);
    for (int i = 0; i < 16; ++i) n[i] = narrow[i];
    simde__m512i r;
    copy(r, n);
    return r;
}
inline simde__m512i shifted_arithmetic(simde__m512i x, unsigned count) {
    int32_t n[16];
    copy(n, x);
    for (int32_t& lane : n) lane >>= count > 31 ? 31 : count;
    copy(x, n);
    return x;
}
inline simde__m128i narrowed(simde__m512i x) {
    int32_t n[16];
    int8_t b[16];
    copy(n, x);
    for (int i = 0; i < 16; ++i) b[i] = int8_t(n[i]);
    simde__m128i r;
    copy(r, b);
    return r;
}

}  // namespace sterna_emulation

#undef _mm512_madd_epi16  // SIMDe's alias is that of the masked form
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#ifndef __AVX512F__
#define __mmask16 simde__mmask16
#endif
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps(x) sterna_emulation::from_halves(x)
#define _mm512_cvtps_ph(x, rounding) sterna_emulation::to_halves(x)
#define _mm512_cvtepi32_ps(x) sterna_emulation::to_floats(x)
#define _mm512_cvtps_epi32(x) sterna_emulation::to_ints(x)
#define _mm512_cvtepi8_epi32(x) sterna_emulation::widened<int8_t>(x)
#define _mm512_cvtepu8_epi32(x) sterna_emulation::widened<uint8_t>(x)
#define _mm512_cvtepu16_epi32(x) sterna_emulation::widened<uint16_t>(x)
#define _mm512_srai_epi32(x, n) sterna_emulation::shifted_arithmetic(x, n)
#define _mm512_cvtepi32_epi8(x) sterna_emulation::narrowed(x)
