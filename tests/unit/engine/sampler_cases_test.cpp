// Runs tests/cases/sampler_*.case. A case is a distribution's recipe; expected is what is left of it and what is drawn.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "engine/sampler.h"
#include "support/testdata.h"

namespace sterna {
namespace {

struct Case {
    int line = 0;
    std::vector<std::string> input, expect;
};

std::vector<Case> read_cases(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::vector<Case> cases;
    std::string line;
    bool expecting = false;
    for (int number = 1; std::getline(file, line); ++number) {
        if (line == "== input") {
            cases.emplace_back().line = number;
            expecting = false;
        } else if (line == "== expect") {
            expecting = true;
        } else if (!cases.empty() && !line.empty()) {
            (expecting ? cases.back().expect : cases.back().input).push_back(line);
        }
    }
    return cases;
}

template <typename T>
std::vector<T> rest_of(std::istringstream& words) {
    std::vector<T> values;
    for (std::string word; words >> word;) values.push_back(T(std::stod(word)));
    return values;
}

// The generator of tools/make_sampler_golden.py.
std::vector<float> lcg_logits(size_t n, uint32_t seed, float scale) {
    std::vector<float> logits(n);
    for (float& logit : logits) {
        seed = seed * 1664525u + 1013904223u;
        logit = (float(seed >> 8) * 0x1p-23f - 1.0f) * scale;
    }
    return logits;
}

struct Recipe {
    SamplerParams params;
    std::vector<float> logits;
    std::vector<int32_t> history;
    std::vector<uint32_t> mask;
    uint64_t position = 0;
    int draws = 0;
};

Recipe read_recipe(const Case& c) {
    Recipe r;
    SamplerParams& p = r.params;
    p.temperature = 1.0f, p.top_k = 0, p.top_p = 1.0f, p.min_p = 0.0f;
    std::vector<int32_t> allowed;
    for (const std::string& line : c.input) {
        std::istringstream words(line);
        std::string key;
        words >> key;
        auto number = [&] {
            std::string word;
            words >> word;
            return std::stod(word);
        };
        if (key == "logits")
            r.logits = rest_of<float>(words);
        else if (key == "random") {
            size_t n = size_t(number());
            uint32_t seed = uint32_t(number());
            r.logits = lcg_logits(n, seed, float(number()));
        } else if (key == "history")
            r.history = rest_of<int32_t>(words);
        else if (key == "allowed")
            allowed = rest_of<int32_t>(words);
        else if (key == "bias") {
            int32_t token = int32_t(number());
            p.logit_bias.emplace_back(token, float(number()));
        } else if (key == "breaker")
            p.dry.sequence_breakers.push_back(rest_of<int32_t>(words));
        else if (key == "seed")
            words >> p.seed;
        else if (key == "position")
            words >> r.position;
        else if (key == "draws")
            words >> r.draws;
        else if (key == "temperature")
            p.temperature = float(std::max(number(), -1e30));
        else if (key == "top_k")
            words >> p.top_k;
        else if (key == "top_p")
            p.top_p = float(number());
        else if (key == "min_p")
            p.min_p = float(number());
        else if (key == "typical_p")
            p.typical_p = float(number());
        else if (key == "top_n_sigma")
            p.top_n_sigma = float(number());
        else if (key == "xtc_probability")
            p.xtc_probability = float(number());
        else if (key == "xtc_threshold")
            p.xtc_threshold = float(number());
        else if (key == "penalty_last_n")
            words >> p.penalty_last_n;
        else if (key == "repeat_penalty")
            p.repeat_penalty = float(number());
        else if (key == "presence_penalty")
            p.presence_penalty = float(number());
        else if (key == "frequency_penalty")
            p.frequency_penalty = float(number());
        else if (key == "dry_multiplier")
            p.dry.multiplier = float(number());
        else if (key == "dry_base")
            p.dry.base = float(number());
        else if (key == "dry_allowed_length")
            words >> p.dry.allowed_length;
        else if (key == "dry_last_n")
            words >> p.dry.last_n;
        else
            ADD_FAILURE() << "line " << c.line << ": unknown key " << key;
    }
    if (!allowed.empty()) {
        r.mask.assign((r.logits.size() + 31) / 32, 0);
        for (int32_t token : allowed) r.mask[size_t(token / 32)] |= 1u << (token % 32);
    }
    return r;
}

void check_case(const Case& c, const kernels::Kernels& kernels) {
    Recipe r = read_recipe(c);
    auto sampler = Sampler::create(r.params, int64_t(r.logits.size()), kernels);
    ASSERT_TRUE(sampler) << sampler.error().message;
    auto left = sampler->distribution(r.logits, r.history, r.mask, r.position);
    ASSERT_TRUE(left) << left.error().message;
    ASSERT_FALSE(c.expect.empty());
    for (const std::string& line : c.expect) {
        std::istringstream words(line);
        std::string key, word;
        words >> key;
        if (key == "count") {
            size_t n = 0;
            words >> n;
            EXPECT_EQ(left->size(), n);
        } else if (key == "id_sum") {
            int64_t expected = 0, sum = 0;
            words >> expected;
            for (auto [token, p] : *left) sum += token;
            EXPECT_EQ(sum, expected);
        } else if (key == "left") {
            size_t i = 0;
            for (; words >> word; ++i) {
                ASSERT_LT(i, left->size());
                size_t colon = word.find(':');
                EXPECT_EQ((*left)[i].first, std::stoi(word.substr(0, colon)));
                const double p = std::stod(word.substr(colon + 1));
                EXPECT_NEAR((*left)[i].second, p, 1e-5 * p + 1e-9) << "token " << (*left)[i].first;
            }
            EXPECT_EQ(i, left->size());
        } else if (key == "tokens") {
            auto expected = rest_of<int32_t>(words);
            EXPECT_EQ(int(expected.size()), r.draws);
            for (size_t k = 0; k < expected.size(); ++k)
                EXPECT_EQ(sampler->sample(r.logits, r.history, r.position + k, r.mask).value_or(-1), expected[k])
                    << "draw " << k;
        } else {
            ADD_FAILURE() << "unknown expectation " << key;
        }
    }
}

TEST(SamplerCases, AllFilesOnEveryIsa) {
    int n_cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(source_path("tests/cases"))) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("sampler_")) continue;
        for (const Case& c : read_cases(entry.path())) {
            for (int i = 0; i < kernels::all().n; ++i) {
                SCOPED_TRACE(name + " line " + std::to_string(c.line) + " on " + kernels::all().tables[i]->name);
                check_case(c, *kernels::all().tables[i]);
            }
            ++n_cases;
        }
    }
    EXPECT_GE(n_cases, 60);
}

}  // namespace
}  // namespace sterna
