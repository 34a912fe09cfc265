#include "engine/generation.h"

#include <algorithm>

namespace sterna {

const char* finish_reason_name(FinishReason reason) {
    switch (reason) {
        case FinishReason::kNone:
            return "";
        case FinishReason::kStopToken:
            return "stop";
        case FinishReason::kMaxTokens:
            return "length";
        case FinishReason::kContextFull:
            return "context";
        case FinishReason::kCancelled:
            return "cancelled";
        case FinishReason::kError:
            return "error";
    }
    return "";
}

Result<std::unique_ptr<Generation>> Generation::create(Engine& engine, Session& session, GenerationOptions options) {
    if (session.size() == 0)
        return fail(ErrorCode::kBadArgument,
                    "prompt: no tokens, expected at least one (a begin token for an empty text)");
    if (options.n_keep < 0) return fail(ErrorCode::kBadArgument, "n_keep: {}, expected 0 or more", options.n_keep);
    STERNA_TRY(sampler, Sampler::create(options.sampler, engine.vocab_size(), engine.kernels()));
    return std::unique_ptr<Generation>(new Generation(engine, session, std::move(sampler), std::move(options)));
}

Generation::Generation(Engine& engine, Session& session, Sampler sampler, GenerationOptions options)
    : engine_(engine),
      session_(session),
      sampler_(std::move(sampler)),
      options_(std::move(options)),
      n_certain_(session.size()),
      n_reused_before_(session.n_reused()) {
    stats_.n_prompt = session.size();
    stats_.n_reused = session.n_evaluated();
    if (options_.max_new_tokens == 0) finish(FinishReason::kMaxTokens);
}

Generation::~Generation() {
    discard_guesses();
}

std::optional<GeneratedToken> Generation::take() {
    if (ready_.empty()) return std::nullopt;
    GeneratedToken token = std::move(ready_.front());
    ready_.pop_front();
    return token;
}

void Generation::finish(FinishReason reason, Status status) {
    if (finished()) return;
    reason_ = reason;
    status_ = std::move(status);
    discard_guesses();
}

void Generation::fail_with(Error error) {
    finish(error.code == ErrorCode::kCancelled ? FinishReason::kCancelled : FinishReason::kError,
           std::unexpected(std::move(error)));
}

void Generation::discard_guesses() {
    if (session_.size() > n_certain_) session_.truncate(n_certain_);
}

// Guesses go behind the last token when that is the only one to be evaluated.
void Generation::add_guesses() {
    if (options_.drafter == nullptr || !decoding_ || session_.n_pending() != 1) return;
    int64_t n = std::min(options_.max_draft, session_.context() - session_.size() - 1);
    if (options_.max_new_tokens >= 0) n = std::min(n, options_.max_new_tokens - stats_.n_generated - 1);
    if (n <= 0) return;
    auto guesses = options_.drafter->draft(session_.tokens(), session_.stream_position(), n);
    if (!guesses) return fail_with(std::move(guesses).error());
    auto known = guesses->first(std::min(guesses->size(), size_t(n)));
    if (known.empty()) return;
    session_.checkpoint();
    // Guesses that are no tokens of this model are as good as none.
    if (session_.append(known)) stats_.n_drafted += int64_t(known.size());
}

// Makes sure that one more token will fit. Returns: false when it cannot.
bool Generation::make_context() {
    if (session_.size() < session_.context()) return true;
    if (!options_.shift_context || session_.size() - options_.n_keep < 2) return false;
    session_.shift(options_.n_keep);
    n_certain_ = session_.size();
    ++stats_.n_shifts;
    return true;
}

bool Generation::prepare(StepItem& item) {
    if (finished()) return false;
    if (options_.cancel != nullptr && options_.cancel->load(std::memory_order_relaxed)) {
        fail_with({ErrorCode::kCancelled, fmt::format("generation: cancelled after {} tokens", stats_.n_generated)});
        return false;
    }
    if (!make_context()) {
        finish(FinishReason::kContextFull);
        return false;
    }
    first_row_ = true;
    guess_was_wrong_ = false;
    if (session_.n_pending() == 0 && !session_.logits().empty()) {
        // Somebody has evaluated the prompt already, and its logits are still there.
        std::vector<float> logits(session_.logits().begin(), session_.logits().end());
        receive(session_.size() - 1, logits);
        return false;
    }
    add_guesses();
    if (finished()) return false;
    item = StepItem{.session = &session_, .logits_from = n_certain_ - 1, .cancel = options_.cancel, .status = {}};
    return true;
}

void Generation::receive(int64_t position, std::span<const float> logits) {
    if (finished() || guess_was_wrong_ || position != n_certain_ - 1) return;
    if (!decoding_) {
        stats_.n_reused += session_.n_reused() - n_reused_before_;
        session_.checkpoint();  // so that another answer to the same prompt need not read it again
        decoding_ = true;
    }
    if (first_row_) ++stats_.n_passes;
    first_row_ = false;

    if (options_.on_logits) options_.on_logits(position, logits);
    const auto history = session_.tokens().first(size_t(n_certain_));
    const uint64_t stream_position = session_.stream_position() - uint64_t(session_.size() - n_certain_);
    std::span<const uint32_t> mask;
    if (options_.constraint != nullptr) mask = options_.constraint->mask();
    auto token = sampler_.sample(logits, history, stream_position, mask);
    if (!token) return fail_with(std::move(token).error());

    if (session_.size() > n_certain_) {
        if (session_.tokens()[size_t(n_certain_)] == *token) {
            ++stats_.n_accepted;
        } else {
            guess_was_wrong_ = true;
            session_.truncate(n_certain_);
        }
    }
    if (session_.size() == n_certain_) {
        if (Status added = session_.append(*token); !added) return fail_with(std::move(added).error());
    }
    ++n_certain_;
    add_token(*token, logits);
}

void Generation::add_token(int32_t token, std::span<const float> logits) {
    ++stats_.n_generated;
    GeneratedToken& added = ready_.emplace_back();
    added.token = token;
    added.is_stop = std::ranges::find(options_.stop_tokens, token) != options_.stop_tokens.end();
    if (options_.n_logprobs >= 0) added.logprob = token_logprob(logits, token, engine_.kernels());
    if (options_.n_logprobs > 0) added.top = top_logprobs(logits, options_.n_logprobs, engine_.kernels());
    if (options_.constraint != nullptr) options_.constraint->accept(token);
    if (added.is_stop) {
        finish(FinishReason::kStopToken);
    } else if (options_.max_new_tokens >= 0 && stats_.n_generated >= options_.max_new_tokens) {
        finish(FinishReason::kMaxTokens);
    }
}

Status Scheduler::step(std::span<Generation* const> generations, const std::atomic<bool>* cancel) {
    // Decodes first, each in its turn the first of them; then prompts, first come first served.
    order_.clear();
    for (Generation* generation : generations)
        if (generation->decoding_) order_.push_back(generation);
    if (!order_.empty()) std::ranges::rotate(order_, order_.begin() + std::ptrdiff_t(turn_++ % order_.size()));
    for (Generation* generation : generations)
        if (!generation->decoding_) order_.push_back(generation);

    items_.clear();
    stepped_.clear();
    for (Generation* generation : order_) {
        StepItem item;
        if (!generation->prepare(item)) continue;
        items_.push_back(std::move(item));
        stepped_.push_back(generation);
    }
    if (items_.empty()) return {};
    auto receive = [&](size_t i, int64_t position, std::span<const float> logits) {
        stepped_[i]->receive(position, logits);
    };
    LogitsSink sink = receive;
    Status status = engine_.step(items_, &sink, cancel);
    for (size_t i = 0; i < items_.size(); ++i) {
        if (status && !items_[i].status) stepped_[i]->fail_with(std::move(items_[i].status).error());
        stepped_[i]->discard_guesses();
    }
    return status;
}

Result<std::optional<GeneratedToken>> next_token(Engine& engine, Generation& generation,
                                                 const std::atomic<bool>* cancel) {
    Scheduler scheduler(engine);
    Generation* const one = &generation;
    while (true) {
        if (auto token = generation.take()) return token;
        if (generation.finished()) {
            if (!generation.status()) return std::unexpected(generation.status().error());
            return std::nullopt;
        }
        STERNA_CHECK(scheduler.step({&one, 1}, cancel));
    }
}

}  // namespace sterna
