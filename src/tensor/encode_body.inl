// Floats to blocks. Included by encode_*.cpp, which define STERNA_ENCODERS; see encode_table.h. Uses no inline function of
// other headers: the linker might keep this file's copy for the whole program.
#include "tensor/dtype_blocks.h"
#include "tensor/dtype_levels.h"
#include "tensor/encode_lanes.h"
#include "tensor/encode_table.h"

namespace sterna::detail {
namespace {

// What a search tries. Given weights, it is thorough; without, it tries less, or a few scales only: the figures are in
// docs/quantization.md.
struct Effort {
    Tries low, high;
    int n_refits;
};

// Calls body(runs, n_blocks, first block) for eight blocks of kN values at a time. kLargeMatter: given weights,
// emphasize_large().
template <typename Block, int kN, bool kWeighted, bool kLargeMatter, typename Body>
inline void each_eight(const float* from, uint8_t* to, int64_t n, const float* importance, Body body) {
    const int64_t n_blocks = n / kN;
    Runs<kN> runs;
    float padded[kLanes * kN], padded_weights[kLanes * kN];
    for (int64_t first = 0; first < n_blocks; first += kLanes) {
        const int count = n_blocks - first < kLanes ? int(n_blocks - first) : kLanes;
        const float* values = from + first * kN;
        const float* weights = importance ? importance + first * kN : nullptr;
        if (count < kLanes) {
            memset(padded, 0, sizeof padded);
            memcpy(padded, values, size_t(count) * kN * sizeof(float));
            values = padded;
            if (weights) {
                memset(padded_weights, 0, sizeof padded_weights);
                memcpy(padded_weights, weights, size_t(count) * kN * sizeof(float));
                weights = padded_weights;
            }
        }
        load_lanes<kN>(values, runs.x);
        if (kWeighted) {
            F8 sum = load_weights<kN>(weights, runs.w);
            if (kLargeMatter) sum = emphasize_large<kN>(runs.x, sum_of_squares<kN>(runs.x) / all(float(kN)), runs.w);
            normalize<kN>(runs.w, sum, float(kN));
        }
        body(runs, count, reinterpret_cast<Block*>(to) + first);
    }
}

template <typename Levels>
inline I8 symmetric_level(F8 t) {
    if constexpr (requires { Levels::kZero; })
        return __builtin_convertvector(Levels::nearest(t), I8) + Levels::kZero;
    else
        return Levels::place(t);
}

inline I8 offset_level(F8 t, float high) {
    return __builtin_convertvector(round_even(clamped(t, 0.0f, high)), I8);
}

// ---- Blocks of 32 with one scale.

template <typename Block, typename Levels, bool kWeighted>
inline void encode_symmetric(const float* from, uint8_t* to, int64_t n, const float* importance, const Effort& effort) {
    each_eight<Block, 32, kWeighted, true>(
        from, to, n, importance, [&](const Runs<32>& runs, int count, Block* blocks) {
            const F8 d = fit_scale<Levels, 32, kWeighted, true>(runs, effort.low, effort.high, effort.n_refits);
            const F8 id = inverse(d);
            const I8 halves = half_bits(d);
            uint8_t levels[kLanes * 32];
            store_levels<32>(levels, [&](int i) { return symmetric_level<Levels>(runs.x[i] * id); });
            for (int b = 0; b < count; ++b) {
                store_half(blocks[b].d, halves, b);
                uint8_t* qh = nullptr;
                if constexpr (requires { blocks[b].qh; }) qh = blocks[b].qh;
                put_nibbles(blocks[b].qs, qh, levels + 32 * b);
            }
        });
}

template <typename Block, int kMaxQ, bool kWeighted>
inline void encode_offset(const float* from, uint8_t* to, int64_t n, const float* importance, const Effort& effort) {
    each_eight<Block, 32, kWeighted, true>(
        from, to, n, importance, [&](const Runs<32>& runs, int count, Block* blocks) {
            Totals totals;
            const ScaleOffset fit =
                fit_scale_offset<kMaxQ, 32, kWeighted, true, false>(runs, effort.low, effort.n_refits, totals);
            const F8 id = inverse(fit.d);
            const I8 halves = half_bits(fit.d), half_mins = half_bits(fit.m);
            uint8_t levels[kLanes * 32];
            store_levels<32>(levels, [&](int i) { return offset_level((runs.x[i] - fit.m) * id, float(kMaxQ)); });
            for (int b = 0; b < count; ++b) {
                store_half(blocks[b].d, halves, b);
                store_half(blocks[b].m, half_mins, b);
                uint8_t* qh = nullptr;
                if constexpr (requires { blocks[b].qh; }) qh = blocks[b].qh;
                put_nibbles(blocks[b].qs, qh, levels + 32 * b);
            }
        });
}

// A search gains little at 8 bits: the largest value meets the outermost level, and then the scale that least squares makes of
// those levels. The nearest half to that solution loses no more than the half before, and levels that are nearer only gain.
template <bool kWeighted>
inline void encode_q8_0_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    using Levels = Uniform<-127, 127>;
    each_eight<BlockQ8_0, 32, kWeighted, false>(
        from, to, n, importance, [&](const Runs<32>& runs, int count, BlockQ8_0* blocks) {
            const F8 zero = {};
            F8 top = zero;
            for (int i = 0; i < 32; ++i) top = larger(as_float(as_bits(runs.x[i]) & 0x7fffffff), top);
            const F8 plain = through_half(top / 127.0f), over = inverse(plain);
            Sums sums;
            sums_at<Levels, 32, kWeighted, 1>(runs, &over, &sums);
            const F8 d = sums.xq > zero ? through_half(sums.xq / sums.qq) : plain;  // NaN is not above zero
            const F8 id = inverse(d);
            const I8 halves = half_bits(d);
            uint8_t levels[kLanes * 32];
            store_levels<32>(levels,
                             [&](int i) { return __builtin_convertvector(Levels::nearest(runs.x[i] * id), I8) & 255; });
            for (int b = 0; b < count; ++b) {
                store_half(blocks[b].d, halves, b);
                memcpy(blocks[b].qs, levels + 32 * b, 32);
            }
        });
}

// ---- MXFP4: the OCP specification (MX v1.0, section 6.3) puts the largest magnitude's exponent at 2, so that up to a
// quarter of an octave saturates at 6; where the next scale gives a smaller error, it is taken.

constexpr float kMxfp4Levels[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};  // doubled E2M1
constexpr int kMaxExponent = 252;  // 12 * 2^(252 - 128) is still a finite float

struct Mxfp4 {
    static constexpr float middle(int k) { return 0.5f * (kMxfp4Levels[k] + kMxfp4Levels[k + 1]); }

