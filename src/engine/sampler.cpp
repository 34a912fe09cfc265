#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/random.h"

namespace sterna {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
// Up to this many, the best are found with a heap in one pass over the logits: 0.1 ms for 150,000 logits and k = 40.
constexpr size_t kHeapLimit = 1024;

// Comparisons with NaN are false, so a NaN becomes -inf here.
float cleaned(float logit) {
    return logit > -kInfinity ? std::min(logit, kLargest) : -kInfinity;
}

std::span<const int32_t> last_of(std::span<const int32_t> history, int32_t n) {
    if (n < 0 || size_t(n) >= history.size()) return history;
    return history.last(size_t(n));
}

}  // namespace

Sampler::Sampler(SamplerParams params, int64_t vocab_size, const kernels::Kernels& kernels)
    : params_(std::move(params)), vocab_size_(vocab_size), kernels_(&kernels) {}

Result<Sampler> Sampler::create(SamplerParams params, int64_t vocab_size, const kernels::Kernels& kernels,
                                const SamplerLimits& limits) {
    auto check = [](const char* name, float value, float low, float high) -> Status {
        if (value >= low && value <= high) return {};
        return fail(ErrorCode::kBadArgument, "{}: {}, expected {} to {}", name, value, low, high);
    };
    if (vocab_size < 1)
        return fail(ErrorCode::kBadArgument, "sampler: a vocabulary of {} tokens, expected at least 1", vocab_size);
    STERNA_CHECK(check("temperature", params.temperature, -kInfinity, kInfinity));
    STERNA_CHECK(check("top_p", params.top_p, 0.0f, kLargest));
    STERNA_CHECK(check("min_p", params.min_p, -kLargest, 1.0f));
    STERNA_CHECK(check("typical_p", params.typical_p, 0.0f, kLargest));
    STERNA_CHECK(check("top_n_sigma", params.top_n_sigma, -kLargest, kLargest));
    STERNA_CHECK(check("xtc_probability", params.xtc_probability, -kLargest, 1.0f));
    STERNA_CHECK(check("xtc_threshold", params.xtc_threshold, 0.0f, kLargest));
    if (!(params.repeat_penalty > 0.0f))
        return fail(ErrorCode::kBadArgument, "repeat_penalty: {}, expected more than 0", params.repeat_penalty);
    STERNA_CHECK(check("repeat_penalty", params.repeat_penalty, 0.0f, kLargest));
    STERNA_CHECK(check("presence_penalty", params.presence_penalty, -kLargest, kLargest));
    STERNA_CHECK(check("frequency_penalty", params.frequency_penalty, -kLargest, kLargest));
    STERNA_CHECK(check("dry_multiplier", params.dry.multiplier, 0.0f, kLargest));
    STERNA_CHECK(check("dry_base", params.dry.base, 0.0f, kLargest));
    if (params.dry.allowed_length < 0)
        return fail(ErrorCode::kBadArgument, "dry_allowed_length: {}, expected 0 or more", params.dry.allowed_length);
    if (params.logit_bias.size() > limits.max_logit_bias)
        return fail(ErrorCode::kLimit, "logit_bias: {} entries, the limit is {}", params.logit_bias.size(),
                    limits.max_logit_bias);
    for (auto [token, bias] : params.logit_bias) {
        if (token < 0 || token >= vocab_size)
            return fail(ErrorCode::kBadArgument, "logit_bias: token {}, the vocabulary has ids 0 to {}", token,
                        vocab_size - 1);
        if (std::isnan(bias))
            return fail(ErrorCode::kBadArgument, "logit_bias: the bias of token {} is not a number", token);
    }
    auto& breakers = params.dry.sequence_breakers;
    if (breakers.size() > limits.max_breakers)
        return fail(ErrorCode::kLimit, "dry_sequence_breakers: {}, the limit is {}", breakers.size(),
                    limits.max_breakers);
    for (const auto& breaker : breakers)
        if (breaker.size() > limits.max_breaker_tokens)
            return fail(ErrorCode::kLimit, "dry_sequence_breakers: one of {} tokens, the limit is {}", breaker.size(),
                        limits.max_breaker_tokens);
    std::erase_if(breakers, [](const auto& breaker) { return breaker.empty(); });
    // By last token, so that the search needs one look at most positions.
    std::ranges::sort(breakers, {}, [](const auto& breaker) { return breaker.back(); });
    return Sampler(std::move(params), vocab_size, kernels);
}

