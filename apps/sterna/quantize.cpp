// sterna quantize: a GGUF file to smaller types (docs/quantize.md); sterna imatrix: what matters in a model, measured on a
// text.
#include <csignal>
#include <filesystem>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "commands.h"
#include "common.h"
#include "convert/calibration.h"
#include "convert/feedback.h"
#include "convert/gguf_source.h"
#include "convert/importance.h"
#include "convert/model_writer.h"
#include "convert/type_plan.h"
#include "convert/type_search.h"
#include "progress.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
    std::string source, output, type = "q4_k_m", imatrix, calibrate, size, report, output_type, embedding_type;
    std::vector<std::string> tensor_types;
    double bits = 0.0;
    int64_t window = 512, max_windows = 0, max_part_mb = 0;
    int threads = default_threads();
    bool pure = false, no_feedback = false, dry_run = false, afresh = false, json = false, quiet = false;
};

struct ImatrixOptions {
    std::string model, text, output = "imatrix.gguf";
    int64_t window = 512, max_windows = 0;
    int threads = default_threads();
    bool quiet = false;
};

// "1.9GB", "700MB", "1.5GiB", or bytes.
Result<uint64_t> parse_size(const std::string& text) {
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    const std::string unit = CLI::detail::to_lower(end);
    constexpr struct {
        const char* name;
        double factor;
    } kUnits[] = {{"", 1},    {"b", 1},   {"kb", 1e3},     {"mb", 1e6},      {"gb", 1e9},
                  {"m", 1e6}, {"g", 1e9}, {"kib", 1024.0}, {"mib", 1048576}, {"gib", 1073741824}};
    for (const auto& each : kUnits)
        if (unit == each.name && number > 0 && number * each.factor < 1e15) return uint64_t(number * each.factor);
    return fail(ErrorCode::kBadArgument, "--size {}: expected a size like 1.9GB", text);
}

Result<DType> parse_dtype(const std::string& name) {
    const DTypeTraits* traits = dtype_by_name(name);
    if (!traits || !traits->encode) return fail(ErrorCode::kBadArgument, "{}: not a type for weights", name);
    return traits->type;
}

Result<PlanOptions> plan_options(const Options& options) {
    PlanOptions plan;
    plan.pure = options.pure;
    plan.has_imatrix = !options.imatrix.empty() || !options.calibrate.empty();
    if (!options.output_type.empty()) {
        STERNA_TRY(type, parse_dtype(options.output_type));
        plan.output_type = type;
    }
    if (!options.embedding_type.empty()) {
        STERNA_TRY(type, parse_dtype(options.embedding_type));
        plan.embedding_type = type;
    }
    for (const std::string& rule : options.tensor_types) {
        const size_t at = rule.rfind('=');
        if (at == std::string::npos) return fail(ErrorCode::kBadArgument, "--tensor-type {}: expected NAME=TYPE", rule);
        STERNA_TRY(type, parse_dtype(rule.substr(at + 1)));
        plan.overrides.push_back({rule.substr(0, at), type});
    }
    return plan;
}

Result<Calibration> run_calibration(const std::string& model_path, const std::string& text_path, int64_t window,
                                    int64_t max_windows, int threads, bool moments, bool quiet) {
    STERNA_TRY(text, read_text_file(text_path));
    STERNA_TRY(open, open_model(model_path, threads));
    if (open.model->is_embedding_model())
        return fail(ErrorCode::kUnsupported, "{}: calibration takes models that write text", model_path);
    CalibrationOptions options;
    options.window = window;
    options.max_windows = max_windows;
    options.moments = moments;
    if (const uint64_t free = available_memory()) options.max_moment_bytes = free / 2;
    options.dataset = fs::path(text_path).filename().string();
    options.cancel = &cancelled;
    const bool shown = !quiet && isatty(STDERR_FILENO) != 0;
    if (shown)
        options.progress = [](int64_t done, int64_t total) {
            std::fprintf(stderr, "\rcalibration: window %lld of %lld%s", static_cast<long long>(done),
                         static_cast<long long>(total), done == total ? "\n" : "");
        };
    return calibrate(*open.model, *open.tokenizer, *open.pool, text, options);
}

Json report_json(const WriteReport& report, const TypePlan& plan, const FeedbackEncoder* feedback, double seconds) {
    Json out;
    out["files"] = report.paths;
    out["source_bytes"] = report.source_bytes;
    out["file_bytes"] = report.file_bytes;
    out["bits_per_weight"] = plan.bits_per_weight;
    out["seconds"] = seconds;
    out["resumed_tensors"] = report.n_resumed;
    out["tensors"] = Json::array();
    for (const TensorReport& tensor : report.tensors) {
        Json row{{"name", tensor.name},
                 {"from", dtype_traits(tensor.from)->name},
                 {"type", dtype_traits(tensor.type)->name},
                 {"bytes", tensor.n_bytes},
                 {"sha256", tensor.sha256},
                 {"rmse", tensor.rmse},
                 {"relative_error", tensor.relative},
                 {"finite", tensor.finite}};
        if (feedback) {
            if (auto at = feedback->verdicts().find(tensor.name); at != feedback->verdicts().end())
                row["held_out_error"] = {{"plain", at->second.plain}, {"feedback", at->second.feedback}};
        }
        out["tensors"].push_back(std::move(row));
    }
    return out;
}

