// The encoders compiled for AVX2 give the bytes of those compiled for any machine.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "base/half.h"
#include "tensor/encode_table.h"

namespace sterna {
namespace {

using namespace detail;

#ifdef STERNA_TEST_AVX2

std::vector<float> values(int kind, size_t n) {
    std::mt19937 random(unsigned(kind) + 1);
    std::normal_distribution<float> bell;
    std::vector<float> all(n);
    for (float& x : all) {
        x = bell(random) * 0.02f;
        if (kind == 1) x = x * x * x * 1e4f;
        if (kind == 2) x += 0.05f;
        if (kind == 3) x = std::ldexp(x, int(random() % 60) - 30);
        if (kind == 4 && random() % 50 == 0) x = std::numeric_limits<float>::infinity();
        if (kind == 4 && random() % 50 == 0) x = std::numeric_limits<float>::quiet_NaN();
    }
    return all;
}

TEST(EncodeIsa, SameBytes) {
    if (!__builtin_cpu_supports("avx2")) GTEST_SKIP() << "no AVX2 here";
    struct Row {
        const char* name;
        EncodeFunction Encoders::* function;
        int block, bytes;
    };
    const Row rows[] = {{"q4_0", &Encoders::q4_0, 32, 18},       {"q4_1", &Encoders::q4_1, 32, 20},
                        {"q5_0", &Encoders::q5_0, 32, 22},       {"q5_1", &Encoders::q5_1, 32, 24},
                        {"q8_0", &Encoders::q8_0, 32, 34},       {"iq4_nl", &Encoders::iq4_nl, 32, 18},
                        {"mxfp4", &Encoders::mxfp4, 32, 17},     {"q2_k", &Encoders::q2_k, 256, 84},
                        {"q3_k", &Encoders::q3_k, 256, 110},     {"q4_k", &Encoders::q4_k, 256, 144},
                        {"q5_k", &Encoders::q5_k, 256, 176},     {"q6_k", &Encoders::q6_k, 256, 210},
                        {"iq4_xs", &Encoders::iq4_xs, 256, 136}, {"tq1_0", &Encoders::tq1_0, 256, 54},
                        {"tq2_0", &Encoders::tq2_0, 256, 66}};
    const std::vector<float> weights = values(1, 4096);
    std::vector<float> importance;
    for (float w : weights) importance.push_back(w * w);
    for (const Row& row : rows)
        for (int kind = 0; kind < 5; ++kind) {
            const std::vector<float> x = values(kind, 4096);
            // An odd number of blocks, so that the last eight are not whole.
            const int64_t n = int64_t(x.size()) - row.block;
            for (const float* w : {static_cast<const float*>(nullptr), static_cast<const float*>(importance.data())}) {
                std::vector<uint8_t> base(size_t(n / row.block * row.bytes)), avx2(base.size());
                (kBaseEncoders.*row.function)(x.data(), base.data(), n, w);
                (kAvx2Encoders.*row.function)(x.data(), avx2.data(), n, w);
                EXPECT_EQ(base, avx2) << row.name << " data " << kind << (w ? " weighted" : "");
            }
        }
}

TEST(EncodeIsa, Halves) {
    std::vector<uint8_t> halves;
    for (int h = 0; h < 65536; ++h) {
        halves.push_back(uint8_t(h));
        halves.push_back(uint8_t(h >> 8));
    }
    for (const Encoders* each : {&kBaseEncoders, &kAvx2Encoders}) {
        if (each == &kAvx2Encoders && !__builtin_cpu_supports("avx2")) continue;
        std::vector<float> decoded(65536);
        each->decode_f16(halves.data(), decoded.data(), 65535);  // the last one alone
        each->decode_f16(halves.data() + 2 * 65535, decoded.data() + 65535, 1);
        for (int h = 0; h < 65536; ++h) {
            const float expected = half_to_float(uint16_t(h));
            EXPECT_EQ(std::bit_cast<uint32_t>(decoded[size_t(h)]), std::bit_cast<uint32_t>(expected)) << h;
        }
    }
}

#endif

}  // namespace
}  // namespace sterna
