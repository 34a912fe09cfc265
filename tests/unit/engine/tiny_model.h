// A real model for the engine's tests: tests/golden/models/NAME.gguf, loaded once.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>

#include "engine/engine.h"
#include "engine/generation.h"
#include "format/gguf.h"
#include "support/testdata.h"

namespace sterna {

inline std::unique_ptr<Model> load_model_file(const std::string& path, ThreadPool& pool) {
    std::ifstream stream(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    auto file = GgufFile::from_bytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, path);
    if (!file) {
        ADD_FAILURE() << file.error().message;
        return nullptr;
    }
    LoadOptions options;
    options.pool = &pool;
    auto model = Model::load(**file, **file, options);
    if (!model) {
        ADD_FAILURE() << model.error().message;
        return nullptr;
    }
    return std::move(*model);
}

inline const Model& tiny_model(const std::string& name = "llama") {
    static std::map<std::string, std::unique_ptr<Model>> models;
    static ThreadPool pool(1);
    auto& model = models[name];
    if (!model) model = load_model_file(source_path("tests/golden/models/" + name + ".gguf").string(), pool);
    if (!model) std::abort();
    return *model;
}

// Pseudo-random tokens, some of them repeated so that look-up finds something.
inline std::vector<int32_t> some_tokens(size_t n, uint32_t seed, int64_t vocab_size) {
    std::vector<int32_t> tokens;
    uint32_t x = seed * 2654435761u + 1;
    while (tokens.size() < n) {
        x = x * 1664525u + 1013904223u;
        size_t back = 1 + (x >> 8) % 24;
        if ((x >> 28) < 5 && tokens.size() > back + 4) {
            for (size_t i = 0; i < 4 && tokens.size() < n; ++i) tokens.push_back(tokens[tokens.size() - back]);
        } else {
            tokens.push_back(int32_t((x >> 8) % uint32_t(vocab_size)));
        }
    }
    return tokens;
}

struct Bench {
    explicit Bench(EngineOptions options = small_options(), int n_threads = 1, const std::string& name = "llama")
        : model(tiny_model(name)), pool(n_threads) {
        auto made = Engine::create(model, pool, options);
        if (!made) {
            ADD_FAILURE() << made.error().message;
            std::abort();
        }
        engine = std::move(*made);
    }
    static EngineOptions small_options() {
        EngineOptions options;
        options.context = 256;
        options.n_sequences = 8;
        return options;
    }
    std::vector<int32_t> tokens(size_t n, uint32_t seed = 1) const {
        return some_tokens(n, seed, model.config().vocab_size);
    }

    std::unique_ptr<Session> session_with(std::span<const int32_t> content) {
        auto session = engine->open_session();
        auto status = session->append(content);
        EXPECT_TRUE(status);
        return session;
    }
    // The last token's logits, computed.
    std::vector<float> logits(Session& session) {
        auto status = engine->evaluate(session);
        EXPECT_TRUE(status) << status.error().message;
        return {session.logits().begin(), session.logits().end()};
    }
    // The same, cold: in an engine of its own.
    std::vector<float> cold_logits(std::span<const int32_t> content) const {
        Bench other(engine->options());
        auto session = other.session_with(content);
        return other.logits(*session);
    }
    std::vector<int32_t> generate(Session& session, GenerationOptions options, GenerationStats* stats = nullptr) {
        auto generation = Generation::create(*engine, session, std::move(options));
        EXPECT_TRUE(generation) << generation.error().message;
        std::vector<int32_t> out;
        while (true) {
            auto token = next_token(*engine, **generation);
            EXPECT_TRUE(token) << token.error().message;
            if (!token || !*token) break;
            out.push_back((*token)->token);
        }
        if (stats != nullptr) *stats = (*generation)->stats();
        return out;
    }

    const Model& model;
    ThreadPool pool;
    std::unique_ptr<Engine> engine;
};

}  // namespace sterna
