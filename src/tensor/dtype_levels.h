// Levels (one byte each) into the bits of a block. Private to tensor/. Everything here is `static inline`, because it is
// also compiled for other instruction sets than the program's, whose copies must stay in their files.
#pragma once

#include <stdint.h>
#include <string.h>

namespace sterna::detail {

// 32 levels: the first 16 in the low nibbles; fifth bits, where there are any, in qh.
static inline void put_nibbles(uint8_t* qs, uint8_t* qh, const uint8_t* levels) {
    for (int j = 0; j < 16; ++j) qs[j] = uint8_t((levels[j] & 15) | (levels[j + 16] & 15) << 4);
    if (!qh) return;
    uint32_t high = 0;
    for (int j = 0; j < 32; ++j) high |= uint32_t(levels[j] >> 4) << j;
    memcpy(qh, &high, 4);
}

// 256 levels, their two low bits: two halves of 32 bytes with four planes each.
static inline void put_planes(uint8_t* qs, const uint8_t* levels) {
    for (int half = 0; half < 2; ++half)
        for (int l = 0; l < 32; ++l) {
            const uint8_t* from = levels + 128 * half + l;
            qs[32 * half + l] =
                uint8_t((from[0] & 3) | (from[32] & 3) << 2 | (from[64] & 3) << 4 | (from[96] & 3) << 6);
        }
}

// 256 levels: bit `shift` of element l of each 32 goes to bit (element / 32) of byte l.
static inline void put_high_bits(uint8_t* to, const uint8_t* levels, int shift) {
    for (int l = 0; l < 32; ++l) {
        unsigned bits = 0;
        for (int k = 0; k < 8; ++k) bits |= unsigned(levels[32 * k + l] >> shift & 1) << k;
        to[l] = uint8_t(bits);
    }
}

// 256 levels, their four low bits: 32 bytes hold two sub-blocks of 32, the first in the low nibbles.
static inline void put_nibble_pairs(uint8_t* qs, const uint8_t* levels) {
    for (int pair = 0; pair < 4; ++pair)
        for (int l = 0; l < 32; ++l)
            qs[32 * pair + l] = uint8_t((levels[64 * pair + l] & 15) | (levels[64 * pair + 32 + l] & 15) << 4);
}

static inline void put_q6k_levels(uint8_t* ql, uint8_t* qh, const uint8_t* levels) {
    for (int half = 0; half < 2; ++half) {
        for (int l = 0; l < 32; ++l) {
            const uint8_t* v = levels + 128 * half + l;
            ql[64 * half + l] = uint8_t((v[0] & 15) | (v[64] & 15) << 4);
            ql[64 * half + 32 + l] = uint8_t((v[32] & 15) | (v[96] & 15) << 4);
            qh[32 * half + l] = uint8_t((v[0] >> 4) | (v[32] >> 4) << 2 | (v[64] >> 4) << 4 | (v[96] >> 4) << 6);
        }
    }
}

}  // namespace sterna::detail
