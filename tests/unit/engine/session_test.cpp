#include "engine/session.h"

#include "tiny_model.h"

namespace sterna {
namespace {

TEST(Session, SaysWhatDoesNotFit) {
    Bench bench;
    auto session = bench.engine->open_session();
    auto status = session->append(bench.tokens(300));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kLimit);
    EXPECT_EQ(status.error().message, "prompt has 300 tokens, the context holds 256");
    EXPECT_EQ(session->size(), 0);
    EXPECT_TRUE(session->append(bench.tokens(256)));
    status = session->append(1);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "session: 256 tokens and 1 more were wanted, the context holds 256");
    const int32_t vocab_size = int32_t(bench.model.config().vocab_size);
    for (int32_t token : {-1, vocab_size, INT32_MAX, INT32_MIN}) {
        auto other = bench.engine->open_session();
        EXPECT_FALSE(other->append(token));
        EXPECT_EQ(other->size(), 0);
    }
}

TEST(Session, NoTokensIsAnError) {
    Bench bench;
    auto session = bench.engine->open_session();
    auto status = bench.engine->evaluate(*session);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "session: no tokens, expected at least one (a begin token for an empty text)");
    EXPECT_FALSE(Generation::create(*bench.engine, *session, {}));
}

TEST(Session, TruncatedAndChangedIsAsIfNeverThere) {
    Bench bench;
    const auto tokens = bench.tokens(100);
    auto session = bench.session_with(tokens);
    auto whole = bench.logits(*session);
    for (int64_t n : {99, 96, 64, 63, 33, 32, 1}) {
        session->truncate(n);
        EXPECT_EQ(session->n_evaluated(), std::min<int64_t>(n, session->n_evaluated()));
        EXPECT_EQ(bench.logits(*session), bench.cold_logits(std::span(tokens).first(size_t(n)))) << n;
        ASSERT_TRUE(session->append(std::span(tokens).subspan(size_t(n))));
        EXPECT_EQ(bench.logits(*session), whole) << n;
    }
    auto other = bench.tokens(80, 9);
    std::copy(tokens.begin(), tokens.begin() + 40, other.begin());
    ASSERT_TRUE(session->set_tokens(other));
    EXPECT_EQ(session->n_evaluated(), 40);
    EXPECT_EQ(bench.logits(*session), bench.cold_logits(other));
    // The same tokens again: nothing to do, and the logits are still there.
    ASSERT_TRUE(session->set_tokens(other));
    EXPECT_EQ(session->n_pending(), 0);
    EXPECT_FALSE(session->logits().empty());
}

TEST(Session, ForksAreIndependent) {
    Bench bench;
    const auto tokens = bench.tokens(45);
    auto session = bench.session_with(tokens);
    bench.logits(*session);
    auto fork = session->fork();
    EXPECT_EQ(std::vector(fork->logits().begin(), fork->logits().end()),
              std::vector(session->logits().begin(), session->logits().end()));
    const int64_t before = bench.engine->cache().usage().referenced;
    auto left = bench.tokens(20, 5), right = bench.tokens(20, 6);
    ASSERT_TRUE(session->append(left));
    ASSERT_TRUE(fork->append(right));
    StepItem items[2] = {{.session = session.get(), .status = {}}, {.session = fork.get(), .status = {}}};
    ASSERT_TRUE(bench.engine->step(items));
    EXPECT_GT(bench.engine->cache().usage().referenced, before);
    auto with = [&](const std::vector<int32_t>& end) {
        auto all = tokens;
        all.insert(all.end(), end.begin(), end.end());
        return all;
    };
    EXPECT_EQ(bench.logits(*session), bench.cold_logits(with(left)));
    EXPECT_EQ(bench.logits(*fork), bench.cold_logits(with(right)));
}

