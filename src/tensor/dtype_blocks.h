// The byte layouts of GGUF's block types, drawn once: the decoders, the encoders and the packer all read blocks through
// these structs. Every field is made of bytes, so a struct may lie at any address and sizeof is the block's size in the
// file. `d`, `m`, `dmin` are IEEE halves in two bytes; "low" of a byte is bits 0-3. Source: the format descriptions of
// ggml; checked against gguf-py on random blocks.
//
// "Planes": in a run of bytes, bits 0-1 of all bytes hold the first run of elements, bits 2-3 the next, and so on.
#pragma once

#include <bit>
#include <cstdint>

#include "base/bytes.h"
#include "base/half.h"

namespace sterna {

constexpr int kBlock32 = 32;  // elements of a simple block
constexpr int kBlockK = 256;  // elements of a K, IQ4_XS or TQ block

using HalfBytes = uint8_t[2];

inline float half_at(const uint8_t* bytes) {
    return half_to_float(load_le<uint16_t>(bytes));
}
inline void put_half(uint8_t* bytes, uint16_t half) {
    bytes[0] = uint8_t(half);
    bytes[1] = uint8_t(half >> 8);
}

// ---- Simple blocks, 32 elements. Element j < 16 is the low nibble of qs[j], element j + 16 the high one.

struct BlockQ4_0 {  // x = d (q - 8)
    HalfBytes d;
    uint8_t qs[16];
};

struct BlockQ4_1 {  // x = d q + m
    HalfBytes d;
    HalfBytes m;
    uint8_t qs[16];
};

struct BlockQ5_0 {  // x = d (q - 16); bit 4 of element j is bit j of qh, read as a little-endian u32
    HalfBytes d;
    uint8_t qh[4];
    uint8_t qs[16];
};

struct BlockQ5_1 {  // x = d q + m
    HalfBytes d;
    HalfBytes m;
    uint8_t qh[4];
    uint8_t qs[16];
};

struct BlockQ8_0 {  // x = d q
    HalfBytes d;
    int8_t qs[32];
};

struct BlockIQ4_NL {  // x = d kIq4Values[q]
    HalfBytes d;
    uint8_t qs[16];
};

struct BlockMXFP4 {  // x = 2^(e - 128) kMxfp4Doubled[q]
    uint8_t e;
    uint8_t qs[16];
};

// ---- K blocks, 256 elements.

struct BlockQ2_K {       // x = (d scale) q - (dmin min), 16 sub-blocks of 16
    uint8_t scales[16];  // sub-block k: scale low nibble, min high nibble
    uint8_t qs[64];      // two halves of 32 bytes, four planes of 32 elements in each
    HalfBytes d;
    HalfBytes dmin;
};

struct BlockQ3_K {       // x = (d (scale - 32)) q, q in -4..3, 16 sub-blocks of 16
    uint8_t hmask[32];   // element l of plane p of half h: bit 4h + p of hmask[l], set means "do not subtract 4"
    uint8_t qs[64];      // two low bits, planes as in Q2_K
    uint8_t scales[12];  // q3k_scale
    HalfBytes d;
};

struct BlockQ4_K {  // x = (d scale) q - (dmin min), 8 sub-blocks of 32
    HalfBytes d;
    HalfBytes dmin;
    uint8_t scales[12];  // k_scale_min
    uint8_t qs[128];     // 32 bytes i: sub-block 2i in the low nibbles, 2i + 1 in the high ones
};

struct BlockQ5_K {  // as Q4_K; bit 4 of element l of sub-block j is bit j of qh[l]
    HalfBytes d;
    HalfBytes dmin;
    uint8_t scales[12];
    uint8_t qh[32];
    uint8_t qs[128];
};

struct BlockQ6_K {  // x = (d scale) (q - 32), 16 sub-blocks of 16; per half of 128, with l in 0..31:
    uint8_t
        ql[128];     // 64 bytes a half: l in ql[l] low, l+32 in ql[l+32] low, l+64 in ql[l] high, l+96 in ql[l+32] high
    uint8_t qh[64];  // 32 bytes a half: bits 0-1, 2-3, 4-5, 6-7 of qh[l] are bits 4-5 of those four
    int8_t scales[16];  // sub-block k
    HalfBytes d;
};

struct BlockIQ4_XS {  // x = (d (scale - 32)) kIq4Values[q], 8 sub-blocks of 32
    HalfBytes d;
    uint8_t scales_h[2];  // u16: two high bits of scale k at 2k
    uint8_t scales_l[4];  // low four bits of scale k: nibble k
    uint8_t qs[128];      // 16 bytes a sub-block, nibbles as in a simple block
};

// ---- Ternary blocks, 256 elements: x = (q - 1) d.

struct BlockTQ1_0 {
    uint8_t qs[48];  // bytes 0-31: trits 0..4 of all bytes (160 elements); then bytes 32-47: trits 0..4 (80)
    uint8_t qh[4];   // trits 0..3 of all bytes (16)
    HalfBytes d;
};

struct BlockTQ2_0 {
    uint8_t qs[64];  // two halves of 32 bytes, four planes of 32 elements in each
    HalfBytes d;
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockMXFP4) == 17);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);
static_assert(sizeof(BlockTQ1_0) == 54 && sizeof(BlockTQ2_0) == 66);
static_assert(alignof(BlockQ8_0) == 1 && alignof(BlockQ4_K) == 1 && alignof(BlockQ6_K) == 1);

