// Floats to blocks of 256 with integer scales inside: Q2_K to Q6_K and IQ4_XS.
//
// First each sub-block's own best scale is sought. Then, for some super-scales d, every sub-block chooses among the
// integer scales near its wish by the error that results, and d is refitted to those choices by least squares, while
// that helps.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/dtype_blocks.h"
#include "tensor/dtype_codec.h"
#include "tensor/dtype_fit.h"

namespace sterna::detail {

namespace {

constexpr int kRefits = 3;

template <typename Block, typename Body>
void each_block(const float* from, uint8_t* to, int64_t n, const float* importance, Body body) {
    float w[kBlockK];
    block_weights<kBlockK>(nullptr, w);
    for (int64_t i = 0; i < n / kBlockK; ++i) {
        if (importance) block_weights<kBlockK>(importance + i * kBlockK, w);
        body(from + i * kBlockK, w, *reinterpret_cast<Block*>(to + i * int64_t(sizeof(Block))));
    }
}

int nearest_int(float t, int low, int high) {
    return int(round_even(clamp_to(t, float(low), float(high))));
}

// ---- x = (d scale) q, signed scales.

template <int kSubs>
struct SymmetricFit {
    float d = 0.0f;
    int scales[kSubs] = {};
    float error = 0.0f;
};

template <typename Levels, int kLowScale, int kHighScale, int kSubs>
class SymmetricSearch {
    static constexpr int kSub = kBlockK / kSubs;

public:
    using Fit = SymmetricFit<kSubs>;

    SymmetricSearch(const float* x, const float* w) : x_(x), w_(w) {}

    Fit run() {
        float top = 0.0f;
        for (int k = 0; k < kSubs; ++k) {
            wish_[k] = clamp_to(fit_scale<Levels, kSub, false>(x_ + k * kSub, w_ + k * kSub), -1e30f, 1e30f);
            if (std::abs(wish_[k]) > std::abs(top)) top = wish_[k];
        }
        Fit best = choose(through_half(top / float(kLowScale)));
        for (float edge : {float(kLowScale), float(kHighScale)}) {
            Fit fit = choose(half_away(top / edge));
            for (int i = 0; i < kRefits; ++i) {
                if (fit.error < best.error) best = fit;
                const float d = refit(fit);
                if (d == fit.d) break;
                fit = choose(d);
            }
            if (fit.error < best.error) best = fit;
        }
        return best;
    }

private:
    Fit choose(float d) const {
        Fit fit;
        fit.d = d;
        for (int k = 0; k < kSubs; ++k) {
            const float *x = x_ + k * kSub, *w = w_ + k * kSub;
            const int middle = nearest_int(wish_[k] * inverse(d), kLowScale, kHighScale);
            float best = 0.0f;
            bool first = true;
            for (int scale = std::max(middle - 1, kLowScale); scale <= std::min(middle + 1, kHighScale); ++scale) {
                const float error = error_at<Levels, kSub>(x, w, d * float(scale));
                if (first || error < best) {
                    best = error;
                    fit.scales[k] = scale;
                    first = false;
                }
            }
            fit.error += best;
        }
        return fit;
    }

    float refit(const Fit& fit) const {
        float xq = 0.0f, qq = 0.0f;
        for (int k = 0; k < kSubs; ++k) {
            const float scale = float(fit.scales[k]);
            const Sums sums = sums_at<Levels, kSub>(x_ + k * kSub, w_ + k * kSub, inverse(fit.d * scale));
            xq += scale * sums.xq;
            qq += scale * scale * sums.qq;
        }
        return qq > 0.0f ? through_half(xq / qq) : fit.d;
    }

    const float* x_;
    const float* w_;
    float wish_[kSubs];
};

// ---- x = (d scale) q - (dmin min), scales and mins from 0 to kMaxScale.

template <int kSubs>
struct OffsetFit {
    float d = 0.0f, dmin = 0.0f;
    int scales[kSubs] = {}, mins[kSubs] = {};
    float error = 0.0f;
};

template <int kMaxQ, int kMaxScale, int kSubs>
class OffsetSearch {
    static constexpr int kSub = kBlockK / kSubs;
    static constexpr float kHigh = float(kMaxQ);

public:
    using Fit = OffsetFit<kSubs>;

    OffsetSearch(const float* x, const float* w) : x_(x), w_(w) {}

