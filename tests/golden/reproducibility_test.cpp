// The promise of docs/numerics.md as one test: the logits of every position of a text, its prompt and what is generated
// after it, are the same bits on every ISA, with any number of threads, any chunks, alone or among strangers, cold, on
// reused or loaded caches, and with speculation; and they have the SHA-256 committed in reproducibility.txt.
//
// All combinations are 1,152 for each model with four ISAs and both caches. Every run takes a share of them, another one
// for each model, and together these cover all pairs of settings many times; STERNA_FULL_MATRIX=1 takes all (minutes). A
// missing or wrong digest prints the line that the file should hold.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/sha256.h"
#include "engine/random.h"
#include "engine/state_file.h"
#include "golden/quantized_model.h"
#include "kernels/tables.h"
#include "support/golden_models.h"
#include "unit/engine/tiny_model.h"

namespace sterna {
namespace {

constexpr int64_t kPrompt = 100, kGenerated = 12;

enum class Mode { kCold, kReuseOwn, kReuseOther, kSaveLoad, kLookup, kDraft, kCount };

struct Setting {
    const kernels::Kernels* kernels;
    kernels::KvKind kv;
    int n_threads;
    int64_t chunk;
    bool crowd;
    Mode mode;
};

std::string describe(const Setting& s) {
    const char* modes[] = {"cold", "own prefix", "other's prefix", "save and load", "look-up", "draft"};
    return fmt::format("{}, kv {}, {} threads, chunk {}, {}, {}", s.kernels->name, int(s.kv), s.n_threads, s.chunk,
                       s.crowd ? "among 8" : "alone", modes[int(s.mode)]);
}

ThreadPool& pool_of(int n_threads) {
    static std::map<int, std::unique_ptr<ThreadPool>> pools;
    auto& pool = pools[n_threads];
    if (!pool) pool = std::make_unique<ThreadPool>(n_threads);
    return *pool;
}

// rows[p]: the logits at position p; empty where this run did not compute them.
using Rows = std::vector<std::vector<float>>;

class Runner {
public:
    Runner(const Model& model, const Setting& setting) : model_(model), setting_(setting) {}

    Rows run() {
        rows_.assign(size_t(kPrompt + kGenerated), {});
        prompt_ = some_tokens(size_t(kPrompt), 1, model_.config().vocab_size);
        engine_ = make_engine();
        open_session();
        open_strangers();
        if (ok_) evaluate_prompt();
        if (ok_) generate();
        return std::move(rows_);
    }

private:
    std::unique_ptr<Engine> make_engine() {
        EngineOptions options;
        options.context = 128;
        options.n_sequences = 10;
        options.kv_kind = setting_.kv;
        options.chunk = setting_.chunk;
        options.kernels = setting_.kernels;
        auto engine = Engine::create(model_, pool_of(setting_.n_threads), options);
        EXPECT_TRUE(engine) << engine.error().message;
        return std::move(*engine);
    }

    void check(const Status& status) {
        EXPECT_TRUE(status) << status.error().message;
        ok_ = ok_ && status;
    }

    std::unique_ptr<Session> session_with(std::span<const int32_t> tokens) {
        auto session = engine_->open_session();
        check(session->append(tokens));
        return session;
    }

    void open_session() {
        const auto prompt = std::span<const int32_t>(prompt_);
        if (setting_.mode == Mode::kReuseOwn) {
            session_ = session_with(prompt.first(70));
            check(engine_->evaluate(*session_));
            session_->checkpoint();
            check(session_->append(some_tokens(30, 2, model_.config().vocab_size)));
            check(engine_->evaluate(*session_));
            check(session_->set_tokens(prompt));
            EXPECT_GE(session_->n_evaluated(), 70);
        } else if (setting_.mode == Mode::kReuseOther) {
            auto other = session_with(prompt);
            check(engine_->evaluate(*other));
            session_ = session_with(prompt);
        } else if (setting_.mode == Mode::kSaveLoad) {
            auto before = session_with(prompt.first(50));
            check(engine_->evaluate(*before));
            auto bytes = save_session(*before);
            before.reset();
            engine_ = make_engine();
            auto loaded = load_session(*engine_, bytes);
            ASSERT_TRUE(loaded) << loaded.error().message;
            session_ = std::move(loaded->session);
            check(session_->append(prompt.subspan(50)));
        } else {
            session_ = session_with(prompt);
        }
    }

    // Of all lengths, and each goes after another number of steps: steps hold 8 sequences, and every smaller number.
    void open_strangers() {
        if (!setting_.crowd) return;
        for (uint32_t i = 0; i < 7; ++i) {
            auto tokens = some_tokens(i == 6 ? 43 : 2 + 2 * i, 100 + i, model_.config().vocab_size);
            if (i == 6) std::copy(prompt_.begin(), prompt_.begin() + 40, tokens.begin());  // not quite a stranger
            strangers_.push_back(session_with(tokens));
        }
    }