bool Sampler::has_penalties() const {
    return params_.penalty_last_n != 0 &&
           (params_.repeat_penalty != 1.0f || params_.presence_penalty != 0.0f || params_.frequency_penalty != 0.0f);
}

Status Sampler::prepare(std::span<const float> logits, std::span<const int32_t> history,
                        std::span<const uint32_t> mask) {
    logits_.resize(size_t(vocab_size_));
    for (size_t i = 0; i < logits_.size(); ++i) logits_[i] = cleaned(logits[i]);
    if (!mask.empty()) {
        for (size_t i = 0; i < logits_.size(); ++i) {
            uint32_t word = mask[i / 32];
            if (i % 32 == 0 && word == ~0u) {
                i += 31;
            } else if ((word >> (i % 32) & 1) == 0) {
                logits_[i] = -kInfinity;
            }
        }
    }
    for (auto [token, bias] : params_.logit_bias) {
        float& logit = logits_[size_t(token)];
        if (logit > -kInfinity) logit = bias == -kInfinity ? bias : std::clamp(logit + bias, -kLargest, kLargest);
    }
    if (has_penalties()) apply_penalties(last_of(history, params_.penalty_last_n));
    if (params_.dry.multiplier > 0.0f) apply_dry(last_of(history, params_.dry.last_n));
    return {};
}

void Sampler::apply_penalties(std::span<const int32_t> history) {
    counts_.resize(size_t(vocab_size_));
    auto in_range = [&](int32_t token) { return token >= 0 && token < vocab_size_; };
    for (int32_t token : history)
        if (in_range(token)) ++counts_[size_t(token)];
    for (int32_t token : history) {
        if (!in_range(token) || counts_[size_t(token)] == 0) continue;
        float& logit = logits_[size_t(token)];
        if (logit > -kInfinity) {
            float repeated = logit > 0.0f ? logit / params_.repeat_penalty : logit * params_.repeat_penalty;
            float cost = float(counts_[size_t(token)]) * params_.frequency_penalty + params_.presence_penalty;
            logit = std::clamp(repeated - std::clamp(cost, -kLargest, kLargest), -kLargest, kLargest);
        }
        counts_[size_t(token)] = 0;
    }
}

// How many tokens stand after the last sequence breaker of the tail; `longest` when that is more.
int64_t Sampler::dry_reach(std::span<const int32_t> tail, int64_t longest) const {
    const auto& breakers = params_.dry.sequence_breakers;
    if (breakers.empty()) return longest;
    for (int64_t n_after = 0; n_after < longest; ++n_after) {
        auto before = tail.first(tail.size() - size_t(n_after));
        if (before.empty()) break;
        auto candidates =
            std::ranges::equal_range(breakers, before.back(), {}, [](const auto& breaker) { return breaker.back(); });
        for (const auto& breaker : candidates)
            if (breaker.size() <= before.size() && std::ranges::equal(before.last(breaker.size()), breaker))
                return n_after;
    }
    return longest;
}

