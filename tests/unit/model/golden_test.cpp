// Tiny random models against the logits that transformers computes with them (tools/make_model_golden.py), and against
// themselves: every instruction set, number of threads, split of the prompt and company in the batch gives the same
// bits.
#include <cstdio>

#include "harness.h"
#include "support/golden_models.h"

namespace sterna {
namespace {

class Golden : public testing::TestWithParam<const char*> {};

TEST_P(Golden, AgreesWithTransformers) {
    TestModel test = load_golden(GetParam());
    ASSERT_TRUE(test.model);
    std::vector<int32_t> tokens = test.ints("golden.tokens");
    std::vector<float> wanted = test.floats("golden.logits");
    ASSERT_EQ(tokens.size(), 24u);

    double exact = relative_difference(run_all(*test.model, tokens, {}), wanted);
    double rounded = relative_difference(run_all(*test.model, tokens, {.kv = kernels::KvKind::kF16}), wanted);
    std::printf("%-14s largest difference / largest logit: %.2e (f16 cache %.2e)\n", GetParam(), exact, rounded);
    EXPECT_LE(exact, 1e-4);
    EXPECT_LE(rounded, 5e-3);  // keys and values rounded to 11 bits
}

TEST_P(Golden, SameBitsHoweverItRuns) {
    TestModel test = load_golden(GetParam());
    ASSERT_TRUE(test.model);
    std::vector<int32_t> tokens = test.ints("golden.tokens");
    bool causal = test.config().causal;
    for (kernels::KvKind kv : {kernels::KvKind::kF16, kernels::KvKind::kF32}) {
        std::vector<float> reference = run_all(*test.model, tokens, {.kernels = kernels::all().tables[0], .kv = kv});
        ASSERT_FALSE(reference.empty());
        for (int i = 0; i < kernels::all().n; ++i) {
            RunOptions options = {.kernels = kernels::all().tables[i], .kv = kv};
            for (int threads : kThreadCounts) {
                options.threads = threads;
                for (size_t chunk : kChunks) {
                    if (!causal && chunk < tokens.size()) continue;
                    options.chunk = chunk;
                    for (bool stranger : {false, true}) {
                        options.stranger = stranger;
                        EXPECT_EQ(run_all(*test.model, tokens, options), reference)
                            << options.kernels->name << ", " << threads << " threads, chunks of " << chunk
                            << (stranger ? ", beside a stranger" : "");
                    }
                }
            }
        }
    }
}

// Only the rows that are wanted leave the last layer; leaving some out changes none of the others.
TEST_P(Golden, UnwantedRowsChangeNothing) {
    TestModel test = load_golden(GetParam());
    ASSERT_TRUE(test.model);
    std::vector<int32_t> tokens = test.ints("golden.tokens");
    size_t width = size_t(test.model->output_width());
    std::vector<float> all = run_all(*test.model, tokens, {});
    std::vector<StepToken> step;
    std::vector<float> wanted;
    for (size_t i = 0; i < tokens.size(); ++i) {
        bool wants = i % 5 == 2;
        step.push_back({.token = tokens[i], .position = int32_t(i), .sequence = 0, .wants_logits = wants});
        if (wants)
            wanted.insert(wanted.end(), all.begin() + ptrdiff_t(i * width), all.begin() + ptrdiff_t((i + 1) * width));
    }
    std::vector<float> found(wanted.size());
    ASSERT_TRUE(Runner(*test.model, {}).step(step, found.data()));
    EXPECT_EQ(found, wanted);
    for (StepToken& token : step) token.wants_logits = false;
    EXPECT_TRUE(Runner(*test.model, {}).step(step, nullptr));
}

INSTANTIATE_TEST_SUITE_P(Encoders, Golden, testing::Values("bert"));
INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(kGoldenModels), [](const auto& test) {
    std::string name = test.param;
    for (char& c : name)
        if (c == '-') c = '_';
    return name;
});

// Longrope: a sequence that stays within the original context uses the short factors.
TEST(GoldenPhi3, ShortFactors) {
    TestModel test = load_golden("phi3");
    ASSERT_TRUE(test.model);
    std::vector<int32_t> tokens = test.ints("golden.tokens");
    tokens.resize(12);
    std::vector<float> wanted = test.floats("golden.short_logits");
    EXPECT_LE(relative_difference(run_all(*test.model, tokens, {.max_positions = 16}), wanted), 1e-4);
    EXPECT_GT(relative_difference(run_all(*test.model, tokens, {.max_positions = 17}), wanted), 1e-3);
}

TEST(GoldenBert, WantsTheWholeText) {
    TestModel test = load_golden("bert");
    ASSERT_TRUE(test.model);
    StepToken late[] = {{.token = 1, .position = 3, .sequence = 0, .wants_logits = false}};
    auto status = Runner(*test.model, {}).step(late, nullptr);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "step: position 3 where 0 is due: this model takes a whole text in one step");
}

TEST(Pooling, MeanFirstLast) {
    const float rows[] = {1, 2, 3, 6};
    float out[2];
    const kernels::Kernels& k = *kernels::all().tables[0];
    pool_rows(k, Pooling::kMean, rows, 2, 2, out);
    EXPECT_EQ(out[0], 2);
    EXPECT_EQ(out[1], 4);
    pool_rows(k, Pooling::kCls, rows, 2, 2, out);
    EXPECT_EQ(out[1], 2);
    pool_rows(k, Pooling::kLast, rows, 2, 2, out);
    EXPECT_EQ(out[1], 6);
}

}  // namespace
}  // namespace sterna
