// Matrix products of many tokens on AMX-int8, with the sums and float steps of matmul.inl, so with the same bits.
// A tile product is C[16 tokens][16 rows] += A[16 tokens][64 columns] * B: A is the activations as they lie, B the
// packed words with their elements unpacked to int8 (64 bytes: 4 columns of 16 rows).
//
// Integer scales and zero points are folded into the weights when a block is unpacked, once for all tokens: scale *
// (weight - zero) fits one int8 or two, value = low + 256 high, so a superblock leaves the tiles as one or two sums per
// output and nothing is scaled in between. While the tiles work on one pair of units (a unit is a plane of a block),
// the vector units bring the sums of the pair before into the outputs.
#include "simd/tile_config.h"

namespace sterna::kernels {
namespace {

constexpr int kTileRows = 16;
constexpr int kPairTokens = 2 * kTileRows;  // two tiles of tokens by two of weights: four tiles of sums
constexpr int kTileSums = kTileRows * kPanelRows;
// Tokens between two passes over the weights: unpacking a superblock costs about as much as multiplying it with 60
// tokens, and the activations should stay in the second-level cache (2 MB where there is AMX).
constexpr int64_t kAmxGroupBytes = 1 << 20;
constexpr int64_t kAmxMinGroup = 64, kAmxMaxGroup = 512;
constexpr int64_t kAmxAheadBytes = 1536;  // lines of weights are asked for so far ahead

// int8 planes of scale * (weight - zero). Q2_K: 15 * 3. Q3_K: -32..31 times -4..3 is -124..128, and -128..124 negated.
// The others need 11 to 13 bits.
template <typename F>
constexpr int kAmxPlanes = F::kScaled && F::kKind != WeightKind::kQ2_K && F::kKind != WeightKind::kQ3_K ? 2 : 1;
template <typename F>
constexpr bool kAmxNegated = F::kKind == WeightKind::kQ3_K;

// A block of a panel as tiles, and what the float steps need.
template <typename F>
struct AmxBlock {
    alignas(64) uint8_t planes[kAmxPlanes<F>][F::kCols * 16];
    alignas(64) uint8_t pairs[F::kMins ? kSubs<F> / 2 * 64 : 64];  // the minima as int16 pairs
    alignas(64) float d[16];
    alignas(64) float m[16];
};

// Blocks that one pass over the tokens shares: at least 256 columns, and a whole number of pairs of units.
template <typename F>
constexpr int kAmxChunk = F::kCols == 32       ? 8
                          : kAmxPlanes<F> == 2 ? 1
                                               : 2;

// The signed bytes of w times the int16 factors of their lanes, the bytes 0 and 2 of each lane, and 1 and 3.
struct Products {
    __m512i even, odd;
};
STERNA_INLINE Products times(B64 w, B64 factors) {
    const __m512i even = _mm512_srai_epi16(shl16<8>(w).v, 8), odd = _mm512_srai_epi16(w.v, 8);
    return {_mm512_mullo_epi16(even, factors.v), _mm512_mullo_epi16(odd, factors.v)};
}
STERNA_INLINE B64 low_bytes(Products x) {
    return (B64{x.even} & bytes_of(splat(int32_t(0x00ff00ff)))) | shl16<8>(B64{x.odd});
}
// What is left above the low byte, which is signed.
STERNA_INLINE B64 high_bytes(Products x) {
    const __m512i half = _mm512_set1_epi16(128);
    return shr16<8>(B64{_mm512_add_epi16(x.even, half)}) |
           (B64{_mm512_add_epi16(x.odd, half)} & bytes_of(splat(int32_t(0xff00ff00))));
}

template <typename F, int Sub>
STERNA_INLINE B64 factors_of(const B64* scales) {
    if constexpr (!F::kScaled)
        return zero_b64();
    else if constexpr (F::kSignedScales)
        return pairs_s8<Sub % 4, Sub % 4>(scales[Sub / 4]);
    else
        return pairs_u8<Sub % 4, Sub % 4>(scales[Sub / 4]);
}

template <typename F>
void unpack_tiles(const uint8_t* words, const uint8_t* halves, AmxBlock<F>& to) {
    B64 scales[4], mins[4];
    if constexpr (F::kScaled) F::scales(words, halves, scales);
    const B64 zero = splat_u8(F::kZero);
    unroll<F::kRuns>([&](auto run) STERNA_LAMBDA {
        constexpr int n_planes = planes_of<F>(run);
        B64 factors[n_planes];
        unroll<n_planes>([&](auto p)
                             STERNA_LAMBDA { factors[p] = factors_of<F, F::column(run, p) / F::kSub>(scales); });
        for (int i = 0; i < steps_of<F>(run); ++i) {
            B64 w[F::kPlanes];
            F::template step<run>(words, i, w);
            unroll<n_planes>([&](auto p) STERNA_LAMBDA {
                const int64_t at = 16 * F::column(run, p) + 64 * i;
                B64 x = w[p];
                if constexpr (kAmxNegated<F>)
                    x = sub_u8(zero, x);
                else if constexpr (F::kZero != 0)
                    x = sub_u8(x, zero);
                if constexpr (F::kScaled) {
                    const Products products = times(x, factors[p]);
                    store(to.planes[0] + at, low_bytes(products));
                    if constexpr (kAmxPlanes<F> == 2) store(to.planes[1] + at, high_bytes(products));
                } else {
                    store(to.planes[0] + at, x);
                }
            });
        }
    });
    if constexpr (F::kMins) {
        F::mins(words, mins);
        unroll<kSubs<F> / 2>([&](auto pair) STERNA_LAMBDA {
            constexpr int first = 2 * pair % 4;
            store(to.pairs + 64 * pair, pairs_u8<first, first + 1>(mins[pair / 2]));
        });
    }
    store(to.d, F::d(halves));
    if constexpr (F::kMins || F::kAffine) store(to.m, F::m(halves));
}

// Tiles 0-3: sums, [unit][tile of tokens]; 4, 5: activations; 6, 7: weights. Columns of 32-wide blocks: half a tile.
template <typename F>
constexpr int kTileCols = F::kCols < 64 ? F::kCols : 64;
template <typename F>
constexpr simd::TileConfig kTileConfig = {1,
                                          0,
                                          {},
                                          {64, 64, 64, 64, kTileCols<F>, kTileCols<F>, 64, 64},
                                          {16, 16, 16, 16, 16, 16, kTileCols<F> / 4, kTileCols<F> / 4}};

// The sums of one or two tiles of tokens (a0, a1: their activations, at the first unit's columns) with one or two units
// of weights, to sums[unit][tile][token][row]. Two planes share their columns; two blocks lie side by side.
template <typename F, bool TwoTiles, bool TwoUnits>
void multiply_tiles(const int8_t* a0, const int8_t* a1, int64_t stride, const uint8_t* b0, const uint8_t* b1,
                    int32_t* sums) {
    constexpr bool share = kAmxPlanes<F> == 2;
    _tile_zero(0);
    if constexpr (TwoTiles) _tile_zero(1);
    if constexpr (TwoUnits) _tile_zero(2);
    if constexpr (TwoTiles && TwoUnits) _tile_zero(3);
    for (int column = 0; column < F::kCols; column += kTileCols<F>) {
        _tile_loadd(6, b0 + 16 * column, 64);
        _tile_loadd(4, a0 + column, stride);
        _tile_dpbssd(0, 4, 6);
        if constexpr (TwoTiles) {
            _tile_loadd(5, a1 + column, stride);
            _tile_dpbssd(1, 5, 6);
        }
        if constexpr (TwoUnits) {
            _tile_loadd(7, b1 + 16 * column, 64);
            if constexpr (!share) _tile_loadd(4, a0 + F::kCols + column, stride);
            _tile_dpbssd(2, 4, 7);
            if constexpr (TwoTiles) {
                if constexpr (!share) _tile_loadd(5, a1 + F::kCols + column, stride);
                _tile_dpbssd(3, 5, 7);
            }
        }
    }
    _tile_stored(0, sums, 64);
    if constexpr (TwoTiles) _tile_stored(1, sums + kTileSums, 64);
    if constexpr (TwoUnits) _tile_stored(2, sums + 2 * kTileSums, 64);
    if constexpr (TwoTiles && TwoUnits) _tile_stored(3, sums + 3 * kTileSums, 64);
}

// Sums that wait for their float steps: of blocks [block, block + n_blocks), two tiles of tokens. The tile's rows
// from first_row on are the tokens from `token` on; an overlapping tile at the end repeats rows that are done.
struct Pending {
    int32_t* sums;
    int chunk_block, n_blocks;
    int64_t token[2];
    int first_row[2], n_tiles;
};

template <typename F>
STERNA_INLINE F32 finish_block(F32 acc, const AmxBlock<F>& block, F32 d, F32 m, const int32_t* sums, float scale,
                               const int16_t* token_sums) {
    I32 isum = load_i32(sums), msum = zero_i32();
    if constexpr (kAmxPlanes<F> == 2) isum = isum + shl<8>(load_i32(sums + 2 * kTileSums));
    if constexpr (kAmxNegated<F>) isum = zero_i32() - isum;
    if constexpr (F::kMins) {
        unroll<kSubs<F> / 2>([&](auto pair) STERNA_LAMBDA {
            const B64 both = splat4(reinterpret_cast<const int8_t*>(token_sums + 2 * pair));
            msum = {_mm512_dpwssd_epi32(msum.v, load_b64(block.pairs + 64 * pair).v, both.v)};
        });
    }
    return add_block<F>(acc, d, m, scale, isum, msum, F::kAffine ? float(token_sums[0]) : 0.0f);
}

template <typename F, int Blocks>
void finish_tile(const AmxBlock<F>* blocks, const Group& group, int64_t first_block, int64_t token, int n_tokens,
                 const int32_t* sums, float* acc) {
    F32 d[Blocks], m[Blocks];
    unroll<Blocks>([&](auto b) STERNA_LAMBDA {
        d[b] = load_f32(blocks[b].d);
        m[b] = zero_f32();
        if constexpr (F::kMins || F::kAffine) m[b] = load_f32(blocks[b].m);
    });
    for (int t = 0; t < n_tokens; ++t) {
        const float* scales = group.scales + (token + t) * group.n_scales + first_block;
        const int16_t* token_sums = group.sums + (token + t) * group.n_sums + first_block * kSubs<F>;
        float* to = acc + (token + t) * kPanelRows;
        F32 x = load_f32(to);
        unroll<Blocks>([&](auto b) STERNA_LAMBDA {
            x = finish_block<F>(x, blocks[b], d[b], m[b], sums + 2 * kTileSums * b + kPanelRows * t, scales[b],
                                token_sums + kSubs<F> * b);
        });
        store(to, x);
    }
}

template <typename F>
void finish(const AmxBlock<F>* chunk, const Group& group, int64_t first_block, const Pending& done, float* acc) {
    for (int tile = 0; tile < done.n_tiles; ++tile) {
        const int first = done.first_row[tile];
        const int32_t* sums = done.sums + kTileSums * tile + kPanelRows * first;
        const AmxBlock<F>* blocks = chunk + done.chunk_block;
        const int64_t block = first_block + done.chunk_block;
        if (kAmxPlanes<F> == 2 || done.n_blocks == 1)
            finish_tile<F, 1>(blocks, group, block, done.token[tile], kTileRows - first, sums, acc);
        else
            finish_tile<F, 2>(blocks, group, block, done.token[tile], kTileRows - first, sums, acc);
    }
}

// A chunk of blocks with all tokens of the group, at least 16.
template <typename F>
void multiply_chunk(const AmxBlock<F>* chunk, int n_blocks, const Group& group, int64_t first_block, int64_t n_tokens,
                    int32_t* sums, float* acc) {
    constexpr int blocks_per_pair = kAmxPlanes<F> == 2 ? 1 : 2;
    Pending previous = {}, next = {};
    int turn = 0;
    for (int64_t token = 0; token < n_tokens; token += kPairTokens) {
        const int64_t left = n_tokens - token < kPairTokens ? n_tokens - token : kPairTokens;
        const int64_t last = n_tokens - kTileRows;  // where the last full tile starts
        const int64_t start[2] = {token < last ? token : last, token + kTileRows < last ? token + kTileRows : last};
        next.n_tiles = left > kTileRows ? 2 : 1;
        for (int tile = 0; tile < 2; ++tile) {
            next.token[tile] = token + kTileRows * tile;
            next.first_row[tile] = int(next.token[tile] - start[tile]);
        }
        for (int b = 0; b < n_blocks; b += blocks_per_pair) {
            next.sums = sums + turn * 4 * kTileSums;
            next.chunk_block = b;
            next.n_blocks = n_blocks - b < blocks_per_pair ? n_blocks - b : blocks_per_pair;
            const int8_t* a = group.q + (first_block + b) * F::kCols;
            const int8_t *a0 = a + start[0] * group.n_cols, *a1 = a + start[1] * group.n_cols;
            const uint8_t* b0 = chunk[b].planes[0];
            const bool two_units = kAmxPlanes<F> == 2 || next.n_blocks == 2;
            const uint8_t* b1 = kAmxPlanes<F> == 2 ? chunk[b].planes[kAmxPlanes<F> - 1]
                                : two_units        ? chunk[b + 1].planes[0]
                                                   : b0;
            if (two_units && next.n_tiles == 2)
                multiply_tiles<F, true, true>(a0, a1, group.n_cols, b0, b1, next.sums);
            else if (two_units)
                multiply_tiles<F, false, true>(a0, a1, group.n_cols, b0, b1, next.sums);
            else if (next.n_tiles == 2)
                multiply_tiles<F, true, false>(a0, a1, group.n_cols, b0, b1, next.sums);
            else
                multiply_tiles<F, false, false>(a0, a1, group.n_cols, b0, b1, next.sums);
            if (previous.n_tiles) finish<F>(chunk, group, first_block, previous, acc);
            previous = next;
            turn ^= 1;
        }
    }
    finish<F>(chunk, group, first_block, previous, acc);
}

template <typename F>
void multiply_group(const MatmulArgs& args, const Group& group, int64_t n_tokens, float* out, uint8_t* scratch) {
    const int64_t n_blocks = args.n_cols / F::kCols;
    auto* chunk = reinterpret_cast<AmxBlock<F>*>(scratch);
    scratch += sizeof(AmxBlock<F>) * kAmxChunk<F>;
    auto* sums = reinterpret_cast<int32_t*>(scratch);                                     // two sets, used in turn
    auto* acc = reinterpret_cast<float*>(scratch + 2 * 4 * kTileSums * sizeof(int32_t));  // [n_tokens][16]
    for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
        const uint8_t* words = args.weights + panel * args.panel_bytes;
        const uint8_t* halves = words + halves_offset(F::kKind, n_blocks);
        __builtin_memset(acc, 0, size_t(n_tokens) * kPanelRows * sizeof(float));
        for (int64_t first = 0; first < n_blocks; first += kAmxChunk<F>) {
            const int n = n_blocks - first < kAmxChunk<F> ? int(n_blocks - first) : kAmxChunk<F>;
            for (int b = 0; b < n; ++b) {
                const uint8_t* w = words + (first + b) * (64 * kWords<F>);
                for (int i = 0; i < kWords<F>; ++i) prefetch(w + kAmxAheadBytes + 64 * i);
                unpack_tiles<F>(w, halves + (first + b) * F::kHalfBytes, chunk[b]);
            }
            // gcc's tile loads do not tell the compiler that they read memory.
            __asm__ volatile("" ::: "memory");
            multiply_chunk<F>(chunk, n, group, first, n_tokens, sums, acc);
        }
        const int64_t row = panel * kPanelRows;
        const int valid = rows_of(args, panel);
        for (int64_t t = 0; t < n_tokens; ++t)
            store_first(out + t * args.out_stride + row, load_f32(acc + kPanelRows * t), valid);
    }
}

constexpr int64_t kAmxSumBytes = kMatmulScratchBytes / 2;

// Tokens of a group: even parts of at most what the cache and the scratch hold, whole tiles of them.
template <typename F>
int64_t group_tokens(const MatmulArgs& args) {
    int64_t most = kAmxGroupBytes / args.n_cols;
    most = most < kAmxMinGroup ? kAmxMinGroup : most > kAmxMaxGroup ? kAmxMaxGroup : most;
    if constexpr (F::kMins && F::kSub != 16) {
        const int64_t held = kAmxSumBytes / (args.n_cols / F::kSub * int64_t(sizeof(int16_t)));
        if (held < most) most = held;
    }
    most = most / kTileRows * kTileRows;
    if (most == 0) return 0;
    const int64_t n_groups = (args.n_tokens + most - 1) / most, part = (args.n_tokens + n_groups - 1) / n_groups;
    return (part + kTileRows - 1) / kTileRows * kTileRows;
}

// The rows of tokens [begin, begin + n).
inline MatmulArgs of_tokens(MatmulArgs args, int64_t begin, int64_t n) {
    args.x.q += begin * args.n_cols;
    args.x.scales += begin * args.x.n_scales;
    args.x.sums += begin * args.x.n_sums;
    args.out += begin * args.out_stride;
    args.n_tokens = n;
    return args;
}

// Fewer tokens than a tile has rows are left to the AVX-512 entry.
template <typename F>
void matmul_amx(const MatmulArgs& args) {
    constexpr bool regroup = F::kMins && F::kSub != 16;
    const int64_t step = args.n_tokens < kTileRows ? 0 : group_tokens<F>(args);
    if (step == 0) return STERNA_AVX512_TABLE.matmul[int(F::kKind)](args);
    uint8_t* rest = args.scratch + (regroup ? kAmxSumBytes : 0);
    _tile_loadconfig(&kTileConfig<F>);
    for (int64_t token = 0; token < args.n_tokens; token += step) {
        const int64_t left = args.n_tokens - token, n = left < step ? left : step;
        const MatmulArgs part = of_tokens(args, token, n);
        if (n < kTileRows) {
            STERNA_AVX512_TABLE.matmul[int(F::kKind)](part);
            continue;
        }
        Group group = {part.x.q, part.x.scales, part.x.sums, args.n_cols, args.x.n_scales, args.x.n_sums};
        if constexpr (regroup) {
            auto* sums = reinterpret_cast<int16_t*>(args.scratch);
            group.sums = sums;
            group.n_sums = args.n_cols / F::kSub;
            for (int64_t t = 0; t < n; ++t)
                regroup_sums<F>(part.x.sums + t * args.x.n_sums, args.n_cols / 16, sums + t * group.n_sums);
        }
        multiply_group<F>(part, group, n, part.out, rest);
    }
    _tile_release();
}

}  // namespace

extern const MatmulFn STERNA_AMX_ENTRIES[int(WeightKind::kCount)];
// In the order of WeightKind; null: the AVX-512 entry stays.
const MatmulFn STERNA_AMX_ENTRIES[int(WeightKind::kCount)] = {
    nullptr,
    nullptr,
    nullptr,
    matmul_amx<FormatQ8_0>,
    matmul_amx<FormatQ4_0>,
    matmul_amx<FormatQ4_1>,
    matmul_amx<FormatQ5_0>,
    matmul_amx<FormatQ5_1>,
    matmul_amx<FormatQ2_K>,
    matmul_amx<FormatQ3_K>,
    matmul_amx<FormatQ4_K>,
    matmul_amx<FormatQ5_K>,
    matmul_amx<FormatQ6_K>,
    matmul_amx<FormatIQ4_NL>,
    matmul_amx<FormatIQ4_XS>,
    matmul_amx<FormatMXFP4>,
    matmul_amx<FormatTQ1_0>,
    matmul_amx<FormatTQ2_0>,
};

}  // namespace sterna::kernels
