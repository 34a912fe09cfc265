// What the tests of the row kernels share: the tables to run, random rows, guarded outputs, comparison of bits.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/tables.h"

namespace sterna::kernels {

inline const Kernels& scalar_table() {
    return *all().tables[0];
}

inline std::vector<float> random_row(int64_t n, uint32_t seed, float deviation = 1.0f) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> row(n);
    for (float& x : row) x = normal(engine);
    return row;
}

// n floats between two guards of 16 that must survive.
class Guarded {
public:
    explicit Guarded(int64_t n) : n_(n), memory_(n + 32, kGuard) {}
    explicit Guarded(const std::vector<float>& row) : Guarded(int64_t(row.size())) {
        std::copy(row.begin(), row.end(), data());
    }
    float* data() { return memory_.data() + 16; }
    std::vector<float> row() const { return {memory_.begin() + 16, memory_.end() - 16}; }
    bool intact() const {
        for (int i = 0; i < 16; ++i) {
            if (memory_[i] != kGuard || memory_[16 + n_ + i] != kGuard) return false;
        }
        return true;
    }

private:
    static constexpr float kGuard = -1234.5f;
    int64_t n_;
    std::vector<float> memory_;
};

// Equal bits; any NaN equals any NaN.
inline ::testing::AssertionResult same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    if (a.size() != b.size()) return ::testing::AssertionFailure() << a.size() << " and " << b.size() << " values";
    for (size_t i = 0; i < a.size(); ++i) {
        if (std::isnan(a[i]) && std::isnan(b[i])) continue;
        if (std::memcmp(&a[i], &b[i], 4) != 0)
            return ::testing::AssertionFailure() << "value " << i << ": " << a[i] << " and " << b[i];
    }
    return ::testing::AssertionSuccess();
}

// Distance of a float from the true value in units of the float's last place (2^-149 below 2^-126).
inline double ulps(float got, double want) {
    float nearest = float(want);
    if (std::isnan(want)) return std::isnan(got) ? 0 : 1e9;
    if (std::isinf(nearest) || std::isinf(got)) return got == nearest ? 0 : 1e9;
    int exponent;
    std::frexp(std::fabs(want) < 0x1p-126 ? 0x1p-126 : want, &exponent);
    return std::fabs(double(got) - want) / std::ldexp(1.0, exponent - 24);
}

}  // namespace sterna::kernels
