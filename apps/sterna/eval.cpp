// sterna eval: how many answers of a chat model are right (docs/eval.md).
#include <map>
#include <memory>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "answer.h"
#include "commands.h"
#include "common.h"
#include "engine/engine.h"
#include "eval/runner.h"
#include "hub_model.h"
#include "progress.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
    std::string model, cases, failures, kv = "f16", only, chat_template;
    int64_t limit = 0, together = 16, max_tokens = 256;
    int threads = default_threads();
    bool json = false, references = false, offline = false, quiet = false;
};

// The tallies by measure in the order of the file, and the wrong answers as JSON lines.
struct Report {
    std::vector<std::string> order;
    std::map<std::string, eval::Tally> tallies;
    std::map<size_t, std::string> failures;  // by number of the case: the file does not depend on what ended first

    void expect(const std::vector<eval::Case>& cases) {
        for (const eval::Case& test : cases)
            if (tallies.try_emplace(test.measure).second) order.push_back(test.measure);
    }

    void add(size_t number, const eval::Outcome& outcome) {
        tallies[outcome.test->measure].add(outcome);
        for (size_t i = 0; i < outcome.answers.size(); ++i) {
            const eval::Answer& answer = outcome.answers[i];
            if (answer.fault.empty()) continue;
            const eval::Turn& turn = outcome.test->turns[i];
            Json line{{"id", outcome.test->id}, {"measure", outcome.test->measure},      {"turn", i + 1},
                      {"fault", answer.fault},  {"asked", turn.messages.back().content}, {"answer", answer.text}};
            if (turn.has_reference) line["reference"] = turn.reference;
            if (turn.messages.front().role == "system") line["system"] = turn.messages.front().content;
            failures[number] += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
        }
    }
};

Json share_json(int64_t right, int64_t n) {
    const eval::Share share = eval::wilson_share(right, n);
    return {{"right", right}, {"of", n}, {"share", share.share}, {"low", share.low}, {"high", share.high}};
}

void print_row(const std::string& name, int64_t right, int64_t n) {
    const eval::Share share = eval::wilson_share(right, n);
    std::printf("%-24s %6lld %6lld   %5.1f %%   %5.1f to %5.1f %%\n", name.c_str(), static_cast<long long>(right),
                static_cast<long long>(n), 100 * share.share, 100 * share.low, 100 * share.high);
}

void print_report(const Options& options, const Report& report, size_t n_cases, const eval::RunnerStats& stats,
                  double seconds) {
    if (options.json) {
        Json measures = Json::array();
        for (const std::string& name : report.order) {
            const eval::Tally& tally = report.tallies.at(name);
            Json row{{"measure", name}};
            row.update(share_json(tally.right, tally.n));
            if (tally.n_whole) row["whole"] = share_json(tally.right_whole, tally.n_whole);
            measures.push_back(std::move(row));
        }
        const Json out{{"model", options.references ? Json(nullptr) : Json(options.model)},
                       {"file", options.cases},
                       {"cases", n_cases},
                       {"measures", measures},
                       {"prompt_tokens", stats.n_prompt},
                       {"generated_tokens", stats.n_generated},
                       {"seconds", seconds}};
        std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return;
    }
    std::printf("%-24s %6s %6s   %7s   %s\n", "measure", "right", "of", "", "95 % interval");
    for (const std::string& name : report.order) {
        const eval::Tally& tally = report.tallies.at(name);
        print_row(name, tally.right, tally.n);
        if (tally.n_whole) print_row("  without any mistake", tally.right_whole, tally.n_whole);
    }
}