void print_plan(const GgufSource& source, const TypePlan& plan) {
    for (size_t i = 0; i < plan.types.size(); ++i)
        std::printf("%-40s %-7s -> %s\n", source.tensors()[i].name.c_str(),
                    std::string(dtype_traits(source.tensors()[i].exact)->name).c_str(),
                    std::string(dtype_traits(plan.types[i])->name).c_str());
    std::printf("%s, %.3f bits per weight\n", human_bytes(double(plan.n_bytes)).c_str(), plan.bits_per_weight);
}

void print_report(const WriteReport& report, const TypePlan& plan, const FeedbackEncoder* feedback,
                  const Options& options, double seconds) {
    const Json out = report_json(report, plan, feedback, seconds);
    const std::string text = out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    if (options.json) std::printf("%s", text.c_str());
    if (!options.report.empty()) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
        if (Status written = write_file_atomically(options.report, {bytes, text.size()}); !written)
            note(written.error().message);
    }
    for (const TensorReport& tensor : report.tensors)
        if (!tensor.finite) note(fmt::format("{}: holds infinite values or values that are no numbers", tensor.name));
    if (options.json) return;
    for (const std::string& path : report.paths) std::printf("%s\n", path.c_str());
    if (options.quiet) return;
    note(fmt::format("{} tensors, {} to {} ({:.2f} bits per weight) in {:.1f} s{}", report.tensors.size(),
                     human_bytes(double(report.source_bytes)), human_bytes(double(report.file_bytes)),
                     plan.bits_per_weight, seconds,
                     report.n_resumed > 0 ? fmt::format(" ({} were there already)", report.n_resumed) : ""));
    if (feedback) {
        int64_t used = 0;
        for (const auto& [name, verdict] : feedback->verdicts()) used += verdict.used();
        note(fmt::format("error feedback for {} of {} tensors that could have it", used, feedback->verdicts().size()));
    }
}

// Metadata, the table of tensors, and what aligns these: a little more than there will be.
Result<uint64_t> bytes_beside_tensors(const GgufSource& source) {
    constexpr uint64_t kAddedKeys = 4096, kEntry = 64, kAlignment = 32;
    GgufWriter writer;
    STERNA_CHECK(source.write_metadata(writer));
    STERNA_TRY(metadata, writer.to_bytes());
    uint64_t n = metadata.size() + kAddedKeys;
    for (const SourceTensor& tensor : source.tensors()) n += tensor.name.size() + kEntry + kAlignment;
    return n;
}

Result<TypePlan> make_plan(const GgufSource& source, const Options& options, const Importance* importance) {
    STERNA_TRY(rules, plan_options(options));
    if (options.size.empty() && options.bits <= 0.0) {
        STERNA_TRY(target, need_type_target(options.type));
        return plan_types(source.tensors(), *target, rules);
    }
    TypeSearchOptions search;
    if (!options.size.empty()) {
        STERNA_TRY(parsed, parse_size(options.size));
        STERNA_TRY(beside, bytes_beside_tensors(source));
        search.n_bytes = parsed;
        search.n_beside = beside;
    } else {
        uint64_t n_elements = 0;
        for (const SourceTensor& tensor : source.tensors())
            n_elements += uint64_t(tensor.row_elements()) * uint64_t(tensor.n_rows());
        search.n_bytes = uint64_t(options.bits * double(n_elements) / 8.0);
    }
    search.rules = rules;
    search.importance = importance;
    search.cancel = &cancelled;
    ThreadPool pool(options.threads);
    return search_types(source, pool, search);
}

