// sterna train: a small model from a recipe and texts (docs/train.md).
#include <cstdio>
#include <memory>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "common.h"
#include "progress.h"
#include "train/training.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
    std::string recipe, output, export_checkpoint;
    int64_t steps = 0;
    int threads = default_threads();
    bool restart = false, only_tokenizer = false, json = false, quiet = false;
};

std::string time_text(double seconds) {
    const int64_t s = int64_t(seconds + 0.5);
    if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
    return fmt::format("{}:{:02}", s / 60, s % 60);
}

// One line that is redrawn on a terminal; elsewhere a plain line at each evaluation and each twentieth of the way.
class TrainingLine {
public:
    explicit TrainingLine(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}
    ~TrainingLine() { end(); }

    void show(const train::TrainingProgress& progress) {
        if (quiet_) return;
        const double now = now_seconds();
        rate_ = rate_ == 0 ? progress.tokens_per_second : rate_ + 0.05 * (progress.tokens_per_second - rate_);
        if (progress.held_out_loss) held_out_ = fmt::format(", held out {:.4f}", *progress.held_out_loss);
        const bool last = progress.step == progress.n_steps;
        const int64_t twentieth = progress.step * 20 / progress.n_steps;
        if (terminal_ ? !last && now - drawn_at_ < 0.1
                      : !last && !progress.held_out_loss && twentieth == shown_twentieth_)
            return;
        drawn_at_ = now;
        shown_twentieth_ = twentieth;
        std::fprintf(stderr, "%sstep %lld/%lld  loss %.4f%s  lr %.2e  %.0f tokens/s  %s left%s",
                     terminal_ ? "\r\033[K" : "", static_cast<long long>(progress.step),
                     static_cast<long long>(progress.n_steps), progress.smooth_loss, held_out_.c_str(),
                     progress.learning_rate, rate_, time_text(progress.seconds_left).c_str(), terminal_ ? "" : "\n");
        std::fflush(stderr);
        open_ = terminal_;
    }

    // Before anything else is written.
    void end() {
        if (open_) std::fputc('\n', stderr);
        open_ = false;
    }

private:
    bool quiet_, terminal_, open_ = false;
    double drawn_at_ = 0, rate_ = 0;
    int64_t shown_twentieth_ = -1;
    std::string held_out_;
};

Json result_json(const train::TrainingResult& result) {
    Json json = {{"finished", result.finished},
                 {"folder", result.folder},
                 {"checkpoint", result.checkpoint},
                 {"log", result.log},
                 {"plot", result.plot},
                 {"tokenizer", result.tokenizer},
                 {"weights", result.n_parameters},
                 {"step", result.step},
                 {"steps", result.n_steps},
                 {"tokens", result.n_tokens},
                 {"loss", result.loss},
                 {"seconds", result.seconds}};
    if (result.held_out_loss) json["held_out_loss"] = *result.held_out_loss;
    json["files"] = Json::array();
    for (const train::ExportedFile& file : result.exported.files)
        json["files"].push_back(
            {{"path", file.path}, {"type", file.type}, {"bytes", file.n_bytes}, {"sha256", file.sha256}});
    return json;
}

void print_result(const train::TrainingResult& result, const Options& options) {
    if (options.json) {
        std::printf("%s\n", result_json(result).dump(2, ' ', false, Json::error_handler_t::replace).c_str());
        return;
    }
    if (options.only_tokenizer) std::printf("%s\n", result.tokenizer.c_str());
    for (const train::ExportedFile& file : result.exported.files) std::printf("%s\n", file.path.c_str());
    if (options.quiet) return;
    for (const train::ExportedFile& file : result.exported.files)
        if (file.type != "safetensors")
            note(fmt::format("{}: {}, {}", file.path, human_bytes(double(file.n_bytes)), file.type));
    if (!options.export_checkpoint.empty() || options.only_tokenizer) return;
    note(fmt::format("{} of {} steps, {:.1f} M tokens in {}{}", result.step, result.n_steps,
                     double(result.n_tokens) / 1e6, time_text(result.seconds),
                     result.held_out_loss ? fmt::format(", held-out loss {:.4f}", *result.held_out_loss) : ""));
    note(fmt::format("log: {}, plot: {}, checkpoint: {}", result.log, result.plot, result.checkpoint));
    if (!result.finished) note("stopped; the same command goes on");
}

Result<int> run_train(const Options& options) {
    cancel_on_interrupt();
    STERNA_TRY(recipe, train::read_recipe(options.recipe));
    ThreadPool pool(options.threads);
    train::TrainingOptions how;
    how.folder = options.output;
    how.n_steps = options.steps;
    how.restart = options.restart;
    how.only_tokenizer = options.only_tokenizer;
    how.cancel = &cancelled;
    const bool quiet = options.quiet;
    TrainingLine line(quiet);
    how.on_step = [&](const train::TrainingProgress& progress) { line.show(progress); };
    how.on_note = [&](const std::string& text) {
        line.end();
        if (!quiet) note(text);
    };
    how.on_sample = [&](int64_t, const std::string& prompt, const std::string& text) {
        line.end();
        if (!quiet) std::fprintf(stderr, "  %s -> %s\n", json_quote(prompt).c_str(), json_quote(text).c_str());
    };
    auto result = options.export_checkpoint.empty()
                      ? train::run_training(recipe, how, pool)
                      : train::export_checkpoint(recipe, options.export_checkpoint, how, pool);
    line.end();
    if (!result) return std::unexpected(result.error());
    for (const std::string& text : result->exported.notes) note(text);
    print_result(*result, options);
    return result->finished ? 0 : 130;
}

}  // namespace

void add_train(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("train", "A small model from a recipe and texts");
    sub->add_option("recipe", options->recipe, "a TOML file")->required();
    sub->add_option("-o,--output", options->output, "the folder to write to, instead of the recipe's");
    sub->add_option("--steps", options->steps, "instead of the recipe's")->check(CLI::Range(1, 1 << 30));
    sub->add_option("--export", options->export_checkpoint, "write the files of this checkpoint, train nothing");
    sub->add_flag("--only-tokenizer", options->only_tokenizer, "make the tokenizer and stop");
    sub->add_flag("--restart", options->restart, "do not go on with the checkpoint that is there");
    sub->add_option("-t,--threads", options->threads, "threads")->check(CLI::Range(1, 1024));
    sub->add_flag("--json", options->json, "print the result as JSON");
    sub->add_flag("-q,--quiet", options->quiet, "no progress");
    sub->callback([options, &command] { command = [options] { return run_train(*options); }; });
}

}  // namespace sterna