TEST(Session, FindsWhatOthersComputed) {
    Bench bench;
    const auto tokens = bench.tokens(110);
    auto first = bench.session_with(tokens);
    auto expected = bench.logits(*first);
    auto second = bench.session_with(tokens);
    EXPECT_EQ(bench.logits(*second), expected);
    EXPECT_EQ(second->n_reused(), 96);
    // Shared pages are held once.
    EXPECT_EQ(bench.engine->cache().usage().referenced, 3 + 2);
    first.reset();
    second.reset();
    EXPECT_EQ(bench.engine->cache().usage().referenced, 0);
    auto third = bench.session_with(tokens);
    EXPECT_EQ(bench.logits(*third), expected);
    EXPECT_EQ(third->n_reused(), 96);
    // A whole number of pages: the last token is computed for its logits, in a page of its own.
    auto fourth = bench.session_with(std::span(tokens).first(96));
    EXPECT_EQ(bench.logits(*fourth), bench.cold_logits(std::span(tokens).first(96)));
    EXPECT_EQ(fourth->n_reused(), 64);

    EngineOptions alone = Bench::small_options();
    alone.share_prefixes = false;
    Bench other(alone);
    auto a = other.session_with(tokens), b = other.session_with(tokens);
    EXPECT_EQ(other.logits(*a), other.logits(*b));
    EXPECT_EQ(b->n_reused(), 0);
}

TEST(Session, TwoThatComputeTheSameAtOnceEndUpSharing) {
    Bench bench;
    const auto tokens = bench.tokens(70);
    auto a = bench.session_with(tokens), b = bench.session_with(tokens);
    StepItem items[2] = {{.session = a.get(), .status = {}}, {.session = b.get(), .status = {}}};
    ASSERT_TRUE(bench.engine->step(items));
    EXPECT_EQ(bench.engine->cache().usage().referenced, 2 + 2);
    EXPECT_EQ(bench.logits(*a), bench.logits(*b));
}

TEST(Session, ShiftComputesAnew) {
    Bench bench;
    const auto tokens = bench.tokens(200);
    auto session = bench.session_with(tokens);
    bench.logits(*session);
    session->shift(20);
    std::vector<int32_t> kept(tokens.begin(), tokens.begin() + 20);
    kept.insert(kept.end(), tokens.begin() + 110, tokens.end());
    EXPECT_EQ(std::vector(session->tokens().begin(), session->tokens().end()), kept);
    EXPECT_EQ(session->n_evaluated(), 20);
    EXPECT_EQ(session->stream_position(), 200u);
    EXPECT_EQ(bench.logits(*session), bench.cold_logits(kept));
}

TEST(Engine, PagesRunOutForOneAndTheOthersGoOn) {
    EngineOptions options = Bench::small_options();
    options.n_sequences = 1;  // 9 pages
    options.share_prefixes = false;
    Bench bench(options);
    auto a = bench.session_with(bench.tokens(200, 1));  // 7 pages
    bench.logits(*a);
    auto b = bench.session_with(bench.tokens(150, 2));
    ASSERT_TRUE(a->append(3));
    StepItem items[2] = {{.session = b.get(), .status = {}}, {.session = a.get(), .status = {}}};
    ASSERT_TRUE(bench.engine->step(items));
    ASSERT_FALSE(items[0].status);
    EXPECT_EQ(items[0].status.error().code, ErrorCode::kLimit);
    EXPECT_TRUE(items[1].done);
    a.reset();
    EXPECT_EQ(bench.logits(*b), bench.cold_logits(bench.tokens(150, 2)));
}

TEST(Engine, LogitsOfEveryPositionWhateverTheChunks) {
    Bench bench;
    const auto tokens = bench.tokens(90);
    std::vector<std::vector<float>> expected;
    {
        auto session = bench.session_with(tokens);
        auto status = bench.engine->evaluate(*session, 0, [&](size_t, int64_t position, std::span<const float> logits) {
            EXPECT_EQ(position, int64_t(expected.size()));
            expected.emplace_back(logits.begin(), logits.end());
        });
        ASSERT_TRUE(status) << status.error().message;
        ASSERT_EQ(expected.size(), 90u);
    }
    EngineOptions tight = Bench::small_options();
    tight.chunk = 13;
    tight.max_output_bytes = 4 * 5 * bench.model.config().vocab_size;
    Bench other(tight);
    auto session = other.session_with(tokens);
    ASSERT_TRUE(other.engine->evaluate(*session));  // evaluated already: the wanted positions are computed again
    int64_t next = 30;
    auto status = other.engine->evaluate(*session, 30, [&](size_t, int64_t position, std::span<const float> logits) {
        ASSERT_EQ(position, next);
        ASSERT_TRUE(std::ranges::equal(logits, expected[size_t(next)])) << position;
        ++next;
    });
    EXPECT_TRUE(status);
    EXPECT_EQ(next, 90);
    EXPECT_FALSE(other.engine->evaluate(*session, 90, [](size_t, int64_t, std::span<const float>) {}));
}