    static inline F8 nearest(F8 t) {
        F8 q = all(kMxfp4Levels[0]);
        for (int k = 0; k < 14; ++k) q = t >= all(middle(k)) ? all(kMxfp4Levels[k + 1]) : q;
        return q;
    }

    // Sign and magnitude, as blocks hold them.
    static inline I8 code(F8 t) {
        I8 place = {};
        for (int k = 0; k < 14; ++k) place -= t >= all(middle(k));
        return place >= 7 ? place - 7 : 15 - place;
    }
};

// 2^(e - 128)
inline F8 half_scales(I8 e) {
    const I8 subnormal = e == 0 ? I8{} + 0x00200000 : I8{} + 0x00400000;
    return as_float(e < 2 ? subnormal : (e - 1) << 23);
}

template <bool kWeighted>
inline F8 mxfp4_error(const Runs<32>& runs, I8 e) {
    const F8 d = half_scales(e), id = inverse(d);
    F8 error = {};
    for (int i = 0; i < 32; ++i) {
        const F8 x = runs.x[i], miss = x - d * Mxfp4::nearest(x * id);
        error += kWeighted ? runs.w[i] * (miss * miss) : miss * miss;
    }
    return error;
}

template <bool kWeighted>
inline void mxfp4_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_eight<BlockMXFP4, 32, kWeighted, true>(
        from, to, n, importance, [&](const Runs<32>& runs, int count, BlockMXFP4* blocks) {
            // floor(log2 |top|) + 127; 0 for subnormals
            const I8 exponent = (as_bits(largest(runs)) >> 23) & 255;
            auto limited = [](I8 e) {
                e = e > 0 ? e : I8{};
                return e < kMaxExponent ? e : I8{} + kMaxExponent;
            };
            const I8 low = limited(exponent - 2), high = limited(exponent - 1);
            const I8 e = mxfp4_error<kWeighted>(runs, high) < mxfp4_error<kWeighted>(runs, low) ? high : low;
            const F8 id = inverse(half_scales(e));
            uint8_t codes[kLanes * 32];
            store_levels<32>(codes, [&](int i) { return Mxfp4::code(runs.x[i] * id); });
            for (int b = 0; b < count; ++b) {
                blocks[b].e = uint8_t(e[b]);
                put_nibbles(blocks[b].qs, nullptr, codes + 32 * b);
            }
        });
}

