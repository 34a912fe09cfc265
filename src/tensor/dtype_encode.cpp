// Floats to blocks: the plain types, the simple blocks of 32, and the ternary ones.
#include <algorithm>
#include <bit>
#include <cstring>

#include "tensor/dtype_blocks.h"
#include "tensor/dtype_codec.h"
#include "tensor/dtype_fit.h"

namespace sterna::detail {

namespace {

// Calls body(x, weights, block) for each block of n elements.
template <typename Block, int kElements, typename Body>
void each_block(const float* from, uint8_t* to, int64_t n, const float* importance, Body body) {
    float w[kElements];
    block_weights<kElements>(nullptr, w);
    for (int64_t i = 0; i < n / kElements; ++i) {
        if (importance) block_weights<kElements>(importance + i * kElements, w);
        body(from + i * kElements, w, *reinterpret_cast<Block*>(to + i * int64_t(sizeof(Block))));
    }
}

// q(element) is 0..15, or 0..31 with the fifth bits going to qh.
template <typename Q>
void put_nibbles(uint8_t* qs, uint8_t* qh, Q q) {
    uint32_t high = 0;
    for (int j = 0; j < 16; ++j) {
        const uint32_t a = uint32_t(q(j)), b = uint32_t(q(j + 16));
        qs[j] = uint8_t((a & 15) | (b & 15) << 4);
        high |= (a >> 4) << j | (b >> 4) << (j + 16);
    }
    if (qh) std::memcpy(qh, &high, 4);
}

constexpr NearestTable kNearestMxfp4 = [] {
    constexpr int8_t kAscending[15] = {-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12};
    NearestTable table = make_nearest(kAscending, 15);
    // From the position in that list to the code: sign bit and magnitude.
    for (uint8_t& index : table.index) index = uint8_t(index >= 7 ? index - 7 : 15 - index);
    return table;
}();

struct Mxfp4Levels {
    static float nearest(float t) { return float(kNearestMxfp4.level[nearest_slot(t)]); }
    static F4 nearest(F4 t) { return F4{nearest(t[0]), nearest(t[1]), nearest(t[2]), nearest(t[3])}; }
};

// Block types of one scale and uniform levels around kZero.
template <typename Block, int kZero>
void encode_symmetric(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<Block, 32>(from, to, n, importance, [](const float* x, const float* w, Block& block) {
        using Levels = Uniform<-kZero, kZero - 1>;
        const float d = fit_scale<Levels, 32, true>(x, w), id = inverse(d);
        put_half(block.d, finite_half(d));
        uint8_t* qh = nullptr;
        if constexpr (requires { block.qh; }) qh = block.qh;
        put_nibbles(block.qs, qh, [&](int j) { return int(Levels::nearest(x[j] * id)) + kZero; });
    });
}

template <typename Block, int kMaxQ>
void encode_offset(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<Block, 32>(from, to, n, importance, [](const float* x, const float* w, Block& block) {
        const ScaleOffset fit = fit_scale_offset<kMaxQ, 32, true, false>(x, w);
        const float id = inverse(fit.d);
        put_half(block.d, finite_half(fit.d));
        put_half(block.m, finite_half(fit.m));
        uint8_t* qh = nullptr;
        if constexpr (requires { block.qh; }) qh = block.qh;
        put_nibbles(block.qs, qh,
                    [&](int j) { return int(round_even(clamp_to((x[j] - fit.m) * id, 0.0f, float(kMaxQ)))); });
    });
}

}  // namespace

void encode_f32(const float* from, uint8_t* to, int64_t n, const float*) {
    if (n > 0) std::memcpy(to, from, size_t(n) * sizeof(float));  // no bytes may mean null pointers
}

void encode_f16(const float* from, uint8_t* to, int64_t n, const float*) {
    for (int64_t i = 0; i < n; ++i) put_half(to + 2 * i, float_to_half(from[i]));
}

void encode_bf16(const float* from, uint8_t* to, int64_t n, const float*) {
    for (int64_t i = 0; i < n; ++i) put_half(to + 2 * i, float_to_bfloat(from[i]));
}

void encode_q4_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_symmetric<BlockQ4_0, 8>(from, to, n, importance);
}

void encode_q5_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_symmetric<BlockQ5_0, 16>(from, to, n, importance);
}

void encode_q4_1(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_offset<BlockQ4_1, 15>(from, to, n, importance);
}

void encode_q5_1(const float* from, uint8_t* to, int64_t n, const float* importance) {
    encode_offset<BlockQ5_1, 31>(from, to, n, importance);
}

// A search gains little at 8 bits: the plain scale, and what least squares makes of its levels.
void encode_q8_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    using Levels = Uniform<-127, 127>;
    each_block<BlockQ8_0, 32>(from, to, n, importance, [](const float* x, const float* w, BlockQ8_0& block) {
        const float top = largest<32>(x), plain = through_half((top < 0.0f ? -top : top) / 127.0f);
        float d = plain, error = error_at<Levels, 32>(x, w, d);
        for (int again = 0; again < 2; ++again) {
            const Sums sums = sums_at<Levels, 32>(x, w, inverse(d));
            const float refitted = sums.qq > 0.0f ? through_half(sums.xq / sums.qq) : d;
            const float refitted_error = error_at<Levels, 32>(x, w, refitted);
            if (refitted_error < error) {
                d = refitted;
                error = refitted_error;
            }
        }
        put_half(block.d, finite_half(d));
        const float id = inverse(d);
        for (int j = 0; j < 32; ++j) block.qs[j] = int8_t(Levels::nearest(x[j] * id));
    });
}

