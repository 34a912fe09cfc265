// The same batch gives the same bits with any number of threads and on every instruction set.
#include <cstdio>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "tiny_net.h"
#include "train/net_impl.h"
#include "train/net_kernels.h"
#include "train/optimizer.h"

namespace sterna::train {
namespace {

NetConfig config_of(const std::string& kind) {
    NetConfig config = kind == "Qwen" ? tiny_qwen_config() : tiny_config(kind == "Ternary", kind == "Bf16");
    config.vocab_size = 300;
    config.width = 40;
    config.head_dim = 10;
    config.ffn_width = 264;  // more than kDepth, not a multiple of 16
    config.context = 300;
    if (kind == "Qwen") {
        config.rope_divisors = {1, 1, 2, 4, 4};
        config.rope_frequencies = {1, 0.5, 0.1, 0.01, 0.001};
        config.rope_growth = 1.1;
    }
    return config;
}

// Losses, gradients and weights after some steps, one after the other.
std::vector<float> train(const NetConfig& config, bool muon, int n_threads, int n_rows, int length, int n_steps) {
    ThreadPool pool(n_threads);
    auto net = Net::create(config, 5, pool);
    if (!net) throw std::runtime_error(net.error().message);
    OptimizerConfig settings;
    settings.muon = muon;
    auto optimizer = Optimizer::create(settings, (*net)->parameters(), pool);
    std::vector<float> result;
    for (int step = 0; step < n_steps; ++step) {
        const OwnedBatch batch = make_batch(config.vocab_size, n_rows, length, uint32_t(step));
        (*net)->zero_gradients();
        const Net::Loss loss = (*net)->loss_and_gradients(batch.batch, 1e-3f);
        result.push_back(float(loss.sum));
        result.push_back(float(optimizer->step({.adam = 1e-2f, .muon = 2e-2f, .weight_decay = 0.1f})));
    }
    for (const Parameter& p : (*net)->parameters()) {
        result.insert(result.end(), p.gradient.begin(), p.gradient.end());
        result.insert(result.end(), p.value.begin(), p.value.end());
    }
    return result;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class SameBits : public testing::TestWithParam<const char*> {};

// 16 rows of 300 tokens are more than one chunk.
TEST_P(SameBits, AnyNumberOfThreads) {
    const auto one = train(config_of(GetParam()), false, 1, 16, 300, 2);
    for (float value : one) ASSERT_TRUE(value == value);
    EXPECT_TRUE(same(one, train(config_of(GetParam()), false, 2, 16, 300, 2)));
    EXPECT_TRUE(same(one, train(config_of(GetParam()), false, 3, 16, 300, 2)));
    EXPECT_FALSE(same(one, train(config_of(GetParam()), false, 1, 16, 299, 2)));
}

TEST_P(SameBits, AnyNumberOfThreadsWithMuon) {
    const auto one = train(config_of(GetParam()), true, 1, 2, 100, 3);
    EXPECT_TRUE(same(one, train(config_of(GetParam()), true, 3, 2, 100, 3)));
    EXPECT_FALSE(same(one, train(config_of(GetParam()), false, 1, 2, 100, 3)));
}

TEST_P(SameBits, AnyInstructionSet) {
    const NetKernelList tables = all_kernels();
    use_kernels(tables.tables[0]);
    const auto scalar = train(config_of(GetParam()), true, 2, 2, 100, 2);
    for (int i = 1; i < tables.n; ++i) {
        use_kernels(tables.tables[i]);
        EXPECT_TRUE(same(scalar, train(config_of(GetParam()), true, 2, 2, 100, 2))) << tables.tables[i]->name;
    }
    use_kernels(nullptr);
    if (tables.n == 1) GTEST_SKIP() << "this CPU runs the scalar table only";
}

TEST(TernaryProducts, IntegersGiveTheBitsOfFloats) {
    NetConfig config = config_of("Ternary");
    config.width = 256;
    config.head_dim = 64;
    config.n_heads = 4;
    config.ffn_width = 512;
    ThreadPool pool(2);
    const OwnedBatch batch = make_batch(config.vocab_size, 2, 75, 3);
    std::vector<float> results[2];
    for (bool integers : {false, true}) {
        Transformer net(config, pool, integers);
        net.initialize(9);
        std::vector<float>& result = results[integers];
        result.push_back(float(net.loss_and_gradients(batch.batch, 1e-3f).sum));
        for (const Parameter& p : net.parameters()) result.insert(result.end(), p.gradient.begin(), p.gradient.end());
    }
    EXPECT_TRUE(same(results[0], results[1]));
}

// The loss after some steps, with and without int8 on the way back.
TEST(TernaryProducts, Int8GradientsLearnAsWell) {
    NetConfig config = config_of("Ternary");
    config.width = 256;
    config.head_dim = 64;
    config.n_heads = 4;
    config.ffn_width = 256;
    config.vocab_size = 40;
    double losses[2] = {0, 0};
    for (bool int8 : {false, true}) {
        config.int8_gradients = int8;
        ThreadPool pool(2);
        auto net = Net::create(config, 5, pool);
        ASSERT_TRUE(net) << net.error().message;
        auto optimizer = Optimizer::create({}, (*net)->parameters(), pool);
        for (int step = 0; step < 40; ++step) {
            const OwnedBatch batch = make_batch(config.vocab_size, 4, 64, uint32_t(step));
            (*net)->zero_gradients();
            const Net::Loss loss = (*net)->loss_and_gradients(batch.batch, 1.0f / 160);
            optimizer->step({.adam = 3e-3f, .muon = 0, .weight_decay = 0.1f});
            if (step >= 35) losses[int8] += loss.sum / loss.weight / 5;
        }
    }
    std::printf("loss %.4f, with int8 gradients %.4f\n", losses[0], losses[1]);
    EXPECT_LT(losses[0], 2.0);  // 3.69 before the first step
    EXPECT_LT(losses[1], losses[0] * 1.1);
}

INSTANTIATE_TEST_SUITE_P(Nets, SameBits, testing::Values("Llama", "Ternary", "Qwen", "Bf16"),
                         [](const auto& net) { return std::string(net.param); });

TEST(NetCreate, RefusesWhatMakesNoSense) {
    ThreadPool pool(1);
    auto refused = [&](auto change) {
        NetConfig config = tiny_config(false);
        change(config);
        auto net = Net::create(config, 1, pool);
        return net ? std::string() : net.error().message;
    };
    EXPECT_EQ(refused([](NetConfig&) {}), "");
    EXPECT_NE(refused([](NetConfig& c) { c.width = 0; }).find("width: 0"), std::string::npos);
    EXPECT_NE(refused([](NetConfig& c) { c.n_kv_heads = 3; }).find("n_heads: 4"), std::string::npos);
    EXPECT_NE(refused([](NetConfig& c) { c.head_dim = 5; }).find("head_dim: 5"), std::string::npos);
    EXPECT_NE(refused([](NetConfig& c) { c.vocab_size = c.width = 1 << 20; }).find("at most"), std::string::npos);
}

TEST(OptimizerStep, ChangesNothingForNaN) {
    ThreadPool pool(1);
    auto net = Net::create(tiny_config(false), 1, pool);
    ASSERT_TRUE(net);
    auto optimizer = Optimizer::create({}, (*net)->parameters(), pool);
    (*net)->zero_gradients();
    Parameter& p = (*net)->parameters()[3];
    const std::vector<float> before(p.value.begin(), p.value.end());
    p.gradient[1] = __builtin_nanf("");
    const double norm = optimizer->step({.adam = 1, .muon = 1, .weight_decay = 1});
    EXPECT_NE(norm, norm);
    EXPECT_EQ(std::memcmp(before.data(), p.value.data(), before.size() * sizeof(float)), 0);
    EXPECT_EQ(optimizer->steps(), 0);
}

}  // namespace
}  // namespace sterna::train
