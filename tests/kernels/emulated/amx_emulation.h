// The tile instructions of AMX in software, so that the AMX kernel is compared with the others on a CPU that lacks it.
// Follows the Operation sections of Intel's instruction set reference (LDTILECFG, TILELOADD, TDPBSSD, TDPBF16PS, TILESTORED,
// TILEZERO);
// what those would fault on stops the test. Tests only. Tiles are the calling thread's own.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace sterna_emulation {

struct Tiles {
    bool configured = false;
    int rows[8], row_bytes[8];
    uint8_t bytes[8][16][64];
};
inline thread_local Tiles tiles;

inline void expect(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "AMX emulation: %s\n", what);
    std::abort();
}

inline void tile_loadconfig(const void* config) {
    const auto* p = static_cast<const uint8_t*>(config);
    expect(p[0] == 1 && p[1] == 0, "palette 1 and start row 0 expected");
    for (int i = 2; i < 16; ++i) expect(p[i] == 0, "a reserved byte of the configuration is set");
    for (int i = 16 + 2 * 8; i < 48; ++i) expect(p[i] == 0, "the configuration has more than 8 tiles");
    for (int i = 48 + 8; i < 64; ++i) expect(p[i] == 0, "the configuration has more than 8 tiles");
    std::memset(tiles.bytes, 0, sizeof tiles.bytes);
    for (int i = 0; i < 8; ++i) {
        tiles.row_bytes[i] = p[16 + 2 * i] + 256 * p[17 + 2 * i];
        tiles.rows[i] = p[48 + i];
        expect(tiles.row_bytes[i] <= 64 && tiles.rows[i] <= 16, "a tile of more than 16 rows of 64 bytes");
        expect((tiles.row_bytes[i] == 0) == (tiles.rows[i] == 0), "a tile with rows or columns but not both");
    }
    tiles.configured = true;
}

inline void tile_release() {
    tiles.configured = false;
}

inline void expect_usable(int tile) {
    expect(tiles.configured, "a tile is used that is not configured");
    expect(tiles.rows[tile] > 0, "an empty tile is used");
}

inline void tile_zero(int tile) {
    expect_usable(tile);
    std::memset(tiles.bytes[tile], 0, sizeof tiles.bytes[tile]);
}

inline void tile_loadd(int tile, const void* base, long stride) {
    expect_usable(tile);
    std::memset(tiles.bytes[tile], 0, sizeof tiles.bytes[tile]);
    for (int r = 0; r < tiles.rows[tile]; ++r)
        std::memcpy(tiles.bytes[tile][r], static_cast<const uint8_t*>(base) + r * stride,
                    size_t(tiles.row_bytes[tile]));
}

inline void tile_stored(int tile, void* base, long stride) {
    expect_usable(tile);
    for (int r = 0; r < tiles.rows[tile]; ++r)
        std::memcpy(static_cast<uint8_t*>(base) + r * stride, tiles.bytes[tile][r], size_t(tiles.row_bytes[tile]));
}

#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O2")))  // the file is compiled without optimization
#endif
inline void
multiply_row(const uint8_t* a, int n_words, const uint8_t (*b)[64], int n_lanes, uint8_t* to) {
    for (int n = 0; n < n_lanes; ++n) {
        int32_t sum;
        __builtin_memcpy(&sum, to + 4 * n, 4);
        for (int k = 0; k < n_words; ++k)
            for (int i = 0; i < 4; ++i) sum += int8_t(a[4 * k + i]) * int8_t(b[k][4 * n + i]);
        __builtin_memcpy(to + 4 * n, &sum, 4);
    }
}

inline void expect_product(int c, int a, int b) {
    for (int tile : {a, b, c}) expect_usable(tile);
    expect(c != a && c != b && a != b, "a tile product needs three different tiles");
    expect(tiles.row_bytes[a] % 4 == 0 && tiles.row_bytes[b] % 4 == 0 && tiles.row_bytes[c] % 4 == 0,
           "rows of whole 32-bit words expected");
    expect(tiles.rows[a] == tiles.rows[c] && tiles.row_bytes[b] == tiles.row_bytes[c] &&
               tiles.row_bytes[a] == 4 * tiles.rows[b],
           "the shapes of a tile product do not fit");
}

inline void tile_dpbssd(int c, int a, int b) {
    expect_product(c, a, b);
    for (int m = 0; m < tiles.rows[c]; ++m)
        multiply_row(tiles.bytes[a][m], tiles.row_bytes[a] / 4, tiles.bytes[b], tiles.row_bytes[c] / 4,
                     tiles.bytes[c][m]);
}

inline float flushed(float x) {
    return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x;
}

inline float bf16_at(const uint8_t* at) {
    const uint32_t bits = uint32_t(at[0]) << 16 | uint32_t(at[1]) << 24;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return flushed(x);
}

inline void tile_dpbf16ps(int c, int a, int b) {
    expect_product(c, a, b);
    for (int m = 0; m < tiles.rows[c]; ++m)
        for (int n = 0; n < tiles.row_bytes[c] / 4; ++n) {
            float sums[2] = {0, 0}, value;
            for (int k = 0; k < tiles.rows[b]; ++k)
                for (int i = 0; i < 2; ++i)
                    sums[i] = flushed(std::fma(bf16_at(tiles.bytes[a][m] + 4 * k + 2 * i),
                                               bf16_at(tiles.bytes[b][k] + 4 * n + 2 * i), sums[i]));
            std::memcpy(&value, tiles.bytes[c][m] + 4 * n, sizeof value);
            value = flushed(flushed(value) + flushed(sums[0] + sums[1]));
            std::memcpy(tiles.bytes[c][m] + 4 * n, &value, sizeof value);
        }
}

}  // namespace sterna_emulation

#define _tile_loadconfig(config) sterna_emulation::tile_loadconfig(config)
#define _tile_release() sterna_emulation::tile_release()
#define _tile_zero(tile) sterna_emulation::tile_zero(tile)
#define _tile_loadd(tile, base, stride) sterna_emulation::tile_loadd(tile, base, stride)
#define _tile_stored(tile, base, stride) sterna_emulation::tile_stored(tile, base, stride)
#define _tile_dpbssd(c, a, b) sterna_emulation::tile_dpbssd(c, a, b)
#define _tile_dpbf16ps(c, a, b) sterna_emulation::tile_dpbf16ps(c, a, b)
