// sterna bench: prefill and decode speed beside the machine's limits (docs/bench.md).
#include <algorithm>
#include <cmath>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "common.h"
#include "engine/engine.h"
#include "machine.h"

namespace sterna {

namespace {

struct Options {
    std::string model, kv = "f16";
    std::vector<int64_t> prompts = {512}, depths = {0};
    std::vector<int> threads;
    int64_t n_decode = 64;
    int rounds = 5;
    bool json = false;
};

struct Spread {
    double median = 0, min = 0, max = 0;
};

Spread spread_of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    size_t n = values.size();
    double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return {median, values.front(), values.back()};
}

struct Row {
    std::string test;  // "prefill 512", "decode 64 @ 0"
    int threads = 0;
    Spread tokens_per_second;
    double share = 0;  // of the machine's limit
    const char* limit = "";
};

// Speed does not depend on which tokens these are; a fixed sequence keeps runs alike.
std::vector<int32_t> some_tokens(int64_t n, int64_t vocab_size) {
    std::vector<int32_t> tokens;
    uint64_t state = 1;
    for (int64_t i = 0; i < n; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        tokens.push_back(int32_t((state >> 33) % uint64_t(vocab_size)));
    }
    return tokens;
}

// Bytes of weights that one decoded token reads: everything but the rows of an untied embedding.
double decode_bytes(const Model& model) {
    const Weights& weights = model.weights();
    double bytes = double(model.weight_bytes());
    if (!weights.output.weight.empty()) bytes -= double(weights.token_embedding.bytes());
    return bytes;
}

// Multiply-adds per token in the layers' matrices, two operations each; the output matrix runs for one token of a prompt only.
double prefill_operations(const Model& model) {
    double parameters = 0;
    auto add = [&](const PackedMatrix& matrix) { parameters += double(matrix.n_rows()) * double(matrix.n_cols()); };
    for (const LayerWeights& layer : model.weights().layers)
        for (const Linear* linear :
             {&layer.q, &layer.k, &layer.v, &layer.qkv, &layer.attn_output, &layer.gate, &layer.up, &layer.down})
            add(linear->weight);
    return 2 * parameters;
}

Result<double> time_prefill(Engine& engine, std::span<const int32_t> tokens) {
    auto session = engine.open_session();
    STERNA_CHECK(session->append(tokens));
    const double start = now_seconds();
    STERNA_CHECK(engine.evaluate(*session));
    return double(tokens.size()) / (now_seconds() - start);
}

Result<double> time_decode(Engine& engine, Session& session, int64_t depth, std::span<const int32_t> tokens) {
    session.truncate(depth);
    const double start = now_seconds();
    for (int32_t token : tokens) {
        STERNA_CHECK(session.append(token));
        STERNA_CHECK(engine.evaluate(session));
    }
    return double(tokens.size()) / (now_seconds() - start);
}

struct Limits {
    double bandwidth = 0, int8_peak = 0;
};

Status bench_threads(const Options& options, OpenModel& open, int n_threads, std::vector<Row>& rows, Limits& limits) {
    ThreadPool pool(n_threads);
    EngineOptions engine_options;
    const int64_t longest =
        std::max(*std::max_element(options.prompts.begin(), options.prompts.end()),
                 *std::max_element(options.depths.begin(), options.depths.end()) + options.n_decode);
    engine_options.context = longest + 1;
    engine_options.kv_kind = options.kv == "q8_0" ? kernels::KvKind::kQ8_0 : kernels::KvKind::kF16;
    engine_options.share_prefixes = false;
    engine_options.n_sequences = 2;
    STERNA_TRY(engine, Engine::create(*open.model, pool, engine_options));
    limits.bandwidth = measure_read_bandwidth(pool);
    limits.int8_peak = measure_int8_peak(pool, engine->kernels().name);
    const int64_t vocab_size = engine->vocab_size();

    for (int64_t n : options.prompts) {
        if (n <= 0) continue;
        auto tokens = some_tokens(n, vocab_size);
        std::vector<double> speeds;
        for (int round = 0; round <= options.rounds; ++round) {
            STERNA_TRY(speed, time_prefill(*engine, tokens));
            if (round > 0) speeds.push_back(speed);  // the first one warms up
        }
        Row row{fmt::format("prefill {}", n), n_threads, spread_of(speeds), 0, "int8 peak"};
        if (limits.int8_peak > 0)
            row.share = row.tokens_per_second.median * prefill_operations(*open.model) / limits.int8_peak;
        rows.push_back(row);
    }
    for (int64_t depth : options.depths) {
        if (options.n_decode <= 0) break;
        auto session = engine->open_session();
        auto tokens = some_tokens(depth + options.n_decode, vocab_size);
        STERNA_CHECK(session->append(std::span(tokens).first(size_t(depth))));
        if (depth > 0) STERNA_CHECK(engine->evaluate(*session));
        std::vector<double> speeds;
        for (int round = 0; round <= options.rounds; ++round) {
            STERNA_TRY(speed, time_decode(*engine, *session, depth, std::span(tokens).subspan(size_t(depth))));
            if (round > 0) speeds.push_back(speed);
        }
        Row row{fmt::format("decode {} @ {}", options.n_decode, depth), n_threads, spread_of(speeds), 0,
                "read bandwidth"};
        row.share = row.tokens_per_second.median * decode_bytes(*open.model) / limits.bandwidth;
        rows.push_back(row);
    }
    return {};
}

Result<int> bench(Options options) {
    if (options.threads.empty()) options.threads = {default_threads()};
    STERNA_TRY(open, open_model(options.model, *std::max_element(options.threads.begin(), options.threads.end())));
    if (open.model->is_embedding_model())
        return fail(ErrorCode::kUnsupported, "{}: an embedding model; bench measures models that generate",
                    options.model);
    using Json = nlohmann::ordered_json;
    Json results = Json::array();
    if (!options.json)
        std::printf("%s: %s, %s of weights, kernels %s, loaded in %.2f s\n", options.model.c_str(),
                    open.model->config().architecture.c_str(), human_bytes(double(open.model->weight_bytes())).c_str(),
                    kernels::active().name, open.load_seconds);
    for (int n_threads : options.threads) {
        std::vector<Row> rows;
        Limits limits;
        STERNA_CHECK(bench_threads(options, open, n_threads, rows, limits));
        if (!options.json)
            std::printf("\n%d thread%s: reads %.1f GB/s, int8 peak %.2f TOPS\n", n_threads, n_threads == 1 ? "" : "s",
                        limits.bandwidth / 1e9, limits.int8_peak / 1e12);
        for (const Row& row : rows) {
            const Spread& speed = row.tokens_per_second;
            if (!options.json)
                std::printf("  %-18s %9.2f tokens/s  (%.2f .. %.2f)  %3.0f %% of the %s\n", row.test.c_str(),
                            speed.median, speed.min, speed.max, row.share * 100, row.limit);
            results.push_back({{"test", row.test},
                               {"threads", row.threads},
                               {"tokens_per_second", speed.median},
                               {"min", speed.min},
                               {"max", speed.max},
                               {"share", row.share},
                               {"limit", row.limit},
                               {"read_bytes_per_second", limits.bandwidth},
                               {"int8_operations_per_second", limits.int8_peak}});
        }
    }
    if (options.json)
        std::printf("%s\n", Json{{"model", options.model},
                                 {"architecture", open.model->config().architecture},
                                 {"weight_bytes", open.model->weight_bytes()},
                                 {"decode_bytes", decode_bytes(*open.model)},
                                 {"kernels", kernels::active().name},
                                 {"load_seconds", open.load_seconds},
                                 {"kv", options.kv},
                                 {"results", results}}
                                .dump(2)
                                .c_str());
    return 0;
}

}  // namespace