// ---- Ternary blocks of 256.

template <typename Block, bool kWeighted, typename Put>
inline void encode_ternary(const float* from, uint8_t* to, int64_t n, const float* importance, Put put) {
    using Levels = Uniform<-1, 1>;
    // Levels beyond half the scale are not zero: from a scale as large as the largest value to a quarter of it.
    constexpr Tries kNone = {0.0f, 0, -1}, kTries = {0.8f, 0, 3};
    each_eight<Block, 256, kWeighted, false>(
        from, to, n, importance, [&](const Runs<256>& runs, int count, Block* blocks) {
            const F8 found = fit_scale<Levels, 256, kWeighted, true>(runs, kNone, kTries, 2);
            const F8 d = found < F8{} ? -found : found, id = inverse(d);
            const I8 halves = half_bits(d);
            uint8_t levels[kLanes * 256];
            store_levels<256>(levels, [&](int i) { return symmetric_level<Levels>(runs.x[i] * id); });
            for (int b = 0; b < count; ++b) {
                store_half(blocks[b].d, halves, b);
                put(levels + 256 * b, blocks[b]);
            }
        });
}

inline void put_trits(const uint8_t* levels, uint8_t* bytes, int n_bytes, int n_trits) {
    for (int l = 0; l < n_bytes; ++l) {
        unsigned number = 0;
        for (int trit = 0; trit < 5; ++trit) number = number * 3 + (trit < n_trits ? levels[trit * n_bytes + l] : 0u);
        bytes[l] = uint8_t((number * 256 + 242) / 243);
    }
}

// ---- Blocks of 256 with integer scales inside. First each sub-block's own best scale is sought (lane = sub-block). Then,
// for some super-scales, every sub-block chooses among the integer scales near its wish by what they gain, and the
// super-scale is refitted to those choices by least squares.

template <int kSubs, bool kWeighted>
struct SubBlocks {
    static constexpr int kSub = 256 / kSubs, kGroups = kSubs / kLanes;
    Runs<kSub> runs[kGroups];

    void load(const float* x, const float* importance, bool large_matter) {
        for (int g = 0; g < kGroups; ++g) load_lanes<kSub>(x + g * kLanes * kSub, runs[g].x);
        if (!kWeighted) return;
        float sum = 0.0f, squares = 0.0f;
        for (int g = 0; g < kGroups; ++g) squares += lane_total(sum_of_squares<kSub>(runs[g].x));
        for (int g = 0; g < kGroups; ++g) {
            const F8 plain = load_weights<kSub>(importance + g * kLanes * kSub, runs[g].w);
            sum +=
                lane_total(large_matter ? emphasize_large<kSub>(runs[g].x, all(squares / 256.0f), runs[g].w) : plain);
        }
        for (int g = 0; g < kGroups; ++g) normalize<kSub>(runs[g].w, all(sum), 256.0f);
    }

    // levels[i] = level(group, value i)
    template <typename Level>
    void store(uint8_t* levels, Level level) const {
        if constexpr (kSub == 32)
            store_levels<32>(levels, [&](int i) { return level(0, runs[0].x[i]); });
        else
            store_short_levels(levels, [&](int g, int i) { return level(g, runs[g].x[i]); });
    }
};

template <typename Levels, int kLowScale, int kHighScale, int kSubs, bool kWeighted>
class SymmetricSearch {
    static constexpr int kSub = 256 / kSubs, kGroups = kSubs / kLanes;

public:
    struct Fit {
        float d = 0.0f, gain = -3e38f;
        F8 scales[kGroups] = {};
        Sums sums[kGroups] = {};
        float scale(int k) const { return scales[k / kLanes][k % kLanes]; }
    };

    explicit SymmetricSearch(const SubBlocks<kSubs, kWeighted>& subs) : subs_(subs) {}

