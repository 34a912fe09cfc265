// Encoders: never worse than llama.cpp's on the same data (tools/compare_encoders.py made its figures), exact where
// exact is possible, and safe on values that are no numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "support/testdata.h"
#include "tensor/dtype.h"

namespace sterna {
namespace {

constexpr int kRows = 16, kColumns = 1024;
constexpr double kTolerance = 1.0005;

// The same generators as in tools/compare_encoders.py.
std::vector<double> uniforms(uint64_t seed, size_t n) {
    std::vector<double> all(n);
    for (size_t i = 0; i < n; ++i) {
        uint64_t z = seed + 0x9E3779B97F4A7C15u * (i + 1);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z = z ^ (z >> 31);
        all[i] = double(z >> 11) * 0x1p-53;
    }
    return all;
}

std::vector<double> bell(uint64_t seed, size_t n) {
    std::vector<double> u = uniforms(seed, 12 * n), all(n);
    for (size_t i = 0; i < n; ++i) {
        double total = u[12 * i];
        for (size_t k = 1; k < 12; ++k) total = total + u[12 * i + k];
        all[i] = total - 6.0;
    }
    return all;
}

std::map<std::string, std::vector<float>> data_sets() {
    const size_t n = kRows * kColumns;
    const std::vector<double> b1 = bell(1, n), b2 = bell(2, n), b4 = bell(4, n), u3 = uniforms(3, n),
                              u5 = uniforms(5, n);
    std::map<std::string, std::vector<float>> sets;
    for (size_t i = 0; i < n; ++i) {
        sets["bell"].push_back(float(b1[i] * 0.02));
        sets["heavy"].push_back(float(b2[i] * 0.005 / (u3[i] + 0.05)));
        sets["shifted"].push_back(float(b4[i] * 0.02 + 0.03));
        sets["uniform"].push_back(float(u5[i] * 2.0 - 1.0));
    }
    return sets;
}

std::vector<float> importance() {
    std::vector<float> all;
    for (double u : uniforms(6, kColumns)) all.push_back(float((u + 0.1) * (u + 0.1) * (u + 0.1)));
    return all;
}

std::vector<uint8_t> encoded(const DTypeTraits& type, const std::vector<float>& x, const float* weights) {
    const size_t row_bytes = size_t(*dtype_bytes(type.type, kColumns));
    std::vector<uint8_t> bytes(x.size() / kColumns * row_bytes);
    for (size_t r = 0; r < x.size() / kColumns; ++r)
        type.encode(x.data() + r * kColumns, bytes.data() + r * row_bytes, kColumns, weights);
    return bytes;
}

std::vector<float> decoded(const DTypeTraits& type, const std::vector<uint8_t>& bytes, size_t n) {
    std::vector<float> y(n);
    type.decode(bytes.data(), y.data(), int64_t(n));
    return y;
}

double root_error(const std::vector<float>& x, const std::vector<float>& y, const float* weights) {
    double sum = 0.0, sum_w = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
        const double w = weights ? double(weights[i % kColumns]) : 1.0, e = double(y[i]) - double(x[i]);
        sum += w * e * e;
        sum_w += w;
    }
    return std::sqrt(sum / sum_w);
}

// STERNA_TABLE=1 prints the comparison.
TEST(Encode, NoWorseThanLlamaCpp) {
    std::ifstream reference(source_path("tests/golden/gguf/encoder_errors.txt"));
    ASSERT_TRUE(reference);
    const bool table = std::getenv("STERNA_TABLE") != nullptr;
    const auto sets = data_sets();
    const std::vector<float> weights = importance();
    size_t n_lines = 0;
    for (std::string type, set, kind; reference >> type;) {
        if (type == "#") {
            std::getline(reference, type);
            continue;
        }
        double theirs = 0.0;
        reference >> set >> kind >> theirs;
        const DTypeTraits* traits = dtype_by_name(type);
        ASSERT_TRUE(traits && traits->encode) << type;
        const std::vector<float>& x = sets.at(set);
        const float* w = kind == "weighted" ? weights.data() : nullptr;
        const double ours = root_error(x, decoded(*traits, encoded(*traits, x, w), x.size()), w);
        EXPECT_LE(ours, theirs * kTolerance) << type << " " << set << " " << kind;
        if (table)
            std::printf("%-7s %-8s %-8s theirs %.5e ours %.5e ratio %.4f\n", type.c_str(), set.c_str(), kind.c_str(),
                        theirs, ours, ours / theirs);
        ++n_lines;
    }
    EXPECT_EQ(n_lines, 15u * 4 * 2);
}

TEST(Encode, DecodedValuesComeBack) {
    // What a block can say, encoding says again to within a small part of a step (scales may be found anew).
    for (const DTypeTraits& type : all_dtypes()) {
        if (!type.encode) continue;
        const auto x = data_sets().at("bell");
        const std::vector<float> once = decoded(type, encoded(type, x, nullptr), x.size());
        const std::vector<float> twice = decoded(type, encoded(type, once, nullptr), x.size());
        double size = 0.0;
        for (float value : once) size += double(value) * double(value);
        EXPECT_LE(root_error(once, twice, nullptr), 0.02 * std::sqrt(size / double(x.size()))) << type.name;
    }
}

TEST(Encode, TernaryIsExact) {
    std::vector<double> u = uniforms(7, kRows * kColumns);
    for (float d : {1.0f, 0.0173492431640625f, 3.5f}) {
        std::vector<float> x;
        for (double each : u) x.push_back(each < 0.3 ? -d : each < 0.6 ? d : 0.0f);
        for (DType type : {DType::kTQ1_0, DType::kTQ2_0}) {
            const DTypeTraits& traits = *dtype_traits(type);
            EXPECT_EQ(decoded(traits, encoded(traits, x, nullptr), x.size()), x) << traits.name << " " << d;
            EXPECT_EQ(decoded(traits, encoded(traits, x, importance().data()), x.size()), x) << traits.name << " " << d;
        }
    }
}

TEST(Encode, ZerosStayZero) {
    const std::vector<float> x(kColumns);
    for (const DTypeTraits& type : all_dtypes()) {
        if (type.encode) {
            EXPECT_EQ(decoded(type, encoded(type, x, nullptr), x.size()), x) << type.name;
        }
    }
}

TEST(Encode, StrangeValuesGiveFiniteBlocks) {
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const float strange[] = {nan, inf, -inf, 3.4e38f, -3.4e38f, 1e-45f, -1e-40f, 65504.0f, 1e10f, 0.0f, -0.0f, 1e-8f};
    const std::vector<double> u = uniforms(8, kColumns);
    for (const DTypeTraits& type : all_dtypes()) {
        if (!type.encode || type.block_size == 1) continue;
        for (float value : strange) {
            for (double share : {0.01, 0.5, 1.0}) {
                std::vector<float> x, w;
                for (size_t i = 0; i < u.size(); ++i) {
                    x.push_back(u[i] < share ? value : float(u[i]) - 0.5f);
                    w.push_back(u[i] < share ? 1.0f : value);
                }
                for (const float* weights : {static_cast<const float*>(nullptr), static_cast<const float*>(w.data())}) {
                    for (float y : decoded(type, encoded(type, x, weights), x.size()))
                        ASSERT_TRUE(std::isfinite(y)) << type.name << " " << value << " " << share;
                }
            }
        }
    }
}

TEST(Encode, NaNSparesItsBlock) {
    const std::vector<double> u = uniforms(9, kColumns);
    std::vector<float> x;
    for (double v : u) x.push_back(float(v) - 0.5f);
    x[7] = std::numeric_limits<float>::quiet_NaN();
    for (const char* name : {"Q8_0", "Q5_0", "Q4_0"}) {
        const DTypeTraits& type = *dtype_by_name(name);
        const std::vector<float> y = decoded(type, encoded(type, x, nullptr), x.size());
        for (size_t i = 0; i < 32; ++i) {
            if (i == 7) continue;
            EXPECT_NEAR(y[i], x[i], 0.07f) << name << " " << i;
        }
    }
}

TEST(Encode, Constants) {
    // One level suffices, so only the rounding of scales remains.
    for (const DTypeTraits& type : all_dtypes()) {
        if (!type.encode || type.type == DType::kMXFP4 || type.type == DType::kTQ1_0 || type.type == DType::kTQ2_0)
            continue;
        for (float value : {1.0f, -1.0f, 0.05f, -250.0f}) {
            const std::vector<float> x(kColumns, value);
            for (float y : decoded(type, encoded(type, x, nullptr), x.size()))
                ASSERT_NEAR(y / value, 1.0f, 0.01f) << type.name << " " << value;
        }
    }
}

}  // namespace
}  // namespace sterna