// For each earlier place, match_lengths_ holds how many tokens before it equal the tail's last tokens (the Z function
// of the reversed tail: Gusfield 1997, section 1.4, linear time). A token that followed such a match would lengthen the
// repetition.
void Sampler::apply_dry(std::span<const int32_t> tail) {
    const int64_t n = int64_t(tail.size());
    auto reversed = [&](int64_t i) { return tail[size_t(n - 1 - i)]; };
    match_lengths_.assign(size_t(n), 0);
    int64_t longest = 0;
    for (int64_t i = 1, begin = 0, end = 0; i < n; ++i) {
        int64_t length = i < end ? std::min<int64_t>(end - i, match_lengths_[size_t(i - begin)]) : 0;
        while (i + length < n && reversed(length) == reversed(i + length)) ++length;
        if (i + length > end) begin = i, end = i + length;
        match_lengths_[size_t(i)] = int32_t(length);
        longest = std::max(longest, length);
    }
    const int64_t reach = std::min(longest, dry_reach(tail, longest));
    const int64_t allowed = params_.dry.allowed_length;
    if (reach < allowed || reach == 0) return;

    counts_.resize(size_t(vocab_size_));  // here: the longest match that each token would continue
    for (int64_t i = 1; i < n; ++i) {
        const int32_t token = reversed(i - 1);
        const int32_t length = int32_t(std::min<int64_t>(match_lengths_[size_t(i)], reach));
        if (length < std::max<int64_t>(allowed, 1) || token < 0 || token >= vocab_size_) continue;
        counts_[size_t(token)] = std::max(counts_[size_t(token)], length);
    }
    for (int32_t token : tail) {
        if (token < 0 || token >= vocab_size_ || counts_[size_t(token)] == 0) continue;
        double penalty = params_.dry.multiplier;
        double power = params_.dry.base;
        for (int64_t exponent = counts_[size_t(token)] - allowed; exponent > 0; exponent /= 2) {
            if (exponent % 2 == 1) penalty = std::min(penalty * power, double(kLargest));
            power = std::min(power * power, double(kLargest));
        }
        float& logit = logits_[size_t(token)];
        if (logit > -kInfinity) logit = std::max(logit - float(penalty), -kLargest);
        counts_[size_t(token)] = 0;
    }
}

Result<int32_t> Sampler::likeliest(std::span<const float> logits) const {
    float best = -kInfinity;
    int64_t token = -1;
    for (size_t i = 0; i < logits.size(); ++i) {
        if (!(logits[i] > best)) continue;
        float logit = cleaned(logits[i]);
        if (logit > best) best = logit, token = int64_t(i);
    }
    if (token < 0)
        return fail(ErrorCode::kBadArgument,
                    "sampler: no token to choose, all {} logits are forbidden, -inf or not a number", logits.size());
    return int32_t(token);
}

void Sampler::keep_marked() {
    size_t n = 0;
    for (size_t i = 0; i < candidates_.size(); ++i)
        if (marked_[i]) candidates_[n++] = candidates_[i];
    candidates_.resize(n);
}

// The standard deviation is that of all logits that may be chosen.
void Sampler::forbid_below_sigma() {
    double sum = 0.0, best = -double(kInfinity);
    int64_t n = 0;
    for (float logit : logits_) {
        if (logit == -kInfinity) continue;
        sum += double(logit);
        best = std::max(best, double(logit));
        ++n;
    }
    if (n == 0) return;
    const double mean = sum / double(n);
    double squares = 0.0;
    for (float logit : logits_)
        if (logit > -kInfinity) squares += (double(logit) - mean) * (double(logit) - mean);
    const double threshold = best - double(params_.top_n_sigma) * std::sqrt(squares / double(n));
    for (float& logit : logits_)
        if (double(logit) < threshold) logit = -kInfinity;
}

// From logits_, not from candidates_: it comes first.
void Sampler::keep_top_k(size_t k) {
    auto better = [](const Candidate& a, const Candidate& b) {
        return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
    };
    candidates_.clear();
    k = std::min(k, logits_.size());
    if (k <= kHeapLimit) {
        for (size_t i = 0; i < logits_.size(); ++i) {
            if (candidates_.size() == k && !(logits_[i] > candidates_.front().logit)) continue;
            if (logits_[i] == -kInfinity) continue;
            if (candidates_.size() == k) {
                std::ranges::pop_heap(candidates_, better);
                candidates_.pop_back();
            }
            candidates_.push_back({logits_[i], int32_t(i)});
            std::ranges::push_heap(candidates_, better);
        }
    } else {
        for (size_t i = 0; i < logits_.size(); ++i)
            if (logits_[i] > -kInfinity) candidates_.push_back({logits_[i], int32_t(i)});
        if (k < candidates_.size()) {
            std::ranges::nth_element(candidates_, candidates_.begin() + std::ptrdiff_t(k), better);
            candidates_.resize(k);
        }
    }
    // A full set of many candidates is in order already.
    if (k <= kHeapLimit || k < logits_.size()) std::ranges::sort(candidates_, {}, &Candidate::token);
}

