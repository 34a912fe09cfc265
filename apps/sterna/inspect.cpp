// sterna inspect: what a GGUF file holds and what memory it will take (docs/inspect.md).
#include <algorithm>
#include <map>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "common.h"
#include "convert/check_model.h"
#include "hub_model.h"
#include "shipped_model.h"
#include "model/estimate.h"

namespace sterna {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
    std::string model, kv = "f16";
    int64_t context = 0;
    bool tensors = false, json = false, arrays = false, check = false;
};

constexpr uint64_t kShownElements = 8;

const char* type_name(GgufType type) {
    constexpr const char* kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "bool", "string", "array", "u64", "i64", "f64"};
    return kNames[int(type)];
}

Json array_value(const GgufFile& file, const GgufValue& value, uint64_t limit) {
    Json out = Json::array();
    auto take = [&](const auto& elements) {
        for (uint64_t i = 0; i < std::min<uint64_t>(elements.size(), limit); ++i) out.push_back(elements[i]);
    };
    if (value.element_type == GgufType::kString) {
        if (auto strings = file.get_strings(value.key)) take(*strings);
    } else if (value.element_type == GgufType::kF32 || value.element_type == GgufType::kF64) {
        if (auto floats = file.get_floats(value.key)) take(*floats);
    } else if (auto ints = file.get_ints(value.key)) {
        take(*ints);
    }
    return out;
}

Json scalar_value(const GgufFile& file, const GgufValue& value) {
    switch (value.type) {
        case GgufType::kString:
            return std::string(*file.get_string(value.key));
        case GgufType::kBool:
            return *file.get_bool(value.key);
        case GgufType::kF32:
        case GgufType::kF64:
            return *file.get_float(value.key);
        default:
            if (auto number = file.get_int(value.key)) return *number;
            return load_le<uint64_t>(value.payload.data());
    }
}

