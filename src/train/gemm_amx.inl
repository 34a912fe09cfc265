// NetKernels::gemm_bf16 on the tiles of AMX-bf16: C[16 rows][16 columns] += A[16 rows][32 terms] * B, where a row of B's tile
// holds two terms of 16 columns. Values arrive as floats and are bfloat16 numbers already, so packing drops lower halves.
#include "simd/tile_config.h"
#include "train/flush_denormals.h"
#include "train/net_kernels.h"

namespace sterna::train {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTileHalves = kTileRows * kBf16Terms;  // bfloat16 numbers of a tile, 1 KiB
constexpr int64_t kTileSums = kTileRows * kPanelColumns;
constexpr int64_t kDepthTiles = kDepth / kBf16Terms;
constexpr int64_t kGroupRows = 96;  // rows of A that are packed together; with two panels of B 64 KiB
static_assert(kBf16Terms == 32 && kDepth % kBf16Terms == 0 && kGroupRows % kPanelRows == 0);

uint32_t bits_of(float x) {
    return __builtin_bit_cast(uint32_t, x);
}

// `n_rows` rows and k terms to tiles, [row / 16][term / 32]; what is missing in them becomes zero.
void pack_a(const GemmArgs& g, const float* a, int64_t n_rows, int64_t k, uint16_t* to) {
    for (int64_t i = 0; i < round_up(n_rows, kTileRows); ++i) {
        const float* from = a + i / kPanelRows * g.a_group + i % kPanelRows * g.a_row;
        uint16_t* tile = to + i / kTileRows * kDepthTiles * kTileHalves + i % kTileRows * kBf16Terms;
        const int64_t n = i < n_rows ? k : 0;
        for (int64_t t = 0; t < k; t += kBf16Terms, tile += kTileHalves) {
            const int64_t terms = n - t < 0 ? 0 : n - t < kBf16Terms ? n - t : kBf16Terms;
            if (terms == kBf16Terms && g.a_term == 1) {
                for (int64_t j = 0; j < kBf16Terms; ++j) tile[j] = uint16_t(bits_of(from[t + j]) >> 16);
                continue;
            }
            for (int64_t j = 0; j < terms; ++j) tile[j] = uint16_t(bits_of(from[(t + j) * g.a_term]) >> 16);
            for (int64_t j = terms; j < kBf16Terms; ++j) tile[j] = 0;
        }
    }
}

// A panel [k][16] to tiles, [term / 32].
void pack_panel(const float* b, int64_t k, uint32_t* to) {
    constexpr int64_t kPair = 2 * kPanelColumns;
    const int64_t n_pairs = k / 2;
    for (int64_t pair = 0; pair < n_pairs; ++pair, b += kPair, to += kPanelColumns)
        for (int64_t j = 0; j < kPanelColumns; ++j)
            to[j] = (bits_of(b[kPanelColumns + j]) & 0xffff0000u) | bits_of(b[j]) >> 16;
    int64_t left = round_up(k, kBf16Terms) / 2 - n_pairs;
    if (k % 2 == 1) {
        for (int64_t j = 0; j < kPanelColumns; ++j) to[j] = bits_of(b[j]) >> 16;
        to += kPanelColumns;
        --left;
    }
    for (int64_t j = 0; j < left * kPanelColumns; ++j) to[j] = 0;
}

// Tiles 0-3: sums, [rows][columns]; 4, 5: A; 6, 7: B.
constexpr simd::TileConfig kTileConfig = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// Two tiles of rows with two panels; where there is only one, the other's sums are not read.
void multiply_tiles(const uint16_t* a0, const uint16_t* a1, const uint32_t* b0, const uint32_t* b1, int64_t n_tiles,
                    float* sums) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t t = 0; t < n_tiles; ++t) {
        const int64_t at = t * kTileHalves;
        _tile_loadd(4, a0 + at, 64);
        _tile_loadd(6, b0 + at / 2, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b1 + at / 2, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a1 + at, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + kTileSums, 64);
    _tile_stored(2, sums + 2 * kTileSums, 64);
    _tile_stored(3, sums + 3 * kTileSums, 64);
}

void store_sums(const float* sums, float* c, int64_t c_row, int64_t n_rows, int64_t n_columns, bool add) {
    for (int64_t i = 0; i < n_rows && i < kTileRows; ++i)
        for (int64_t j = 0; j < n_columns && j < kPanelColumns; ++j) {
            float* to = c + i * c_row + j;
            *to = add ? *to + sums[i * kPanelColumns + j] : sums[i * kPanelColumns + j];
        }
}

__attribute__((noinline)) void multiply_groups(const GemmArgs& g) {
    alignas(64) uint16_t a[kGroupRows / kTileRows * kDepthTiles * kTileHalves];
    alignas(64) uint32_t b[2][kDepthTiles * kTileHalves / 2];
    alignas(64) float sums[4 * kTileSums];
    const float* from_a = g.a;
    const float* from_b = g.b;
    for (int64_t t = 0; t < g.k; t += kDepth) {
        const int64_t k = g.k - t < kDepth ? g.k - t : kDepth;
        const int64_t depth = g.b_rows - t < kDepth ? g.b_rows - t : kDepth;
        const int64_t n_tiles = round_up(k, kBf16Terms) / kBf16Terms;
        const bool add = g.add || t > 0;
        for (int64_t row = 0; row < g.m; row += kGroupRows) {
            const int64_t n_rows = g.m - row < kGroupRows ? g.m - row : kGroupRows;
            pack_a(g, from_a + row / kPanelRows * g.a_group, n_rows, k, a);
            for (int64_t j = 0; j < g.n; j += 2 * kPanelColumns) {
                const bool two = g.n - j > kPanelColumns;
                pack_panel(from_b + j * depth, k, b[0]);
                if (two) pack_panel(from_b + (j + kPanelColumns) * depth, k, b[1]);
                for (int64_t i = 0; i < n_rows; i += 2 * kTileRows) {
                    const uint16_t* a0 = a + i / kTileRows * kDepthTiles * kTileHalves;
                    const uint16_t* a1 = n_rows - i > kTileRows ? a0 + kDepthTiles * kTileHalves : a0;
                    multiply_tiles(a0, a1, b[0], b[two ? 1 : 0], n_tiles, sums);
                    float* c = g.c + (row + i) * g.c_row + j;
                    for (int64_t tile = 0; tile < 4; ++tile) {
                        const int64_t down = tile / 2 * kTileRows, right = tile % 2 * kPanelColumns;
                        store_sums(sums + tile * kTileSums, c + down * g.c_row + right, g.c_row, n_rows - i - down,
                                   g.n - j - right, add);
                    }
                }
            }
        }
        from_a += k * g.a_term;
        from_b += depth * g.b_columns;
    }
}

void gemm_on_tiles(const GemmArgs& g) {
    const FlushDenormals flush;
    _tile_loadconfig(&kTileConfig);
    multiply_groups(g);
    _tile_release();
}

}  // namespace

extern const GemmFn STERNA_AMX_GEMM;
const GemmFn STERNA_AMX_GEMM = gemm_on_tiles;

}  // namespace sterna::train