void add_bench(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("bench", "Prefill and decode speed, beside the machine's limits");
    sub->add_option("model", options->model, "a GGUF file")->required();
    sub->add_option("-p,--prompt", options->prompts, "prompt lengths")
        ->delimiter(',')
        ->check(CLI::Range(int64_t(0), int64_t(1) << 20))
        ->capture_default_str();
    sub->add_option("-n,--predict", options->n_decode, "tokens to decode")
        ->check(CLI::Range(int64_t(0), int64_t(1) << 20))
        ->capture_default_str();
    sub->add_option("-d,--depth", options->depths, "context depths at which decoding starts")
        ->delimiter(',')
        ->check(CLI::Range(int64_t(0), int64_t(1) << 20))
        ->capture_default_str();
    sub->add_option("-t,--threads", options->threads, "numbers of threads (default: all cores)")
        ->delimiter(',')
        ->check(CLI::Range(1, 1024));
    sub->add_option("-r,--rounds", options->rounds, "rounds; medians are shown")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    sub->add_option("--kv", options->kv, "how the cache is stored")->check(CLI::IsMember({"f16", "q8_0"}));
    sub->add_flag("--json", options->json, "print JSON");
    sub->callback([options, &command] { command = [options] { return bench(*options); }; });
}

}  // namespace sterna
