#include "train/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <unistd.h>

#include "tensor/dtype.h"
#include "train/loss_plot.h"

namespace sterna::train {
namespace {

namespace fs = std::filesystem;

class FakeOptimizer : public Optimizer {
public:
    double step(const Rates&) override { return 0; }
    std::vector<State> state() override { return {{"momentum", momentum}}; }
    int64_t steps() const override { return n; }
    void set_steps(int64_t steps) override { n = steps; }
    std::vector<float> momentum = std::vector<float>(7);
    int64_t n = 0;
};

struct FakeNet {
    std::vector<float> matrix = std::vector<float>(6), norm = std::vector<float>(3);
    std::vector<Parameter> parameters;
    FakeNet() {
        parameters.push_back({"blk.0.attn_q.weight", ParameterKind::kMatrix, true, 2, 3, matrix, {}});
        parameters.push_back({"output_norm.weight", ParameterKind::kNorm, false, 1, 3, norm, {}});
    }
};

class CheckpointTest : public testing::Test {
protected:
    void SetUp() override {
        folder = fs::temp_directory_path() / ("sterna_checkpoint_" + std::to_string(::getpid()));
        fs::create_directories(folder);
        path = (folder / "c.gguf").string();
        GgufWriter writer;
        ASSERT_TRUE(writer.set_string("general.name", "x"));
        auto made = MemoryGguf::from_writer(writer, "x");
        ASSERT_TRUE(made);
        metadata = std::move(*made);
        for (int i = 0; i < 6; ++i) net.matrix[size_t(i)] = float(i) * 0.37f - 1;
        net.norm = {1, 2, 3};
        optimizer.momentum = {1, 2, 3, 4, 5, 6, 7};
        state.step = 12;
        state.n_steps = 99;
        state.optimizer_steps = 11;
        state.epoch = 3;
        state.row = 4;
        state.log_bytes = 77;
        state.data_digest = "abc";
        state.identity = {{"a.b", "1"}, {"c", "two\nlines \xFF"}};
        ASSERT_TRUE(write_checkpoint(path, metadata.file(), state, net.parameters, optimizer.state()));
    }
    void TearDown() override { fs::remove_all(folder); }

    fs::path folder;
    std::string path;
    MemoryGguf metadata;
    FakeNet net;
    FakeOptimizer optimizer;
    TrainingState state;
};

TEST_F(CheckpointTest, GivesBackWhatWasWritten) {
    auto opened = Checkpoint::open(path);
    ASSERT_TRUE(opened) << opened.error().message;
    FakeNet other;
    FakeOptimizer fresh;
    ASSERT_TRUE(opened->restore(other.parameters, fresh));
    EXPECT_EQ(other.matrix, net.matrix);
    EXPECT_EQ(other.norm, net.norm);
    EXPECT_EQ(fresh.momentum, optimizer.momentum);
    EXPECT_EQ(fresh.n, 11);
    EXPECT_EQ(opened->state().step, 12);
    EXPECT_EQ(opened->state().epoch, 3u);
    EXPECT_EQ(opened->state().row, 4);
    EXPECT_EQ(opened->state().log_bytes, 77u);
    EXPECT_EQ(opened->state().identity[0].second, "1");
    const std::vector<TrainedTensor> tensors = opened->tensors();
    ASSERT_EQ(tensors.size(), 2u);
    EXPECT_TRUE(tensors[0].ternary);
    EXPECT_EQ(tensors[0].rows, 2);
    EXPECT_TRUE(tensors[1].is_vector);
}

TEST_F(CheckpointTest, EveryFlippedByteAndEveryShorterFileIsNoticed) {
    std::ifstream in(path, std::ios::binary);
    const std::string whole{std::istreambuf_iterator<char>(in), {}};
    auto opens = [&](const std::string& bytes) {
        std::ofstream(path, std::ios::binary) << bytes;
        auto opened = Checkpoint::open(path);
        FakeNet other;
        FakeOptimizer fresh;
        if (!opened || !opened->restore(other.parameters, fresh)) return false;
        return std::memcmp(other.matrix.data(), net.matrix.data(), 24) != 0 || fresh.momentum != optimizer.momentum ||
               opened->state().step != 12;  // opens, and is not what was written
    };
    for (size_t at = 0; at < whole.size(); ++at) {
        std::string damaged = whole;
        damaged[at] = char(damaged[at] ^ 0x10);
        ASSERT_FALSE(opens(damaged)) << at;
    }
    for (size_t n = 0; n + 1 < whole.size(); n += 37) ASSERT_FALSE(opens(whole.substr(0, n))) << n;
}

TEST(Export, TernaryTypesKeepEverythingButTheScalesLastBits) {
    TrainedTensor tensor;
    tensor.name = "blk.0.ffn_up.weight";
    tensor.rows = 5;
    tensor.cols = 512;
    tensor.ternary = true;
    std::vector<float> values(size_t(tensor.rows * tensor.cols));
    uint32_t state = 3;
    for (float& value : values) value = float(int32_t(state = state * 1664525 + 1013904223)) * 0x1p-34f;
    tensor.values = values;
    GgufWriter writer;
    auto metadata = MemoryGguf::from_writer(writer, "x");
    ASSERT_TRUE(metadata);
    const TrainedModel model(metadata->file(), {tensor});
    std::vector<float> used(values.size());
    ASSERT_TRUE(model.read_rows(model.tensors()[0], 0, 5, used));
    const float scale = ternary_scale(tensor);
    double mean = 0;
    for (float value : values) mean += std::fabs(double(value)) / double(values.size());
    EXPECT_NEAR(scale, mean, 1e-6 * mean);
    for (size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(used[i], scale * std::nearbyint(std::min(1.0f, std::max(-1.0f, values[i] * (1.0f / scale)))));
    std::vector<uint8_t> half(2);
    dtype_traits(DType::kF16)->encode(&scale, half.data(), 1, nullptr);
    float rounded = 0;
    dtype_traits(DType::kF16)->decode(half.data(), &rounded, 1);
    for (DType type : {DType::kTQ2_0, DType::kTQ1_0}) {
        std::vector<uint8_t> bytes(*dtype_bytes(type, used.size()));
        std::vector<float> decoded(used.size());
        dtype_traits(type)->encode(used.data(), bytes.data(), int64_t(used.size()), nullptr);
        dtype_traits(type)->decode(bytes.data(), decoded.data(), int64_t(used.size()));
        for (size_t i = 0; i < used.size(); ++i) ASSERT_EQ(decoded[i], used[i] / scale * rounded) << i;
    }
}

TEST(Plot, ReadsTheLogAndDrawsBoth) {
    const LossCurves curves = read_log("step,loss,held_out_loss\n1,5.5,\n2,5.0,4.75\n3,nan,\n4,4.");
    ASSERT_EQ(curves.training.size(), 2u);
    ASSERT_EQ(curves.held_out.size(), 1u);
    EXPECT_EQ(curves.held_out[0].loss, 4.75);
    const std::string svg = plot_losses(curves);
    EXPECT_NE(svg.find("class=\"training\""), std::string::npos);
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(plot_losses({}).find("inf"), std::string::npos);
}

}  // namespace
}  // namespace sterna::train
