// Random matrices in file format, activations, and one call of a matmul entry with guards around its output.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "kernels/tables.h"
#include "tensor/dtype.h"
#include "tensor/dtype_blocks.h"
#include "tensor/pack.h"

namespace sterna::testing {

inline constexpr DType kMatmulTypes[] = {
    DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ8_0,  DType::kQ4_0,  DType::kQ4_1,
    DType::kQ5_0, DType::kQ5_1,   DType::kQ2_K,   DType::kQ3_K,  DType::kQ4_K,  DType::kQ5_K,
    DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4, DType::kTQ1_0, DType::kTQ2_0,
};

// Where the halves of a file block lie (layout of dtype_blocks.h, written out again so that a wrong table in the packer
// is noticed).
inline std::vector<int> half_offsets(DType type) {
    switch (type) {
        case DType::kQ8_0:
        case DType::kQ4_0:
        case DType::kQ5_0:
        case DType::kIQ4_NL:
        case DType::kIQ4_XS:
            return {0};
        case DType::kQ4_1:
        case DType::kQ5_1:
        case DType::kQ4_K:
        case DType::kQ5_K:
            return {0, 2};
        case DType::kQ2_K:
            return {80, 82};
        case DType::kQ3_K:
            return {108};
        case DType::kQ6_K:
            return {208};
        case DType::kTQ1_0:
            return {52};
        case DType::kTQ2_0:
            return {64};
        default:
            return {};
    }
}

enum class Values { kRandom, kAllOnes, kZero, kHostileScales };

struct FileMatrix {
    DType type;
    int64_t n_rows, n_cols;
    std::vector<uint8_t> bytes;

    TensorView view() const {
        TensorView v;
        v.name = "test";
        v.type = type;
        v.n_dims = 2;
        v.shape = {n_cols, n_rows, 1, 1};
        v.data = bytes;
        return v;
    }
    size_t row_bytes() const { return bytes.size() / size_t(n_rows); }
    std::vector<float> row(int64_t r) const {
        std::vector<float> out(static_cast<size_t>(n_cols));
        dtype_traits(type)->decode(bytes.data() + size_t(r) * row_bytes(), out.data(), n_cols);
        return out;
    }
};

// Blocks of random bytes are blocks of every type; only float fields are given sensible values.
inline FileMatrix make_matrix(DType type, int64_t n_rows, int64_t n_cols, Values values, uint32_t seed) {
    std::mt19937 random(seed);
    const DTypeTraits& traits = *dtype_traits(type);
    FileMatrix m{type, n_rows, n_cols,
                 std::vector<uint8_t>(size_t(n_rows * (n_cols / traits.block_size) * traits.block_bytes))};
    std::normal_distribution<float> normal;
    auto value = [&] { return values == Values::kHostileScales ? (random() % 3 ? INFINITY : NAN) : normal(random); };
    if (type == DType::kF32) {
        for (size_t i = 0; i < m.bytes.size(); i += 4) {
            const float x = values == Values::kZero ? 0.0f : value();
            std::memcpy(&m.bytes[i], &x, 4);
        }
        return m;
    }
    if (type == DType::kF16 || type == DType::kBF16) {
        for (size_t i = 0; i < m.bytes.size(); i += 2) {
            const float x = values == Values::kZero ? 0.0f : value();
            put_half(&m.bytes[i], type == DType::kF16 ? float_to_half(x) : float_to_bfloat(x));
        }
        return m;
    }
    for (uint8_t& b : m.bytes)
        b = values == Values::kAllOnes ? 0x80 | (random() % 2 ? 0x7f : 0)
            : values == Values::kZero  ? 0
                                       : uint8_t(random());
    for (size_t at = 0; at < m.bytes.size(); at += size_t(traits.block_bytes)) {
        for (int offset : half_offsets(type))
            put_half(&m.bytes[at + size_t(offset)], values == Values::kZero ? 0 : float_to_half(value() * 0.1f));
        if (type == DType::kMXFP4 && values == Values::kRandom)
            m.bytes[at] = uint8_t(random() % 4 ? 110 + random() % 30 : random() % 4);
    }
    return m;
}

struct Acts {
    int64_t n_tokens, n_cols;
    std::vector<float> values;
    std::vector<int8_t> q;
    std::vector<float> scales;
    std::vector<int16_t> sums;
    int64_t n_scales = 0, n_sums = 0;

