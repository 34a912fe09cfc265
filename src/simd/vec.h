// The vector wrapper: 16 lanes of float, of int32, or of four bytes, whatever the width of the machine's registers, so
// that a kernel body is written once. An isa_*.cpp defines one of STERNA_ISA_{SCALAR,AVX2,AVX512,NEON,WASM} and
// includes this. Every operation gives the same bits on every ISA; nothing fuses. All names live in an unnamed
// namespace of their ISA: nothing reaches the linker. No state.
#pragma once

// clang-format off
//   F32    16 floats                  I32    16 int32 (wrapping)     Mask   16 booleans, from lt, gt, eq
//   B64    64 bytes: 16 lanes of 4    Table16  16 bytes for lookup()
//   Chain  per lane, the sum of a few u7 x s8 dot products; it may be 16-bit inside: see kChainLimit
//   Scale  per lane, one int16 that multiplies a Chain
//
// Common to all ISAs (a, b, x: vectors; p: pointer, any alignment; n: a constant):
//   load_f32 load_i32 load_b64 (p)   store(p, x)   splat(float) splat(int32_t) splat_u8   zero_f32 zero_i32 zero_b64
//   F32: + - * /  sqrt  abs  min(a, b) := a < b ? a : b   max(a, b) := a > b ? a : b   (also for NaN)
//   I32: + - * & | ^   shl<n> shr<n> (logical) sar<n>
//   lt gt eq -> Mask   select(mask, a, b) := mask ? a : b
//   to_f32(I32)   round_i32(F32): nearest even; |x| < 2^31   as_i32(F32) as_f32(I32): bit casts
//   load_f16 store_f16 (16 halves, nearest even)   load_bf16   load_s8 load_u8 load_u16 -> I32   store_s8 (I32 in s8)
//   load_first(p, n) (others zero)  store_first(p, x, n): n in 0..16
//   B64: & | ^  add_u8 sub_u8  gt_s8 (bytes 0 or 255)
//     shl16<n> shr16<n> shift_right16(x, n): in 16-bit pieces, mask afterwards
//     splat4(p): 4 bytes to every lane   lookup(table, x): bytes in 0..15 choose
//     pairs_u8<i, j>(x) pairs_s8<i, j>(x): bytes i and j of each lane, widened to two int16
//     pick<i>(x) -> I32: byte i of each lane, zero extended
//   madd16(a, b): int16 pairs, a0 b0 + a1 b1 per lane
//   chain_dot(chain, u, s): chain + u0 s0 + u1 s1 + u2 s2 + u3 s3 per lane; u in 0..127, s in -127..127
//   widen(chain) -> I32   widen(chain, scale) -> I32: times the scale
//     Requires: for one chain, the sum of |u0 s0 + u1 s1| over its dots, and of |u2 s2 + u3 s3|, is at most
//     kChainLimit; with weights up to m that is chain_dots(m) dots
//   chain_start(chain_offset<n>(q, zero, sum)): a chain for weights that are `zero` too large, on the n values at q,
//     whose sum is `sum`: widened, it is the sum of (u - zero) * s. Then u - zero is what kChainLimit is about
//   dot4_s8(acc, w, s): acc + w0 s0 + ... for w in -128..127, up to a bias that settle_s8(acc, sum of all s) takes out
//   SignedChain: as Chain for weights in -128..127, without its limit:
//     signed_dot(chain, w, s, scale), then settle(chain, sum of all s, scale), with one scale throughout, or
//     signed_dot(chain, w, s, scale_one()), then settle(chain, sum of all s)
//   kParts, join(parts): where vectors are wider than registers, and a kernel needs many at once, it may compute
//     parts[0] to parts[kParts - 1] one after another, all in the same way, and join them: a lane of the result comes
//     from the part that it belongs to, and the compiler drops what is not taken
// clang-format on

#include <stddef.h>
#include <stdint.h>

#if defined(_MSC_VER)
#error "gcc or clang is needed"
#endif
// The scalar build (and a test build over emulated intrinsics) leaves inlining to the compiler: 64-byte values unrolled
// everywhere would take minutes to compile, for no speed.
#if defined(STERNA_ISA_SCALAR) || defined(STERNA_EMULATE_AVX512)
#define STERNA_INLINE inline
#define STERNA_LAMBDA
#else
#define STERNA_INLINE inline __attribute__((always_inline))
#define STERNA_LAMBDA __attribute__((always_inline))
#endif

namespace sterna::simd {

constexpr int kLanes = 16;
constexpr int kChainLimit = 32767;
constexpr int chain_dots(int max_weight) {
    return kChainLimit / (2 * 127 * max_weight);
}

}  // namespace sterna::simd

#if defined(STERNA_ISA_AVX512)
#define STERNA_ISA_NS avx512
#include "simd/vec_avx512.h"
#elif defined(STERNA_ISA_AVX2)
#define STERNA_ISA_NS avx2
#include "simd/vec_avx2.h"
#elif defined(STERNA_ISA_NEON)
#ifdef __ARM_FEATURE_DOTPROD
#define STERNA_ISA_NS neon_dot
#else
#define STERNA_ISA_NS neon
#endif
#include "simd/vec_neon.h"
#elif defined(STERNA_ISA_WASM)
#define STERNA_ISA_NS wasm
#include "simd/vec_wasm.h"
#elif defined(STERNA_ISA_SCALAR)
#define STERNA_ISA_NS scalar
#include "simd/vec_scalar.h"
#else
#error "define STERNA_ISA_..."
#endif

namespace sterna::simd::STERNA_ISA_NS {
namespace {

STERNA_INLINE F32 load_first(const float* p, int n) {
    if (n >= kLanes) return load_f32(p);
    float lanes[kLanes];
    for (int i = 0; i < kLanes; ++i) lanes[i] = i < n ? p[i] : 0.0f;
    return load_f32(lanes);
}

STERNA_INLINE void store_first(float* p, F32 x, int n) {
    if (n >= kLanes) return store(p, x);
    float lanes[kLanes];
    store(lanes, x);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
}

// Toward the caches, for reading. Never faults.
STERNA_INLINE void prefetch(const void* p) {
    __builtin_prefetch(p, 0, 3);
}
// No nearer than the second level.
STERNA_INLINE void prefetch_far(const void* p) {
    __builtin_prefetch(p, 0, 2);
}

}  // namespace
}  // namespace sterna::simd::STERNA_ISA_NS
