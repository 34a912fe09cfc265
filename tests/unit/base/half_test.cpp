#include "base/half.h"

#include <cmath>

#include <gtest/gtest.h>

namespace sterna {
namespace {

// The compiler's own half type is the witness.
TEST(Half, AllPatternsAgreeWithTheCompilersType) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
        _Float16 h = std::bit_cast<_Float16>(uint16_t(bits));
        float expected = float(h), got = half_to_float(uint16_t(bits));
        if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(got));
            continue;
        }
        ASSERT_EQ(std::bit_cast<uint32_t>(got), std::bit_cast<uint32_t>(expected)) << bits;
        ASSERT_EQ(float_to_half(got), bits);
    }
}

TEST(Half, RoundsToNearestEven) {
    for (uint32_t i = 0; i < (1u << 24); i += 7) {
        float value = std::bit_cast<float>(i * 251u);
        if (std::isnan(value)) continue;
        ASSERT_EQ(float_to_half(value), std::bit_cast<uint16_t>(_Float16(value))) << value;
    }
}

}  // namespace
}  // namespace sterna
