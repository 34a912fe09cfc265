// Each change of a tensor against its definition, written out value by value; rows asked for in pieces.
#include <cmath>
#include <functional>
#include <limits>

#include "convert/hf_changes.h"
#include "convert/listed_checkpoint.h"
#include "support.h"

namespace sterna {
namespace {

// Tensors whose value i is i.
class Counting : public ListedCheckpoint {
public:
    const CheckpointTensor& add(std::string name, std::vector<int64_t> shape) {
        tensors_.push_back({std::move(name), std::move(shape), DType::kF32, {}});
        return tensors_.back();
    }
    void reserve(size_t n) { tensors_.reserve(n); }
    float offset = 0;
    Status read(const CheckpointTensor& tensor, int64_t first, std::span<float> to) const override {
        EXPECT_GE(first, 0);
        EXPECT_LE(first + int64_t(to.size()), tensor.n_elements()) << tensor.name;
        for (size_t i = 0; i < to.size(); ++i)
            to[i] = offset + float(1000 * int64_t(position(tensor)) + first + int64_t(i));
        return {};
    }
};

using Expected = std::function<float(int64_t row, int64_t column)>;  // of the result

struct Case {
    Change change;
    std::vector<int64_t> shape;               // GGUF's
    std::vector<std::vector<int64_t>> parts;  // the checkpoint's
    Expected expected;
    float offset = 0;
};

Config small_config() {
    Config config;
    config.n_layers = 1;
    config.n_heads = {2};
    config.n_kv_heads = {1};
    config.rope.n_dims = 4;
    config.recurrent = {
        .kernel = 4, .channels = 2 * 2 * 3 + 4 * 2, .n_heads = 4, .n_key_heads = 2, .key_dim = 3, .value_dim = 2};
    return config;
}

void expect(const Case& c, bool keeps_matrices) {
    SCOPED_TRACE(int(c.change));
    TransposedMatrices transposed;
    const Config config = small_config();
    Counting checkpoint;
    checkpoint.reserve(c.parts.size());
    checkpoint.offset = c.offset;
    HfRecipe recipe{c.change, {}, c.shape, 0, &config, keeps_matrices ? &transposed : nullptr};
    for (const auto& shape : c.parts) {
        recipe.parts.push_back(&checkpoint.add("t", shape));
        EXPECT_TRUE(shape_fits(part_shape(c.change, c.shape), shape));
    }
    const int64_t columns = c.shape[0];
    int64_t rows = 1;
    for (size_t i = 1; i < c.shape.size(); ++i) rows *= c.shape[i];
    for (int64_t step : {rows, int64_t(1), int64_t(3)}) {
        for (int64_t first = 0; first < rows; first += step) {
            const int64_t n = std::min(step, rows - first);
            std::vector<float> found(size_t(n * columns), -1.0f);
            ASSERT_TRUE(make_rows(checkpoint, recipe, first, n, found));
            for (int64_t r = 0; r < n; ++r)
                for (int64_t col = 0; col < columns; ++col)
                    ASSERT_EQ(found[size_t(r * columns + col)], c.expected(first + r, col)) << first + r << ", " << col;
        }
    }
}

void expect(const Case& c) {
    expect(c, false);
    expect(c, true);
}

// [rows][3] numbers of a part with 3 columns.
Expected rows_from(std::vector<int64_t> rows) {
    return [rows](int64_t r, int64_t c) { return float(rows[size_t(r)] * 3 + c); };
}
// A vector's values from these places.
Expected values_from(std::vector<int64_t> places) {
    return [places](int64_t, int64_t c) { return float(places[size_t(c)]); };
}

TEST(Changes, RowsMove) {
    // Two heads of 6, of which 4 turn: pairs (0, 2), (1, 3) come together, 4 and 5 stay.
    const std::vector<int64_t> q = {0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11};
    expect({Change::kInterleaveQ, {3, 12}, {{12, 3}}, rows_from(q)});
    expect({Change::kInterleaveQ, {12}, {{12}}, values_from(q)});
    expect({Change::kInterleaveK, {3, 4}, {{4, 3}}, rows_from({0, 2, 1, 3})});
    expect({Change::kFirstHalf, {3, 2, 2}, {{2, 4, 3}}, rows_from({0, 1, 4, 5})});
    expect({Change::kSecondHalf, {3, 2, 2}, {{2, 4, 3}}, rows_from({2, 3, 6, 7})});
    expect({Change::kEvenRows, {3, 2, 2}, {{2, 4, 3}}, rows_from({0, 2, 4, 6})});
    expect({Change::kOddRows, {3, 2, 2}, {{2, 4, 3}}, rows_from({1, 3, 5, 7})});
    // Two heads of 2: q0 k0 v0 q1 k1 v1 to q q k k v v.
    const std::vector<int64_t> qkv = {0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11};
    expect({Change::kHeadsQkv, {3, 12}, {{12, 3}}, rows_from(qkv)});
    expect({Change::kHeadsQkv, {12}, {{12}}, values_from(qkv)});
}

TEST(Changes, ValueHeadsMove) {
    // Four value heads over two key heads: 0 1 share the first, 2 3 the second; they become 0 2 1 3.
    expect({Change::kTileValueRows, {3, 8}, {{8, 3}}, rows_from({0, 1, 4, 5, 2, 3, 6, 7})});
    expect({Change::kTileValueRows, {4}, {{4}}, values_from({0, 2, 1, 3})});
    // Behind 12 rows of queries and keys.
    expect({Change::kTileValueRows, {3, 20}, {{20, 1, 3}}, rows_from({0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
                                                                      10, 11, 12, 13, 16, 17, 14, 15, 18, 19})});
    const std::vector<int64_t> places = {0, 1, 4, 5, 2, 3, 6, 7};
    expect({Change::kTileValueColumns, {8, 2}, {{2, 8}}, [&](int64_t r, int64_t c) {
                return float(r * 8 + places[size_t(c)]);
            }});
    expect({Change::kNegExpTileValues, {4}, {{4}}, [](int64_t, int64_t c) {
                const float from[] = {0, 2, 1, 3};
                return -std::exp(from[c]);
            }});
}

TEST(Changes, ValuesChange) {
    expect({Change::kNone, {3, 2}, {{2, 1, 3}}, rows_from({0, 1})});
    expect({Change::kPlusOne, {3}, {{3}}, [](int64_t, int64_t c) { return float(c) + 1; }});
    expect({Change::kNegExp, {3}, {{3}}, [](int64_t, int64_t c) { return -std::exp(float(c)); }});
}

TEST(Changes, StacksAndTransposes) {
    expect({Change::kStack, {3, 2, 3}, {{2, 3}, {2, 3}, {2, 3}}, [](int64_t r, int64_t c) {
                return float(r / 2 * 1000 + r % 2 * 3 + c);
            }});
    expect({Change::kTranspose, {3, 4}, {{3, 4}}, [](int64_t r, int64_t c) { return float(c * 4 + r); }});
    expect({Change::kTranspose, {3, 4, 2}, {{2, 3, 4}}, [](int64_t r, int64_t c) {
                return float(r / 4 * 12 + c * 4 + r % 4);
            }});
    expect({Change::kTransposeEven, {3, 4, 2}, {{2, 3, 8}}, [](int64_t r, int64_t c) {
                return float(r / 4 * 24 + c * 8 + 2 * (r % 4));
            }});
    expect({Change::kTransposeOdd, {3, 4, 2}, {{2, 3, 8}}, [](int64_t r, int64_t c) {
                return float(r / 4 * 24 + c * 8 + 2 * (r % 4) + 1);
            }});
    expect({Change::kEvenColumns, {3, 2}, {{2, 6}}, [](int64_t r, int64_t c) { return float(r * 6 + 2 * c); }});
    expect({Change::kOddColumns, {3, 2}, {{2, 6}}, [](int64_t r, int64_t c) { return float(r * 6 + 2 * c + 1); }});
}

TEST(Changes, LatentKeysAndValues) {
    // Two heads of 3 key rows and 2 value rows, rank 4.
    expect(
        {Change::kKeyB, {3, 4, 2}, {{10, 4}}, [](int64_t r, int64_t c) { return float((r / 4 * 5 + c) * 4 + r % 4); }});
    expect({Change::kValueB, {4, 2, 2}, {{10, 4}}, [](int64_t r, int64_t c) {
                return float((r / 2 * 5 + 3 + r % 2) * 4 + c);
            }});
}

TEST(Changes, Shapes) {
    const std::vector<int64_t> wanted = {2, 3}, any = {kAnyDim, 3};
    EXPECT_TRUE(shape_fits(wanted, std::vector<int64_t>{2, 1, 3}));
    EXPECT_FALSE(shape_fits(wanted, std::vector<int64_t>{3, 2}));
    EXPECT_FALSE(shape_fits(wanted, std::vector<int64_t>{6}));
    EXPECT_FALSE(shape_fits(any, std::vector<int64_t>{0, 3}));
    EXPECT_TRUE(shape_fits(any, std::vector<int64_t>{1, 3}));
    EXPECT_TRUE(shape_fits(any, std::vector<int64_t>{7, 3}));
    EXPECT_FALSE(shape_fits(any, std::vector<int64_t>{7, 4}));
}

class Listed : public ListedCheckpoint {
public:
    explicit Listed(std::vector<float> values) : values_(std::move(values)) {
        tensors_.push_back({"t", {int64_t(values_.size())}, DType::kF32, {}});
    }
    Status read(const CheckpointTensor&, int64_t first, std::span<float> to) const override {
        std::copy_n(values_.begin() + first, to.size(), to.begin());
        return {};
    }

private:
    std::vector<float> values_;
};

TEST(Changes, TernaryScale) {
    auto scale = [](std::vector<float> values) {
        Listed checkpoint(std::move(values));
        auto found = ternary_scale(checkpoint, checkpoint.tensors()[0]);
        return found ? *found : -1.0f;
    };
    EXPECT_EQ(scale({0.25f, -0.25f, 0, 0.25f}), 0.25f);  // ternary already: exactly what it was
    EXPECT_EQ(scale({0.5f, -1.0f, 0, 0.5f}), 0.5f);      // the mean magnitude
    EXPECT_EQ(scale({0, 0}), 1e-5f);
    EXPECT_EQ(scale({std::numeric_limits<float>::infinity()}), -1.0f);
    float values[] = {0.3f, -0.2f, 0.24f, 2.0f, -0.26f};
    make_ternary_values(values, 0.5f);
    const float wanted[] = {1, 0, 0, 1, -1};
    EXPECT_TRUE(std::ranges::equal(values, wanted));
}

}  // namespace
}  // namespace sterna