float Sampler::softmax_candidates() {
    scaled_.resize(candidates_.size());
    probabilities_.resize(candidates_.size());
    for (size_t i = 0; i < scaled_.size(); ++i) scaled_[i] = candidates_[i].logit;
    return kernels_->softmax(scaled_.data(), int64_t(scaled_.size()), probabilities_.data());
}

void Sampler::keep_typical() {
    const float log_sum = softmax_candidates();
    double entropy = 0.0;
    for (size_t i = 0; i < candidates_.size(); ++i)
        if (probabilities_[i] > 0.0f)
            entropy -= double(probabilities_[i]) * (double(candidates_[i].logit) - double(log_sum));
    ranking_.clear();
    for (size_t i = 0; i < candidates_.size(); ++i) {
        double surprise = double(log_sum) - double(candidates_[i].logit);
        ranking_.emplace_back(float(std::abs(surprise - entropy)), int32_t(i));
    }
    std::ranges::sort(ranking_);
    marked_.assign(candidates_.size(), 0);
    double mass = 0.0;
    for (auto [distance, i] : ranking_) {
        marked_[size_t(i)] = 1;
        mass += double(probabilities_[size_t(i)]);
        if (mass >= double(params_.typical_p)) break;
    }
    keep_marked();
}

// Sorts only as far as the mass needs: the best 256, then four times as many, and so on.
void Sampler::keep_top_p() {
    softmax_candidates();
    ranking_.clear();
    for (size_t i = 0; i < candidates_.size(); ++i) ranking_.emplace_back(-candidates_[i].logit, int32_t(i));
    marked_.assign(candidates_.size(), 0);
    double mass = 0.0;
    size_t sorted = 0;
    for (size_t wanted = 256; sorted < ranking_.size(); wanted *= 4) {
        size_t end = std::min(wanted, ranking_.size());
        auto from = ranking_.begin() + std::ptrdiff_t(sorted), to = ranking_.begin() + std::ptrdiff_t(end);
        if (end < ranking_.size()) std::nth_element(from, to, ranking_.end());
        std::sort(from, to);
        for (; sorted < end; ++sorted) {
            size_t i = size_t(ranking_[sorted].second);
            marked_[i] = 1;
            mass += double(probabilities_[i]);
            if (mass >= double(params_.top_p)) return keep_marked();
        }
    }
}

// p >= min_p * max p, compared as logits.
void Sampler::keep_min_p() {
    float best = -kInfinity;
    for (const Candidate& candidate : candidates_) best = std::max(best, candidate.logit);
    const float threshold = best + kernels::log_f32(params_.min_p);
    std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.logit < threshold; });
}

// Of the tokens at or above the threshold, all but the least likely go; of equals the one with the largest id stays.
void Sampler::exclude_top_choices() {
    softmax_candidates();
    size_t n_above = 0, stays = 0;
    marked_.assign(candidates_.size(), 1);
    for (size_t i = 0; i < candidates_.size(); ++i) {
        if (!(probabilities_[i] >= params_.xtc_threshold)) continue;
        marked_[i] = 0;
        if (n_above++ == 0 || candidates_[i].logit <= candidates_[stays].logit) stays = i;
    }
    if (n_above < 2) return;
    marked_[stays] = 1;
    keep_marked();
}

void Sampler::apply_temperature() {
    float best = -kInfinity;
    for (const Candidate& candidate : candidates_) best = std::max(best, candidate.logit);
    scaled_.resize(candidates_.size());
    probabilities_.resize(candidates_.size());
    // The bounds keep infinities out of the arithmetic; exp(-200) is 0 in float.
    for (size_t i = 0; i < scaled_.size(); ++i)
        scaled_[i] = std::max(std::max(candidates_[i].logit - best, -kLargest) / params_.temperature, -200.0f);
    kernels_->softmax(scaled_.data(), int64_t(scaled_.size()), probabilities_.data());
}

