// The searches behind the encoders: the scale (and offset) whose grid lies closest to a run of values. Private to
// tensor/.
//
// All minimise E = sum of w (x - d q - m)^2 over the run, where q is the level nearest to (x - m) / d, in the
// arithmetic that decoders use. A search tries some scales around "the largest value meets the outermost level", and
// for each solves the weighted least squares for d (and m) that its levels imply. Sums run in eight fixed lanes, so
// results are the same on every machine.
//
// NaN and infinite values yield some finite block: comparisons are written so that NaN loses.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/half.h"
#include "tensor/dtype_blocks.h"

namespace sterna::detail {

constexpr int kLanes = 8;
constexpr float kMaxHalf = 65504.0f;

using F4 = float __attribute__((vector_size(16)));

inline F4 load4(const float* from) {
    F4 v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline F4 all4(float v) {
    return F4{v, v, v, v};
}

// To the nearest integer, ties to even. Requires: |t| < 2^22.
template <typename T>
T round_even(T t) {
    constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction bits
    return (t + kShift) - kShift;
}

// Both bounds also for NaN.
inline float clamp_to(float t, float low, float high) {
    t = t > low ? t : low;
    return t < high ? t : high;
}

inline F4 clamp_to(F4 t, float low, float high) {
    const F4 low4 = all4(low), high4 = all4(high);
    t = t > low4 ? t : low4;
    return t < high4 ? t : high4;
}

inline uint16_t finite_half(float value) {
    return float_to_half(clamp_to(value, -kMaxHalf, kMaxHalf));
}
inline float through_half(float value) {
    return half_to_float(finite_half(value));
}
// The nearest half of at least d's magnitude. Super-scales are often subnormal halves, where the nearest one may be
// some percent too small, and then the integer scales cannot reach their wishes.
inline float half_away(float d) {
    uint16_t h = finite_half(d);
    const float near = half_to_float(h);
    if ((d < 0.0f ? near > d : near < d) && (h & 0x7fff) < 0x7bff) ++h;
    return half_to_float(h);
}

// Finite, so that zero times it stays zero.
inline float inverse(float d) {
    return d != 0.0f ? clamp_to(1.0f / d, -3e38f, 3e38f) : 0.0f;
}

// Eight lanes, as two vectors, in one fixed tree.
struct LaneSum {
    F4 low = {}, high = {};
    float total() const {
        const F4 sum = low + high;
        return (sum[0] + sum[2]) + (sum[1] + sum[3]);
    }
};

// The integers from kLowest to kHighest.
template <int kLowest, int kHighest>
struct Uniform {
    static constexpr float kLow = float(kLowest), kHigh = float(kHighest);
    static constexpr float kStep = 0.1f;  // of the search, in levels
    static constexpr int kSteps = 10;     // to either side
    template <typename T>
    static T nearest(T t) {
        return round_even(clamp_to(t, kLow, kHigh));
    }
};

// The levels of a table of 16 ascending integers, through a table of the half-open intervals [u/2, u/2 + 1/2): every
// midpoint of two integers is a multiple of 1/2.
struct NearestTable {
    int8_t level[512];
    uint8_t index[512];
};

constexpr NearestTable make_nearest(const int8_t* values, int n) {
    NearestTable table{};
    for (int u = 0; u < 512; ++u) {
        const int t4 = 2 * (u - 256) + 1;  // the interval's middle, times four
        int best = 0;
        for (int k = 1; k < n; ++k) {
            const int a = t4 - 4 * values[best], b = t4 - 4 * values[k];
            if (b * b < a * a) best = k;
        }
        table.level[u] = values[best];
        table.index[u] = uint8_t(best);
    }
    return table;
}

inline int nearest_slot(float t) {
    return int(clamp_to(t, -128.0f, 127.5f) * 2.0f + 256.0f);
}

inline constexpr NearestTable kNearestIq4 = make_nearest(kIq4Values, 16);

struct Iq4Levels {
    static constexpr float kLow = -127.0f, kHigh = 113.0f;
    static constexpr float kStep = 2.0f;
    static constexpr int kSteps = 12;
    static float nearest(float t) { return float(kNearestIq4.level[nearest_slot(t)]); }
    static F4 nearest(F4 t) { return F4{nearest(t[0]), nearest(t[1]), nearest(t[2]), nearest(t[3])}; }
};

struct Sums {
    float xq, qq;
};

template <typename Levels, int kN>
Sums sums_at(const float* x, const float* w, float id) {
    LaneSum xq, qq;
    auto add = [&](int i, F4& xq4, F4& qq4) {
        const F4 xi = load4(x + i), q = Levels::nearest(xi * id), wq = load4(w + i) * q;
        xq4 += wq * xi;
        qq4 += wq * q;
    };
    for (int i = 0; i < kN; i += kLanes) {
        add(i, xq.low, qq.low);
        add(i + 4, xq.high, qq.high);
    }
    return {xq.total(), qq.total()};
}

template <typename Levels, int kN>
float error_at(const float* x, const float* w, float d) {
    const float id = inverse(d);
    LaneSum sum;
    auto add = [&](int i, F4& sum4) {
        const F4 xi = load4(x + i), e = xi - d * Levels::nearest(xi * id);
        sum4 += load4(w + i) * (e * e);
    };
    for (int i = 0; i < kN; i += kLanes) {
        add(i, sum.low);
        add(i + 4, sum.high);
    }
    return sum.total();
}

// The value of largest magnitude, with its sign.
template <int kN>
float largest(const float* x) {
    float top = 0.0f, magnitude = 0.0f;
    for (int i = 0; i < kN; ++i) {
        const float a = x[i] < 0.0f ? -x[i] : x[i];
        if (a > magnitude) {
            magnitude = a;
            top = x[i];
        }
    }
    return top;
}

// Returns: the best scale found, a half when kHalf. It has either sign, because a range like -8..7 has a longer side.
template <typename Levels, int kN, bool kHalf>
float fit_scale(const float* x, const float* w) {
    const float top = largest<kN>(x);
    if (top == 0.0f) return 0.0f;
    auto rounded = [](float d) { return kHalf ? through_half(d) : d; };
    float best = rounded(top / Levels::kLow);
    float best_error = error_at<Levels, kN>(x, w, best);
    auto consider = [&](const Sums& sums) {
        if (!(sums.qq > 0.0f)) return;
        const float d = rounded(sums.xq / sums.qq);
        const float error = error_at<Levels, kN>(x, w, d);
        if (error < best_error) {
            best_error = error;
            best = d;
        }
    };
    // With d = xq / qq the error is sum w x^2 - xq^2 / qq, so the candidate of the largest second term is the one to
    // look at.
    Sums chosen = {0.0f, 0.0f};
    float best_gain = 0.0f;
    for (float edge : {Levels::kLow, Levels::kHigh}) {
        for (int step = -Levels::kSteps; step <= Levels::kSteps; ++step) {
            const Sums sums = sums_at<Levels, kN>(x, w, (edge + float(step) * Levels::kStep) / top);
            const float gain = sums.qq > 0.0f ? sums.xq * sums.xq / sums.qq : 0.0f;
            if (gain > best_gain) {
                best_gain = gain;
                chosen = sums;
            }
        }
    }
    consider(chosen);
    for (int again = 0; again < 2; ++again) consider(sums_at<Levels, kN>(x, w, inverse(best)));
    return best;
}

struct ScaleOffset {
    float d, m;
};

struct OffsetSums {
    float q, qq, xq;
};

template <int kN>
OffsetSums offset_sums_at(const float* x, const float* w, float id, float m, float high) {
    LaneSum q1, q2, xq;
    auto add = [&](int i, F4& q1_4, F4& q2_4, F4& xq_4) {
        const F4 xi = load4(x + i), q = round_even(clamp_to((xi - m) * id, 0.0f, high)), wq = load4(w + i) * q;
        q1_4 += wq;
        q2_4 += wq * q;
        xq_4 += wq * xi;
    };
    for (int i = 0; i < kN; i += kLanes) {
        add(i, q1.low, q2.low, xq.low);
        add(i + 4, q1.high, q2.high, xq.high);
    }
    return {q1.total(), q2.total(), xq.total()};
}

template <int kN>
float offset_error_at(const float* x, const float* w, float d, float m, float high) {
    const float id = inverse(d);
    LaneSum sum;
    auto add = [&](int i, F4& sum4) {
        const F4 xi = load4(x + i), q = round_even(clamp_to((xi - m) * id, 0.0f, high)), e = xi - (d * q + m);
        sum4 += load4(w + i) * (e * e);
    };
    for (int i = 0; i < kN; i += kLanes) {
        add(i, sum.low);
        add(i + 4, sum.high);
    }
    return sum.total();
}

// The grid d q + m, q in 0..kMaxQ. kHalf: d and m are halves. kNegative: m must not be positive.
template <int kMaxQ, int kN, bool kHalf, bool kNegative>
ScaleOffset fit_scale_offset(const float* x, const float* w) {
    constexpr float kHigh = float(kMaxQ);
    float low = x[0], high = x[0], sum_w = 0.0f, sum_x = 0.0f;
    for (int i = 0; i < kN; ++i) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    if (kNegative && low > 0.0f) low = 0.0f;
    auto rounded = [](ScaleOffset s) { return kHalf ? ScaleOffset{through_half(s.d), through_half(s.m)} : s; };
    if (!(high > low)) return rounded({0.0f, low < high || low == high ? low : 0.0f});
    ScaleOffset best = rounded({(high - low) / kHigh, low});
    float best_error = offset_error_at<kN>(x, w, best.d, best.m, kHigh);
    // Least squares for levels found with (id, m). Returns: d = 0 when there is no solution.
    struct Solution {
        ScaleOffset grid = {0.0f, 0.0f};
        float gain = 0.0f;  // sum w x^2 less the error
    };
    auto solve = [&](float id, float m) {
        const OffsetSums sums = offset_sums_at<kN>(x, w, id, m, kHigh);
        const float determinant = sum_w * sums.qq - sums.q * sums.q;
        Solution found;
        if (!(determinant > 0.0f)) return found;
        found.grid = {(sum_w * sums.xq - sum_x * sums.q) / determinant,
                      (sums.qq * sum_x - sums.q * sums.xq) / determinant};
        if (kNegative && found.grid.m > 0.0f) found.grid = {sums.xq / sums.qq, 0.0f};
        if (!(found.grid.d > 0.0f)) return Solution();
        found.gain = found.grid.d * sums.xq + found.grid.m * sum_x;
        return found;
    };
    auto consider = [&](const Solution& solution) {
        if (solution.grid.d == 0.0f) return;
        const ScaleOffset grid = rounded(solution.grid);
        const float error = offset_error_at<kN>(x, w, grid.d, grid.m, kHigh);
        if (error < best_error) {
            best_error = error;
            best = grid;
        }
    };
    const float unit = 1.0f / (high - low), cell = (high - low) / kHigh;
    Solution chosen;
    auto screen = [&](const Solution& solution) {
        if (solution.gain > chosen.gain) chosen = solution;
    };
    for (int step = -10; step <= 14; ++step) {
        const float id = (kHigh + 0.1f * float(step)) * unit;
        screen(solve(id, low));
        // A finer grid clips the top; moved up by half of what it lacks, it clips both ends.
        if (step > 0) screen(solve(id, low + 0.05f * float(step) * cell));
    }
    consider(chosen);
    for (int again = 0; again < 3; ++again) consider(solve(inverse(best.d), best.m));
    return best;
}

// Weights of a run: the importance, or 1; finite, and not all zero.
template <int kN>
void block_weights(const float* importance, float* w) {
    float sum = 0.0f;
    for (int i = 0; importance && i < kN; ++i) {
        w[i] = clamp_to(importance[i], 0.0f, 1e30f);
        sum += w[i];
    }
    if (!(sum > 0.0f)) {
        for (int i = 0; i < kN; ++i) w[i] = 1.0f;
        return;
    }
    const float scale = float(kN) / sum;
    for (int i = 0; i < kN; ++i) w[i] *= scale;
}

}  // namespace sterna::detail