// ---- Small tables and the packed scales.

// IQ4_NL and IQ4_XS: the 16 levels, ascending.
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// E2M1 values times two, so that they are integers.
constexpr int8_t kMxfp4Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of the E8M0 scale, 2^(e - 128): the factor that belongs to kMxfp4Doubled. Subnormal for e < 2.
constexpr float mxfp4_half_scale(uint8_t e) {
    return std::bit_cast<float>(e < 2 ? 0x00200000u << e : uint32_t(e - 1) << 23);
}

struct ScaleMin {
    uint8_t scale, min;  // 0..63
};

// Q4_K and Q5_K, sub-block j in 0..7:
//   bytes 0-3: scale j, and in bits 6-7 the high bits of scale j + 4;   bytes 4-7: min j, and the high bits of min j +
//   4 bytes 8-11: low four bits of scale j + 4 (low nibble) and of min j + 4 (high nibble)
inline ScaleMin k_scale_min(const uint8_t* b, int j) {
    if (j < 4) return {uint8_t(b[j] & 63), uint8_t(b[j + 4] & 63)};
    return {uint8_t((b[j + 4] & 15) | (b[j - 4] >> 6) << 4), uint8_t((b[j + 4] >> 4) | (b[j] >> 6) << 4)};
}

// Q3_K, sub-block k in 0..15. Bytes 0-7: low four bits of scale k (low nibbles) and k + 8 (high); the high two bits of
// scale k lie in byte 8 + k mod 4 at 2 (k div 4). Returns: -32..31.
inline int q3k_scale(const uint8_t* b, int k) {
    int low = k < 8 ? b[k] & 15 : b[k - 8] >> 4;
    int high = (b[8 + k % 4] >> (2 * (k / 4))) & 3;
    return (low | high << 4) - 32;
}

// IQ4_XS, sub-block k in 0..7. Returns: -32..31.
inline int iq4xs_scale(const BlockIQ4_XS& block, int k) {
    int low = (block.scales_l[k / 2] >> (4 * (k % 2))) & 15;
    int high = (load_le<uint16_t>(block.scales_h) >> (2 * k)) & 3;
    return (low | high << 4) - 32;
}

// Trit n (0..4) of a TQ1_0 byte: 0, 1 or 2. The byte is the base-3 number of five trits, first trit highest, times
// 256/243 rounded up.
inline int tq1_trit(uint8_t byte, int n) {
    constexpr uint8_t kPower[5] = {1, 3, 9, 27, 81};
    return (uint8_t(byte * kPower[n]) * 3) >> 8;
}

}  // namespace sterna