Result<int> quantize(const Options& options) {
    cancel_on_interrupt();
    const double started = now_seconds();
    STERNA_TRY(source, GgufSource::open(options.source));
    Calibration calibration;
    if (!options.calibrate.empty()) {
        STERNA_TRY(measured, run_calibration(options.source, options.calibrate, options.window, options.max_windows,
                                             options.threads, !options.no_feedback, options.quiet));
        calibration = std::move(measured);
    } else if (!options.imatrix.empty()) {
        STERNA_TRY(read, Importance::read(options.imatrix));
        calibration.importance = std::move(read);
    }
    const Importance& importance = calibration.importance;
    const bool weighted = !importance.entries().empty();
    if (weighted) {
        STERNA_TRY(n_known, importance.check(source->tensors()));
        if (n_known == 0)
            return fail(ErrorCode::kBadArgument, "{}: knows none of the tensors of {}", options.imatrix,
                        options.source);
    }
    STERNA_TRY(plan, make_plan(*source, options, weighted ? &importance : nullptr));
    if (plan.n_fallback > 0 && !options.quiet)
        note(fmt::format("{} matrices are too narrow for their type and get another", plan.n_fallback));
    if (options.dry_run) {
        print_plan(*source, plan);
        return 0;
    }
    ThreadPool pool(options.threads);
    std::unique_ptr<FeedbackEncoder> feedback;
    if (!calibration.moments.empty()) feedback = std::make_unique<FeedbackEncoder>(*source, calibration);
    ProgressLine line(fs::path(options.output).filename().string(), source->source_bytes(),
                      options.quiet || options.json);
    WriteOptions write;
    if (weighted) {
        write.importance = [&](const SourceTensor& tensor) { return importance.find(tensor.name); };
        write.importance_identity = importance.identity();
    }
    write.encoder = feedback.get();
    write.progress = [&](const WriteProgress& progress) { line.update(progress.done_bytes); };
    write.cancel = &cancelled;
    write.max_part_bytes = uint64_t(options.max_part_mb) * 1000000;
    write.resume = !options.afresh;
    STERNA_TRY(report, write_model(*source, plan, options.output, pool, write));
    line.finish();
    print_report(report, plan, feedback.get(), options, now_seconds() - started);
    return 0;
}

Result<int> imatrix(const ImatrixOptions& options) {
    cancel_on_interrupt();
    STERNA_TRY(calibration, run_calibration(options.model, options.text, options.window, options.max_windows,
                                            options.threads, false, options.quiet));
    STERNA_CHECK(calibration.importance.write(options.output));
    std::printf("%s\n", options.output.c_str());
    if (!options.quiet)
        note(fmt::format("{} tensors, {} tokens in {} windows", calibration.importance.entries().size(),
                         calibration.n_tokens, calibration.importance.n_chunks));
    return 0;
}

}  // namespace

void add_quantize(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("quantize", "A GGUF file to a smaller type");
    sub->add_option("source", options->source, "a GGUF file, F16 or larger for the best result")->required();
    sub->add_option("output", options->output, "the file to write")->required();
    auto* type = sub->add_option("--type", options->type, "what it becomes: q8_0, q4_k_m, ...")->capture_default_str();
    auto* size = sub->add_option("--size", options->size, "instead: the best types that fit into this, e.g. 1.9GB");
    auto* bits = sub->add_option("--bpw", options->bits, "instead: the best types of so many bits per weight")
                     ->check(CLI::Range(1.0, 32.0));
    type->excludes(size)->excludes(bits);
    size->excludes(bits);
    auto* imatrix = sub->add_option("--imatrix", options->imatrix, "what matters, from sterna imatrix or llama.cpp");
    sub->add_option("--calibrate", options->calibrate, "a text: measure what matters, and round with error feedback")
        ->excludes(imatrix);
    sub->add_flag("--no-feedback", options->no_feedback, "with --calibrate: plain rounding");
    sub->add_option("-c,--ctx", options->window, "tokens per window of the text")->check(CLI::Range(16, 1 << 20));
    sub->add_option("--chunks", options->max_windows, "only the first N windows");
    sub->add_option("--tensor-type", options->tensor_types, "NAME=TYPE, where * stands for anything; may be repeated");
    sub->add_option("--output-type", options->output_type, "type of output.weight");
    sub->add_option("--embedding-type", options->embedding_type, "type of token_embd.weight");
    sub->add_flag("--pure", options->pure, "the same type for every matrix");
    sub->add_option("--max-part-mb", options->max_part_mb, "split into files of at most so many megabytes");
    sub->add_option("-t,--threads", options->threads, "threads")->check(CLI::Range(1, 1024));
    sub->add_flag("--dry-run", options->dry_run, "print the types, write nothing");
    sub->add_flag("--afresh", options->afresh, "do not go on with an interrupted run");
    sub->add_option("--report", options->report, "write a JSON report: type, hash and error of every tensor");
    sub->add_flag("--json", options->json, "print that report");
    sub->add_flag("-q,--quiet", options->quiet, "no progress");
    sub->callback([options, &command] { command = [options] { return quantize(*options); }; });
}

void add_imatrix(CLI::App& app, Command& command) {
    auto options = std::make_shared<ImatrixOptions>();
    CLI::App* sub = app.add_subcommand("imatrix", "Measure on a text which columns of a model's matrices matter");
    sub->add_option("model", options->model, "a GGUF file")->required();
    sub->add_option("-f,--file", options->text, "the text")->required();
    sub->add_option("-o,--output", options->output, "the file to write; a name ending in .dat gives the older format")
        ->capture_default_str();
    sub->add_option("-c,--ctx", options->window, "tokens per window")->check(CLI::Range(16, 1 << 20));
    sub->add_option("--chunks", options->max_windows, "only the first N windows");
    sub->add_option("-t,--threads", options->threads, "threads")->check(CLI::Range(1, 1024));
    sub->add_flag("-q,--quiet", options->quiet, "no progress");
    sub->callback([options, &command] { command = [options] { return imatrix(*options); }; });
}

}  // namespace sterna