    Fit run(const Effort& effort) {
        float top = 0.0f;
        for (int g = 0; g < kGroups; ++g) {
            wish_[g] = clamped(
                fit_scale<Levels, kSub, kWeighted, false>(subs_.runs[g], effort.low, effort.high, effort.n_refits),
                -1e30f, 1e30f);
            for (int lane = 0; lane < kLanes; ++lane) {
                const float size = wish_[g][lane] < 0.0f ? -wish_[g][lane] : wish_[g][lane];
                if (size > (top < 0.0f ? -top : top)) top = wish_[g][lane];
            }
        }
        Fit best;
        constexpr float kEdges[2] = {float(kLowScale), float(kHighScale)};
        for (float edge : kEdges) {
            float d = half_away(top / edge);
            for (int i = 0; i <= kRefits; ++i) {
                const Fit fit = choose(d);
                if (fit.gain > best.gain) best = fit;
                const float next = refit(fit);
                if (next == d) break;
                d = next;
            }
        }
        return best;
    }

private:
    static constexpr int kRefits = 2;

    Fit choose(float d) const {
        Fit fit;
        fit.d = d;
        fit.gain = 0.0f;
        const float over = inverse(d);
        for (int g = 0; g < kGroups; ++g) {
            const F8 middle = round_even(clamped(wish_[g] * over, float(kLowScale), float(kHighScale)));
            F8 scale[3], id[3], best_gain = all(-3e38f);
            Sums sums[3];
            for (int k = 0; k < 3; ++k) {
                scale[k] = clamped(middle + float(k - 1), float(kLowScale), float(kHighScale));
                id[k] = inverse(d * scale[k]);
            }
            sums_at<Levels, kSub, kWeighted, 3>(subs_.runs[g], id, sums);
            for (int k = 0; k < 3; ++k) {
                const F8 gain = gain_at(d * scale[k], sums[k]);
                const I8 better = gain > best_gain;
                best_gain = better ? gain : best_gain;
                fit.scales[g] = better ? scale[k] : fit.scales[g];
                fit.sums[g].xq = better ? sums[k].xq : fit.sums[g].xq;
                fit.sums[g].qq = better ? sums[k].qq : fit.sums[g].qq;
            }
            fit.gain += lane_total(best_gain);
        }
        return fit;
    }

    static float refit(const Fit& fit) {
        float xq = 0.0f, qq = 0.0f;
        for (int g = 0; g < kGroups; ++g) {
            xq += lane_total(fit.scales[g] * fit.sums[g].xq);
            qq += lane_total(fit.scales[g] * fit.scales[g] * fit.sums[g].qq);
        }
        return qq > 0.0f ? through_half(xq / qq) : fit.d;
    }

    const SubBlocks<kSubs, kWeighted>& subs_;
    F8 wish_[kGroups];
};

// x = (d scale) q - (dmin min), scales and mins from 0 to kMaxScale.
template <int kMaxQ, int kMaxScale, int kSubs, bool kWeighted>
class OffsetSearch {
    static constexpr int kSub = 256 / kSubs, kGroups = kSubs / kLanes;

public:
    struct Fit {
        float d = 0.0f, dmin = 0.0f, gain = -3e38f;
        F8 scales[kGroups] = {}, mins[kGroups] = {};
        OffsetSums sums[kGroups] = {};
        float scale(int k) const { return scales[k / kLanes][k % kLanes]; }
        float min(int k) const { return mins[k / kLanes][k % kLanes]; }
    };

    explicit OffsetSearch(const SubBlocks<kSubs, kWeighted>& subs) : subs_(subs) {}

    Fit run(const Effort& effort) {
        float top = 0.0f, top_min = 0.0f;
        for (int g = 0; g < kGroups; ++g) {
            const ScaleOffset wish = fit_scale_offset<kMaxQ, kSub, kWeighted, false, true>(subs_.runs[g], effort.low,
                                                                                           effort.n_refits, totals_[g]);
            wish_[g] = clamped(wish.d, 0.0f, 1e30f);
            wish_min_[g] = clamped(-wish.m, 0.0f, 1e30f);
            for (int lane = 0; lane < kLanes; ++lane) {
                if (wish_[g][lane] > top) top = wish_[g][lane];
                if (wish_min_[g][lane] > top_min) top_min = wish_min_[g][lane];
            }
        }
        const float d = top / float(kMaxScale), dmin = top_min / float(kMaxScale);
        Fit best = choose(through_half(d), through_half(dmin));
        const Fit away = choose(half_away(d), half_away(dmin));
        if (away.gain > best.gain) best = away;
        Fit fit = best;
        for (int i = 0; i < kRefits; ++i) {
            float next_d = fit.d, next_dmin = fit.dmin;
            if (!refit(fit, next_d, next_dmin)) break;
            fit = choose(next_d, next_dmin);
            if (fit.gain > best.gain) best = fit;
        }
        return best;
    }

private:
    static constexpr int kRefits = 2;

