// Searches for the scale (and offset) whose grid lies closest to a run of values, for eight runs at once: lane = run. Only
// for encode_body.inl; everything is in an unnamed namespace, because each file that includes it is compiled for another
// instruction set.
//
// All minimise E = sum of w (x - d q - m)^2 over the run, where q is the level nearest to (x - m) / d. A search tries some
// scales around "the largest value meets the outermost level"; each candidate's levels imply a least-squares d (and m),
// and sum w x^2 - E, the gain, follows from the same sums. Sums run in index order and nothing fuses, so results are the
// same on every machine.
//
// NaN and infinite values yield some finite block: comparisons are written so that NaN loses.
#pragma once

#include <stdint.h>
#include <string.h>

namespace sterna::detail {
namespace {

using F8 = float __attribute__((vector_size(32)));
using I8 = int32_t __attribute__((vector_size(32)));

// As they lie in memory. (Copied byte by byte, compilers move halves, which a whole load then waits for.)
struct [[gnu::packed, gnu::may_alias]] LooseF8 {
    F8 value;
};

constexpr int kLanes = 8;
constexpr float kMaxHalf = 65504.0f;
constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction bits, and rounds to even

inline F8 all(float v) {
    return F8{v, v, v, v, v, v, v, v};
}
inline F8 as_float(I8 v) {
    F8 f;
    memcpy(&f, &v, sizeof f);
    return f;
}
inline I8 as_bits(F8 v) {
    I8 i;
    memcpy(&i, &v, sizeof i);
    return i;
}

// Requires: |t| < 2^22. What rounds to zero may keep its sign.
inline F8 round_even(F8 t) {
#ifdef __AVX2__
    return __builtin_ia32_roundps256(t, 8);
#else
    return (t + kShift) - kShift;
#endif
}

// a > b ? a : b and a < b ? a : b, which compilers make two instructions of.
inline F8 larger(F8 a, F8 b) {
#ifdef __AVX2__
    return __builtin_ia32_maxps256(a, b);
#else
    return a > b ? a : b;
#endif
}
inline F8 smaller(F8 a, F8 b) {
#ifdef __AVX2__
    return __builtin_ia32_minps256(a, b);
#else
    return a < b ? a : b;
#endif
}
inline F8 clamped(F8 t, float low, float high) {
    return smaller(larger(t, all(low)), all(high));
}
inline float clamped(float t, float low, float high) {
    t = t > low ? t : low;
    return t < high ? t : high;
}

// To the nearest finite half, as floats.
inline F8 through_half(F8 v) {
    const I8 bits = as_bits(clamped(v, -kMaxHalf, kMaxHalf)), magnitude = bits & 0x7fffffff, sign = bits ^ magnitude;
    const I8 normal = (magnitude + 0xfff + ((magnitude >> 13) & 1)) & ~0x1fff;
    // Below 2^-14 halves lie 2^-24 apart, as floats from 0.5 to 1 do.
    const I8 subnormal = as_bits((as_float(magnitude) + 0.5f) - 0.5f);
    return as_float((magnitude < 0x38800000 ? subnormal : normal) | sign);
}
inline float through_half(float v) {
    return through_half(all(v))[0];
}

// The bits of a half. Requires: values that through_half() has given.
inline I8 half_bits(F8 v) {
    const I8 bits = as_bits(v), magnitude = bits & 0x7fffffff;
    const I8 subnormal = as_bits(as_float(magnitude) + 0.5f) - 0x3f000000;
    const I8 half = magnitude < 0x38800000 ? subnormal : (magnitude - 0x38000000) >> 13;
    return half | ((bits >> 16) & 0x8000);
}
inline void store_half(uint8_t* to, I8 bits, int lane) {
    const uint16_t half = uint16_t(bits[lane]);
    memcpy(to, &half, sizeof half);
}
inline void store_half(uint8_t* to, float v) {
    store_half(to, half_bits(all(v)), 0);
}

// The nearest half of at least v's magnitude. Super-scales are often subnormal halves, where the nearest one may be some
// percent too small, and then the integer scales cannot reach their wishes.
inline float half_away(float v) {
    v = clamped(v, -kMaxHalf, kMaxHalf);
    const float near = through_half(v), size = v < 0.0f ? -v : v, near_size = near < 0.0f ? -near : near;
    if (near_size >= size || near_size >= kMaxHalf) return near;
    // One step up: a 2^-11th of the power of two below, or the subnormals' 2^-24.
    uint32_t bits;
    memcpy(&bits, &near_size, sizeof bits);
    float up = near_size + 0x1p-24f;
    if (bits >= 0x38800000u) {
        bits += 0x2000;
        memcpy(&up, &bits, sizeof up);
    }
    return v < 0.0f ? -up : up;
}

// Finite, so that zero times it stays zero.
template <typename T>
inline T inverse(T d) {
    const T one_over = clamped(T(1.0f / d), -3e38f, 3e38f);
    return d != 0.0f ? one_over : T(d * 0.0f);
}

// Eight values of each of eight runs that stand `stride` apart: to[i][lane] = from[lane * stride + i].
[[gnu::always_inline]] inline void transpose8(const float* from, int stride, F8* to) {
    F8 r[8], t[8], u[8];
    for (int i = 0; i < 8; ++i) r[i] = reinterpret_cast<const LooseF8*>(from + i * stride)->value;
    for (int i = 0; i < 8; i += 2) {
        t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; ++k) {
            u[i + 2 * k] = __builtin_shufflevector(t[i + k], t[i + 2 + k], 0, 1, 8, 9, 4, 5, 12, 13);
            u[i + 2 * k + 1] = __builtin_shufflevector(t[i + k], t[i + 2 + k], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; ++i) {
        to[i] = __builtin_shufflevector(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        to[i + 4] = __builtin_shufflevector(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

template <int kN>
inline void load_lanes(const float* from, F8* to) {
    for (int i = 0; i < kN; i += kLanes) transpose8(from + i, kN, to + i);
}

// Four levels of each lane as the bytes of a word, the first one lowest. level(i) gives them, 0 to 255.
template <typename Level>
inline F8 four_levels(int i, Level level) {
    return as_float(level(i) | level(i + 1) << 8 | level(i + 2) << 16 | level(i + 3) << 24);
}

// to[lane * kN + i] = level(i)[lane], kN a multiple of 32.
template <int kN, typename Level>
inline void store_levels(uint8_t* to, Level level) {
    for (int i = 0; i < kN; i += 32) {
        float words[8 * kLanes];
        F8 runs[kLanes];
        for (int k = 0; k < 8; ++k) {
            reinterpret_cast<LooseF8*>(words + k * kLanes)->value = four_levels(i + 4 * k, level);
        }
        transpose8(words, kLanes, runs);
        for (int lane = 0; lane < kLanes; ++lane) reinterpret_cast<LooseF8*>(to + lane * kN + i)->value = runs[lane];
    }
}

// Sixteen runs of 16 levels: to[(8 g + lane) * 16 + i] = level(g, i)[lane].
template <typename Level>
inline void store_short_levels(uint8_t* to, Level level) {
    float words[8 * kLanes];
    F8 runs[kLanes];
    for (int k = 0; k < 8; ++k) {
        reinterpret_cast<LooseF8*>(words + k * kLanes)->value =
            four_levels(4 * (k % 4), [&](int i) { return level(k / 4, i); });
    }
    transpose8(words, kLanes, runs);
    for (int lane = 0; lane < kLanes; ++lane) {
        uint8_t pair[32];
        memcpy(pair, &runs[lane], sizeof pair);
        memcpy(to + lane * 16, pair, 16);
        memcpy(to + 128 + lane * 16, pair + 16, 16);
    }
}

// Eight runs of kN values, and their weights (not read when all are 1).
template <int kN>
struct Runs {
    F8 x[kN], w[kN];
};

// ---- Levels.

// Which scales a search tries: the largest value at `edge + k step`, k from -below to above.
struct Tries {
    float step;
    int below, above;
};

template <int kLowest, int kHighest>
struct Uniform {
    static constexpr float kLow = float(kLowest), kHigh = float(kHighest);
    static constexpr int kZero = -kLowest;
    template <typename T>
    static inline T nearest(T t) {
        return round_even(clamped(t, kLow, kHigh));
    }
};

// The uneven levels of IQ4: a table of 16 ascending integers; midpoints belong to the higher one.
constexpr float kIq4Levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

constexpr float iq4_middle(int k) {
    return 0.5f * (kIq4Levels[k] + kIq4Levels[k + 1]);
}

struct Iq4 {
    static constexpr float kLow = -127.0f, kHigh = 113.0f;

    // How many midpoints are not above t: the nearest level's place in the table.
    static inline I8 place(F8 t) {
#ifdef __AVX2__
        I8 in_pair;
        const I8 pair = pair_of(t, in_pair);
        return pair + pair - in_pair;
#else
        I8 place = {};
        for (int k = 0; k < 15; ++k) place -= t >= all(iq4_middle(k));
        return place;
#endif
    }

    static inline F8 nearest(F8 t) {
#ifdef __AVX2__
        F8 even, odd;
        for (int k = 0; k < 8; ++k) even[k] = kIq4Levels[2 * k], odd[k] = kIq4Levels[2 * k + 1];
        I8 in_pair;
        const I8 pair = pair_of(t, in_pair);
        const F8 low = __builtin_ia32_permvarsf256(even, pair), high = __builtin_ia32_permvarsf256(odd, pair);
        return in_pair ? high : low;
#else
        F8 q = all(kIq4Levels[0]);
        for (int k = 0; k < 15; ++k) q = t >= all(iq4_middle(k)) ? all(kIq4Levels[k + 1]) : q;
        return q;
#endif
    }

private:
#ifdef __AVX2__
    // By halves: which pair of levels, and whether it is the pair's second one (then -1).
    static inline I8 pair_of(F8 t, I8& second) {
        const F8 quarters = {iq4_middle(1), iq4_middle(5), iq4_middle(9), iq4_middle(13), 0, 0, 0, 0};
        F8 pairs;
        for (int k = 0; k < 8; ++k) pairs[k] = iq4_middle(2 * k);
        const I8 upper = t >= all(iq4_middle(7));
        const I8 next = t >= (upper ? all(iq4_middle(11)) : all(iq4_middle(3)));
        const I8 quarter = (upper & 2) - next;
        const I8 half = t >= __builtin_ia32_permvarsf256(quarters, quarter);
        const I8 pair = quarter + quarter - half;
        second = t >= __builtin_ia32_permvarsf256(pairs, pair);
        return pair;
    }
#endif
};

// ---- x = d q

struct Sums {
    F8 xq, qq;
};

// The sums for kIds scales at once: each value is loaded once for all.
template <typename Levels, int kN, bool kWeighted, int kIds>
inline void sums_at(const Runs<kN>& runs, const F8* id, Sums* sums) {
    F8 xq[kIds] = {}, qq[kIds] = {};
    for (int i = 0; i < kN; ++i) {
        const F8 x = runs.x[i];
        for (int k = 0; k < kIds; ++k) {
            const F8 q = Levels::nearest(x * id[k]), wq = kWeighted ? runs.w[i] * q : q;
            xq[k] += wq * x;
            qq[k] += wq * q;
        }
    }
    for (int k = 0; k < kIds; ++k) sums[k] = {xq[k], qq[k]};
}

inline F8 gain_at(F8 d, const Sums& sums) {
    return d * (2.0f * sums.xq - d * sums.qq);
}

// The value of largest magnitude of each run, with its sign.
template <int kN>
inline F8 largest(const Runs<kN>& runs) {
    F8 top = {}, magnitude = {};
    for (int i = 0; i < kN; ++i) {
        const F8 x = runs.x[i], a = as_float(as_bits(x) & 0x7fffffff);
        const I8 larger = a > magnitude;
        magnitude = larger ? a : magnitude;
        top = larger ? x : top;
    }
    return top;
}

// Returns: the best scales found, halves when kHalf. They have either sign, because a range like -8..7 has a longer side.
template <typename Levels, int kN, bool kWeighted, bool kHalf>
inline F8 fit_scale(const Runs<kN>& runs, const Tries& low_tries, const Tries& high_tries, int n_refits) {
    const F8 top = largest(runs), zero = {};
    auto rounded = [](F8 d) { return kHalf ? through_half(d) : d; };
    const F8 one_over = inverse(top);
    Sums chosen = {};
    F8 best_gain = {};
    constexpr int kAtOnce = 4;
    for (int side = 0; side < 2; ++side) {
        const Tries& tries = side == 0 ? low_tries : high_tries;
        const float edge = side == 0 ? Levels::kLow : Levels::kHigh;
        for (int first = -tries.below; first <= tries.above; first += kAtOnce) {
            F8 id[kAtOnce];
            Sums sums[kAtOnce];
            for (int k = 0; k < kAtOnce; ++k) id[k] = one_over * (edge + tries.step * float(first + k));
            sums_at<Levels, kN, kWeighted, kAtOnce>(runs, id, sums);
            for (int k = 0; k < kAtOnce; ++k) {
                // The least squares d = xq / qq gains xq^2 / qq.
                const F8 gain = sums[k].qq > zero ? sums[k].xq * sums[k].xq / sums[k].qq : zero;
                const I8 better = gain > best_gain;
                best_gain = better ? gain : best_gain;
                chosen.xq = better ? sums[k].xq : chosen.xq;
                chosen.qq = better ? sums[k].qq : chosen.qq;
            }
        }
    }
    F8 best = rounded(top / Levels::kLow);
    if (n_refits == 0) {
        // No need to look: with these levels nothing fits better than the solution, and levels that are nearer only gain.
        best = chosen.qq > zero ? rounded(chosen.xq / chosen.qq) : best;
        return top != zero ? best : zero;
    }
    best_gain = zero;
    for (int again = 0; again <= n_refits; ++again) {
        const I8 solved = chosen.qq > zero;
        const F8 d = solved ? rounded(chosen.xq / chosen.qq) : best;
        const F8 id = inverse(d);
        sums_at<Levels, kN, kWeighted, 1>(runs, &id, &chosen);
        const F8 gain = gain_at(d, chosen);
        const I8 better = gain > best_gain;
        best_gain = better ? gain : best_gain;
        best = better ? d : best;
    }
    return top != zero ? best : zero;
}

// ---- x = d q + m, q from 0 to kMaxQ

struct OffsetSums {
    F8 q, qq, xq;
};
struct ScaleOffset {
    F8 d, m;
};
struct Totals {
    F8 w, x;  // sums of w, and of w x
};

template <int kN, bool kWeighted, int kIds>
inline void offset_sums_at(const Runs<kN>& runs, const F8* id, const F8* m, float high, OffsetSums* sums) {
    F8 q1[kIds] = {}, q2[kIds] = {}, xq[kIds] = {};
    for (int i = 0; i < kN; ++i) {
        const F8 x = runs.x[i];
        for (int k = 0; k < kIds; ++k) {
            const F8 q = round_even(clamped((x - m[k]) * id[k], 0.0f, high)), wq = kWeighted ? runs.w[i] * q : q;
            q1[k] += wq;
            q2[k] += wq * q;
            xq[k] += wq * x;
        }
    }
    for (int k = 0; k < kIds; ++k) sums[k] = {q1[k], q2[k], xq[k]};
}

inline F8 offset_gain_at(const ScaleOffset& grid, const OffsetSums& sums, const Totals& totals) {
    return grid.d * (2.0f * sums.xq - grid.d * sums.qq) +
           grid.m * (2.0f * totals.x - 2.0f * grid.d * sums.q - grid.m * totals.w);
}

// Least squares for given levels. Lanes without a solution get d = 0 and no gain.
template <bool kNegative>
inline ScaleOffset solved(const OffsetSums& sums, const Totals& totals, F8& gain) {
    const F8 zero = {};
    const F8 determinant = totals.w * sums.qq - sums.q * sums.q;
    F8 d = (totals.w * sums.xq - totals.x * sums.q) / determinant;
    F8 m = (sums.qq * totals.x - sums.q * sums.xq) / determinant;
    if (kNegative) {
        const I8 above = m > zero;
        d = above ? sums.xq / sums.qq : d;
        m = above ? zero : m;
    }
    const I8 good = (determinant > zero) & (d > zero);
    gain = good ? d * sums.xq + m * totals.x : zero;
    return {good ? d : zero, good ? m : zero};
}

// kHalf: d and m are halves. kNegative: m must not be positive. `tries`: the range meets kMaxQ + k step levels; finer grids
// than the plain one are also tried clipping both ends.
template <int kMaxQ, int kN, bool kWeighted, bool kHalf, bool kNegative>
inline ScaleOffset fit_scale_offset(const Runs<kN>& runs, const Tries& tries, int n_refits, Totals& totals) {
    constexpr float kHigh = float(kMaxQ);
    const F8 zero = {};
    F8 low = runs.x[0], high = runs.x[0];
    totals = Totals();
    for (int i = 0; i < kN; ++i) {
        const F8 x = runs.x[i];
        low = smaller(x, low);
        high = larger(x, high);
        totals.w += kWeighted ? runs.w[i] : all(1.0f);
        totals.x += kWeighted ? runs.w[i] * x : x;
    }
    if (kNegative) low = low > zero ? zero : low;
    auto rounded = [](ScaleOffset s) { return kHalf ? ScaleOffset{through_half(s.d), through_half(s.m)} : s; };
    const I8 spread = high > low;
    const F8 range = spread ? high - low : all(1.0f), unit = 1.0f / range, cell = range / kHigh;

    ScaleOffset chosen = {};
    F8 chosen_gain = {};
    constexpr int kAtOnce = 3;
    F8 id[kAtOnce], m[kAtOnce];
    int n = 0;
    auto flush = [&] {
        OffsetSums sums[kAtOnce];
        for (int k = n; k < kAtOnce; ++k) id[k] = id[0], m[k] = m[0];
        offset_sums_at<kN, kWeighted, kAtOnce>(runs, id, m, kHigh, sums);
        for (int k = 0; k < n; ++k) {
            F8 gain;
            const ScaleOffset grid = solved<kNegative>(sums[k], totals, gain);
            const I8 better = gain > chosen_gain;
            chosen_gain = better ? gain : chosen_gain;
            chosen.d = better ? grid.d : chosen.d;
            chosen.m = better ? grid.m : chosen.m;
        }
        n = 0;
    };
    auto screen = [&](F8 id_, F8 m_) {
        id[n] = id_;
        m[n] = m_;
        if (++n == kAtOnce) flush();
    };
    for (int k = -tries.below; k <= tries.above; ++k) {
        const float extra = tries.step * float(k);
        const F8 each = unit * (kHigh + extra);
        screen(each, low);
        if (k > 0) screen(each, low + cell * (0.5f * extra));
    }
    if (n > 0) flush();

    const ScaleOffset plain = rounded({range / kHigh, low});
    ScaleOffset best = plain, now = {chosen.d > zero ? chosen.d : plain.d, chosen.d > zero ? chosen.m : plain.m};
    F8 best_gain = all(-3e38f);
    for (int again = 0; again <= n_refits; ++again) {
        now = rounded(now);
        const F8 each = inverse(now.d);
        OffsetSums sums;
        offset_sums_at<kN, kWeighted, 1>(runs, &each, &now.m, kHigh, &sums);
        const F8 gain = offset_gain_at(now, sums, totals);
        const I8 better = gain > best_gain;
        best_gain = better ? gain : best_gain;
        best.d = better ? now.d : best.d;
        best.m = better ? now.m : best.m;
        F8 next_gain;
        const ScaleOffset next = solved<kNegative>(sums, totals, next_gain);
        const I8 found = next.d > zero;
        now.d = found ? next.d : now.d;
        now.m = found ? next.m : now.m;
    }
    const F8 level = low == low ? low : zero;  // one value throughout
    const ScaleOffset flat = rounded({zero, level});
    return {spread ? best.d : flat.d, spread ? best.m : flat.m};
}

// ---- Weights: the importance, or 1; finite, and not all zero.

template <int kN>
inline void normalize(F8* w, F8 sum, float n) {
    const I8 some = sum > F8{};
    const F8 scale = n / sum;
    for (int i = 0; i < kN; ++i) w[i] = some ? w[i] * scale : all(1.0f);
}

template <int kN>
inline F8 load_weights(const float* importance, F8* w) {
    load_lanes<kN>(importance, w);
    F8 sum = {};
    for (int i = 0; i < kN; ++i) {
        w[i] = clamped(w[i], 0.0f, 1e30f);
        sum += w[i];
    }
    return sum;
}

inline float lane_total(F8 v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

// Large values matter more than the mean of their column says, most of all where steps are coarse: a weight is multiplied
// by sqrt(mean square + x^2), as llama.cpp's encoders do (docs/quantization.md has what it brings). Returns: sums of w.
template <int kN>
inline F8 emphasize_large(const F8* x, F8 mean_square, F8* w) {
    F8 sum = {};
    for (int i = 0; i < kN; ++i) {
        F8 size = mean_square + x[i] * x[i];
        for (int l = 0; l < kLanes; ++l) size[l] = __builtin_sqrtf(size[l]);
        w[i] = clamped(w[i] * size, 0.0f, 1e30f);
        sum += w[i];
    }
    return sum;
}

template <int kN>
inline F8 sum_of_squares(const F8* x) {
    F8 sum = {};
    for (int i = 0; i < kN; ++i) sum += x[i] * x[i];
    return sum;
}

}  // namespace
}  // namespace sterna::detail