    void keep(int64_t position, std::span<const float> logits) {
        auto& row = rows_[size_t(position)];
        if (!row.empty()) {
            EXPECT_EQ(std::memcmp(row.data(), logits.data(), logits.size_bytes()), 0)
                << "position " << position << ", twice";
        }
        row.assign(logits.begin(), logits.end());
    }

    void evaluate_prompt() {
        std::vector<StepItem> items;
        int64_t from = session_->n_evaluated();
        if (setting_.mode == Mode::kReuseOther) from = 64;
        items.push_back({.session = session_.get(), .logits_from = from, .status = {}});
        for (auto& stranger : strangers_) items.push_back({.session = stranger.get(), .status = {}});
        auto keep_row = [&](size_t item, int64_t position, std::span<const float> logits) {
            if (item == 0) keep(position, logits);
        };
        LogitsSink sink = keep_row;
        auto done = [](const StepItem& item) { return item.done; };
        for (int steps = 0; !std::ranges::all_of(items, done); ++steps) {
            ASSERT_LT(steps, 2000);
            check(engine_->step(items, &sink));
            for (const StepItem& item : items) check(item.status);
            if (!ok_) return;
        }
        if (setting_.mode == Mode::kReuseOther) {
            // A recurrent state is no page that others could take over.
            EXPECT_EQ(session_->n_reused(), model_.config().recurrent_bytes.empty() ? 64 : 0);
        }
    }

    void generate() {
        std::unique_ptr<Engine> draft_engine;
        std::vector<std::unique_ptr<Generation>> generations;
        for (size_t i = 0; i <= strangers_.size(); ++i) {
            GenerationOptions options;
            options.max_new_tokens = i == 0 ? kGenerated : int64_t(i) + 1;
            options.sampler.seed = 17 + i;
            options.sampler.temperature = 0.9f;
            if (setting_.mode == Mode::kLookup) options.drafter = make_lookup_drafter({.max_ngram = 2, .min_ngram = 1});
            if (i == 0)
                options.on_logits = [&](int64_t position, std::span<const float> logits) { keep(position, logits); };
            if (i == 0 && setting_.mode == Mode::kDraft) {
                draft_engine = make_engine();
                DraftModelParams params{.max_tokens = 5, .sampler = options.sampler};
                params.sampler.temperature = 1.4f;  // right at some places, wrong at others
                options.drafter = *make_model_drafter(*draft_engine, model_.config().vocab_size, params);
            }
            Session& session = i == 0 ? *session_ : *strangers_[i - 1];
            auto generation = Generation::create(*engine_, session, std::move(options));
            ASSERT_TRUE(generation) << generation.error().message;
            generations.push_back(std::move(*generation));
        }
        std::vector<Generation*> running;
        for (auto& generation : generations) running.push_back(generation.get());
        Scheduler scheduler(*engine_);
        auto finished = [](const Generation* generation) { return generation->finished(); };
        for (int steps = 0; !std::ranges::all_of(running, finished); ++steps) {
            ASSERT_LT(steps, 2000);
            check(scheduler.step(running));
            if (!ok_) return;
        }
        EXPECT_EQ(running[0]->reason(), FinishReason::kMaxTokens);
        // The logits after the last token too, so that every mode ends at the same place.
        auto last = [&](size_t, int64_t position, std::span<const float> logits) { keep(position, logits); };
        check(engine_->evaluate(*session_, session_->size() - 1, last));
    }

