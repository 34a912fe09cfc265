#include "engine/generation.h"

#include <ranges>

#include "engine/speculation.h"
#include "tiny_model.h"

namespace sterna {
namespace {

GenerationOptions options_for(float temperature, int64_t n = 40) {
    GenerationOptions options;
    options.sampler.temperature = temperature;
    options.sampler.seed = 11;
    options.sampler.repeat_penalty = 1.05f;
    options.max_new_tokens = n;
    return options;
}

TEST(Generation, EqualsSamplingByHand) {
    Bench bench;
    for (float temperature : {0.0f, 0.9f}) {
        auto session = bench.session_with(bench.tokens(50));
        auto got = bench.generate(*session, options_for(temperature, 12));
        auto tokens = bench.tokens(50);
        auto sampler = *Sampler::create(options_for(temperature).sampler, bench.model.config().vocab_size);
        for (int i = 0; i < 12; ++i)
            tokens.push_back(*sampler.sample(bench.cold_logits(tokens), tokens, tokens.size()));
        EXPECT_EQ(got, std::vector(tokens.begin() + 50, tokens.end()));
        EXPECT_TRUE(std::ranges::equal(session->tokens(), tokens));
    }
}

TEST(Generation, StopsAndGoesOnLater) {
    Bench bench;
    auto whole = bench.session_with(bench.tokens(50));
    auto expected = bench.generate(*whole, options_for(0.8f, 30));
    auto session = bench.session_with(bench.tokens(50));
    std::vector<int32_t> got;
    for (int64_t n : {1, 2, 10, 17}) {
        auto part = bench.generate(*session, options_for(0.8f, n));
        got.insert(got.end(), part.begin(), part.end());
    }
    EXPECT_EQ(got, expected);
    // A stop token is handed out, marked, and kept.
    auto again = bench.session_with(bench.tokens(50));
    GenerationOptions options = options_for(0.8f, 30);
    options.stop_tokens = {expected[4]};
    auto generation = *Generation::create(*bench.engine, *again, std::move(options));
    int n = 0;
    bool stopped = false;
    while (auto token = *next_token(*bench.engine, *generation)) {
        ++n;
        stopped = token->is_stop;
    }
    EXPECT_TRUE(stopped);
    EXPECT_LE(n, 5);
    EXPECT_EQ(generation->reason(), FinishReason::kStopToken);
    EXPECT_STREQ(finish_reason_name(generation->reason()), "stop");
    EXPECT_EQ(again->size(), 50 + n);
}

TEST(Generation, SpeculationChangesNothing) {
    Bench bench;
    Bench draft(Bench::small_options(), 1, "llama");
    for (float temperature : {0.0f, 0.7f, 1.5f}) {
        auto plain = bench.session_with(bench.tokens(60));
        auto expected = bench.generate(*plain, options_for(temperature));
        for (int kind = 0; kind < 4; ++kind) {
            GenerationOptions options = options_for(temperature);
            DraftModelParams params;
            params.sampler = options.sampler;
            if (kind == 0) options.drafter = make_lookup_drafter({.max_ngram = 3, .min_ngram = 1});
            if (kind == 1)
                options.drafter = *make_model_drafter(*draft.engine, bench.model.config().vocab_size, params);
            params.sampler.temperature = 2.0f;  // a guesser that is often wrong
            params.max_tokens = 16;
            if (kind >= 2)
                options.drafter = *make_model_drafter(*draft.engine, bench.model.config().vocab_size, params);
            if (kind == 3) options.max_draft = 1;
            auto session = bench.session_with(bench.tokens(60));
            GenerationStats stats;
            EXPECT_EQ(bench.generate(*session, std::move(options), &stats), expected)
                << "kind " << kind << " at " << temperature;
            EXPECT_TRUE(std::ranges::equal(session->tokens(), plain->tokens()));
            EXPECT_EQ(stats.n_generated, 40);
            EXPECT_LE(stats.n_accepted, stats.n_drafted);
            if (kind == 1) {  // the same model with the same keys is always right
                EXPECT_EQ(stats.n_accepted, stats.n_drafted);
                EXPECT_LT(stats.n_passes, 10);
            }
        }
    }
}

// Guesses of any kind: none, out of the vocabulary, more than were asked for.
class WildDrafter final : public Drafter {
public:
    explicit WildDrafter(int64_t vocab_size) : vocab_size_(vocab_size) {}
    Result<std::span<const int32_t>> draft(std::span<const int32_t>, uint64_t, int64_t) override {
        guess_.clear();
        x_ = x_ * 1664525u + 1013904223u;
        for (uint32_t i = 0; i < (x_ >> 8) % 40; ++i)
            guess_.push_back(int32_t((x_ >> 4) % uint32_t(vocab_size_ + 2)) - 1);
        return std::span<const int32_t>(guess_);
    }

private:
    int64_t vocab_size_;
    uint32_t x_ = 5;
    std::vector<int32_t> guess_;
};

TEST(Generation, WildGuessesChangeNothing) {
    Bench bench;
    auto plain = bench.session_with(bench.tokens(60));
    auto expected = bench.generate(*plain, options_for(1.0f));
    GenerationOptions options = options_for(1.0f);
    options.drafter = std::make_unique<WildDrafter>(bench.model.config().vocab_size);
    auto session = bench.session_with(bench.tokens(60));
    EXPECT_EQ(bench.generate(*session, std::move(options)), expected);
    EXPECT_EQ(
        make_model_drafter(*bench.engine, 7, {}).error().message,
        fmt::format("draft model: a vocabulary of {} tokens, expected the model's 7", bench.model.config().vocab_size));
}

TEST(Generation, ManyAtOnceAreAsEachAlone) {
    Bench bench;
    std::vector<std::vector<int32_t>> expected;
    for (uint32_t i = 0; i < 6; ++i) {
        auto session = bench.session_with(bench.tokens(20 + 13 * i, i));
        expected.push_back(bench.generate(*session, options_for(0.9f, 10 + i)));
    }
    EngineOptions options = Bench::small_options();
    options.chunk = 24;  // prompts in pieces beside decodes, and not all decodes with guesses fit
    Bench other(options, 2);
    std::vector<std::unique_ptr<Session>> sessions;
    std::vector<std::unique_ptr<Generation>> generations;
    std::vector<Generation*> running;
    for (uint32_t i = 0; i < 6; ++i) {
        sessions.push_back(other.session_with(other.tokens(20 + 13 * i, i)));
        GenerationOptions go = options_for(0.9f, 10 + i);
        if (i % 2 == 1) go.drafter = make_lookup_drafter({.max_ngram = 2, .min_ngram = 1});
        generations.push_back(*Generation::create(*other.engine, *sessions.back(), std::move(go)));
        running.push_back(generations.back().get());
    }
    Scheduler scheduler(*other.engine);
    auto finished = [](const Generation* g) { return g->finished(); };
    for (int steps = 0; !std::ranges::all_of(running, finished); ++steps) {
        ASSERT_LT(steps, 500);
        auto status = scheduler.step(running);
        ASSERT_TRUE(status) << status.error().message;
    }
    for (size_t i = 0; i < 6; ++i) {
        std::vector<int32_t> got;
        while (auto token = generations[i]->take()) got.push_back(token->token);
        EXPECT_EQ(got, expected[i]) << i;
    }
}

TEST(Generation, ContextFullEndsOrShifts) {
    EngineOptions small = Bench::small_options();
    small.context = 64;
    Bench bench(small);
    auto session = bench.session_with(bench.tokens(50));
    auto generation = *Generation::create(*bench.engine, *session, options_for(0.5f, -1));
    int n = 0;
    while (*next_token(*bench.engine, *generation)) ++n;
    EXPECT_EQ(n, 14);
    EXPECT_EQ(session->size(), 64);
    EXPECT_EQ(generation->reason(), FinishReason::kContextFull);

    for (bool speculative : {false, true}) {
        auto other = bench.session_with(bench.tokens(50));
        GenerationOptions options = options_for(0.5f, 60);
        options.shift_context = true;
        options.n_keep = 10;
        if (speculative) options.drafter = make_lookup_drafter({.max_ngram = 2, .min_ngram = 1});
        GenerationStats stats;
        auto tokens = bench.generate(*other, std::move(options), &stats);
        EXPECT_EQ(tokens.size(), 60u);
        EXPECT_EQ(stats.n_shifts, 2);
        EXPECT_LE(other->size(), 64);
        EXPECT_EQ(other->stream_position(), 110u);
        EXPECT_TRUE(std::ranges::equal(other->tokens().first(10), bench.tokens(50) | std::views::take(10)));
        static std::vector<int32_t> plain;
        if (!speculative) plain = tokens;
        EXPECT_EQ(tokens, plain);
    }
}

TEST(Generation, CancelIsItsOwn) {
    Bench bench;
    auto a = bench.session_with(bench.tokens(50)), b = bench.session_with(bench.tokens(40, 2));
    std::atomic<bool> cancel = false;
    GenerationOptions options = options_for(0.8f, 20);
    options.cancel = &cancel;
    auto first = *Generation::create(*bench.engine, *a, std::move(options));
    auto second = *Generation::create(*bench.engine, *b, options_for(0.8f, 20));
    Generation* both[2] = {first.get(), second.get()};
    Scheduler scheduler(*bench.engine);
    while (!second->finished()) {
        ASSERT_TRUE(scheduler.step(both));
        if (first->stats().n_generated == 5) cancel = true;
    }
    EXPECT_EQ(first->reason(), FinishReason::kCancelled);
    EXPECT_EQ(first->stats().n_generated, 5);
    EXPECT_EQ(second->stats().n_generated, 20);
    // The cancelled one goes on as if nothing had been.
    auto rest = bench.generate(*a, options_for(0.8f, 15));
    auto whole = bench.session_with(bench.tokens(50));
    auto expected = bench.generate(*whole, options_for(0.8f, 20));
    EXPECT_TRUE(std::ranges::equal(rest, std::span(expected).subspan(5)));
}

class EvenOnly final : public TokenConstraint {
public:
    explicit EvenOnly(int64_t vocab_size) : mask_(size_t(vocab_size + 31) / 32, 0x55555555u) {}
    std::span<const uint32_t> mask() override { return mask_; }
    void accept(int32_t token) override { accepted.push_back(token); }
    std::vector<int32_t> accepted;

private:
    std::vector<uint32_t> mask_;
};

TEST(Generation, ConstraintSeesEveryTokenOnce) {
    Bench bench;
    std::vector<int32_t> plain;
    for (bool speculative : {false, true}) {
        EvenOnly even(bench.model.config().vocab_size);
        GenerationOptions options = options_for(1.2f, 30);
        options.constraint = &even;
        options.n_logprobs = 2;
        if (speculative) options.drafter = make_lookup_drafter({.max_ngram = 2, .min_ngram = 1});
        auto session = bench.session_with(bench.tokens(40));
        auto tokens = bench.generate(*session, std::move(options));
        EXPECT_EQ(even.accepted, tokens);
        for (int32_t token : tokens) EXPECT_EQ(token % 2, 0);
        if (!speculative) plain = tokens;
        EXPECT_EQ(tokens, plain);
    }
}

TEST(Lookup, GuessesWhatFollowedTheLongestMatch) {
    auto drafter = make_lookup_drafter({.max_ngram = 3, .min_ngram = 2, .max_tokens = 4});
    auto guess = [&](std::vector<int32_t> history, int64_t n = 10) {
        auto tokens = *drafter->draft(history, 0, n);
        return std::vector<int32_t>(tokens.begin(), tokens.end());
    };
    using V = std::vector<int32_t>;
    EXPECT_EQ(guess({1, 2, 3, 4, 5, 6, 7, 1, 2, 3}), (V{4, 5, 6, 7}));
    EXPECT_EQ(guess({1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3}), (V{4, 9, 2, 3}));  // three match before two do
    EXPECT_EQ(guess({1, 2, 8, 1, 2, 9, 1, 2}), (V{9, 1, 2}));              // the latest of equal ones
    EXPECT_EQ(guess({1, 2, 3, 4, 5, 1, 2, 3}, 1), (V{4}));
    EXPECT_EQ(guess({1, 2, 3, 4}), V{});
    EXPECT_EQ(guess({}), V{});
    EXPECT_EQ(guess({7, 7, 7, 7}), (V{7}));
}

}  // namespace
}  // namespace sterna