    Fit choose(float d, float dmin) const {
        Fit fit;
        fit.d = d;
        fit.dmin = dmin;
        fit.gain = 0.0f;
        const float over = inverse(d), over_min = inverse(dmin), high = float(kMaxScale);
        for (int g = 0; g < kGroups; ++g) {
            const F8 middle = round_even(clamped(wish_[g] * over, 0.0f, high));
            const F8 middle_min = round_even(clamped(wish_min_[g] * over_min, 0.0f, high));
            F8 best_gain = all(-3e38f);
            // Three grids at once, the best of them and those before to fit.
            auto weigh = [&](const F8* scale, const F8* min) {
                F8 id[3], grid_d[3], m[3];
                for (int k = 0; k < 3; ++k) {
                    grid_d[k] = d * scale[k];
                    id[k] = inverse(grid_d[k]);
                    m[k] = -(dmin * min[k]);
                }
                OffsetSums sums[3];
                offset_sums_at<kSub, kWeighted, 3>(subs_.runs[g], id, m, float(kMaxQ), sums);
                for (int k = 0; k < 3; ++k) {
                    const F8 gain = offset_gain_at({grid_d[k], m[k]}, sums[k], totals_[g]);
                    const I8 better = gain > best_gain;
                    best_gain = better ? gain : best_gain;
                    fit.scales[g] = better ? scale[k] : fit.scales[g];
                    fit.mins[g] = better ? min[k] : fit.mins[g];
                    fit.sums[g].q = better ? sums[k].q : fit.sums[g].q;
                    fit.sums[g].qq = better ? sums[k].qq : fit.sums[g].qq;
                    fit.sums[g].xq = better ? sums[k].xq : fit.sums[g].xq;
                }
            };
            const F8 below = clamped(middle - 1.0f, 0.0f, high), above = clamped(middle + 1.0f, 0.0f, high);
            const F8 below_min = clamped(middle_min - 1.0f, 0.0f, high),
                     above_min = clamped(middle_min + 1.0f, 0.0f, high);
            if (kWeighted) {
                for (const F8* scale : {&below, &middle, &above}) {
                    const F8 scales[3] = {*scale, *scale, *scale}, mins[3] = {below_min, middle_min, above_min};
                    weigh(scales, mins);
                }
            } else {
                const F8 scales[3] = {below, middle, above}, mins[3] = {middle_min, middle_min, middle_min};
                weigh(scales, mins);
                const F8 best = fit.scales[g];
                const F8 same[3] = {best, best, best}, other_mins[3] = {below_min, above_min, above_min};
                weigh(same, other_mins);
            }
            fit.gain += lane_total(best_gain);
        }
        return fit;
    }

    // d and dmin by least squares, the integers kept. Returns: false when nothing changes.
    bool refit(const Fit& fit, float& d, float& dmin) const {
        float aa = 0.0f, ab = 0.0f, bb = 0.0f, xa = 0.0f, xb = 0.0f;  // a = scale q, b = -min
        for (int g = 0; g < kGroups; ++g) {
            const F8 scale = fit.scales[g], b = -fit.mins[g];
            aa += lane_total(scale * scale * fit.sums[g].qq);
            ab += lane_total(scale * b * fit.sums[g].q);
            bb += lane_total(b * b * totals_[g].w);
            xa += lane_total(scale * fit.sums[g].xq);
            xb += lane_total(b * totals_[g].x);
        }
        const float determinant = aa * bb - ab * ab;
        if (determinant > 0.0f) {
            d = through_half((xa * bb - xb * ab) / determinant);
            dmin = through_half((xb * aa - xa * ab) / determinant);
        } else if (aa > 0.0f) {
            d = through_half(xa / aa);
        }
        return d > 0.0f && dmin >= 0.0f && (d != fit.d || dmin != fit.dmin);
    }

    const SubBlocks<kSubs, kWeighted>& subs_;
    Totals totals_[kGroups];
    F8 wish_[kGroups], wish_min_[kGroups];
};