    kernels::Activations view() const {
        return {values.data(), q.data(), scales.data(), sums.data(), n_scales, n_sums};
    }
    double at(kernels::ActKind kind, int64_t t, int64_t c) const {
        if (kind == kernels::ActKind::kF32) return double(values[size_t(t * n_cols + c)]);
        const int64_t block = kind == kernels::ActKind::kQ8_32 ? 32 : 256;
        return double(q[size_t(t * n_cols + c)]) * double(scales[size_t(t * n_scales + c / block)]);
    }
};

inline Acts quantize(const kernels::Kernels& k, kernels::ActKind kind, std::vector<float> values, int64_t n_tokens,
                     int64_t n_cols) {
    Acts a{n_tokens, n_cols, std::move(values), {}, {}, {}};
    if (kind == kernels::ActKind::kF32) return a;
    const bool wide = kind == kernels::ActKind::kQ8_256;
    a.n_scales = n_cols / (wide ? 256 : 32);
    a.n_sums = n_cols / (wide ? 16 : 32);
    a.q.resize(size_t(n_tokens * n_cols));
    a.scales.resize(size_t(n_tokens * a.n_scales));
    a.sums.resize(size_t(n_tokens * a.n_sums));
    for (int64_t t = 0; t < n_tokens; ++t) {
        (wide ? k.quantize_q8_256 : k.quantize_q8_32)(a.values.data() + t * n_cols, n_cols, a.q.data() + t * n_cols,
                                                      a.scales.data() + t * a.n_scales, a.sums.data() + t * a.n_sums);
    }
    return a;
}

inline std::vector<float> random_values(size_t n, uint32_t seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<float> v(n);
    for (float& x : v) x = normal(random);
    return v;
}

// The result of one call, or of several that split the panels; `guards_whole` says whether nothing but the outputs was
// written.
struct MatmulResult {
    std::vector<float> out;
    bool guards_whole = true;
};

inline MatmulResult run_matmul(const kernels::Kernels& k, const PackedMatrix& w, const Acts& x,
                               int64_t panels_per_call = 1 << 30) {
    constexpr size_t kGuard = 32;
    constexpr float kMark = -12345.5f;
    const int64_t stride = w.n_rows() + 3;
    std::vector<float> out(size_t(x.n_tokens * stride) + 2 * kGuard, kMark);
    struct Free {
        void operator()(uint8_t* p) const { std::free(p); }
    };
    std::unique_ptr<uint8_t, Free> scratch(
        static_cast<uint8_t*>(std::aligned_alloc(64, size_t(kernels::kMatmulScratchBytes) + 64)));
    std::memset(scratch.get(), 0xee, size_t(kernels::kMatmulScratchBytes) + 64);
    for (int64_t begin = 0; begin < w.n_panels(); begin += panels_per_call) {
        kernels::MatmulArgs args = {w.data(),
                                    w.panel_bytes(),
                                    begin,
                                    std::min(w.n_panels(), begin + panels_per_call),
                                    w.n_rows(),
                                    w.n_cols(),
                                    x.view(),
                                    x.n_tokens,
                                    out.data() + kGuard,
                                    stride,
                                    scratch.get()};
        k.matmul[int(w.kind())](args);
    }
    MatmulResult r;
    for (size_t i = 0; i < out.size(); ++i) {
        const int64_t at = int64_t(i) - int64_t(kGuard);
        if (at >= 0 && at < x.n_tokens * stride && at % stride < w.n_rows())
            r.out.push_back(out[i]);
        else if (out[i] != kMark)
            r.guards_whole = false;
    }
    for (size_t i = 0; i < 64; ++i) r.guards_whole &= scratch.get()[size_t(kernels::kMatmulScratchBytes) + i] == 0xee;
    return r;
}

// Equal bits; any NaN equals any NaN (its payload may differ between machines and never matters).
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); ++i)
        if (std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i])))
            return false;
    return true;
}

}  // namespace sterna::testing
