// Loss, every gradient and a loss curve against PyTorch: tools/make_train_golden.py.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include <gtest/gtest.h>

#include "format/safetensors.h"
#include "support/testdata.h"
#include "tiny_net.h"
#include "train/optimizer.h"

namespace sterna::train {
namespace {

// Of max |difference| / max |reference| per tensor.
constexpr double kGradientTolerance = 1e-4;
// Where one value of many lies so near to a half of bfloat16 that it rounds the other way, by 2^-8 of itself.
constexpr double kOneRoundingTolerance = 1e-3;
constexpr double kLossTolerance = 1e-5;

class Golden {
public:
    explicit Golden(const std::string& name) {
        std::ifstream file(source_path("tests/golden/train/" + name + ".safetensors"), std::ios::binary);
        bytes_.assign(std::istreambuf_iterator<char>(file), {});
        auto part = parse_safetensors({reinterpret_cast<const uint8_t*>(bytes_.data()), bytes_.size()}, name);
        if (!part) {
            ADD_FAILURE() << part.error().message;
            return;
        }
        for (const SafetensorsTensor& tensor : part->tensors) tensors_[tensor.name] = tensor.data;
    }
    template <typename T = float>
    std::vector<T> values(const std::string& name) const {
        auto found = tensors_.find(name);
        if (found == tensors_.end()) return {};
        std::vector<T> result(found->second.size() / sizeof(T));
        std::memcpy(result.data(), found->second.data(), found->second.size());
        return result;
    }

private:
    std::string bytes_;
    std::map<std::string, Bytes> tensors_;
};

std::unique_ptr<Net> tiny_net(const NetConfig& config, uint32_t salt, ThreadPool& pool) {
    auto net = Net::create(config, 1, pool);
    if (!net) throw std::runtime_error(net.error().message);
    set_tiny_weights(**net, salt);
    return std::move(*net);
}

class AgainstPyTorch : public testing::TestWithParam<const char*> {
protected:
    const std::string name_ = GetParam();
    const bool ternary_ = name_.starts_with("ternary"), bf16_ = name_.ends_with("-bf16"), qwen_ = name_ == "qwen",
               float_twin_ = name_ == "bitnet-float";
    const NetConfig config_ = qwen_         ? tiny_qwen_config()
                              : float_twin_ ? tiny_bitnet_float_config()
                                            : tiny_config(ternary_, bf16_);
    const Golden golden_{name_};
    ThreadPool pool_{2};
};

TEST_P(AgainstPyTorch, EveryGradient) {
    const auto salt = golden_.values<int32_t>("salt");
    ASSERT_EQ(salt.size(), 1u);
    auto net = tiny_net(config_, uint32_t(salt[0]), pool_);
    const OwnedBatch batch = make_batch(40, 3, 20, uint32_t(salt[0]));
    net->zero_gradients();
    const Net::Loss loss = net->loss_and_gradients(batch.batch, 1.0f);
    const auto expected = golden_.values("loss");
    ASSERT_EQ(expected.size(), 2u);
    EXPECT_NEAR(loss.sum / double(expected[0]), 1.0, kLossTolerance);
    EXPECT_EQ(loss.weight, double(expected[1]));
    EXPECT_EQ(net->loss(batch.batch).sum, loss.sum);

    size_t n_compared = 0;
    for (const Parameter& p : net->parameters()) {
        if (p.kind == ParameterKind::kConstant) continue;
        const auto reference = golden_.values(p.name);
        ASSERT_EQ(reference.size(), p.gradient.size()) << p.name;
        double difference = 0, largest = 0;
        for (size_t i = 0; i < reference.size(); ++i) {
            difference = std::max(difference, double(std::abs(reference[i] - p.gradient[i])));
            largest = std::max(largest, double(std::abs(reference[i])));
        }
        ASSERT_GT(largest, 0) << p.name;
        std::printf("%-28s max |reference| %9.3e  relative difference %.1e\n", p.name.c_str(), largest,
                    difference / largest);
        EXPECT_LT(difference, (ternary_ && bf16_ ? kOneRoundingTolerance : kGradientTolerance) * largest) << p.name;
        ++n_compared;
    }
    EXPECT_EQ(n_compared, qwen_ ? 31u : config_.bitnet ? 24u : 21u);
}

TEST_P(AgainstPyTorch, GradientsAddUp) {
    auto net = tiny_net(config_, 7, pool_);
    const OwnedBatch batch = make_batch(40, 3, 20, 7);
    net->zero_gradients();
    net->loss_and_gradients(batch.batch, 1.0f);
    std::vector<std::vector<float>> once;
    for (const Parameter& p : net->parameters()) once.emplace_back(p.gradient.begin(), p.gradient.end());
    net->zero_gradients();
    for (float scale : {0.5f, 0.5f}) net->loss_and_gradients(batch.batch, scale);
    for (size_t i = 0; i < once.size(); ++i) {
        const Parameter& p = net->parameters()[i];
        double difference = 0, largest = 0;
        for (size_t j = 0; j < once[i].size(); ++j) {
            difference = std::max(difference, double(std::abs(once[i][j] - p.gradient[j])));
            largest = std::max(largest, double(std::abs(once[i][j])));
        }
        EXPECT_LE(difference, 1e-5 * largest) << p.name;
    }
}

struct Distance {
    double mean;  // of the steps' relative differences
    double late;  // relative difference of the mean of the last 20 steps
};
Distance distance(const std::vector<double>& curve, const std::vector<float>& reference) {
    double sum = 0, late = 0, late_reference = 0;
    for (size_t i = 0; i < curve.size(); ++i) {
        sum += std::abs(curve[i] / double(reference[i]) - 1.0);
        if (i + 20 < curve.size()) continue;
        late += curve[i];
        late_reference += double(reference[i]);
    }
    return {sum / double(curve.size()), std::abs(late / late_reference - 1.0)};
}

struct Curves {
    Distance ours, theirs;  // of the losses from PyTorch's in float64; theirs in float32
};

Curves two_hundred_steps(const Golden& golden, const NetConfig& config, bool muon, ThreadPool& pool) {
    const uint32_t salt = uint32_t(golden.values<int32_t>("salt").at(0));
    auto net = tiny_net(config, salt, pool);
    OptimizerConfig settings;
    settings.muon = muon;
    auto optimizer = Optimizer::create(settings, net->parameters(), pool);
    const auto single = golden.values(muon ? "muon_curve" : "curve");
    const auto exact = golden.values(muon ? "muon_curve64" : "curve64");
    EXPECT_EQ(single.size(), 200u);
    std::vector<double> losses;
    for (size_t step = 0; step < single.size(); ++step) {
        const OwnedBatch batch = make_batch(40, 3, 20, salt + uint32_t(step));
        double weight = 0;
        for (float w : batch.weights) weight += double(w);
        net->zero_gradients();
        const Net::Loss loss = net->loss_and_gradients(batch.batch, float(1.0 / weight));
        optimizer->step({.adam = 3e-3f, .muon = 1e-2f, .weight_decay = 0.1f});
        losses.push_back(loss.sum / loss.weight);
    }
    EXPECT_EQ(optimizer->steps(), 200);
    const Curves curves = {distance(losses, exact), distance(std::vector<double>(single.begin(), single.end()), exact)};
    std::printf("relative distance of the loss from float64: mean %.1e, late %.1e; PyTorch's float32: %.1e, %.1e\n",
                curves.ours.mean, curves.ours.late, curves.theirs.mean, curves.theirs.late);
    return curves;
}

// A ternary network is led apart by single values that round the other way; a float network by rounding alone.
TEST_P(AgainstPyTorch, TwoHundredSteps) {
    const Curves curves = two_hundred_steps(golden_, config_, false, pool_);
    EXPECT_LT(curves.ours.mean, std::max(1e-5, 2 * curves.theirs.mean));
    EXPECT_LT(curves.ours.late, ternary_ ? 0.05 : bf16_ ? 0.02 : 1e-4);
}

TEST(Muon, FollowsPyTorch) {
    ThreadPool pool(2);
    for (const char* name : {"llama", "qwen"}) {
        const Curves curves =
            two_hundred_steps(Golden(name), *name == 'q' ? tiny_qwen_config() : tiny_config(false), true, pool);
        EXPECT_LT(curves.ours.mean, std::max(1e-5, 2 * curves.theirs.mean)) << name;
        EXPECT_LT(curves.ours.late, 1e-4) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(Nets, AgainstPyTorch,
                         testing::Values("llama", "llama-bf16", "ternary", "ternary-bf16", "bitnet-float", "qwen"),
                         [](const auto& net) {
                             std::string name = net.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

}  // namespace
}  // namespace sterna::train