// Calls put(fit, levels, block) for each block.
template <typename Block, typename Levels, int kLowScale, int kHighScale, int kSubs, bool kWeighted, typename Put>
inline void encode_k_symmetric(const float* from, uint8_t* to, int64_t n, const float* importance, const Effort& effort,
                               Put put) {
    SubBlocks<kSubs, kWeighted> subs;
    for (int64_t i = 0; i < n / 256; ++i) {
        subs.load(from + i * 256, kWeighted ? importance + i * 256 : nullptr, !__is_same(Block, BlockQ6_K));
        const auto fit = SymmetricSearch<Levels, kLowScale, kHighScale, kSubs, kWeighted>(subs).run(effort);
        F8 id[kSubs / kLanes];
        for (int g = 0; g < kSubs / kLanes; ++g) id[g] = inverse(fit.d * fit.scales[g]);
        uint8_t levels[256];
        subs.store(levels, [&](int g, F8 t) { return symmetric_level<Levels>(t * id[g]); });
        put(fit, levels, reinterpret_cast<Block*>(to)[i]);
    }
}

template <typename Block, int kMaxQ, int kMaxScale, int kSubs, bool kWeighted, typename Put>
inline void encode_k_offset(const float* from, uint8_t* to, int64_t n, const float* importance, const Effort& effort,
                            Put put) {
    SubBlocks<kSubs, kWeighted> subs;
    for (int64_t i = 0; i < n / 256; ++i) {
        subs.load(from + i * 256, kWeighted ? importance + i * 256 : nullptr, true);
        const auto fit = OffsetSearch<kMaxQ, kMaxScale, kSubs, kWeighted>(subs).run(effort);
        F8 id[kSubs / kLanes], m[kSubs / kLanes];
        for (int g = 0; g < kSubs / kLanes; ++g) {
            id[g] = inverse(fit.d * fit.scales[g]);
            m[g] = -(fit.dmin * fit.mins[g]);
        }
        uint8_t levels[256];
        subs.store(levels, [&](int g, F8 x) { return offset_level((x - m[g]) * id[g], float(kMaxQ)); });
        Block& block = reinterpret_cast<Block*>(to)[i];
        store_half(block.d, fit.d);
        store_half(block.dmin, fit.dmin);
        put(fit, levels, block);
    }
}

// The inverse of k_scale_min.
template <typename Fit>
inline void put_k_scales(uint8_t* b, const Fit& fit) {
    for (int j = 0; j < 4; ++j) {
        const int scale = int(fit.scale(j)), high_scale = int(fit.scale(j + 4));
        const int min = int(fit.min(j)), high_min = int(fit.min(j + 4));
        b[j] = uint8_t(scale | (high_scale >> 4) << 6);
        b[j + 4] = uint8_t(min | (high_min >> 4) << 6);
        b[j + 8] = uint8_t((high_scale & 15) | (high_min & 15) << 4);
    }
}

// The inverse of q3k_scale.
template <typename Fit>
inline void put_q3k_scales(uint8_t* b, const Fit& fit) {
    memset(b, 0, 12);
    for (int k = 0; k < 16; ++k) {
        const int value = int(fit.scale(k)) + 32;
        b[k % 8] = uint8_t(b[k % 8] | (value & 15) << (k / 8 * 4));
        b[8 + k % 4] = uint8_t(b[8 + k % 4] | (value >> 4) << (2 * (k / 4)));
    }
}

// ---- The table.

constexpr Tries kNoTries = {0.0f, 0, -1};
constexpr Tries kFine = {0.1f, 10, 13};
constexpr Effort kThorough = {kFine, {0.1f, 10, 9}, 2};
constexpr Effort kThoroughOffset = {{0.1f, 10, 14}, kNoTries, 3};
constexpr Effort kQuick = {{0.4f, 1, 2}, kNoTries, 0};
constexpr Effort kQuickOffset = {{0.7f, 0, 1}, kNoTries, 0};
constexpr Effort kHalfway = {{0.2f, 4, 7}, {0.2f, 4, 3}, 1};
constexpr Effort kHalfwayOffset = {{0.2f, 3, 5}, kNoTries, 1};

void q4_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    if (importance) return encode_symmetric<BlockQ4_0, Uniform<-8, 7>, true>(from, to, n, importance, kThorough);
    encode_symmetric<BlockQ4_0, Uniform<-8, 7>, false>(from, to, n, nullptr, kQuick);
}

void q5_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    if (importance) return encode_symmetric<BlockQ5_0, Uniform<-16, 15>, true>(from, to, n, importance, kThorough);
    encode_symmetric<BlockQ5_0, Uniform<-16, 15>, false>(from, to, n, nullptr, kQuick);
}

