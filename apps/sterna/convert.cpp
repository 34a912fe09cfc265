// sterna convert: any checkpoint to GGUF, and back to safetensors (docs/convert.md).
#include "convert.h"

#include <csignal>
#include <filesystem>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "commands.h"
#include "common.h"
#include "convert/gguf_source.h"
#include "convert/hf_export.h"
#include "convert/hf_model.h"
#include "convert/lora.h"
#include "convert/type_plan.h"
#include "progress.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct Options {
    std::string source, output, to = "gguf", report;
    ConvertOptions convert;
    bool json = false, afresh = false;
};

bool is_gguf(const std::string& path) {
    std::error_code problem;
    return path.ends_with(".gguf") && !fs::is_directory(path, problem);
}

struct Opened {
    std::unique_ptr<ModelSource> source;
    std::vector<std::string> notes;
};

Result<Opened> open_source(const std::string& path, const ConvertOptions& options) {
    if (is_gguf(path)) {
        STERNA_TRY(source, GgufSource::open(path));
        return Opened{std::move(source), {}};
    }
    STERNA_TRY(model, HfModel::open(path, {options.allow_extra, options.name}));
    std::vector<std::string> notes = model->notes();
    return Opened{std::move(model), std::move(notes)};
}

// The type in which most of the matrices' values lie, when a file can be all of it.
Result<std::string> own_type(const ModelSource& source, const std::string& path) {
    std::map<DType, int64_t> counts;
    for (const SourceTensor& tensor : source.tensors())
        if (is_quantizable(tensor)) counts[tensor.exact] += tensor.row_elements() * tensor.n_rows();
    DType best = DType::kF32;
    int64_t most = 0;
    for (const auto& [type, n] : counts)
        if (n > most) most = n, best = type;
    if (best == DType::kF32 || best == DType::kF16 || best == DType::kBF16)
        return std::string(dtype_traits(best)->name);
    return fail(ErrorCode::kBadArgument, "{}: holds {}; --type says what it is to become", path,
                dtype_traits(best)->name);
}

void print_report(const WriteReport& report, const Options& options, double seconds) {
    if (options.json || !options.report.empty()) {
        Json out;
        out["files"] = report.paths;
        out["source_bytes"] = report.source_bytes;
        out["file_bytes"] = report.file_bytes;
        out["seconds"] = seconds;
        out["resumed_tensors"] = report.n_resumed;
        out["tensors"] = Json::array();
        for (const TensorReport& tensor : report.tensors)
            out["tensors"].push_back({{"name", tensor.name},
                                      {"from", dtype_traits(tensor.from)->name},
                                      {"type", dtype_traits(tensor.type)->name},
                                      {"bytes", tensor.n_bytes},
                                      {"sha256", tensor.sha256},
                                      {"rmse", tensor.rmse},
                                      {"relative_error", tensor.relative},
                                      {"finite", tensor.finite}});
        const std::string text = out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
        if (options.json) std::printf("%s", text.c_str());
        if (!options.report.empty()) {
            const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
            if (Status written = write_file_atomically(options.report, {bytes, text.size()}); !written)
                note(written.error().message);
        }
    }
    if (options.json) return;
    for (const std::string& path : report.paths) std::printf("%s\n", path.c_str());
    if (options.convert.quiet) return;
    note(fmt::format("{} tensors, {} to {} in {:.1f} s{}", report.tensors.size(),
                     human_bytes(double(report.source_bytes)), human_bytes(double(report.file_bytes)), seconds,
                     report.n_resumed > 0 ? fmt::format(" ({} were there already)", report.n_resumed) : ""));
}

Result<int> to_gguf(const Options& options) {
    const double started = now_seconds();
    STERNA_TRY(report, convert_to_gguf(options.source, options.output, options.convert));
    print_report(report, options, now_seconds() - started);
    for (const TensorReport& tensor : report.tensors)
        if (!tensor.finite) note(fmt::format("{}: holds infinite values or values that are no numbers", tensor.name));
    return 0;
}

