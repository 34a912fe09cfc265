#include "engine/speculation.h"

#include <algorithm>

#include "engine/engine.h"

namespace sterna {

namespace {

class LookupDrafter final : public Drafter {
public:
    explicit LookupDrafter(const LookupParams& params) : params_(params) {}

    Result<std::span<const int32_t>> draft(std::span<const int32_t> history, uint64_t, int64_t max_tokens) override {
        guess_.clear();
        const int64_t n_max = std::min(max_tokens, params_.max_tokens);
        if (int64_t(history.size()) > params_.max_history) history = history.last(size_t(params_.max_history));
        const int64_t n = int64_t(history.size());
        int64_t best = 0, best_end = 0;
        // `end`: one past the earlier occurrence, so that history[end] is what followed.
        for (int64_t end = n - 1; end >= params_.min_ngram && best < params_.max_ngram; --end) {
            int64_t length = 0;
            const int64_t longest = std::min(params_.max_ngram, end);
            while (length < longest && history[size_t(end - 1 - length)] == history[size_t(n - 1 - length)]) ++length;
            if (length > best) best = length, best_end = end;
        }
        if (best >= std::max<int64_t>(1, params_.min_ngram) && n_max > 0) {
            auto followed = history.subspan(size_t(best_end));
            followed = followed.first(std::min(followed.size(), size_t(n_max)));
            guess_.assign(followed.begin(), followed.end());
        }
        return std::span<const int32_t>(guess_);
    }

private:
    LookupParams params_;
    std::vector<int32_t> guess_;
};

class ModelDrafter final : public Drafter {
public:
    ModelDrafter(Engine& engine, Sampler sampler, int64_t max_tokens)
        : engine_(engine), session_(engine.open_session()), sampler_(std::move(sampler)), max_tokens_(max_tokens) {}

    Result<std::span<const int32_t>> draft(std::span<const int32_t> history, uint64_t position,
                                           int64_t max_tokens) override {
        guess_.clear();
        int64_t n = std::min(max_tokens, max_tokens_);
        n = std::min(n, engine_.context() - int64_t(history.size()));  // a context too short for this text: no idea
        if (n <= 0 || history.empty()) return std::span<const int32_t>(guess_);
        STERNA_CHECK(session_->set_tokens(history));
        while (int64_t(guess_.size()) < n) {
            STERNA_CHECK(engine_.evaluate(*session_));
            if (guess_.empty()) session_->checkpoint();  // the next call goes on from here
            auto token = sampler_.sample(session_->logits(), session_->tokens(), position + guess_.size());
            if (!token) break;
            guess_.push_back(*token);
            if (int64_t(guess_.size()) < n) STERNA_CHECK(session_->append(*token));
        }
        return std::span<const int32_t>(guess_);
    }

private:
    Engine& engine_;
    std::unique_ptr<Session> session_;
    Sampler sampler_;
    int64_t max_tokens_;
    std::vector<int32_t> guess_;
};

}  // namespace

std::unique_ptr<Drafter> make_lookup_drafter(const LookupParams& params) {
    return std::make_unique<LookupDrafter>(params);
}

Result<std::unique_ptr<Drafter>> make_model_drafter(Engine& draft_engine, int64_t target_vocab_size,
                                                    const DraftModelParams& params) {
    if (draft_engine.vocab_size() != target_vocab_size)
        return fail(ErrorCode::kBadArgument, "draft model: a vocabulary of {} tokens, expected the model's {}",
                    draft_engine.vocab_size(), target_vocab_size);
    STERNA_TRY(sampler, Sampler::create(params.sampler, target_vocab_size, draft_engine.kernels()));
    return std::unique_ptr<Drafter>(
        std::make_unique<ModelDrafter>(draft_engine, std::move(sampler), params.max_tokens));
}

}  // namespace sterna
