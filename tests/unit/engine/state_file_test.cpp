#include "engine/state_file.h"

#include "base/sha256.h"
#include "tiny_model.h"

namespace sterna {
namespace {

SamplerParams warm() {
    SamplerParams params;
    params.seed = 3;
    params.temperature = 1.1f;
    return params;
}

TEST(StateFile, GoesOnAsIfItHadNeverStopped) {
    Bench bench;
    const SamplerParams params = warm();
    GenerationOptions first, second, whole;
    first.sampler = second.sampler = whole.sampler = params;
    first.max_new_tokens = 9, second.max_new_tokens = 21, whole.max_new_tokens = 30;
    auto uninterrupted = bench.session_with(bench.tokens(70));
    auto expected = bench.generate(*uninterrupted, std::move(whole));

    auto session = bench.session_with(bench.tokens(70));
    auto tokens = bench.generate(*session, std::move(first));
    auto bytes = save_session(*session, &params);
    EXPECT_EQ(save_session(*session, &params), bytes);

    Bench elsewhere(Bench::small_options(), 2);
    auto loaded = load_session(*elsewhere.engine, bytes);
    ASSERT_TRUE(loaded) << loaded.error().message;
    ASSERT_TRUE(loaded->sampler);
    EXPECT_EQ(encode_sampler_params(*loaded->sampler), encode_sampler_params(params));
    EXPECT_EQ(loaded->session->n_evaluated(), session->n_evaluated());
    EXPECT_EQ(save_session(*loaded->session, &params), bytes);
    auto rest = elsewhere.generate(*loaded->session, std::move(second));
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    EXPECT_EQ(tokens, expected);
}

TEST(StateFile, KeepsLogitsAndEmptySessions) {
    Bench bench;
    auto session = bench.session_with(bench.tokens(33));
    auto logits = bench.logits(*session);
    auto loaded = load_session(*bench.engine, save_session(*session));
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_FALSE(loaded->sampler);
    EXPECT_TRUE(std::ranges::equal(loaded->session->logits(), logits));
    auto empty = load_session(*bench.engine, save_session(*bench.engine->open_session()));
    ASSERT_TRUE(empty);
    EXPECT_EQ(empty->session->size(), 0);
}

TEST(StateFile, ALoadedCacheServesNobodyElse) {
    Bench bench;
    const auto tokens = bench.tokens(70);
    auto bytes = [&] {
        Bench other;
        auto session = other.session_with(tokens);
        other.logits(*session);
        return save_session(*session);
    }();
    auto loaded = load_session(*bench.engine, bytes);
    ASSERT_TRUE(loaded);
    ASSERT_TRUE(loaded->session->append(bench.tokens(60, 8)));
    bench.logits(*loaded->session);
    auto session = bench.session_with(tokens);
    bench.logits(*session);
    EXPECT_EQ(session->n_reused(), 0);
}

TEST(StateFile, RefusesOthersByName) {
    Bench bench;
    auto session = bench.session_with(bench.tokens(40));
    bench.logits(*session);
    auto bytes = save_session(*session);
    auto message = [&](Engine& engine) {
        auto loaded = load_session(engine, bytes, "chat.state");
        return loaded ? std::string("accepted") : loaded.error().message;
    };
    EngineOptions quantized = Bench::small_options();
    quantized.kv_kind = kernels::KvKind::kF32;
    EXPECT_EQ(message(*Bench(quantized).engine), "chat.state: its cache is of type f16, this session's of type f32");
    EngineOptions small = Bench::small_options();
    small.context = 32;
    EXPECT_EQ(message(*Bench(small).engine), "chat.state: 40 tokens, the context holds 32");
    EXPECT_EQ(message(*Bench(Bench::small_options(), 1, "qwen2").engine).substr(0, 29),
              "chat.state: saved with model ");
    EXPECT_NE(model_id(tiny_model("llama")), model_id(tiny_model("qwen2")));
    EXPECT_EQ(model_id(tiny_model("llama")), bench.engine->id());
    bytes[0] = 'X';
    EXPECT_EQ(message(*bench.engine), "chat.state: not a saved session of Sterna");
}

TEST(StateFile, SurvivesDamage) {
    EngineOptions options = Bench::small_options();
    Bench bench(options);
    auto session = bench.session_with(bench.tokens(40));
    bench.logits(*session);
    const SamplerParams params = warm();
    const auto bytes = save_session(*session, &params);
    for (size_t n = 0; n < bytes.size(); n = n < 400 ? n + 1 : n + 997)
        EXPECT_FALSE(load_session(*bench.engine, Bytes(bytes).first(n))) << n;
    auto longer = bytes;
    longer.push_back(0);
    EXPECT_FALSE(load_session(*bench.engine, longer));
    for (size_t i = 0; i < bytes.size(); i = i < 400 ? i + 1 : i + 501) {
        auto broken = bytes;
        broken[i] ^= 0x81;
        EXPECT_FALSE(load_session(*bench.engine, broken)) << i;
    }
    EXPECT_EQ(bench.engine->cache().usage().referenced, 2);  // nothing was kept by the failures
}

// A forger can mend the checksum; whatever the bytes then say, loading and going on must not crash.
TEST(StateFile, SurvivesForgery) {
    Bench bench;
    auto session = bench.session_with(bench.tokens(40));
    bench.logits(*session);
    const SamplerParams params = warm();
    const auto bytes = save_session(*session, &params);
    int accepted = 0;
    uint32_t x = 1;
    for (int i = 0; i < 300; ++i) {
        auto forged = bytes;
        for (int flips = 0; flips < 3; ++flips) {
            x = x * 1664525u + 1013904223u;
            size_t at = i % 2 == 0 ? (x >> 8) % 400 : (x >> 8) % (forged.size() - 32);
            forged[at] = uint8_t(x >> 16);
        }
        Sha256 hash;
        hash.update(Bytes(forged).first(forged.size() - 32));
        std::ranges::copy(hash.finish(), forged.end() - 32);
        auto loaded = load_session(*bench.engine, forged);
        if (!loaded) continue;
        ++accepted;
        (void)loaded->session->append(1);
        (void)bench.engine->evaluate(*loaded->session);
    }
    EXPECT_GT(accepted, 50);
}

}  // namespace
}  // namespace sterna
