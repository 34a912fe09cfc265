#include <algorithm>
#include <functional>
#include <string>

#include "support.h"

namespace sterna::kernels {
namespace {

const int64_t kLengths[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 64, 100, 257, 2048, 4099};

// One entry as a function of two rows; and the same in double.
struct Row {
    std::string name;
    std::function<void(const Kernels&, const float* a, const float* b, int64_t n, float* y)> run;
    std::function<void(const float* a, const float* b, int64_t n, double* y)> reference;
    double absolute, relative;  // bound on |y - reference|: absolute + relative * |reference|
};

template <class F>
std::function<void(const float*, const float*, int64_t, double*)> each(F f) {
    return [f](const float* a, const float* b, int64_t n, double* y) {
        for (int64_t i = 0; i < n; ++i) y[i] = f(double(a[i]), double(b[i]));
    };
}

double gelu_tanh(double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

void rms_reference(const float* a, const float* b, int64_t n, double* y) {
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += double(a[i]) * a[i];
    for (int64_t i = 0; i < n; ++i) y[i] = a[i] / std::sqrt(sum / double(n) + 1e-5) * (b ? b[i] : 1.0);
}

void layer_reference(const float* a, const float* b, int64_t n, double* y) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; ++i) mean += a[i] / double(n);
    for (int64_t i = 0; i < n; ++i) variance += (a[i] - mean) * (a[i] - mean) / double(n);
    for (int64_t i = 0; i < n; ++i)
        y[i] = (a[i] - mean) / std::sqrt(variance + 1e-5) * (b ? b[i] : 1.0) + (b ? b[i] : 0.0);
}

double log_sum_reference(const float* a, int64_t n) {
    double top = *std::max_element(a, a + n), sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::exp(a[i] - top);
    return std::log(sum) + top;
}

void softmax_reference(const float* a, const float*, int64_t n, double* y) {
    double total = log_sum_reference(a, n);
    for (int64_t i = 0; i < n; ++i) y[i] = std::exp(a[i] - total);
}

std::vector<Row> rows() {
    constexpr double u = 0x1p-24;
    using F = const float*;
    return {
        {"rms_norm", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.rms_norm(a, b, 1e-5f, n, y); },
         rms_reference, 0, 16 * u},
        {"rms_norm, no weight",
         [](const Kernels& k, F a, F, int64_t n, float* y) { k.rms_norm(a, nullptr, 1e-5f, n, y); },
         [](F a, F, int64_t n, double* y) { rms_reference(a, nullptr, n, y); }, 0, 16 * u},
        {"layer_norm", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.layer_norm(a, b, b, 1e-5f, n, y); },
         layer_reference, 2e-5, 16 * u},
        {"layer_norm, bare",
         [](const Kernels& k, F a, F, int64_t n, float* y) { k.layer_norm(a, nullptr, nullptr, 1e-5f, n, y); },
         [](F a, F, int64_t n, double* y) { layer_reference(a, nullptr, n, y); }, 2e-5, 16 * u},
        {"add", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.add(a, b, n, y); },
         each([](double a, double b) { return a + b; }), 0, u},
        {"mul", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.mul(a, b, n, y); },
         each([](double a, double b) { return a * b; }), 0, u},
        {"scale", [](const Kernels& k, F a, F, int64_t n, float* y) { k.scale(a, 0.75f, n, y); },
         each([](double a, double) { return a * 0.75; }), 0, u},
        {"add_scaled", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.add_scaled(a, b, 0.75f, n, y); },
         each([](double a, double b) { return a + b * 0.75; }), 4e-6, u},
        {"silu", [](const Kernels& k, F a, F, int64_t n, float* y) { k.silu(a, n, y); },
         each([](double a, double) { return a / (1 + std::exp(-a)); }), 0, 6 * u},
        {"silu_mul", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.silu_mul(a, b, n, y); },
         each([](double a, double b) { return a / (1 + std::exp(-a)) * b; }), 0, 7 * u},
        {"gelu", [](const Kernels& k, F a, F, int64_t n, float* y) { k.gelu(a, n, y); },
         each([](double a, double) { return gelu_tanh(a); }), 1e-7, 2 * u},
        {"gelu_mul", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.gelu_mul(a, b, n, y); },
         each([](double a, double b) { return gelu_tanh(a) * b; }), 2e-6, 4 * u},
        {"gelu_erf", [](const Kernels& k, F a, F, int64_t n, float* y) { k.gelu_erf(a, n, y); },
         each([](double a, double) { return 0.5 * a * std::erfc(-a / std::sqrt(2.0)); }), 6e-8, u},
        {"relu2_mul", [](const Kernels& k, F a, F b, int64_t n, float* y) { k.relu2_mul(a, b, n, y); },
         each([](double a, double b) { return a > 0 ? a * a * b : 0; }), 0, 3 * u},
        {"softcap", [](const Kernels& k, F a, F, int64_t n, float* y) { k.softcap(a, 5.0f, n, y); },
         each([](double a, double) { return 5 * std::tanh(a / 5); }), 0, 6 * u},
        // x - max rounds: up to 2^-17 when it lies in 128..256.
        {"softmax", [](const Kernels& k, F a, F, int64_t n, float* y) { k.softmax(a, n, y); }, softmax_reference, 0,
         160 * u},
    };
}

