// Every matmul entry of every table: against the scalar table bit for bit, and the scalar table against double
// arithmetic on decoded weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "kernels/matmul_support.h"

namespace sterna {
namespace {

using namespace testing;
using kernels::Kernels;

struct Shape {
    int64_t n_rows, n_cols, n_tokens;
};

PackedMatrix pack(const FileMatrix& m) {
    static ThreadPool pool(2);
    PackArena arena;
    auto packed = PackedMatrix::pack(m.view(), pool, arena);
    EXPECT_TRUE(packed) << packed.error().message;
    return packed ? std::move(*packed) : PackedMatrix();
}

int64_t blocks(DType type, int64_t n) {
    return n * std::max(dtype_traits(type)->block_size, 32);
}

class Matmul : public ::testing::TestWithParam<DType> {};

TEST_P(Matmul, UnpackedRowIsTheDecodedRow) {
    const DType type = GetParam();
    for (int64_t n_rows : {1, 16, 37}) {
        const FileMatrix m = make_matrix(type, n_rows, blocks(type, 3), Values::kRandom, 1);
        const PackedMatrix w = pack(m);
        std::vector<float> row(size_t(m.n_cols));
        for (int64_t r = 0; r < n_rows; ++r) {
            w.unpack_row(r, row.data());
            EXPECT_TRUE(same_bits(row, m.row(r))) << "row " << r;
        }
    }
}

TEST_P(Matmul, ScalarAgreesWithDoubleArithmetic) {
    const DType type = GetParam();
    const FileMatrix m = make_matrix(type, 37, blocks(type, 5), Values::kRandom, 2);
    const PackedMatrix w = pack(m);
    const Kernels& scalar = *kernels::by_name("scalar");
    const auto kind = kernels::act_kind(w.kind());
    const Acts x = quantize(scalar, kind, random_values(size_t(3 * m.n_cols), 3), 3, m.n_cols);
    const MatmulResult result = run_matmul(scalar, w, x);
    ASSERT_TRUE(result.guards_whole);
    for (int64_t r = 0; r < m.n_rows; ++r) {
        const std::vector<float> row = m.row(r);
        for (int64_t t = 0; t < x.n_tokens; ++t) {
            double sum = 0, size = 0;
            for (int64_t c = 0; c < m.n_cols; ++c) {
                const double term = double(row[size_t(c)]) * x.at(kind, t, c);
                sum += term;
                size += std::fabs(term);
            }
            EXPECT_NEAR(result.out[size_t(t * m.n_rows + r)], sum, 1e-5 * size + 1e-35)
                << "row " << r << " token " << t;
        }
    }
}

TEST_P(Matmul, EveryTableGivesTheScalarBits) {
    const DType type = GetParam();
    const Shape shapes[] = {{1, 1, 1},   {16, 1, 2},   {17, 2, 3},  {33, 3, 4},  {48, 9, 5},   {15, 4, 7},  {32, 8, 8},
                            {20, 5, 16}, {17, 11, 31}, {35, 3, 33}, {16, 2, 70}, {49, 1, 140}, {16, 1, 530}};
    for (Values values : {Values::kRandom, Values::kAllOnes, Values::kZero, Values::kHostileScales}) {
        for (const Shape& shape : shapes) {
            if (shape.n_tokens > 512 && values != Values::kRandom) continue;
            const FileMatrix m =
                make_matrix(type, shape.n_rows, blocks(type, shape.n_cols), values, uint32_t(7 * shape.n_cols));
            const PackedMatrix w = pack(m);
            const Kernels& scalar = *kernels::by_name("scalar");
            std::vector<float> in = random_values(size_t(shape.n_tokens * m.n_cols), 5);
            if (values == Values::kAllOnes)
                for (float& v : in) v = v < 0.3f ? -1.0f : 1.0f;  // every q is -127 or 127
            const Acts x = quantize(scalar, kernels::act_kind(w.kind()), in, shape.n_tokens, m.n_cols);
            const MatmulResult expected = run_matmul(scalar, w, x);
            ASSERT_TRUE(expected.guards_whole);
            for (const Kernels* each : kernels::tested_tables()) {
                const Kernels& table = *each;
                for (int64_t split : {int64_t(1) << 30, int64_t(1)}) {
                    const MatmulResult got = run_matmul(table, w, x, split);
                    EXPECT_TRUE(got.guards_whole) << table.name;
                    EXPECT_TRUE(same_bits(got.out, expected.out))
                        << table.name << " " << shape.n_rows << " rows, " << m.n_cols << " columns, " << shape.n_tokens
                        << " tokens, values " << int(values);
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, Matmul, ::testing::ValuesIn(kMatmulTypes),
                         [](const auto& test) { return std::string(dtype_traits(test.param)->name); });

TEST(Quantize, EveryTableGivesTheScalarBits) {
    const Kernels& scalar = *kernels::by_name("scalar");
    std::vector<std::vector<float>> inputs;
    for (uint32_t seed = 0; seed < 20; ++seed) inputs.push_back(random_values(1024, seed));
    for (float factor : {0.0f, 1e-38f, 1e-42f, 1e38f, 0x1p-119f, 0x1p-120f})
        for (float& v : inputs.emplace_back(random_values(1024, 99))) v *= factor;
    for (float odd : {INFINITY, -INFINITY, NAN})
        for (size_t i = 0; i < inputs.emplace_back(random_values(1024, 98)).size(); i += 77) inputs.back()[i] = odd;
    for (size_t n = 0; auto& in : inputs) {
        for (auto kind : {kernels::ActKind::kQ8_32, kernels::ActKind::kQ8_256}) {
            const Acts expected = quantize(scalar, kind, in, 1, 1024);
            for (const Kernels* table : kernels::tested_tables()) {
                const Acts got = quantize(*table, kind, in, 1, 1024);
                EXPECT_EQ(got.q, expected.q) << table->name << " input " << n;
                EXPECT_EQ(got.sums, expected.sums);
                EXPECT_TRUE(same_bits(got.scales, expected.scales));
            }
        }
        ++n;
    }
}

TEST(Quantize, RoundsToNearestEvenAndSums) {
    const Kernels& scalar = *kernels::by_name("scalar");
    const std::vector<float> in = random_values(512, 4);
    for (auto kind : {kernels::ActKind::kQ8_32, kernels::ActKind::kQ8_256}) {
        const Acts a = quantize(scalar, kind, in, 1, 512);
        const int64_t block = kind == kernels::ActKind::kQ8_32 ? 32 : 256, group = 512 / a.n_sums;
        for (int64_t b = 0; b < 512 / block; ++b) {
            float largest = 0;
            for (int64_t i = b * block; i < (b + 1) * block; ++i) largest = std::max(largest, std::fabs(in[size_t(i)]));
            EXPECT_EQ(a.scales[size_t(b)], largest / 127.0f);
            const float inverse = 1.0f / a.scales[size_t(b)];
            for (int64_t i = b * block; i < (b + 1) * block; ++i)
                EXPECT_EQ(int(a.q[size_t(i)]), int(std::nearbyint(in[size_t(i)] * inverse)));
        }
        for (int64_t s = 0; s < a.n_sums; ++s) {
            int sum = 0;
            for (int64_t i = s * group; i < (s + 1) * group; ++i) sum += a.q[size_t(i)];
            EXPECT_EQ(int(a.sums[size_t(s)]), sum);
        }
    }
}

TEST(Tables, EveryOneIsWholeAndFoundByItsName) {
    std::string names;
    for (int i = 0; i < kernels::all().n; ++i) {
        const Kernels& table = *kernels::all().tables[i];
        EXPECT_EQ(kernels::by_name(table.name), &table);
        for (kernels::MatmulFn entry : table.matmul) EXPECT_NE(entry, nullptr) << table.name;
        names += std::string(i ? ", " : "") + table.name;
    }
    EXPECT_STREQ(kernels::all().tables[0]->name, "scalar");
    EXPECT_EQ(kernels::by_name("none such"), nullptr);
    RecordProperty("tables", names);
    std::printf("tables of this CPU: %s\n", names.c_str());
}

TEST(Pack, RefusesWhatDoesNotFit) {
    ThreadPool pool(1);
    PackArena arena;
    FileMatrix m = make_matrix(DType::kQ4_K, 4, 256, Values::kRandom, 1);
    TensorView v = m.view();
    v.shape[0] = 128;
    EXPECT_FALSE(PackedMatrix::pack(v, pool, arena));
    v = m.view();
    EXPECT_FALSE(PackedMatrix::pack(v, pool, arena, 1));
    v.shape[1] = 5;
    EXPECT_FALSE(PackedMatrix::pack(v, pool, arena));
    v = m.view();
    v.type = DType::kI32;
    EXPECT_FALSE(PackedMatrix::pack(v, pool, arena));
    v = m.view();
    v.shape[2] = 1;
    EXPECT_TRUE(PackedMatrix::pack(v, pool, arena));
}

TEST(Pack, TakesOneMatrixOfAStack) {
    ThreadPool pool(2);
    PackArena arena;
    FileMatrix m = make_matrix(DType::kQ8_0, 60, 64, Values::kRandom, 9);
    TensorView v = m.view();
    v.shape = {64, 20, 3, 1};
    v.n_dims = 3;
    auto packed = PackedMatrix::pack(v, pool, arena, 2);
    ASSERT_TRUE(packed);
    std::vector<float> row(64);
    packed->unpack_row(5, row.data());
    EXPECT_TRUE(same_bits(row, m.row(45)));
}

TEST(Pack, AnArenasMatricesLieApartAndOutliveIt) {
    std::vector<std::shared_ptr<uint8_t>> parts;
    std::vector<size_t> sizes = {64, 1, 3 << 20, 70 << 20, 128, 40 << 20, 40 << 20};
    {
        PackArena arena;
        for (size_t i = 0; i < sizes.size(); ++i) {
            parts.push_back(arena.allocate(sizes[i]));
            ASSERT_TRUE(parts[i]);
            EXPECT_EQ(reinterpret_cast<uintptr_t>(parts[i].get()) % 64, 0u);
            std::memset(parts[i].get(), int(i), sizes[i]);
        }
    }
    for (size_t i = 0; i < sizes.size(); ++i) {
        const uint8_t* p = parts[i].get();
        EXPECT_TRUE(std::all_of(p, p + sizes[i], [&](uint8_t x) { return x == i; })) << "part " << i;
    }
}

}  // namespace
}  // namespace sterna