Status Sampler::filter(std::span<const float> logits, std::span<const int32_t> history, std::span<const uint32_t> mask,
                       uint64_t position) {
    STERNA_CHECK(prepare(logits, history, mask));
    if (params_.top_n_sigma > 0.0f) forbid_below_sigma();
    const bool cut = params_.top_k > 0 && params_.top_k < vocab_size_;
    keep_top_k(cut ? size_t(params_.top_k) : size_t(vocab_size_));
    if (candidates_.empty()) return std::unexpected(likeliest(logits_).error());
    if (params_.typical_p < 1.0f) keep_typical();
    if (params_.top_p < 1.0f) keep_top_p();
    if (params_.min_p > 0.0f) keep_min_p();
    constexpr uint32_t kXtcStream = 1;
    if (params_.xtc_probability > 0.0f && params_.xtc_threshold <= 0.5f &&
        uniform_at(params_.seed, position, kXtcStream) < double(params_.xtc_probability))
        exclude_top_choices();
    return {};
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t position,
                                std::span<const uint32_t> mask) {
    if (int64_t(logits.size()) != vocab_size_)
        return fail(ErrorCode::kBadArgument, "sampler: {} logits, expected {}", logits.size(), vocab_size_);
    if (!mask.empty() && mask.size() < (logits.size() + 31) / 32)
        return fail(ErrorCode::kBadArgument, "sampler: a mask of {} words, expected {}", mask.size(),
                    (logits.size() + 31) / 32);
    if (params_.temperature <= 0.0f) {
        if (mask.empty() && params_.logit_bias.empty() && !has_penalties() && params_.dry.multiplier == 0.0f)
            return likeliest(logits);
        STERNA_CHECK(prepare(logits, history, mask));
        return likeliest(logits_);
    }
    STERNA_CHECK(filter(logits, history, mask, position));
    apply_temperature();
    double total = 0.0;
    for (float p : probabilities_) total += double(p);
    const double target = uniform_at(params_.seed, position) * total;
    double mass = 0.0;
    size_t chosen = 0;
    for (size_t i = 0; i < candidates_.size(); ++i) {
        if (probabilities_[i] == 0.0f) continue;
        chosen = i;
        mass += double(probabilities_[i]);
        if (target < mass) break;
    }
    return candidates_[chosen].token;
}

Result<std::vector<std::pair<int32_t, float>>> Sampler::distribution(std::span<const float> logits,
                                                                     std::span<const int32_t> history,
                                                                     std::span<const uint32_t> mask,
                                                                     uint64_t position) {
    std::vector<std::pair<int32_t, float>> left;
    if (params_.temperature <= 0.0f) {
        STERNA_TRY(token, sample(logits, history, position, mask));
        left.emplace_back(token, 1.0f);
        return left;
    }
    STERNA_CHECK(sample(logits, history, position, mask));
    for (size_t i = 0; i < candidates_.size(); ++i) left.emplace_back(candidates_[i].token, probabilities_[i]);
    return left;
}

namespace {

float clean_log_sum(std::span<const float> logits, const kernels::Kernels& kernels) {
    std::vector<float> values(logits.size());
    for (size_t i = 0; i < values.size(); ++i) values[i] = cleaned(logits[i]);
    if (std::ranges::all_of(values, [](float v) { return v == -kInfinity; })) return 0.0f;
    return kernels.log_sum_exp(values.data(), int64_t(values.size()));
}

}  // namespace

float token_logprob(std::span<const float> logits, int32_t token, const kernels::Kernels& kernels) {
    if (token < 0 || size_t(token) >= logits.size()) return -kInfinity;
    return cleaned(logits[size_t(token)]) - clean_log_sum(logits, kernels);
}

std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int n, const kernels::Kernels& kernels) {
    const float log_sum = clean_log_sum(logits, kernels);
    const size_t wanted = std::min(size_t(std::max(n, 0)), logits.size());
    std::vector<TokenLogprob> top;
    auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
        return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
    };
    // Logits first: after the subtraction, different ones may be equal.
    for (size_t i = 0; i < logits.size() && wanted > 0; ++i) {
        float logit = cleaned(logits[i]);
        if (top.size() == wanted) {
            if (!(logit > top.front().logprob)) continue;
            std::ranges::pop_heap(top, better);
            top.pop_back();
        }
        top.push_back({int32_t(i), logit});
        std::ranges::push_heap(top, better);
    }
    std::ranges::sort(top, better);
    for (TokenLogprob& entry : top) entry.logprob -= log_sum;
    return top;
}

}  // namespace sterna
