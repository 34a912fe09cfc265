#include "train/lora.h"

#include <gtest/gtest.h>

#include <cmath>

#include "convert/lora.h"

namespace sterna::train {
namespace {

constexpr int kRows = 70, kCols = 300, kRank = 3;

struct Network {
    std::vector<float> matrix = std::vector<float>(kRows * kCols), gradient = std::vector<float>(kRows * kCols);
    std::vector<Parameter> parameters;
    Network() {
        uint32_t state = 9;
        for (auto* list : {&matrix, &gradient})
            for (float& value : *list) value = float(int32_t(state = state * 1664525 + 1013904223)) * 0x1p-31f;
        parameters.push_back({"blk.0.attn_q.weight", ParameterKind::kMatrix, false, kRows, kCols, matrix, gradient});
        parameters.push_back({"attn_norm.weight", ParameterKind::kNorm, false, 1, kCols, {}, {}});
    }
};

TEST(Lora, BeginsAsTheBaseAndRefusesUnknownTargets) {
    Network network;
    ThreadPool pool(1);
    const std::vector<float> before = network.matrix;
    auto set = LoraSet::create(network.parameters, {"attn"}, kRank, 6.0, 1, pool);
    ASSERT_TRUE(set);
    (*set)->apply();
    EXPECT_EQ(network.matrix, before);
    ASSERT_EQ((*set)->parameters().size(), 2u);
    EXPECT_EQ((*set)->parameters()[1].name, "blk.0.attn_q.weight.lora_b");
    auto none = LoraSet::create(network.parameters, {"attn", "ffn"}, kRank, 6.0, 1, pool);
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().message, "lora.targets: no matrix of the base has \"ffn\" in its name");
}

TEST(Lora, GradientsOfTheFactorsFollowFromTheMatrix) {
    const double scale = 6.0 / kRank;
    std::vector<float> first;
    for (int threads : {1, 3}) {
        Network network;
        ThreadPool pool(threads);
        auto set = LoraSet::create(network.parameters, {"attn_q"}, kRank, 6.0, 1, pool);
        ASSERT_TRUE(set);
        const Parameter a = (*set)->parameters()[0], b = (*set)->parameters()[1];
        for (size_t i = 0; i < b.value.size(); ++i) b.value[i] = 0.01f * float(i % 17) - 0.05f;
        const std::vector<float> base = network.matrix;
        (*set)->apply();
        for (int row = 0; row < kRows; row += 7)
            for (int col = 0; col < kCols; col += 11) {
                double sum = double(base[size_t(row * kCols + col)]);
                for (int k = 0; k < kRank; ++k)
                    sum += scale * double(b.value[size_t(row * kRank + k)]) * double(a.value[size_t(k * kCols + col)]);
                ASSERT_NEAR(network.matrix[size_t(row * kCols + col)], sum, 1e-6);
            }
        (*set)->collect_gradients();
        (*set)->collect_gradients();  // replaces, does not add
        for (int k = 0; k < kRank; ++k) {
            for (int col = 0; col < kCols; col += 13) {
                double sum = 0;
                for (int row = 0; row < kRows; ++row)
                    sum += scale * double(b.value[size_t(row * kRank + k)]) *
                           double(network.gradient[size_t(row * kCols + col)]);
                ASSERT_NEAR(a.gradient[size_t(k * kCols + col)], sum, 1e-5);
            }
            for (int row = 0; row < kRows; row += 5) {
                double sum = 0;
                for (int col = 0; col < kCols; ++col)
                    sum += scale * double(a.value[size_t(k * kCols + col)]) *
                           double(network.gradient[size_t(row * kCols + col)]);
                ASSERT_NEAR(b.gradient[size_t(row * kRank + k)], sum, 1e-5);
            }
        }
        std::vector<float> all(a.gradient.begin(), a.gradient.end());
        all.insert(all.end(), b.gradient.begin(), b.gradient.end());
        all.insert(all.end(), network.matrix.begin(), network.matrix.end());
        if (first.empty()) first = all;
        EXPECT_EQ(all, first);
    }
}

class AdapterFile : public testing::Test {
protected:
    void TearDown() override { std::remove(path.c_str()); }

    // Writes an adapter of these tensors: name, rows, cols.
    struct Tensor {
        std::string name;
        int64_t rows, cols;
    };
    std::string error_of(const std::vector<Tensor>& tensors, const std::string& type = "adapter") {
        GgufWriter writer;
        EXPECT_TRUE(writer.set_string("general.type", type));
        EXPECT_TRUE(writer.set_string("adapter.type", "lora"));
        EXPECT_TRUE(writer.set_string("general.architecture", "llama"));
        EXPECT_TRUE(writer.set_f32("adapter.lora.alpha", 4.0f));
        const std::vector<float> values(1000, 0.5f);
        for (const Tensor& each : tensors) {
            const int64_t shape[] = {each.cols, each.rows};
            EXPECT_TRUE(writer.add_tensor(
                each.name, DType::kF32, shape,
                {reinterpret_cast<const uint8_t*>(values.data()), size_t(each.rows * each.cols) * 4}));
        }
        EXPECT_TRUE(writer.write(path));
        auto adapter = LoraAdapter::open(path);
        if (!adapter) return adapter.error().message.substr(path.size() + 2);
        SourceTensor matrix;
        matrix.name = "m";
        matrix.shape = {6, 5};
        const Status fits = adapter->check("llama", std::span(&matrix, 1));
        return fits ? "" : fits.error().message.substr(path.size() + 2);
    }
    std::string path = testing::TempDir() + "sterna_adapter.gguf";
};

TEST_F(AdapterFile, IsChecked) {
    EXPECT_EQ(error_of({{"m.lora_a", 2, 6}, {"m.lora_b", 5, 2}}), "");
    EXPECT_EQ(error_of({{"m.lora_a", 2, 6}, {"m.lora_b", 5, 2}}, "model"),
              "not a LoRA adapter: general.type is 'model', adapter.type 'lora'");
    EXPECT_EQ(error_of({{"m.lora_a", 2, 6}}), "m.lora_a: has no m.lora_b");
    EXPECT_EQ(error_of({{"m.lora_b", 5, 2}}), "m.lora_b: has no m.lora_a");
    EXPECT_EQ(error_of({{"m.lora_a", 2, 6}, {"m.lora_b", 5, 3}}),
              "m: shapes [6, 2] and [3, 5], expected [n_in, rank] and [rank, n_out]");
    EXPECT_EQ(error_of({{"n.lora_a", 2, 6}, {"n.lora_b", 5, 2}}), "n: the model has no such tensor");
    EXPECT_EQ(error_of({{"m.lora_a", 2, 7}, {"m.lora_b", 5, 2}}), "m: adapts [7, 5], the model's has 5 rows of 6");
    EXPECT_EQ(error_of({}), "holds no adapter");
}

}  // namespace
}  // namespace sterna::train