    Fit run() {
        float top = 0.0f, top_min = 0.0f;
        for (int k = 0; k < kSubs; ++k) {
            const ScaleOffset wish = fit_scale_offset<kMaxQ, kSub, false, true>(x_ + k * kSub, w_ + k * kSub);
            wish_[k] = clamp_to(wish.d, 0.0f, 1e30f);
            wish_min_[k] = clamp_to(-wish.m, 0.0f, 1e30f);
            top = std::max(top, wish_[k]);
            top_min = std::max(top_min, wish_min_[k]);
        }
        const float d = top / float(kMaxScale), dmin = top_min / float(kMaxScale);
        Fit best = choose(through_half(d), through_half(dmin));
        Fit fit = choose(half_away(d), half_away(dmin));
        if (fit.error < best.error) best = fit;
        fit = best;
        for (int i = 0; i < kRefits; ++i) {
            if (!refit(fit)) break;
            fit = choose(fit.d, fit.dmin);
            if (fit.error < best.error) best = fit;
        }
        return best;
    }

private:
    Fit choose(float d, float dmin) const {
        Fit fit;
        fit.d = d;
        fit.dmin = dmin;
        for (int k = 0; k < kSubs; ++k) {
            const float *x = x_ + k * kSub, *w = w_ + k * kSub;
            const int middle = nearest_int(wish_[k] * inverse(d), 0, kMaxScale);
            const int middle_min = nearest_int(wish_min_[k] * inverse(dmin), 0, kMaxScale);
            float best = 0.0f;
            bool first = true;
            for (int scale = std::max(middle - 1, 0); scale <= std::min(middle + 1, kMaxScale); ++scale) {
                for (int min = std::max(middle_min - 1, 0); min <= std::min(middle_min + 1, kMaxScale); ++min) {
                    const float error = offset_error_at<kSub>(x, w, d * float(scale), -(dmin * float(min)), kHigh);
                    if (first || error < best) {
                        best = error;
                        fit.scales[k] = scale;
                        fit.mins[k] = min;
                        first = false;
                    }
                }
            }
            fit.error += best;
        }
        return fit;
    }

    // d and dmin by least squares, the integers kept. Returns: false when nothing changes.
    bool refit(Fit& fit) const {
        float aa = 0.0f, ab = 0.0f, bb = 0.0f, xa = 0.0f, xb = 0.0f;  // a = scale q, b = -min
        for (int k = 0; k < kSubs; ++k) {
            const float *x = x_ + k * kSub, *w = w_ + k * kSub;
            const float scale = float(fit.scales[k]), b = -float(fit.mins[k]);
            const OffsetSums sums = offset_sums_at<kSub>(x, w, inverse(fit.d * scale), fit.dmin * b, kHigh);
            float sum_w = 0.0f, sum_x = 0.0f;
            for (int i = 0; i < kSub; ++i) {
                sum_w += w[i];
                sum_x += w[i] * x[i];
            }
            aa += scale * scale * sums.qq;
            ab += scale * b * sums.q;
            bb += b * b * sum_w;
            xa += scale * sums.xq;
            xb += b * sum_x;
        }
        const float determinant = aa * bb - ab * ab;
        float d = fit.d, dmin = fit.dmin;
        if (determinant > 0.0f) {
            d = through_half((xa * bb - xb * ab) / determinant);
            dmin = through_half((xb * aa - xa * ab) / determinant);
        } else if (aa > 0.0f) {
            d = through_half(xa / aa);
        }
        if (!(d > 0.0f) || !(dmin >= 0.0f) || (d == fit.d && dmin == fit.dmin)) return false;
        fit.d = d;
        fit.dmin = dmin;
        return true;
    }

    const float* x_;
    const float* w_;
    float wish_[kSubs], wish_min_[kSubs];
};

// The levels of all elements under a fit.
template <int kMaxQ, int kSubs>
void offset_levels(const float* x, const OffsetFit<kSubs>& fit, uint8_t* levels) {
    constexpr int kSub = kBlockK / kSubs;
    for (int i = 0; i < kBlockK; ++i) {
        const int k = i / kSub;
        const float id = inverse(fit.d * float(fit.scales[k])), min = fit.dmin * float(fit.mins[k]);
        levels[i] = uint8_t(round_even(clamp_to((x[i] + min) * id, 0.0f, float(kMaxQ))));
    }
}

// The inverse of k_scale_min.
void put_k_scales(uint8_t* b, const int* scales, const int* mins) {
    std::memset(b, 0, 12);
    for (int j = 0; j < 4; ++j) {
        b[j] = uint8_t(scales[j] | (scales[j + 4] >> 4) << 6);
        b[j + 4] = uint8_t(mins[j] | (mins[j + 4] >> 4) << 6);
        b[j + 8] = uint8_t((scales[j + 4] & 15) | (mins[j + 4] & 15) << 4);
    }
}

// The inverse of q3k_scale.
void put_q3k_scales(uint8_t* b, const int* scales) {
    std::memset(b, 0, 12);
    for (int k = 0; k < 16; ++k) {
        const int value = scales[k] + 32;
        b[k % 8] |= uint8_t((value & 15) << (k / 8 * 4));
        b[8 + k % 4] |= uint8_t((value >> 4) << (2 * (k / 4)));
    }
}

// 256 two-bit values into two halves of 32 bytes with four planes each.
void put_planes(uint8_t* qs, const uint8_t* levels) {
    std::memset(qs, 0, 64);
    for (int i = 0; i < kBlockK; ++i) qs[i / 128 * 32 + i % 32] |= uint8_t((levels[i] & 3) << (i % 128 / 32 * 2));
}

// 256 four-bit values: 32 bytes hold two sub-blocks of 32, the first in the low nibbles.
void put_nibble_pairs(uint8_t* qs, const uint8_t* levels) {
    for (int i = 0; i < 128; ++i) {
        const int first = i / 32 * 64 + i % 32;
        qs[i] = uint8_t((levels[first] & 15) | (levels[first + 32] & 15) << 4);
    }
}

}  // namespace

void encode_q2_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockQ2_K>(from, to, n, importance, [](const float* x, const float* w, BlockQ2_K& block) {
        const auto fit = OffsetSearch<3, 15, 16>(x, w).run();
        uint8_t levels[kBlockK];
        offset_levels<3>(x, fit, levels);
        for (int k = 0; k < 16; ++k) block.scales[k] = uint8_t(fit.scales[k] | fit.mins[k] << 4);
        put_planes(block.qs, levels);
        put_half(block.d, finite_half(fit.d));
        put_half(block.dmin, finite_half(fit.dmin));
    });
}