std::string dump(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

struct TypeSum {
    int64_t n = 0;
    uint64_t bytes = 0, elements = 0;
};

Json memory_json(const GgufFile& file, const Options& options) {
    auto estimate = estimate_memory(file, file.tensors(), options.context,
                                    options.kv == "q8_0" ? kernels::KvKind::kQ8_0 : kernels::KvKind::kF16);
    if (!estimate) return {{"unknown", estimate.error().message}};
    return {{"context", estimate->context},     {"kv", options.kv},
            {"weights", estimate->weights},     {"cache", estimate->cache},
            {"workspace", estimate->workspace}, {"total", estimate->weights + estimate->cache + estimate->workspace}};
}

void print_json(const GgufFile& file, const Options& options, const std::map<std::string_view, TypeSum>& types) {
    Json out;
    out["file"] = {{"path", options.model},
                   {"bytes", file.file_bytes()},
                   {"parts", file.n_parts()},
                   {"gguf_version", file.version()}};
    for (const GgufValue& value : file.values()) {
        Json& slot = out["metadata"][std::string(value.key)];
        if (value.type != GgufType::kArray)
            slot = scalar_value(file, value);
        else if (options.arrays || value.n_elements <= kShownElements)
            slot = array_value(file, value, UINT64_MAX);
        else
            slot = {{"type", type_name(value.element_type)},
                    {"length", value.n_elements},
                    {"first", array_value(file, value, kShownElements)}};
    }
    for (const auto& [name, sum] : types)
        out["types"][std::string(name)] = {{"tensors", sum.n}, {"bytes", sum.bytes}, {"parameters", sum.elements}};
    out["tensors"] = Json::array();
    for (const TensorView& tensor : file.tensors()) {
        Json shape = Json::array();
        for (int i = 0; i < tensor.n_dims; ++i) shape.push_back(tensor.shape[size_t(i)]);
        out["tensors"].push_back({{"name", tensor.name},
                                  {"type", dtype_traits(tensor.type)->name},
                                  {"shape", shape},
                                  {"bytes", tensor.data.size()}});
    }
    if (!file.tensors().empty()) out["memory"] = memory_json(file, options);
    std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

void print_text(const GgufFile& file, const Options& options, const std::map<std::string_view, TypeSum>& types) {
    std::printf("%s: GGUF v%u, %s%s\n\n", options.model.c_str(), file.version(),
                human_bytes(double(file.file_bytes())).c_str(),
                file.n_parts() > 1 ? fmt::format(" in {} parts", file.n_parts()).c_str() : "");
    for (const GgufValue& value : file.values()) {
        std::string shown;
        if (value.type == GgufType::kArray) {
            shown = dump(array_value(file, value, kShownElements));
            if (value.n_elements > kShownElements) {
                shown.pop_back();
                shown += fmt::format(", ... {} in all]", value.n_elements);
            }
        } else {
            shown = dump(scalar_value(file, value));
        }
        constexpr size_t kShownBytes = 160;
        if (shown.size() > kShownBytes) {
            size_t cut = kShownBytes;
            while (cut > 0 && (uint8_t(shown[cut]) & 0xc0) == 0x80) --cut;
            shown = fmt::format("{}... ({} bytes)", shown.substr(0, cut), shown.size());
        }
        std::printf("%-44s %s\n", std::string(value.key).c_str(), shown.c_str());
    }
    if (file.tensors().empty()) {
        std::printf("\nno tensors: a vocabulary only\n");
        return;
    }
    uint64_t elements = 0, bytes = 0;
    std::printf("\n%-10s %8s %12s\n", "type", "tensors", "bytes");
    for (const auto& [name, sum] : types) {
        std::printf("%-10s %8lld %12s\n", std::string(name).c_str(), static_cast<long long>(sum.n),
                    human_bytes(double(sum.bytes)).c_str());
        elements += sum.elements;
        bytes += sum.bytes;
    }
    std::printf("%zu tensors, %.3f B parameters, %.2f bits each\n", file.tensors().size(), double(elements) / 1e9,
                8.0 * double(bytes) / double(elements));
    if (options.tensors) {
        std::printf("\n");
        for (const TensorView& tensor : file.tensors())
            std::printf("%-44s %-8s %-24s %s\n", std::string(tensor.name).c_str(),
                        std::string(dtype_traits(tensor.type)->name).c_str(), shape_text(tensor).c_str(),
                        human_bytes(double(tensor.data.size())).c_str());
    }
    Json memory = memory_json(file, options);
    if (memory.contains("unknown")) {
        std::printf("\nmemory: unknown: %s\n", memory["unknown"].get<std::string>().c_str());
        return;
    }
    std::printf(
        "\nmemory at %lld positions with a %s cache: %s (weights %s, cache %s, workspace %s)\n",
        static_cast<long long>(memory["context"].get<int64_t>()), options.kv.c_str(),
        human_bytes(memory["total"].get<double>()).c_str(), human_bytes(memory["weights"].get<double>()).c_str(),
        human_bytes(memory["cache"].get<double>()).c_str(), human_bytes(memory["workspace"].get<double>()).c_str());
}

// One line per check; the exit status says whether something is wrong.
int check(const GgufFile& file, const Options& options) {
    ThreadPool pool(default_threads());
    const std::vector<ModelCheck> checks = check_model(file, pool);
    auto word = [](ModelCheck::Verdict verdict) {
        return verdict == ModelCheck::Verdict::kGood ? "ok" : verdict == ModelCheck::Verdict::kNote ? "note" : "WRONG";
    };
    bool wrong = false;
    Json out = Json::array();
    for (const ModelCheck& found : checks) {
        wrong = wrong || found.verdict == ModelCheck::Verdict::kBad;
        if (options.json)
            out.push_back({{"check", found.about}, {"verdict", word(found.verdict)}, {"text", found.text}});
        else
            std::printf("%-6s %-14s %s\n", word(found.verdict), std::string(found.about).c_str(), found.text.c_str());
    }
    if (options.json) std::printf("%s\n", out.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
    return wrong ? 1 : 0;
}

Result<int> inspect(const Options& options) {
    STERNA_TRY(path, find_model(options.model));
    STERNA_TRY(file, open_gguf(path));
    if (options.check) return check(*file, options);
    std::map<std::string_view, TypeSum> types;
    for (const TensorView& tensor : file->tensors()) {
        TypeSum& sum = types[dtype_traits(tensor.type)->name];
        ++sum.n;
        sum.bytes += tensor.data.size();
        sum.elements += uint64_t(tensor.n_elements());
    }
    if (options.json)
        print_json(*file, options, types);
    else
        print_text(*file, options, types);
    return 0;
}

}  // namespace

void add_inspect(CLI::App& app, Command& command) {
    auto options = std::make_shared<Options>();
    CLI::App* sub = app.add_subcommand("inspect", "What a model file holds, and the memory it will take");
    sub->add_option("model", options->model, "a GGUF file, or any part of a split one")->required();
    sub->add_option("-c,--ctx", options->context,
                    "positions to plan the cache for (default: the trained length, at most 4096)")
        ->check(CLI::Range(int64_t(1), int64_t(1) << 24));
    sub->add_option("--kv", options->kv, "how the cache is stored")->check(CLI::IsMember({"f16", "q8_0"}));
    sub->add_flag("--tensors", options->tensors, "list every tensor");
    sub->add_flag("--check", options->check, "check shapes, values, vocabulary and template; fails when one is wrong");
    sub->add_flag("--json", options->json, "print JSON");
    sub->add_flag("--arrays", options->arrays, "with --json: whole arrays");
    sub->callback([options, &command] { command = [options] { return inspect(*options); }; });
}

}  // namespace sterna