TEST(Rows, EveryTableGivesTheScalarBitsNearTheDoubleReference) {
    for (const Row& row : rows()) {
        for (int64_t n : kLengths) {
            for (float deviation : {0.5f, 4.0f, 30.0f}) {
                std::vector<float> a = random_row(n, uint32_t(n), deviation),
                                   b = random_row(n, uint32_t(n) + 1, deviation);
                Guarded scalar(n);
                row.run(scalar_table(), a.data(), b.data(), n, scalar.data());
                ASSERT_TRUE(scalar.intact()) << row.name << " " << n;
                std::vector<double> want(n);
                row.reference(a.data(), b.data(), n, want.data());
                std::vector<float> got = scalar.row();
                for (int64_t i = 0; i < n; ++i) {
                    // Where exp(-x) overflows, below -88.7, activations are 0 instead of up to 3e-37; b scales that.
                    double bound = row.absolute * std::max(1.0f, deviation) + row.relative * std::fabs(want[i]) + 1e-34;
                    ASSERT_LE(std::fabs(got[i] - want[i]), bound)
                        << row.name << " n " << n << " at " << i << " x " << a[i] << " got " << got[i];
                }
                for (const Kernels* table : tested_tables()) {
                    Guarded other(n), in_place(a);
                    row.run(*table, a.data(), b.data(), n, other.data());
                    row.run(*table, in_place.data(), b.data(), n, in_place.data());
                    ASSERT_TRUE(other.intact() && in_place.intact()) << row.name << " " << n << " " << table->name;
                    ASSERT_TRUE(same_bits(other.row(), got)) << row.name << " " << n << " " << table->name;
                    ASSERT_TRUE(same_bits(in_place.row(), got)) << row.name << " in place " << n << " " << table->name;
                }
            }
        }
    }
}

// Who adds an entry to the table adds its test to this folder (and its line to golden_test.cpp), then counts it here.
static_assert(sizeof(Kernels) == sizeof(void*) * (1 + size_t(WeightKind::kCount) + 22));

TEST(Rows, NoTableLacksAnEntry) {
    for (const Kernels* table : tested_tables()) {
        std::vector<const void*> entries(sizeof(Kernels) / sizeof(void*));
        std::memcpy(entries.data(), table, sizeof(Kernels));
        EXPECT_EQ(std::count(entries.begin(), entries.end(), nullptr), 0) << table->name;
    }
}

