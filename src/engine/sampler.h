// Chooses the next token from logits. A pure function of (parameters, logits, history, position, mask): there is no
// hidden state, so repeating, rewinding, speculating and resuming give the same tokens. Ties break by token id; only
// the project's own mathematics is used (docs/numerics.md, rules 5 and 7).
//
// The order is llama.cpp's default chain (common/sampling.cpp); a step that is switched off is skipped:
//   mask, logit bias -> penalties -> DRY -> top-n-sigma -> top-k -> typical -> top-p -> min-p -> XTC -> temperature -> draw
//   penalties    repeat: Keskar et al. 2019, "CTRL", section 4.1 (positive logits divided, others multiplied);
//                presence and frequency: the OpenAI API's definition, logit - count * frequency - (count > 0) *
//                presence
//   DRY          P. E. Weidmann 2024, oobabooga/text-generation-webui pull request 5677
//   top-n-sigma  Tang et al. 2024, "Top-n-sigma: Not All Logits Are You Need": logits more than n standard deviations
//                below the largest go
//   top-k        Fan et al. 2018, "Hierarchical Neural Story Generation"
//   typical      Meister et al. 2022, "Locally Typical Sampling"
//   top-p        Holtzman et al. 2019, "The Curious Case of Neural Text Degeneration"
//   min-p        Nguyen et al. 2024, "Turning Up the Heat: Min-p Sampling"
//   XTC          P. E. Weidmann 2024, oobabooga/text-generation-webui pull request 6335: with a given probability, of
//                several tokens above a threshold only the least likely stays. Its random number is another stream of
//                the same (seed, position).
// Each truncation sees the distribution that the steps before it left, renormalized, at temperature 1 (the temperature
// comes last). Temperature <= 0 takes the largest logit after mask, bias, penalties and DRY; the truncations do not
// matter then.
//
// What is not a number: a NaN or -inf logit is never chosen, +inf counts as the largest float. When nothing is left to
// choose, sample() says so. Thread-compatible (scratch memory).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/metadata.h"
#include "base/result.h"
#include "kernels/kernels.h"

namespace sterna {

struct DryParams {
    float multiplier = 0.0f;  // 0: off
    float base = 1.75f;
    int32_t allowed_length = 2;                           // repeats up to this length (in tokens) cost nothing
    int32_t last_n = -1;                                  // tokens looked at; -1: all of the history
    std::vector<std::vector<int32_t>> sequence_breakers;  // token sequences that no repeat is followed across
};

struct SamplerParams {
    uint64_t seed = 0;
    float temperature = 0.8f;      // <= 0: greedy; infinity: all that is left is equally likely
    int32_t top_k = 40;            // <= 0: off
    float top_p = 0.95f;           // >= 1: off
    float min_p = 0.05f;           // <= 0: off
    float typical_p = 1.0f;        // >= 1: off
    float top_n_sigma = -1.0f;     // <= 0: off
    float xtc_probability = 0.0f;  // <= 0: off
    float xtc_threshold = 0.1f;    // > 0.5: off, since two tokens never reach it
    int32_t penalty_last_n = 64;   // tokens looked at; -1: all of the history, 0: off
    float repeat_penalty = 1.0f;   // 1: off
    float presence_penalty = 0.0f;
    float frequency_penalty = 0.0f;
    DryParams dry;
    std::vector<std::pair<int32_t, float>> logit_bias;  // added; -inf forbids a token

    static SamplerParams greedy() {
        SamplerParams params;
        params.temperature = 0.0f;
        return params;
    }
};

// Sets what a model file recommends ("general.sampling.temp", "general.sampling.top_k", ...: GGUF's names, without that beginning)
// but for the names in `keep`. Values are as the file gives them; Sampler::create judges them.
void apply_recommended_sampling(const Metadata& metadata, std::span<const std::string> keep, SamplerParams& params);

struct SamplerLimits {
    size_t max_logit_bias = 1 << 20;
    size_t max_breakers = 4096;
    size_t max_breaker_tokens = 64;
};

struct TokenLogprob {
    int32_t token = 0;
    float logprob = 0.0f;
};

class Sampler {
public:
    // Errors: kBadArgument for a value that makes no sense (NaN, a bias on a token that does not exist, ...), named
    // with its range.
    static Result<Sampler> create(SamplerParams params, int64_t vocab_size,
                                  const kernels::Kernels& kernels = kernels::active(),
                                  const SamplerLimits& limits = {});

    // `history`: all tokens before this one, oldest first. `position`: the random number's key,
    // Session::stream_position(). `mask`: bit (id % 32) of word id / 32 is 1 where a token is allowed; empty: all are.
    // Requires: logits.size() == vocab_size. Errors: kBadArgument when no token is left, or the mask is too short.
    Result<int32_t> sample(std::span<const float> logits, std::span<const int32_t> history, uint64_t position,
                           std::span<const uint32_t> mask = {});

    // What is left before the draw, in order of id, with probabilities that sum to one: for tests and for the curious.
    Result<std::vector<std::pair<int32_t, float>>> distribution(std::span<const float> logits,
                                                                std::span<const int32_t> history,
                                                                std::span<const uint32_t> mask = {},
                                                                uint64_t position = 0);

    const SamplerParams& params() const { return params_; }

private:
    struct Candidate {
        float logit;
        int32_t token;
    };

    Sampler(SamplerParams params, int64_t vocab_size, const kernels::Kernels& kernels);
    bool has_penalties() const;
    Status prepare(std::span<const float> logits, std::span<const int32_t> history, std::span<const uint32_t> mask);
    void apply_penalties(std::span<const int32_t> history);
    void apply_dry(std::span<const int32_t> history);
    int64_t dry_reach(std::span<const int32_t> tail, int64_t longest) const;
    Result<int32_t> likeliest(std::span<const float> logits) const;

    // Each leaves candidates_ in order of id.
    Status filter(std::span<const float> logits, std::span<const int32_t> history, std::span<const uint32_t> mask,
                  uint64_t position);
    void forbid_below_sigma();  // in logits_
    void keep_top_k(size_t k);
    void keep_typical();
    void keep_top_p();
    void keep_min_p();
    void exclude_top_choices();
    float softmax_candidates();  // candidates_ -> probabilities_. Returns: log(sum(exp(logit)))
    void apply_temperature();    // the same, of the logits divided by the temperature
    void keep_marked();

    SamplerParams params_;
    int64_t vocab_size_;
    const kernels::Kernels* kernels_;
    std::vector<float> logits_;  // [vocab_size], after mask, bias and penalties
    std::vector<Candidate> candidates_;
    std::vector<float> scaled_, probabilities_;
    std::vector<int32_t> counts_;  // [vocab_size], zero between calls
    std::vector<int32_t> match_lengths_;
    std::vector<std::pair<float, int32_t>> ranking_;  // (what to sort by, index of a candidate)
    std::vector<uint8_t> marked_;
};

// The n likeliest tokens by the model's own distribution (before mask, bias, penalties and temperature), likeliest
// first, ties by id; and the log-probability of one token.
std::vector<TokenLogprob> top_logprobs(std::span<const float> logits, int n,
                                       const kernels::Kernels& kernels = kernels::active());
float token_logprob(std::span<const float> logits, int32_t token, const kernels::Kernels& kernels = kernels::active());

// The parameters as bytes, for saved states. decode checks form and bounds; create() checks the values.
std::vector<uint8_t> encode_sampler_params(const SamplerParams& params);
Result<SamplerParams> decode_sampler_params(Bytes bytes, const SamplerLimits& limits = {});

}  // namespace sterna
