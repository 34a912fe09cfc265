#include "convert/lossless.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/half.h"
#include "tensor/dtype_blocks.h"

namespace sterna {

namespace {

float largest_of(const float* values, int n) {
    float largest = 0.0f;
    for (int i = 0; i < n; ++i) {
        if (!std::isfinite(values[i])) return -1.0f;
        largest = std::max(largest, std::fabs(values[i]));
    }
    return largest;
}

// A scale d > 0, a half, with every value d * q and q in kLowest..kHighest. Writes the levels.
template <int kLowest, int kHighest>
bool find_grid(const float* values, int n, float& d, int* levels) {
    const float largest = largest_of(values, n);
    if (largest < 0.0f) return false;
    d = 0.0f;
    std::fill_n(levels, n, 0);
    if (largest == 0.0f) return std::none_of(values, values + n, [](float v) { return std::signbit(v); });
    // Exact when it is right: d has 11 bits, so d * k fits a float and dividing gives d back.
    for (int k = -kLowest; k >= 1; --k) {
        d = largest / float(k);
        if (half_to_float(float_to_half(d)) != d) continue;
        bool all = true;
        for (int i = 0; i < n && all; ++i) {
            const float level = std::nearbyint(values[i] / d);
            levels[i] = int(level);
            all = level >= float(kLowest) && level <= float(kHighest) &&
                  std::bit_cast<uint32_t>(d * float(levels[i])) == std::bit_cast<uint32_t>(values[i]);
        }
        if (all) return true;
    }
    return false;
}

bool encode_block(const float* from, BlockQ4_0& block) {
    float d;
    int levels[32];
    if (!find_grid<-8, 7>(from, 32, d, levels)) return false;
    put_half(block.d, float_to_half(d));
    for (int i = 0; i < 16; ++i) block.qs[i] = uint8_t((levels[i] + 8) | (levels[i + 16] + 8) << 4);
    return true;
}

bool encode_block(const float* from, BlockQ8_0& block) {
    float d;
    int levels[32];
    if (!find_grid<-128, 127>(from, 32, d, levels)) return false;
    put_half(block.d, float_to_half(d));
    for (int i = 0; i < 32; ++i) block.qs[i] = int8_t(levels[i]);
    return true;
}

bool encode_block(const float* from, BlockTQ2_0& block) {
    float d;
    int levels[256];
    if (!find_grid<-1, 1>(from, 256, d, levels)) return false;
    put_half(block.d, float_to_half(d));
    for (int half = 0; half < 2; ++half) {
        for (int i = 0; i < 32; ++i) {
            int bits = 0;
            for (int plane = 0; plane < 4; ++plane) bits |= (levels[half * 128 + plane * 32 + i] + 1) << (2 * plane);
            block.qs[half * 32 + i] = uint8_t(bits);
        }
    }
    return true;
}

bool encode_block(const float* from, BlockMXFP4& block) {
    const float largest = largest_of(from, 32);
    if (largest < 0.0f) return false;
    // The largest magnitude is 1, 1.5, 2, 3, 4 or 6 (or 0.5) times the scale: a larger scale only coarsens the grid, so
    // the smallest that reaches it is the one to try.
    int exponent = 0;
    if (largest > 0.0f) {
        std::frexp(largest / 6.0f, &exponent);  // largest / 6 = m * 2^exponent, m in [0.5, 1)
        exponent = std::clamp(exponent + 127, 0, 254);
        if (exponent > 0 && 12.0f * mxfp4_half_scale(uint8_t(exponent - 1)) >= largest) --exponent;
    }
    block.e = uint8_t(exponent);
    const float half_scale = mxfp4_half_scale(block.e);
    uint8_t codes[32];
    for (int i = 0; i < 32; ++i) {
        const auto same = [&](int code) {
            const float value = half_scale * float(kMxfp4Doubled[code]);
            // The table has no negative zero: its bits do not matter.
            return value == from[i];
        };
        int code = 0;
        while (code < 16 && !same(code)) ++code;
        if (code == 16) return false;
        codes[i] = uint8_t(code);
    }
    for (int i = 0; i < 16; ++i) block.qs[i] = uint8_t(codes[i] | codes[i + 16] << 4);
    return true;
}

template <typename Block>
bool encode_all(const float* from, uint8_t* to, int64_t n, int block_size) {
    for (int64_t at = 0; at < n; at += block_size, to += sizeof(Block)) {
        if (!encode_block(from + at, *reinterpret_cast<Block*>(to))) return false;
    }
    return true;
}

}  // namespace

bool encode_lossless(DType type, const float* from, uint8_t* to, int64_t n) {
    switch (type) {
        case DType::kQ4_0:
            return encode_all<BlockQ4_0>(from, to, n, kBlock32);
        case DType::kQ8_0:
            return encode_all<BlockQ8_0>(from, to, n, kBlock32);
        case DType::kMXFP4:
            return encode_all<BlockMXFP4>(from, to, n, kBlock32);
        case DType::kTQ2_0:
            return encode_all<BlockTQ2_0>(from, to, n, kBlockK);
        default:
            return false;
    }
}

}  // namespace sterna