void encode_iq4_nl(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockIQ4_NL, 32>(from, to, n, importance, [](const float* x, const float* w, BlockIQ4_NL& block) {
        const float d = fit_scale<Iq4Levels, 32, true>(x, w), id = inverse(d);
        put_half(block.d, finite_half(d));
        put_nibbles(block.qs, nullptr, [&](int j) { return kNearestIq4.index[nearest_slot(x[j] * id)]; });
    });
}

constexpr int kMaxExponent = 252;  // 12 * 2^(252 - 128) is still a finite float

// The OCP specification (MX v1.0, section 6.3) puts the largest magnitude's exponent at 2, so that up to a quarter of
// an octave saturates at 6; where the next scale gives a smaller error, it is taken.
void encode_mxfp4(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockMXFP4, 32>(from, to, n, importance, [](const float* x, const float* w, BlockMXFP4& block) {
        const float top = largest<32>(x);
        const int exponent =
            int(std::bit_cast<uint32_t>(top) >> 23 & 255);  // floor(log2 |top|) + 127; 0 for subnormals
        uint8_t best = uint8_t(std::clamp(exponent - 2, 0, kMaxExponent));
        float best_error = 0.0f;
        for (int e = std::max(exponent - 2, 0); e <= std::min(exponent - 1, kMaxExponent); ++e) {
            const float error = error_at<Mxfp4Levels, 32>(x, w, mxfp4_half_scale(uint8_t(e)));
            if (e == exponent - 2 || error < best_error) {
                best = uint8_t(e);
                best_error = error;
            }
        }
        block.e = best;
        const float id = inverse(mxfp4_half_scale(best));
        put_nibbles(block.qs, nullptr, [&](int j) { return kNearestMxfp4.index[nearest_slot(x[j] * id)]; });
    });
}

namespace {

// The scale of the levels -1, 0, 1 with the least error of all: for a given number of non-zero levels those of the
// largest magnitudes are best, and then d is their weighted mean; so every such number is tried. Ternary data comes
// back exactly.
float fit_ternary(const float* x, const float* w) {
    struct Entry {
        float magnitude, weight;
    };
    Entry entries[256];
    for (int i = 0; i < 256; ++i) {
        const float a = x[i] < 0.0f ? -x[i] : x[i];
        entries[i] = {clamp_to(a, 0.0f, 3e38f), w[i]};
    }
    std::sort(entries, entries + 256, [](const Entry& a, const Entry& b) {
        return a.magnitude != b.magnitude ? a.magnitude > b.magnitude : a.weight > b.weight;
    });
    double sum_wx = 0.0, sum_w = 0.0, best_gain = 0.0, best = 0.0;
    for (const Entry& entry : entries) {
        sum_wx += double(entry.weight) * double(entry.magnitude);
        sum_w += double(entry.weight);
        const double gain = sum_w > 0.0 ? sum_wx * sum_wx / sum_w : 0.0;
        if (gain > best_gain) {
            best_gain = gain;
            best = sum_wx / sum_w;
        }
    }
    return through_half(float(best));
}

using TernaryLevels = Uniform<-1, 1>;

}  // namespace

void encode_tq1_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockTQ1_0, 256>(from, to, n, importance, [](const float* x, const float* w, BlockTQ1_0& block) {
        const float d = fit_ternary(x, w), id = inverse(d);
        put_half(block.d, finite_half(d));
        auto run = [&](uint8_t* bytes, int n_bytes, int n_trits) {
            for (int l = 0; l < n_bytes; ++l) {
                unsigned number = 0;
                for (int trit = 0; trit < 5; ++trit) {
                    const int level = trit < n_trits ? int(TernaryLevels::nearest(x[trit * n_bytes + l] * id)) + 1 : 0;
                    number = number * 3 + unsigned(level);
                }
                bytes[l] = uint8_t((number * 256 + 242) / 243);
            }
            x += n_bytes * n_trits;
        };
        run(block.qs, 32, 5);
        run(block.qs + 32, 16, 5);
        run(block.qh, 4, 4);
    });
}

void encode_tq2_0(const float* from, uint8_t* to, int64_t n, const float* importance) {
    each_block<BlockTQ2_0, 256>(from, to, n, importance, [](const float* x, const float* w, BlockTQ2_0& block) {
        const float d = fit_ternary(x, w), id = inverse(d);
        put_half(block.d, finite_half(d));
        std::memset(block.qs, 0, sizeof block.qs);
        for (int i = 0; i < 256; ++i) {
            const int level = int(TernaryLevels::nearest(x[i] * id)) + 1;
            block.qs[i / 128 * 32 + i % 32] |= uint8_t(level << (i % 128 / 32 * 2));
        }
    });
}

}  // namespace sterna::detail
