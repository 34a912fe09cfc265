// Generation: a session that is being continued, token by token, with a sampler, stop conditions and perhaps
// speculation; and the scheduler that runs many of them in one batch. A generation can be left after any token and gone
// on with later, by stepping it again or by a new one on the same session: nothing but the session's tokens matters.
// Thread-compatible: one caller at a time; cancel flags may be set from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "engine/speculation.h"

namespace sterna {

// Restricts what may come next (a grammar). Only tokens that are really in the output are accepted, each once, in
// order.
class TokenConstraint {
public:
    virtual ~TokenConstraint() = default;
    // Bits of allowed tokens, as Sampler::sample takes them; empty: all. Lifetime: until accept().
    virtual std::span<const uint32_t> mask() = 0;
    virtual void accept(int32_t token) = 0;
};

struct GenerationOptions {
    SamplerParams sampler;
    int64_t max_new_tokens = -1;  // -1: until a stop token or the end of the context
    std::vector<int32_t>
        stop_tokens;             // end of generation; the stop token itself is handed out and stays in the session
    bool shift_context = false;  // when the context is full: Session::shift(n_keep); else the generation ends
    int64_t n_keep = 0;
    int n_logprobs = -1;                    // -1: none, 0: of the chosen token, n: and of the n likeliest
    TokenConstraint* constraint = nullptr;  // outlives the generation
    std::unique_ptr<Drafter> drafter;       // null: plain decoding
    int64_t max_draft = 16;
    const std::atomic<bool>* cancel = nullptr;
    // Sees the logits from which each token is chosen; those behind wrong guesses are never shown. Lifetime of the
    // view: the call.
    std::function<void(int64_t position, std::span<const float> logits)> on_logits;
};

enum class FinishReason { kNone, kStopToken, kMaxTokens, kContextFull, kCancelled, kError };
const char* finish_reason_name(FinishReason reason);  // "stop", "length", "context", "cancelled", "error"; "" for kNone

struct GeneratedToken {
    int32_t token = 0;
    bool is_stop = false;
    float logprob = 0.0f;           // with n_logprobs >= 0
    std::vector<TokenLogprob> top;  // with n_logprobs > 0
};

struct GenerationStats {
    int64_t n_prompt = 0;  // tokens of the prompt
    int64_t n_reused = 0;  // of them found in the cache
    int64_t n_generated = 0;
    int64_t n_passes = 0;  // forward passes that gave it logits: fewer than n_generated when guesses were right
    int64_t n_drafted = 0, n_accepted = 0;
    int64_t n_shifts = 0;
};

class Generation {
public:
    // The session holds the prompt. Errors: kBadArgument for bad parameters or an empty session ("prompt: no tokens;
    // ..."). Lifetime: the session outlives the generation, and nobody else edits it meanwhile.
    static Result<std::unique_ptr<Generation>> create(Engine& engine, Session& session, GenerationOptions options);

    // Tokens that are ready, in order; nothing when more steps are needed or it has finished.
    std::optional<GeneratedToken> take();

    ~Generation();

    bool finished() const {
        return reason_ != FinishReason::kNone;
    }  // no step will add tokens; take() may still have some
    FinishReason reason() const { return reason_; }
    const Status& status() const { return status_; }  // the error, for kError and kCancelled
    const GenerationStats& stats() const { return stats_; }
    Session& session() { return session_; }
    // Prompt tokens still to be evaluated: for a progress bar.
    int64_t n_pending() const { return session_.n_pending(); }

private:
    friend class Scheduler;
    Generation(Engine& engine, Session& session, Sampler sampler, GenerationOptions options);
    bool prepare(StepItem& item);  // false: nothing to evaluate this time
    bool make_context();
    void add_guesses();
    void discard_guesses();
    void receive(int64_t position, std::span<const float> logits);  // in order of positions
    void add_token(int32_t token, std::span<const float> logits);
    void finish(FinishReason reason, Status status = {});
    void fail_with(Error error);

    Engine& engine_;
    Session& session_;
    Sampler sampler_;
    GenerationOptions options_;
    std::deque<GeneratedToken> ready_;
    int64_t n_certain_;  // tokens of the session that are not guesses
    int64_t n_reused_before_;
    bool decoding_ = false;         // the prompt is done
    bool first_row_ = true;         // of a pass
    bool guess_was_wrong_ = false;  // the rows that follow in this pass continue a text that is not ours
    FinishReason reason_ = FinishReason::kNone;
    Status status_;
    GenerationStats stats_;
};

class Scheduler {
public:
    explicit Scheduler(Engine& engine) : engine_(engine) {}

    // One batch step for all that have not finished: decodes and parts of prompts together. An error of one generation
    // is its own (status()); an error of the step is returned, and the step may be repeated. Requires: sessions all
    // differ.
    Status step(std::span<Generation* const> generations, const std::atomic<bool>* cancel = nullptr);

private:
    Engine& engine_;
    size_t turn_ = 0;  // which decode is first, for when not all fit into one step
    std::vector<StepItem> items_;
    std::vector<Generation*> order_, stepped_;
};

// For one generation alone: steps until a token is ready. Returns: nothing when it has finished. Errors: its own, or
// the step's.
Result<std::optional<GeneratedToken>> next_token(Engine& engine, Generation& generation,
                                                 const std::atomic<bool>* cancel = nullptr);

}  // namespace sterna