void encode_q3_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockQ3_K>(from, to, n, importance, [](const float* x, const float* w, BlockQ3_K& block) {
        using Levels = Uniform<-4, 3>;
        const auto fit = SymmetricSearch<Levels, -32, 31, 16>(x, w).run();
        uint8_t levels[kBlockK];
        std::memset(block.hmask, 0, sizeof block.hmask);
        for (int i = 0; i < kBlockK; ++i) {
            const float id = inverse(fit.d * float(fit.scales[i / 16]));
            levels[i] = uint8_t(int(Levels::nearest(x[i] * id)) + 4);
            block.hmask[i % 32] |= uint8_t((levels[i] >> 2) << (i / 32));
        }
        put_planes(block.qs, levels);
        put_q3k_scales(block.scales, fit.scales);
        put_half(block.d, finite_half(fit.d));
    });
}

void encode_q4_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockQ4_K>(from, to, n, importance, [](const float* x, const float* w, BlockQ4_K& block) {
        const auto fit = OffsetSearch<15, 63, 8>(x, w).run();
        uint8_t levels[kBlockK];
        offset_levels<15>(x, fit, levels);
        put_k_scales(block.scales, fit.scales, fit.mins);
        put_nibble_pairs(block.qs, levels);
        put_half(block.d, finite_half(fit.d));
        put_half(block.dmin, finite_half(fit.dmin));
    });
}

void encode_q5_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockQ5_K>(from, to, n, importance, [](const float* x, const float* w, BlockQ5_K& block) {
        const auto fit = OffsetSearch<31, 63, 8>(x, w).run();
        uint8_t levels[kBlockK];
        offset_levels<31>(x, fit, levels);
        put_k_scales(block.scales, fit.scales, fit.mins);
        put_nibble_pairs(block.qs, levels);
        std::memset(block.qh, 0, sizeof block.qh);
        for (int i = 0; i < kBlockK; ++i) block.qh[i % 32] |= uint8_t((levels[i] >> 4) << (i / 32));
        put_half(block.d, finite_half(fit.d));
        put_half(block.dmin, finite_half(fit.dmin));
    });
}

void encode_q6_k(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockQ6_K>(from, to, n, importance, [](const float* x, const float* w, BlockQ6_K& block) {
        using Levels = Uniform<-32, 31>;
        const auto fit = SymmetricSearch<Levels, -128, 127, 16>(x, w).run();
        std::memset(block.ql, 0, sizeof block.ql);
        std::memset(block.qh, 0, sizeof block.qh);
        for (int i = 0; i < kBlockK; ++i) {
            const int half = i / 128, plane = i % 128 / 32, l = i % 32;
            const int level = int(Levels::nearest(x[i] * inverse(fit.d * float(fit.scales[i / 16])))) + 32;
            block.ql[half * 64 + plane % 2 * 32 + l] |= uint8_t((level & 15) << (plane / 2 * 4));
            block.qh[half * 32 + l] |= uint8_t((level >> 4) << (2 * plane));
        }
        for (int k = 0; k < 16; ++k) block.scales[k] = int8_t(fit.scales[k]);
        put_half(block.d, finite_half(fit.d));
    });
}

void encode_iq4_xs(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockIQ4_XS>(from, to, n, importance, [](const float* x, const float* w, BlockIQ4_XS& block) {
        const auto fit = SymmetricSearch<Iq4Levels, -32, 31, 8>(x, w).run();
        uint32_t high = 0;
        std::memset(block.scales_l, 0, sizeof block.scales_l);
        for (int k = 0; k < 8; ++k) {
            const int scale = fit.scales[k] + 32;
            block.scales_l[k / 2] |= uint8_t((scale & 15) << (4 * (k % 2)));
            high |= uint32_t(scale >> 4) << (2 * k);
            const float id = inverse(fit.d * float(fit.scales[k]));
            for (int j = 0; j < 16; ++j) {
                const int a = kNearestIq4.index[nearest_slot(x[32 * k + j] * id)];
                const int b = kNearestIq4.index[nearest_slot(x[32 * k + j + 16] * id)];
                block.qs[16 * k + j] = uint8_t(a | b << 4);
            }
        }
        put_half(block.scales_h, uint16_t(high));
        put_half(block.d, finite_half(fit.d));
    });
}

}  // namespace sterna::detail