// One token over several chunks of positions, which the workers share out.
TEST(Engine, LongContextsHaveTheSameBitsWithMoreThreads) {
    for (const char* name : {"llama", "gemma3", "gpt-oss"}) {
        EngineOptions options = Bench::small_options();
        options.context = 2048;
        std::vector<std::vector<float>> first;
        for (int n_threads : {1, 2, 5}) {
            Bench bench(options, n_threads, name);
            const auto tokens = bench.tokens(1100);
            auto session = bench.session_with(std::span(tokens).first(1090));
            std::vector<std::vector<float>> found = {bench.logits(*session)};
            for (size_t i = 1090; i < tokens.size(); ++i) {
                ASSERT_TRUE(session->append(tokens[i]));
                found.push_back(bench.logits(*session));
            }
            if (first.empty()) first = found;
            EXPECT_TRUE(found == first) << name << " with " << n_threads << " threads";
        }
    }
}

TEST(Engine, CancelledStepsCanBeRepeated) {
    Bench bench;
    const auto tokens = bench.tokens(60);
    auto session = bench.session_with(tokens);
    std::atomic<bool> cancel = true;
    auto status = bench.engine->evaluate(*session, &cancel);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
    StepItem item{.session = session.get(), .cancel = &cancel, .status = {}};
    ASSERT_TRUE(bench.engine->step({&item, 1}));
    ASSERT_FALSE(item.status);
    EXPECT_EQ(item.status.error().code, ErrorCode::kCancelled);
    cancel = false;
    EXPECT_EQ(bench.logits(*session), bench.cold_logits(tokens));
}

TEST(Engine, RefusesWhatMakesNoSense) {
    ThreadPool pool(1);
    auto message = [&](auto change) {
        EngineOptions options;
        change(options);
        auto engine = Engine::create(tiny_model(), pool, options);
        return engine ? std::string("accepted") : engine.error().message;
    };
    EXPECT_EQ(message([](auto& o) { o.context = -1; }), "context: -1 positions, expected 1 to 16777216");
    EXPECT_EQ(message([](auto& o) { o.n_sequences = 0; }), "sequences: 0, expected 1 to 65536");
    EXPECT_EQ(message([](auto& o) { o.chunk = 0; }), "chunk: 0 tokens, expected at least 1");
    EXPECT_EQ(message([](auto& o) { o.context = 1 << 24, o.n_sequences = 1 << 16; }).substr(0, 6), "cache:");
    EXPECT_EQ(message([](auto&) {}), "accepted");
}

TEST(Engine, Embeds) {
    Bench bench(EngineOptions{}, 1, "bert");
    const auto tokens = bench.tokens(40);
    auto vector = bench.engine->embed(tokens);
    ASSERT_TRUE(vector) << vector.error().message;
    EXPECT_EQ(int64_t(vector->size()), bench.model.config().width);
    double sum = 0;
    for (float v : *vector) sum += double(v) * double(v);
    EXPECT_NEAR(sum, 1.0, 1e-5);
    EXPECT_EQ(*bench.engine->embed(tokens), *vector);
    EXPECT_NE(*bench.engine->embed(std::span(tokens).first(39)), *vector);
    EXPECT_FALSE(bench.engine->embed({}));
    auto session = bench.session_with(tokens);
    EXPECT_FALSE(bench.engine->evaluate(*session));
    EXPECT_FALSE(Bench().engine->embed(tokens));
}

}  // namespace
}  // namespace sterna