void q4_1(const float* from, uint8_t* to, int64_t n, const float* importance) {
    if (importance) return encode_offset<BlockQ4_1, 15, true>(from, to, n, importance, kThoroughOffset);
    encode_offset<BlockQ4_1, 15, false>(from, to, n, nullptr, kQuickOffset);
}

void q5_1(const float* from, uint8_t* to, int64_t n, const float* importance) {
    if (importance) return encode_offset<BlockQ5_1, 31, true>(from, to, n, importance, kThoroughOffset);
    encode_offset<BlockQ5_1, 31, false>(from, to, n, nullptr, kQuickOffset);
}

void q8_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    if (importance) return encode_q8_0_with<true>(from, to, n, importance);
    encode_q8_0_with<false>(from, to, n, nullptr);
}

constexpr Effort kThoroughIq4 = {{2.0f, 12, 15}, {2.0f, 12, 15}, 2};
constexpr Effort kHalfwayIq4 = {{4.0f, 5, 6}, {4.0f, 5, 6}, 1};

void iq4_nl(const float* from, uint8_t* to, int64_t n, const float* importance) {
    if (importance) return encode_symmetric<BlockIQ4_NL, Iq4, true>(from, to, n, importance, kThoroughIq4);
    encode_symmetric<BlockIQ4_NL, Iq4, false>(from, to, n, nullptr, kHalfwayIq4);
}

template <bool kWeighted>
inline void q2_k_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_k_offset<BlockQ2_K, 3, 15, 16, kWeighted>(
        from, to, n, importance, kWeighted ? kThoroughOffset : kHalfwayOffset,
        [](const auto& fit, const uint8_t* levels, BlockQ2_K& block) {
            for (int k = 0; k < 16; ++k) block.scales[k] = uint8_t(int(fit.scale(k)) | int(fit.min(k)) << 4);
            put_planes(block.qs, levels);
        });
}

template <bool kWeighted>
inline void q3_k_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_k_symmetric<BlockQ3_K, Uniform<-4, 3>, -32, 31, 16, kWeighted>(
        from, to, n, importance, kWeighted ? kThorough : kHalfway,
        [](const auto& fit, const uint8_t* levels, BlockQ3_K& block) {
            put_high_bits(block.hmask, levels, 2);
            put_planes(block.qs, levels);
            put_q3k_scales(block.scales, fit);
            store_half(block.d, fit.d);
        });
}

template <bool kWeighted>
inline void q4_k_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_k_offset<BlockQ4_K, 15, 63, 8, kWeighted>(from, to, n, importance,
                                                     kWeighted ? kThoroughOffset : kHalfwayOffset,
                                                     [](const auto& fit, const uint8_t* levels, BlockQ4_K& block) {
                                                         put_k_scales(block.scales, fit);
                                                         put_nibble_pairs(block.qs, levels);
                                                     });
}

template <bool kWeighted>
inline void q5_k_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_k_offset<BlockQ5_K, 31, 63, 8, kWeighted>(from, to, n, importance,
                                                     kWeighted ? kThoroughOffset : kHalfwayOffset,
                                                     [](const auto& fit, const uint8_t* levels, BlockQ5_K& block) {
                                                         put_k_scales(block.scales, fit);
                                                         put_nibble_pairs(block.qs, levels);
                                                         put_high_bits(block.qh, levels, 4);
                                                     });
}

template <bool kWeighted>
inline void q6_k_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_k_symmetric<BlockQ6_K, Uniform<-32, 31>, -128, 127, 16, kWeighted>(
        from, to, n, importance, kWeighted ? kThorough : kHalfway,
        [](const auto& fit, const uint8_t* levels, BlockQ6_K& block) {
            put_q6k_levels(block.ql, block.qh, levels);
            for (int k = 0; k < 16; ++k) block.scales[k] = int8_t(int(fit.scale(k)));
            store_half(block.d, fit.d);
        });
}

template <bool kWeighted>
inline void iq4_xs_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_k_symmetric<BlockIQ4_XS, Iq4, -32, 31, 8, kWeighted>(
        from, to, n, importance, kWeighted ? kThoroughIq4 : kHalfwayIq4,
        [](const auto& fit, const uint8_t* levels, BlockIQ4_XS& block) {
            uint32_t high = 0;
            memset(block.scales_l, 0, sizeof block.scales_l);
            for (int k = 0; k < 8; ++k) {
                const int scale = int(fit.scale(k)) + 32;
                block.scales_l[k / 2] = uint8_t(block.scales_l[k / 2] | (scale & 15) << (4 * (k % 2)));
                high |= uint32_t(scale >> 4) << (2 * k);
                put_nibbles(block.qs + 16 * k, nullptr, levels + 32 * k);
            }
            block.scales_h[0] = uint8_t(high);
            block.scales_h[1] = uint8_t(high >> 8);
            store_half(block.d, fit.d);
        });
}

