#include <fstream>
#include <sstream>

#include "support.h"

namespace sterna::kernels {
namespace {

float from_bits(uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// Every 4003rd float, both signs: a million arguments, subnormal ones and infinities included.
template <class F>
void sweep(F f) {
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 4003) f(from_bits(uint32_t(bits)));
    for (float x :
         {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 88.7228394f, 88.7228470f, -103.972076f, -103.972084f, -87.3365479f})
        f(x);
}

TEST(Math, ExpIsWithinTwoUnits) {
    double worst = 0;
    sweep([&](float x) { worst = std::max(worst, ulps(exp_f32(x), std::exp(double(x)))); });
    EXPECT_LE(worst, 1.1);
}

TEST(Math, TanhIsWithinFourUnits) {
    double worst = 0;
    sweep([&](float x) { worst = std::max(worst, ulps(tanh_f32(x), std::tanh(double(x)))); });
    EXPECT_LE(worst, 1.5);
    EXPECT_TRUE(std::signbit(tanh_f32(-0.0f)));
}

TEST(Math, LogIsWithinOneUnit) {
    double worst = 0;
    for (uint64_t bits = 0; bits <= 0x7f800000u; bits += 40009) {
        float x = from_bits(uint32_t(bits));
        worst = std::max(worst, ulps(log_f32(x), std::log(double(x))));
    }
    EXPECT_LE(worst, 0.51);
    EXPECT_TRUE(std::isnan(log_f32(-1)));
    EXPECT_EQ(log_f32(0), -INFINITY);
}

double double_units(double got, double want) {
    if (got == want) return 0;
    int64_t a, b;
    std::memcpy(&a, &got, 8);
    std::memcpy(&b, &want, 8);
    return std::fabs(double(a - b));
}

TEST(Math, DoublesAreWithinOneUnitOfMpmath) {
    std::ifstream file(STERNA_MATH_GOLDEN);
    ASSERT_TRUE(file) << STERNA_MATH_GOLDEN;
    std::string line;
    int n = 0;
    while (std::getline(file, line)) {
        std::stringstream words(line);
        std::string name, word;
        words >> name;
        std::vector<double> numbers;
        while (words >> word) numbers.push_back(std::strtod(word.c_str(), nullptr));
        double x = numbers[0], got;
        if (name == "pow")
            got = pow_f64(x, numbers[1]);
        else if (name == "exp")
            got = exp_f64(x);
        else if (name == "log")
            got = log_f64(x);
        else if (name == "sin")
            got = sin_f64(x);
        else
            got = cos_f64(x);
        EXPECT_LE(double_units(got, numbers.back()), 1) << line;
        ++n;
    }
    EXPECT_GT(n, 400);
}

TEST(Math, DoublesAtTheEdges) {
    EXPECT_EQ(exp_f64(INFINITY), INFINITY);
    EXPECT_EQ(exp_f64(-INFINITY), 0);
    EXPECT_EQ(exp_f64(-745.0), 0x1p-1074);
    EXPECT_EQ(log_f64(0), -INFINITY);
    EXPECT_TRUE(std::isnan(log_f64(-1)));
    EXPECT_EQ(pow_f64(-2, 3), -8);
    EXPECT_EQ(pow_f64(-2, 2), 4);
    EXPECT_TRUE(std::isnan(pow_f64(-2, 0.5)));
    EXPECT_EQ(pow_f64(0, -1), INFINITY);
    EXPECT_EQ(pow_f64(0, 2), 0);
    EXPECT_EQ(pow_f64(2, -1074), 0x1p-1074);
    EXPECT_EQ(pow_f64(2, INFINITY), INFINITY);
    EXPECT_EQ(pow_f64(NAN, 0), 1);
    EXPECT_TRUE(std::isnan(sin_f64(INFINITY)));
    EXPECT_TRUE(std::signbit(sin_f64(-0.0)));
}

// A lane of a vector kernel gives the scalar function's bits.
TEST(Math, LanesEqualScalars) {
    std::vector<float> x;
    sweep([&](float v) {
        if ((x.size() & 7) == 0 || std::fabs(v) < 200) x.push_back(v);
    });
    std::vector<float> want(x.size()), got(x.size());
    for (size_t i = 0; i < x.size(); ++i) want[i] = tanh_f32(x[i]);
    for (const Kernels* table : tested_tables()) {
        table->softcap(x.data(), 1.0f, int64_t(x.size()), got.data());
        EXPECT_TRUE(same_bits(got, want)) << table->name;
    }
    // exp through softmax: the shift by the maximum, 0, is exact.
    std::vector<float> low;
    for (float v : x) {
        if (v <= 0) low.push_back(v);
    }
    low.push_back(0.0f);
    for (const Kernels* table : tested_tables()) {
        std::vector<float> e(low.size());
        float total = table->softmax(low.data(), int64_t(low.size()), e.data());
        ASSERT_TRUE(std::isfinite(total));
        float inverse = e.back();
        for (size_t i = 0; i < low.size(); ++i)
            ASSERT_EQ(e[i], exp_f32(low[i]) * inverse) << table->name << " " << low[i];
    }
}

}  // namespace
}  // namespace sterna::kernels