Result<int> to_safetensors(const Options& options) {
    if (!is_gguf(options.source))
        return fail(ErrorCode::kBadArgument, "{}: --to safetensors takes a GGUF file", options.source);
    if (!options.convert.lora.empty())
        return fail(ErrorCode::kUnsupported,
                    "--lora: adapters are merged into a GGUF file, which --to safetensors then takes");
    STERNA_TRY(file, GgufFile::open(options.source));
    STERNA_TRY(exported,
               export_to_safetensors(*file, options.source, options.output,
                                     options.convert.type.empty() ? "f16" : options.convert.type, &cancelled));
    for (const std::string& text : exported.notes) note(text);
    for (const std::string& path : exported.paths) std::printf("%s\n", path.c_str());
    return 0;
}

Result<int> convert(Options options) {
    cancel_on_interrupt();
    options.convert.cancel = &cancelled;
    options.convert.resume = !options.afresh;
    return options.to == "safetensors" ? to_safetensors(options) : to_gguf(options);
}

}  // namespace

Result<WriteReport> convert_to_gguf(const std::string& path, const std::string& output, const ConvertOptions& options) {
    STERNA_TRY(opened, open_source(path, options));
    std::string type = options.type;
    if (type.empty()) {
        STERNA_TRY(own, own_type(*opened.source, path));
        type = std::move(own);
    }
    if (!options.lora.empty()) {
        STERNA_TRY(adapters, open_adapters(options.lora));
        STERNA_TRY(adapted, AdaptedSource::create(std::move(opened.source), std::move(adapters)));
        opened.source = std::move(adapted);
    }
    const ModelSource& source = *opened.source;
    STERNA_TRY(target, need_type_target(type));
    STERNA_TRY(plan, plan_types(source.tensors(), *target));
    for (const std::string& text : opened.notes) note(text);
    if (plan.n_fallback > 0)
        note(fmt::format("{} matrices are too narrow for their type in {} and get another", plan.n_fallback,
                         target->name));
    ThreadPool pool(options.n_threads > 0 ? options.n_threads : default_threads());
    ProgressLine line(fs::path(output).filename().string(), source.source_bytes(), options.quiet);
    WriteOptions write;
    write.progress = [&](const WriteProgress& progress) { line.update(progress.done_bytes); };
    write.cancel = options.cancel;
    write.resume = options.resume;
    Result<WriteReport> report = write_model(source, plan, output, pool, write);
    if (report) line.finish();
    return report;
}

void add_convert(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("convert", "A checkpoint to GGUF, of any type, in one pass");
    sub->add_option("source", options->source,
                    "a folder with config.json and weights, a checkpoint file, or a GGUF file")
        ->required();
    sub->add_option("-o,--output", options->output, "the file to write; with --to safetensors: the folder")->required();
    sub->add_option("-t,--type", options->convert.type,
                    "f32, f16, bf16, q8_0, q4_k_m, ... (default: the source's own type)");
    sub->add_option("--to", options->to, "the kind of file to write")->check(CLI::IsMember({"gguf", "safetensors"}));
    sub->add_option("--lora", options->convert.lora, "merge this adapter; may be repeated")->allow_extra_args(false);
    sub->add_option("--name", options->convert.name, "the model's name (default: the folder's)");
    sub->add_option("--report", options->report, "write a JSON file with a hash and an error per tensor");
    sub->add_option("--threads", options->convert.n_threads, "threads (default: all cores)")
        ->check(CLI::Range(1, 1024));
    sub->add_flag("--allow-extra", options->convert.allow_extra,
                  "leave out tensors that the architecture does not know");
    sub->add_flag("--afresh", options->afresh, "do not go on with an interrupted conversion");
    sub->add_flag("--json", options->json, "print the report as JSON");
    sub->add_flag("-q,--quiet", options->convert.quiet, "no progress");
    sub->callback([options, &command] { command = [options] { return convert(*options); }; });
}

}  // namespace sterna