    const Model& model_;
    Setting setting_;
    bool ok_ = true;
    Rows rows_;
    std::vector<int32_t> prompt_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Session> session_;
    std::vector<std::unique_ptr<Session>> strangers_;
};

void expect_committed(const std::string& key, const std::string& digest) {
    std::ifstream file(source_path("tests/golden/reproducibility.txt"));
    std::string name, hash;
    while (file >> name >> hash)
        if (name == key) {
            EXPECT_EQ(digest, hash) << "tests/golden/reproducibility.txt would say: " << key << " " << digest;
            return;
        }
    ADD_FAILURE() << "tests/golden/reproducibility.txt lacks: " << key << " " << digest;
}

std::vector<Setting> all_settings(kernels::KvKind kv) {
    std::vector<Setting> settings;
    for (int isa = 0; isa < kernels::all().n; ++isa)
        for (int n_threads : {1, 2, 5})
            for (int64_t chunk : {512, 1, 7, 64})
                for (bool crowd : {false, true})
                    for (int mode = 0; mode < int(Mode::kCount); ++mode)
                        settings.push_back({kernels::all().tables[isa], kv, n_threads, chunk, crowd, Mode(mode)});
    return settings;
}

// Whether a thinned matrix holds setting i. The hash scatters, so that no axis is left out.
bool is_chosen(size_t i, uint32_t one_in, const std::string& key) {
    if (std::getenv("STERNA_FULL_MATRIX") != nullptr) return true;
#if !defined(__x86_64__)
    one_in = one_in * 2 + 11;  // mostly under an emulator
#endif
    uint32_t salt = 0;
    for (char c : key) salt = salt * 31 + uint8_t(c);
    return philox4x32({uint32_t(i), salt, 0, 0}, {0, 0})[0] % one_in == 0;
}

// Whether a run in this setting has the bits of `expected` wherever it computed logits.
bool has_bits(const Model& model, const std::string& name, const Setting& setting, const Rows& expected) {
    SCOPED_TRACE(name + ": " + describe(setting));
    const Rows rows = Runner(model, setting).run();
    bool all_equal = true;
    for (size_t p = 0; p < rows.size(); ++p) {
        const bool computed = !rows[p].empty();
        const bool equal = computed
                               ? std::memcmp(rows[p].data(), expected[p].data(), rows[p].size() * sizeof(float)) == 0
                               : p < size_t(kPrompt);
        EXPECT_TRUE(equal) << "position " << p << (computed ? "" : ": no logits");
        all_equal = all_equal && equal;
    }
    return all_equal;
}

void check_matrix(const Model& model, const std::string& name, uint32_t one_in) {
    for (auto [kv, kv_name] : {std::pair{kernels::KvKind::kF16, "f16"}, std::pair{kernels::KvKind::kQ8_0, "q8_0"}}) {
        if (StateLayout::make(model.config(), kv).kv_kind != kv) continue;  // heads too small for q8_0
        const std::string key = name + "-" + kv_name;
        const auto settings = all_settings(kv);
        const Rows expected = Runner(model, settings[0]).run();
        Sha256 hash;
        for (const auto& row : expected) {
            ASSERT_EQ(row.size(), size_t(model.config().vocab_size));
            hash.update(row.data(), row.size() * sizeof(float));
        }
        expect_committed(key, hex_text(hash.finish()));
        int n_run = 0;
        for (size_t i = 1; i < settings.size(); ++i) {
            if (i + 1 < settings.size() && !is_chosen(i, one_in, key)) continue;
            ++n_run;
            if (!has_bits(model, name, settings[i], expected)) return;
        }
        EXPECT_GT(n_run, 0);
    }
}

class Reproducibility : public testing::TestWithParam<const char*> {};

TEST_P(Reproducibility, SameBitsInEverySetting) {
    const std::string name = GetParam();
    check_matrix(tiny_model(name), name, name == "llama" ? 6 : 24);
}

INSTANTIATE_TEST_SUITE_P(Models, Reproducibility, testing::ValuesIn(kGoldenModels), [](const auto& parameter) {
    std::string name = parameter.param;
    std::ranges::replace(name, '-', '_');
    return name;
});

TEST(ReproducibilityOf, EveryQuantizedType) {
    auto model = QuantizedModel().make(pool_of(1));
    ASSERT_TRUE(model);
    ASSERT_EQ(StateLayout::make(model->config(), kernels::KvKind::kQ8_0).kv_kind, kernels::KvKind::kQ8_0);
    check_matrix(*model, "quantized", 72);
}

#ifdef STERNA_HAVE_EMULATED_AVX512
// What no CPU here may have, AVX-512 and AMX: one run of every type and both caches.
TEST(ReproducibilityOf, EmulatedTables) {
    auto model = QuantizedModel().make(pool_of(1));
    ASSERT_TRUE(model);
    const auto tables = kernels::tested_tables();
    for (kernels::KvKind kv : {kernels::KvKind::kF16, kernels::KvKind::kQ8_0}) {
        const Rows expected = Runner(*model, all_settings(kv)[0]).run();
        for (size_t i = size_t(kernels::all().n); i < tables.size(); ++i)
            EXPECT_TRUE(has_bits(*model, "quantized", {tables[i], kv, 2, 64, false, Mode::kLookup}, expected));
    }
}
#endif

TEST(ReproducibilityOf, TrainedModel) {
    auto path = shared_testdata("models/llama2c/stories260Ktok512.gguf");
    if (!path) GTEST_SKIP() << "no shared test data";
    auto model = load_model_file(path->string(), pool_of(1));
    ASSERT_TRUE(model);
    check_matrix(*model, "stories260K", 48);
}

TEST(ReproducibilityOf, Embeddings) {
    const Model& model = tiny_model("bert");
    const auto tokens = some_tokens(30, 1, model.config().vocab_size);
    std::vector<float> expected;
    for (int isa = 0; isa < kernels::all().n; ++isa) {
        for (int n_threads : {1, 2, 5}) {
            EngineOptions options;
            options.kernels = kernels::all().tables[isa];
            auto engine = Engine::create(model, pool_of(n_threads), options);
            ASSERT_TRUE(engine) << engine.error().message;
            auto vector = (*engine)->embed(tokens);
            ASSERT_TRUE(vector) << vector.error().message;
            if (expected.empty()) expected = *vector;
            EXPECT_EQ(std::memcmp(vector->data(), expected.data(), expected.size() * sizeof(float)), 0)
                << options.kernels->name;
        }
    }
    Sha256 hash;
    hash.update(expected.data(), expected.size() * sizeof(float));
    expect_committed("bert-embedding", hex_text(hash.finish()));
}

}  // namespace
}  // namespace sterna
