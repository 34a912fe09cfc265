// Speculative decoding: somebody cheap guesses the next tokens, one forward pass of the model checks them all. At every
// position the model's own logits are sampled with the same (seed, position) key as without guessing, and a guess is
// accepted while it equals that sample: the output is plain decoding's, bit for bit, at every temperature. Guessers may
// be wrong, never harmful. (Leviathan et al. 2023 accept by a ratio of probabilities, which keeps the distribution but
// not the tokens.) Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/sampler.h"

namespace sterna {

class Engine;
class Session;

class Drafter {
public:
    virtual ~Drafter() = default;
    // Returns: at most max_tokens guesses for the tokens after `history`; fewer or none when it has no idea.
    // `position`: Session::stream_position() of the first guess. Lifetime: until the next call.
    virtual Result<std::span<const int32_t>> draft(std::span<const int32_t> history, uint64_t position,
                                                   int64_t max_tokens) = 0;
};

// Prompt look-up: the last tokens have been seen before in the history; guess what followed then (the longest match
// between min_ngram and max_ngram tokens, the latest occurrence). Saxena 2023, "Prompt Lookup Decoding". Good for
// summaries, code edits, quotes.
struct LookupParams {
    int64_t max_ngram = 4;
    int64_t min_ngram = 2;
    int64_t max_tokens = 10;
    int64_t max_history = 1 << 16;  // tokens searched, newest first
};
std::unique_ptr<Drafter> make_lookup_drafter(const LookupParams& params = {});

// A smaller model with the same tokenizer guesses by sampling with the same parameters and keys. It keeps a session of
// its own. Errors: kBadArgument when the two vocabularies differ in size. Lifetime: the draft engine outlives the
// drafter.
struct DraftModelParams {
    int64_t max_tokens = 6;
    SamplerParams sampler;  // the target's, for the most agreement
};
Result<std::unique_ptr<Drafter>> make_model_drafter(Engine& draft_engine, int64_t target_vocab_size,
                                                    const DraftModelParams& params);

}  // namespace sterna
