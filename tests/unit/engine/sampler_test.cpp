#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/random.h"

namespace sterna {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

SamplerParams plain() {
    SamplerParams p;
    p.temperature = 1.0f, p.top_k = 0, p.top_p = 1.0f, p.min_p = 0.0f;
    return p;
}

std::vector<float> wavy_logits(size_t n) {
    std::vector<float> logits(n);
    uint32_t x = 99;
    for (float& logit : logits) {
        x = x * 1664525u + 1013904223u;
        logit = (float(x >> 8) * 0x1p-23f - 1.0f) * 8.0f;
    }
    return logits;
}

// Known answers published with Random123 (kat_vectors, philox4x32 with 10 rounds).
TEST(Random, PhiloxKnownAnswers) {
    using A = std::array<uint32_t, 4>;
    EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (A{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (A{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (A{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, UniformIsUniform) {
    double sum = 0, sum_squares = 0;
    const int n = 20000;
    for (int i = 0; i < n; ++i) {
        double u = uniform_at(7, uint64_t(i));
        ASSERT_GE(u, 0.0);
        ASSERT_LT(u, 1.0);
        sum += u, sum_squares += u * u;
    }
    EXPECT_NEAR(sum / n, 0.5, 0.01);
    EXPECT_NEAR(sum_squares / n, 1.0 / 3, 0.01);
    EXPECT_NE(uniform_at(1, 2), uniform_at(2, 1));
}

TEST(Sampler, DrawsFollowTheDistribution) {
    const std::vector<float> logits = {0.0f, 1.0f, 2.0f, -1.0f};
    auto sampler = Sampler::create(plain(), 4);
    ASSERT_TRUE(sampler);
    auto left = sampler->distribution(logits, {});
    ASSERT_TRUE(left);
    std::vector<int> counts(4);
    const int n = 20000;
    for (int i = 0; i < n; ++i) ++counts[size_t(*sampler->sample(logits, {}, uint64_t(i)))];
    for (size_t t = 0; t < 4; ++t) EXPECT_NEAR(double(counts[t]) / n, double((*left)[t].second), 0.015);
}

TEST(Sampler, IsAPureFunction) {
    const auto logits = wavy_logits(500);
    SamplerParams p;
    p.repeat_penalty = 1.2f, p.dry.multiplier = 0.8f, p.seed = 5;
    auto a = Sampler::create(p, 500), b = Sampler::create(p, 500);
    const std::vector<int32_t> history = {1, 2, 3, 1, 2};
    std::vector<int32_t> forward, backward;
    for (uint64_t i = 0; i < 50; ++i) forward.push_back(*a->sample(logits, history, i));
    for (uint64_t i = 50; i-- > 0;) backward.insert(backward.begin(), *b->sample(logits, history, i));
    EXPECT_EQ(forward, backward);
}

TEST(Sampler, NothingLeftIsAnError) {
    const std::vector<float> empty = {kNan, -kInfinity, kNan};
    for (float temperature : {0.0f, 1.0f}) {
        SamplerParams p = plain();
        p.temperature = temperature;
        auto sampler = Sampler::create(p, 3);
        auto token = sampler->sample(empty, {}, 0);
        ASSERT_FALSE(token);
        EXPECT_EQ(token.error().message,
                  "sampler: no token to choose, all 3 logits are forbidden, -inf or not a number");
        const std::vector<uint32_t> none = {0};
        EXPECT_FALSE(sampler->sample(std::vector<float>{1, 2, 3}, {}, 0, none));
        EXPECT_FALSE(sampler->sample(std::vector<float>{1, 2}, {}, 0));
    }
    auto sampler = Sampler::create(plain(), 40);
    const std::vector<uint32_t> short_mask = {~0u};
    EXPECT_FALSE(sampler->sample(std::vector<float>(40, 1.0f), {}, 0, short_mask));
}

TEST(Sampler, HostileLogitsNeverChooseWhatIsNotThere) {
    const std::vector<float> logits = {kNan, kInfinity, -kInfinity, 3e38f, -3e38f, 0.0f, kInfinity};
    for (float temperature : {0.0f, 1e-45f, 1.0f, 1e30f, kInfinity}) {
        for (int32_t top_k : {0, 1, 3, 7, 1 << 30}) {
            SamplerParams p;
            p.temperature = temperature, p.top_k = top_k, p.typical_p = 0.9f, p.repeat_penalty = 1e30f;
            p.frequency_penalty = 3e38f, p.dry.multiplier = 3e38f, p.dry.base = 3e38f, p.dry.allowed_length = 1;
            auto sampler = Sampler::create(p, 7);
            ASSERT_TRUE(sampler) << sampler.error().message;
            const std::vector<int32_t> history = {5, 3, 5, 3, 5, 3, -7, 900, 5, 3};
            for (uint64_t i = 0; i < 20; ++i) {
                auto token = sampler->sample(logits, history, i);
                ASSERT_TRUE(token) << token.error().message;
                EXPECT_TRUE(*token != 0 && *token != 2 && *token >= 0 && *token < 7) << *token;
            }
        }
    }
}

TEST(Sampler, NonsenseParametersAreNamed) {
    auto message = [](auto change) {
        SamplerParams p;
        change(p);
        auto sampler = Sampler::create(p, 100);
        return sampler ? std::string("accepted") : sampler.error().message;
    };
    EXPECT_EQ(message([](auto& p) { p.temperature = kNan; }), "temperature: nan, expected -inf to inf");
    EXPECT_EQ(message([](auto& p) { p.top_p = -0.5f; }).substr(0, 21), "top_p: -0.5, expected");
    EXPECT_EQ(message([](auto& p) { p.min_p = 1.5f; }).substr(0, 20), "min_p: 1.5, expected");
    EXPECT_EQ(message([](auto& p) { p.top_n_sigma = kNan; }).substr(0, 21), "top_n_sigma: nan, exp");
    EXPECT_EQ(message([](auto& p) { p.xtc_probability = 2.0f; }).substr(0, 20), "xtc_probability: 2, ");
    EXPECT_EQ(message([](auto& p) { p.xtc_threshold = -1.0f; }).substr(0, 19), "xtc_threshold: -1, ");
    EXPECT_EQ(message([](auto& p) { p.repeat_penalty = 0.0f; }), "repeat_penalty: 0, expected more than 0");
    EXPECT_EQ(message([](auto& p) { p.presence_penalty = kInfinity; }).substr(0, 16), "presence_penalty");
    EXPECT_EQ(message([](auto& p) { p.dry.allowed_length = -1; }), "dry_allowed_length: -1, expected 0 or more");
    EXPECT_EQ(message([](auto& p) { p.logit_bias = {{100, 1.0f}}; }),
              "logit_bias: token 100, the vocabulary has ids 0 to 99");
    EXPECT_EQ(message([](auto& p) { p.logit_bias = {{1, kNan}}; }), "logit_bias: the bias of token 1 is not a number");
    EXPECT_EQ(message([](auto& p) { p.dry.sequence_breakers.assign(5000, {1}); }),
              "dry_sequence_breakers: 5000, the limit is 4096");
    EXPECT_EQ(message([](auto& p) { p.temperature = kInfinity; }), "accepted");
}

TEST(Sampler, ParametersSurviveBytes) {
    SamplerParams p;
    p.seed = 0x123456789abcdef0u, p.top_k = 7, p.top_n_sigma = 1.5f, p.xtc_probability = 0.25f,
    p.dry.sequence_breakers = {{1, 2}, {3}}, p.logit_bias = {{4, -kInfinity}, {5, 0.5f}};
    auto bytes = encode_sampler_params(p);
    auto back = decode_sampler_params(bytes);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(encode_sampler_params(*back), bytes);
    EXPECT_EQ(back->seed, p.seed);
    EXPECT_EQ(back->top_n_sigma, 1.5f);
    EXPECT_EQ(back->xtc_probability, 0.25f);
    EXPECT_EQ(back->dry.sequence_breakers, p.dry.sequence_breakers);
    EXPECT_EQ(back->logit_bias, p.logit_bias);
    for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(decode_sampler_params(Bytes(bytes).first(n))) << n;
    bytes.push_back(0);
    EXPECT_FALSE(decode_sampler_params(bytes));
    bytes.pop_back();
    for (size_t i = 0; i < bytes.size(); ++i) {
        auto broken = bytes;
        broken[i] ^= 0xff;
        (void)decode_sampler_params(broken);  // any answer, no crash
    }
}

// What version 1 did not have is off.
TEST(Sampler, ParametersOfVersion1) {
    SamplerParams p;
    p.top_k = 7, p.xtc_probability = 0.5f, p.logit_bias = {{5, 0.5f}};
    auto bytes = encode_sampler_params(p);
    constexpr std::ptrdiff_t kNewNumbers = 4 + 8 + 13 * 4;  // behind the version, the seed and the first numbers
    bytes.erase(bytes.begin() + kNewNumbers, bytes.begin() + kNewNumbers + 3 * 4);
    bytes[0] = 1;
    auto back = decode_sampler_params(bytes);
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->top_k, 7);
    EXPECT_EQ(back->xtc_probability, 0.0f);
    EXPECT_EQ(back->logit_bias, p.logit_bias);
}

TEST(Sampler, TopLogprobs) {
    const std::vector<float> logits = {1.0f, 3.0f, kNan, 3.0f, 2.0f};
    auto top = top_logprobs(logits, 3);
    ASSERT_EQ(top.size(), 3u);
    EXPECT_EQ(top[0].token, 1);
    EXPECT_EQ(top[1].token, 3);
    EXPECT_EQ(top[2].token, 4);
    const double sum = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(2.0);
    EXPECT_NEAR(top[0].logprob, 3.0 - std::log(sum), 1e-5);
    EXPECT_EQ(token_logprob(logits, 4), top[2].logprob);
    EXPECT_EQ(token_logprob(logits, 2), -kInfinity);
    EXPECT_EQ(top_logprobs(logits, 100).size(), 5u);
    EXPECT_TRUE(top_logprobs(logits, 0).empty());
}

}  // namespace
}  // namespace sterna