Result<std::vector<eval::Case>> read_cases(const Options& options) {
    STERNA_TRY(file, MappedFile::open(options.cases));
    const Bytes bytes = file.bytes();
    STERNA_TRY(cases, eval::parse_cases({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, options.cases));
    if (!options.only.empty()) {
        std::erase_if(cases, [&](const eval::Case& test) { return test.measure != options.only; });
        if (cases.empty()) return fail(ErrorCode::kNotFound, "{}: no case measures {}", options.cases, options.only);
    }
    if (options.limit > 0) {
        std::map<std::string, int64_t> seen;
        std::erase_if(cases, [&](const eval::Case& test) { return ++seen[test.measure] > options.limit; });
    }
    return cases;
}

Result<eval::RunnerStats> answer(const Options& options, const std::vector<eval::Case>& cases, Report& report) {
    STERNA_TRY(path, fetch_model(options.model, options.offline));
    STERNA_TRY(open, open_model(path, options.threads));
    if (open.model->is_embedding_model())
        return fail(ErrorCode::kUnsupported, "{}: an embedding model; it gives vectors, not answers", options.model);
    auto chat = choose_template(options.chat_template, open);
    if (!chat) return fail(chat.error().code, "{}: {}", options.model, chat.error().message);
    EngineOptions engine_options;
    engine_options.n_sequences = options.together;
    engine_options.kv_kind = options.kv == "q8_0" ? kernels::KvKind::kQ8_0 : kernels::KvKind::kF16;
    STERNA_TRY(engine, Engine::create(*open.model, *open.pool, engine_options));
    cancel_on_interrupt();
    const bool shows = !options.quiet && ::isatty(STDERR_FILENO);
    size_t n_done = 0;
    auto done = [&](const eval::Outcome& outcome) {
        report.add(size_t(outcome.test - cases.data()), outcome);
        ++n_done;
        if (shows)
            std::fprintf(stderr, "\r%zu of %zu tests%s", n_done, cases.size(), n_done == cases.size() ? "\n" : "");
    };
    eval::RunnerOptions runner;
    runner.together = options.together;
    runner.max_answer_tokens = options.max_tokens;
    runner.cancel = &cancelled;
    return eval::answer_cases(*engine, *open.tokenizer, *chat, cases, runner, done);
}

Result<int> evaluate(const Options& options) {
    if (options.references && !options.model.empty())
        return fail(ErrorCode::kBadArgument, "--references: needs no model");
    if (!options.references && options.model.empty())
        return fail(ErrorCode::kBadArgument, "no model: name one, as in: sterna eval m.gguf --cases cases.jsonl");
    STERNA_TRY(cases, read_cases(options));
    Report report;
    report.expect(cases);
    eval::RunnerStats stats;
    const double start = now_seconds();
    if (options.references) {
        auto judged = [&](const eval::Outcome& outcome) { report.add(size_t(outcome.test - cases.data()), outcome); };
        STERNA_CHECK(eval::judge_references(cases, judged));
    } else {
        STERNA_TRY(answered, answer(options, cases, report));
        stats = answered;
    }
    const double seconds = now_seconds() - start;
    if (!options.failures.empty()) {
        std::string text;
        for (const auto& [number, lines] : report.failures) text += lines;
        STERNA_CHECK(
            write_file_atomically(options.failures, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    }
    print_report(options, report, cases.size(), stats, seconds);
    return 0;
}

}  // namespace

void add_eval(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub =
        app.add_subcommand("eval", "How many answers of a chat model are right: tests with checked answers");
    sub->add_option("model", options->model, "GGUF file, or a model of a hub");
    sub->add_option("--cases", options->cases, "tests, one JSON object per line (docs/eval.md)")->required();
    sub->add_option("--measure", options->only, "only tests of this measure");
    sub->add_option("--limit", options->limit, "at most so many tests of each measure")->check(CLI::PositiveNumber);
    sub->add_option("--failures", options->failures, "write the wrong answers to this file, one JSON object per line");
    sub->add_flag("--references", options->references, "judge the tests' own reference answers instead of a model's");
    sub->add_option("--together", options->together, "tests that are answered in one batch; changes no answer")
        ->check(CLI::Range(1, 1024));
    sub->add_option("--max-tokens", options->max_tokens, "of one answer; a longer one is wrong")
        ->check(CLI::Range(1, 65536));
    sub->add_option("--chat-template", options->chat_template,
                    "a built-in family or a file, instead of the model's own");
    sub->add_option("--kv", options->kv, "type of the KV cache")->check(CLI::IsMember({"f16", "q8_0"}));
    sub->add_option("-t,--threads", options->threads, "threads")->check(CLI::Range(1, 1024));
    sub->add_flag("--json", options->json, "print the result as JSON");
    sub->add_flag("--offline", options->offline, "use only models that are already here");
    sub->add_flag("-q,--quiet", options->quiet, "no progress");
    sub->callback([options, &command] { command = [options] { return evaluate(*options); }; });
}

}  // namespace sterna