TEST(Rows, EdgeValuesGiveTheSameBits) {
    std::vector<float> edges = {0.0f,      -0.0f, 1e-45f, -1e-45f, 1e-38f,  3e38f,  -3e38f, INFINITY,
                                -INFINITY, NAN,   88.8f,  -88.8f,  -104.1f, 0.625f, 1e4f,   -1e4f};
    while (edges.size() < 37) edges.push_back(edges[edges.size() * 7 % 16]);
    std::vector<float> other(edges.rbegin(), edges.rend());
    for (const Row& row : rows()) {
        std::vector<float> want(edges.size()), got(edges.size());
        row.run(scalar_table(), edges.data(), other.data(), int64_t(edges.size()), want.data());
        for (const Kernels* table : tested_tables()) {
            row.run(*table, edges.data(), other.data(), int64_t(edges.size()), got.data());
            EXPECT_TRUE(same_bits(got, want)) << row.name << " " << table->name;
        }
    }
}

TEST(Rows, LogSumExp) {
    for (int64_t n : {int64_t(1), int64_t(5), int64_t(16), int64_t(1000), int64_t(150001)}) {
        std::vector<float> x = random_row(n, 3, 6.0f), y(n);
        float want = scalar_table().log_sum_exp(x.data(), n);
        double reference = log_sum_reference(x.data(), n);
        EXPECT_NEAR(want, reference, 3e-6 + 2e-7 * std::fabs(reference)) << n;
        for (const Kernels* table : tested_tables()) {
            EXPECT_EQ(table->log_sum_exp(x.data(), n), want) << table->name;
            EXPECT_EQ(table->softmax(x.data(), n, y.data()), want) << table->name;
        }
    }
    std::vector<float> masked = {-INFINITY, 2.0f, -INFINITY}, y(3);
    for (const Kernels* table : tested_tables()) {
        EXPECT_EQ(table->softmax(masked.data(), 3, y.data()), 2.0f);
        EXPECT_EQ(y, (std::vector<float>{0, 1, 0}));
    }
}

TEST(Rows, Rope) {
    for (int64_t head_dim : {2, 6, 8, 64, 80, 100, 128}) {
        for (int64_t n_pairs : {head_dim / 2, head_dim / 4, int64_t(1)}) {
            if (n_pairs == 0) continue;
            const int64_t n_heads = 3;
            std::vector<float> x = random_row(n_heads * head_dim, 5), cosine(n_pairs), sine(n_pairs);
            for (int64_t i = 0; i < n_pairs; ++i) {
                double angle = 1234 * pow_f64(10000, -double(i) / double(n_pairs));
                cosine[i] = float(cos_f64(angle));
                sine[i] = float(sin_f64(angle));
            }
            for (bool half : {false, true}) {
                Guarded scalar(x);
                (half ? scalar_table().rope_half : scalar_table().rope_adjacent)(scalar.data(), n_heads, head_dim,
                                                                                 n_pairs, cosine.data(), sine.data());
                std::vector<float> want = scalar.row();
                for (int64_t h = 0; h < n_heads; ++h) {
                    for (int64_t d = 0; d < head_dim; ++d) {
                        double expected = x[h * head_dim + d];
                        if (d < 2 * n_pairs) {
                            int64_t pair = half ? d % n_pairs : d / 2;
                            bool second = half ? d >= n_pairs : d % 2 != 0;
                            int64_t first_at = h * head_dim + (half ? pair : 2 * pair),
                                    second_at = first_at + (half ? n_pairs : 1);
                            expected = second ? double(x[first_at]) * sine[pair] + double(x[second_at]) * cosine[pair]
                                              : double(x[first_at]) * cosine[pair] - double(x[second_at]) * sine[pair];
                        }
                        ASSERT_NEAR(want[h * head_dim + d], expected, 1e-6)
                            << head_dim << " " << n_pairs << " " << half;
                    }
                }
                for (const Kernels* table : tested_tables()) {
                    Guarded other(x);
                    (half ? table->rope_half : table->rope_adjacent)(other.data(), n_heads, head_dim, n_pairs,
                                                                     cosine.data(), sine.data());
                    ASSERT_TRUE(other.intact() && same_bits(other.row(), want))
                        << table->name << " " << head_dim << " " << n_pairs;
                }
            }
        }
    }
}

}  // namespace
}  // namespace sterna::kernels