template <bool kWeighted>
inline void tq1_0_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_ternary<BlockTQ1_0, kWeighted>(from, to, n, importance, [](const uint8_t* levels, BlockTQ1_0& block) {
        put_trits(levels, block.qs, 32, 5);
        put_trits(levels + 160, block.qs + 32, 16, 5);
        put_trits(levels + 240, block.qh, 4, 4);
    });
}

template <bool kWeighted>
inline void tq2_0_with(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_ternary<BlockTQ2_0, kWeighted>(
        from, to, n, importance, [](const uint8_t* levels, BlockTQ2_0& block) { put_planes(block.qs, levels); });
}

template <EncodeFunction kWith, EncodeFunction kWithout>
void either(const float* from, uint8_t* to, int64_t n, const float* importance) {
    (importance ? kWith : kWithout)(from, to, n, importance);
}

void decode_f16(const uint8_t* from, float* to, int64_t n) {
    using H8 = uint16_t __attribute__((vector_size(16)));
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        H8 halves;
        memcpy(&halves, from + 2 * i, sizeof halves);
        const I8 bits = __builtin_convertvector(halves, I8), magnitude = (bits & 0x7fff) << 13;
        // 2^112 moves the exponent's bias, and makes subnormal halves normal floats.
        const I8 finite = as_bits(as_float(magnitude) * 0x1p112f), special = magnitude | 0x7f800000;
        const F8 value = as_float((magnitude >= 0x0f800000 ? special : finite) | (bits & 0x8000) << 16);
        reinterpret_cast<LooseF8*>(to + i)->value = value;
    }
    for (; i < n; ++i) {
        const uint32_t bits = uint32_t(from[2 * i] | from[2 * i + 1] << 8), magnitude = (bits & 0x7fff) << 13;
        float value;
        memcpy(&value, &magnitude, sizeof value);
        value *= 0x1p112f;
        uint32_t result;
        memcpy(&result, &value, sizeof result);
        if (magnitude >= 0x0f800000u) result = magnitude | 0x7f800000u;
        result |= (bits & 0x8000) << 16;
        memcpy(to + i, &result, sizeof result);
    }
}

// An exponent of all ones carries into the sign.
bool all_finite(const float* values, int64_t n) {
    using U8 = uint32_t __attribute__((vector_size(32)));
    U8 seen[4] = {};
    auto look = [&](const float* from, int k) {
        U8 bits;
        const F8 row = reinterpret_cast<const LooseF8*>(from)->value;
        memcpy(&bits, &row, sizeof bits);
        seen[k] |= (bits & 0x7fffffffu) + 0x00800000u;
    };
    int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes)
        for (int k = 0; k < 4; ++k) look(values + i + k * kLanes, k);
    for (; i < n; i += kLanes) {
        float last[kLanes] = {};
        memcpy(last, values + i, size_t(n - i < kLanes ? n - i : kLanes) * sizeof(float));
        look(last, 0);
    }
    const U8 all_seen = seen[0] | seen[1] | seen[2] | seen[3];
    uint32_t any = 0;
    for (int lane = 0; lane < kLanes; ++lane) any |= all_seen[lane];
    return (any & 0x80000000u) == 0;
}

}  // namespace

const Encoders STERNA_ENCODERS = {
    q4_0,
    q4_1,
    q5_0,
    q5_1,
    q8_0,
    iq4_nl,
    either<q2_k_with<true>, q2_k_with<false>>,
    either<q3_k_with<true>, q3_k_with<false>>,
    either<q4_k_with<true>, q4_k_with<false>>,
    either<q5_k_with<true>, q5_k_with<false>>,
    either<q6_k_with<true>, q6_k_with<false>>,
    either<iq4_xs_with<true>, iq4_xs_with<false>>,
    either<tq1_0_with<true>, tq1_0_with<false>>,
    either<tq2_0_with<true>, tq2_0_with<false>>,
    either<mxfp4_with<true>, mxfp4_with<false>>,
    decode_f16,
    all_finite,
};

}  // namespace sterna::detail
