#include "hub/choose.h"

#include <algorithm>
#include <array>
#include <map>

#include <fnmatch.h>

namespace sterna {

namespace {

constexpr std::array<std::string_view, 24> kPreferred = {"Q4_K_M", "Q4_K_S", "Q4_K_L", "Q4_K_XL", "MXFP4",  "MXFP4_MOE",
                                                         "IQ4_XS", "IQ4_NL", "Q4_0",   "Q4_1",    "Q5_K_M", "Q5_K_S",
                                                         "Q5_0",   "Q5_1",   "Q6_K",   "Q8_0",    "Q3_K_L", "Q3_K_M",
                                                         "Q3_K_S", "BF16",   "F16",    "F32",     "Q2_K",   "Q2_K_S"};

constexpr size_t kShownNames = 12;
constexpr size_t kMaxSplitParts = 100'000;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool is_alnum(char c) {
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

std::string upper(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'a' && c <= 'z') c = char(c - 'a' + 'A');
    return out;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
    return out;
}

std::string_view last_part(std::string_view path) {
    return path.substr(path.rfind('/') + 1);
}

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), text) != list.end();
}

// The length of the type that starts at `at` in an upper-case name, 0 if none does: F16, Q4_0, IQ3_XXS, Q4_K_M, Q4_0_4_4...
size_t type_length(std::string_view name, size_t at) {
    std::string_view rest = name.substr(at);
    auto ends = [&](size_t n) { return n == rest.size() || !is_alnum(rest[n]); };
    for (std::string_view plain : {"BF16", "F16", "FP16", "F32", "FP32", "MXFP4", "NVFP4"})
        if (rest.starts_with(plain) && ends(plain.size())) {
            // "MXFP4_MOE" is a label of its own
            if (rest.substr(plain.size()).starts_with("_MOE") && ends(plain.size() + 4)) return plain.size() + 4;
            return plain.size();
        }
    size_t n = rest.starts_with("IQ") || rest.starts_with("TQ") ? 2 : rest.starts_with("Q") ? 1 : 0;
    if (n == 0 || n >= rest.size() || !is_digit(rest[n])) return 0;
    while (n < rest.size() && is_digit(rest[n])) ++n;
    if (!ends(n) && rest[n] != '_') return 0;
    bool has_suffix = false;
    while (n + 1 < rest.size() && rest[n] == '_') {
        size_t end = n + 1;
        while (end < rest.size() && is_alnum(rest[end])) ++end;
        const std::string_view word = rest.substr(n + 1, end - n - 1);
        if (!is_one_of(word, {"0", "1", "4", "8", "K", "S", "M", "L", "XL", "XS", "XXS", "NL", "P"})) break;
        n = end;
        has_suffix = true;
    }
    return has_suffix ? n : 0;
}

struct TypeLabel {
    std::string type, flavour;  // "Q4_K_XL", "UD"
};

TypeLabel label_of(std::string_view path) {
    TypeLabel found;
    const std::string name = upper(split_name(path).base);
    // The last label counts, and the file's own name before that of its folder: "BF16/m-BF16.gguf", "Q4_0/part.gguf".
    for (size_t at = 0; at < name.size(); ++at) {
        if (at > 0 && is_alnum(name[at - 1])) continue;
        const size_t n = type_length(name, at);
        if (n == 0) continue;
        found.type = name.substr(at, n);
        if (found.type.starts_with("FP")) found.type.erase(1, 1);
        found.flavour = at >= 3 && name.compare(at - 3, 3, "UD-") == 0 ? "UD" : "";
        at += n - 1;
    }
    return found;
}

std::string normalized(std::string_view type) {
    std::string out = upper(type);
    std::replace(out.begin(), out.end(), '-', '_');
    if (out == "FP16") out = "F16";
    if (out == "FP32") out = "F32";
    return out;
}

std::string listed(const std::vector<std::string>& names) {
    std::string out;
    for (size_t i = 0; i < names.size() && i < kShownNames; ++i) out += (i ? ", " : "") + names[i];
    if (names.size() > kShownNames) out += fmt::format(" and {} more", names.size() - kShownNames);
    return out;
}

struct Model {
    std::string base;  // the path without the number of the part
    TypeLabel label;
    std::vector<HubFile> parts;
    unsigned of = 0;
};

// The GGUF models of a repository, the parts of split ones together.
std::vector<Model> gguf_models(std::span<const HubFile> files) {
    std::map<std::pair<std::string, unsigned>, Model> models;
    for (const HubFile& file : files) {
        if (file_kind(file.path) != FileKind::kGguf) continue;
        SplitName split = split_name(file.path);
        Model& model = models[{split.base, split.of}];
        model.base = split.base;
        model.of = split.of;
        model.label = label_of(file.path);
        model.parts.push_back(file);
    }
    std::vector<Model> out;
    for (auto& [key, model] : models) out.push_back(std::move(model));
    return out;
}

Status check_parts(const Model& model, std::string_view name) {
    if (model.of == 0) return {};
    for (unsigned part = 1; part <= model.of; ++part) {
        if (part > model.parts.size() || split_name(model.parts[part - 1].path).part != part)
            return fail(ErrorCode::kNotFound, "{}: part {} of {} of {} is missing", name, part, model.of, model.base);
    }
    return {};
}

Result<Choice> take_model(Model model, std::string_view name) {
    STERNA_CHECK(check_parts(model, name));
    Choice choice;
    choice.kind = Choice::Kind::kGguf;
    choice.type = model.label.type;
    choice.main = model.parts.front().path;
    choice.files = std::move(model.parts);
    return choice;
}

// One of several models of the same type: the one in the main folder, if only one lies there.
Result<Choice> take_single(std::vector<Model> models, std::string_view name) {
    auto keep = [&](auto&& rule) {
        if (std::count_if(models.begin(), models.end(), rule) > 0)
            std::erase_if(models, [&](auto& m) { return !rule(m); });
    };
    if (models.size() > 1) keep([](const Model& model) { return model.label.flavour.empty(); });
    if (models.size() > 1) keep([](const Model& model) { return model.base.find('/') == model.base.npos; });
    if (models.size() == 1) return take_model(std::move(models[0]), name);
    std::vector<std::string> names;
    for (const Model& model : models) names.push_back(model.parts.front().path);
    return fail(ErrorCode::kBadArgument, "{}: several models fit: {}; name one with --file", name, listed(names));
}

Result<Choice> choose_gguf(std::vector<Model> models, const std::string& type, std::string_view name) {
    std::vector<Model> fit;
    if (!type.empty()) {
        for (Model& model : models)
            if (type_matches(model.parts.front().path, type)) fit.push_back(model);
        if (!fit.empty()) return take_single(std::move(fit), name);
        std::vector<std::string> types;
        for (const Model& model : models)
            types.push_back(model.label.type.empty() ? std::string(last_part(model.base)) : model.label.type);
        std::sort(types.begin(), types.end());
        types.erase(std::unique(types.begin(), types.end()), types.end());
        return fail(ErrorCode::kNotFound, "{}: no GGUF file of type {}; there are {}", name, normalized(type),
                    listed(types));
    }
    for (std::string_view wanted : kPreferred) {
        for (Model& model : models)
            if (model.label.type == wanted) fit.push_back(model);
        if (!fit.empty()) return take_single(std::move(fit), name);
    }
    return take_single(std::move(models), name);
}

// The weights of the main folder: one file, or a whole numbered set. Other files there (a second spelling of the same
// weights, adapters) are left out.
Result<std::vector<HubFile>> weight_files(std::span<const HubFile> files, FileKind kind, std::string_view name) {
    std::vector<HubFile> out;
    bool adapter = false;
    for (const HubFile& file : files) {
        if (file_kind(file.path) != kind || file.path.find('/') != file.path.npos) continue;
        if (file.path.starts_with("adapter_")) {
            adapter = true;
            continue;
        }
        out.push_back(file);
    }
    auto is_usual = [](const HubFile& file) {
        return file.path.starts_with("model.") || file.path.starts_with("model-") ||
               file.path.starts_with("pytorch_model");
    };
    if (std::any_of(out.begin(), out.end(), is_usual))
        std::erase_if(out, [&](const HubFile& f) { return !is_usual(f); });
    if (out.empty() && adapter)
        return fail(ErrorCode::kUnsupported, "{}: holds an adapter for another model, not a model", name);
    // A repository may hold the model whole and in parts: whole is enough.
    auto is_whole = [](const HubFile& file) { return split_name(file.path).of == 0; };
    if (std::any_of(out.begin(), out.end(), is_whole))
        std::erase_if(out, [&](const HubFile& f) { return !is_whole(f); });
    std::map<std::string, std::pair<unsigned, unsigned>> sets;  // parts seen, parts wanted
    for (const HubFile& file : out)
        if (SplitName split = split_name(file.path); split.of > 0) {
            sets[split.base].first++;
            sets[split.base].second = split.of;
        }
    for (auto& [base, counts] : sets)
        if (counts.first < counts.second)
            return fail(ErrorCode::kNotFound, "{}: {} of the {} parts of {} are there", name, counts.first,
                        counts.second, base);
    return out;
}

Result<Choice> choose_checkpoint(std::span<const HubFile> files, std::string_view name) {
    Choice choice;
    choice.kind = Choice::Kind::kCheckpoint;
    std::string index = "model.safetensors.index.json";
    STERNA_TRY(weights, weight_files(files, FileKind::kWeights, name));
    if (weights.empty()) {
        STERNA_TRY(pytorch, weight_files(files, FileKind::kPytorch, name));
        weights = std::move(pytorch);
        index = "pytorch_model.bin.index.json";
    }
    const bool has_parts =
        std::any_of(weights.begin(), weights.end(), [](auto& f) { return split_name(f.path).of > 0; });
    for (const HubFile& file : files)
        if (file_kind(file.path) == FileKind::kConfig || (file.path == index && has_parts))
            choice.files.push_back(file);
    const bool has_config =
        std::any_of(files.begin(), files.end(), [](const HubFile& file) { return file.path == "config.json"; });
    if (weights.empty() || !has_config)
        return fail(ErrorCode::kNotFound,
                    "{}: holds no model: no GGUF file, and no config.json with safetensors or PyTorch weights", name);
    choice.main = "config.json";
    choice.files.insert(choice.files.end(), weights.begin(), weights.end());
    return choice;
}

Result<Choice> choose_matching(std::span<const HubFile> files, const std::vector<std::string>& patterns,
                               std::string_view name) {
    Choice choice;
    choice.kind = Choice::Kind::kFiles;
    for (const std::string& pattern : patterns) {
        bool found = false;
        for (const HubFile& file : files) {
            if (::fnmatch(pattern.c_str(), file.path.c_str(), 0) != 0) continue;
            found = true;
            const bool taken = std::any_of(choice.files.begin(), choice.files.end(),
                                           [&](const HubFile& other) { return other.path == file.path; });
            if (!taken) choice.files.push_back(file);
        }
        if (!found)
            return fail(ErrorCode::kNotFound, "{}: no file matches {}; sterna pull {} --dry-run lists the {} there are",
                        name, pattern, name, files.size());
    }
    choice.main = choice.files.front().path;
    return choice;
}

Result<Choice> choose_exact(std::span<const HubFile> files, const std::string& path, std::string_view name) {
    for (const HubFile& file : files) {
        if (file.path != path) continue;
        if (file_kind(path) == FileKind::kGguf)
            for (Model& model : gguf_models(files))
                if (std::any_of(model.parts.begin(), model.parts.end(), [&](auto& part) { return part.path == path; }))
                    return take_model(std::move(model), name);
        Choice choice;
        choice.kind = Choice::Kind::kFiles;
        choice.files = {file};
        choice.main = path;
        return choice;
    }
    return fail(ErrorCode::kNotFound, "{}: holds no file {}", name, path);
}

}  // namespace

uint64_t Choice::total_bytes() const {
    uint64_t n = 0;
    for (const HubFile& file : files) n += file.size;
    return n;
}

std::span<const std::string_view> preferred_types() {
    return kPreferred;
}

FileKind file_kind(std::string_view path) {
    const std::string name = lower(last_part(path));
    if (name.ends_with(".gguf")) {
        // "m-Q4_K_M-imatrix.gguf" is a model made with an imatrix; "imatrix.gguf" is one.
        const bool other = name.find("mmproj") != name.npos || name.starts_with("ggml-vocab") ||
                           (name.find("imatrix") != name.npos && label_of(last_part(path)).type.empty());
        return other ? FileKind::kGgufOther : FileKind::kGguf;
    }
    if (name.ends_with(".safetensors")) return FileKind::kWeights;
    if (name.ends_with(".bin") && name.starts_with("pytorch_model")) return FileKind::kPytorch;
    const bool beside_weights = path.find('/') == path.npos;
    if (beside_weights &&
        (is_one_of(name, {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                          "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
                          "vocab.txt", "chat_template.jinja", "chat_template.json", "spiece.model",
                          "sentencepiece.bpe.model", "tekken.json"}) ||
         name.ends_with(".tiktoken")))
        return FileKind::kConfig;
    return FileKind::kOther;
}

std::string gguf_type_of(std::string_view path) {
    return label_of(path).type;
}

bool type_matches(std::string_view path, std::string_view typed) {
    const TypeLabel label = label_of(path);
    const std::string wanted = normalized(typed);
    if (label.type.empty()) return false;
    return wanted == label.type || (!label.flavour.empty() && wanted == label.flavour + "_" + label.type) ||
           label.type == wanted + "_MOE";
}

SplitName split_name(std::string_view path) {
    const size_t dot = path.rfind('.');
    const std::string_view stem = path.substr(0, dot), extension = dot == path.npos ? "" : path.substr(dot);
    SplitName whole{std::string(path), 0, 0};
    // "-00002-of-00003"
    const size_t of = stem.rfind("-of-");
    if (of == stem.npos) return whole;
    const size_t dash = of == 0 ? stem.npos : stem.rfind('-', of - 1);
    if (dash == stem.npos) return whole;
    auto number = [](std::string_view digits) -> unsigned {
        if (digits.size() != 5 || !std::all_of(digits.begin(), digits.end(), is_digit)) return 0;
        unsigned n = 0;
        for (char c : digits) n = n * 10 + unsigned(c - '0');
        return n;
    };
    const unsigned part = number(stem.substr(dash + 1, of - dash - 1)), n_parts = number(stem.substr(of + 4));
    if (part == 0 || n_parts == 0 || part > n_parts || n_parts > kMaxSplitParts) return whole;
    return {std::string(stem.substr(0, dash)) + std::string(extension), part, n_parts};
}

Result<Choice> choose_files(std::span<const HubFile> files, const ChooseOptions& options, std::string_view name) {
    if (!options.patterns.empty()) return choose_matching(files, options.patterns, name);
    if (!options.file.empty()) return choose_exact(files, options.file, name);
    auto models = gguf_models(files);
    if (!models.empty()) return choose_gguf(std::move(models), options.type, name);
    return choose_checkpoint(files, name);
}

}  // namespace sterna
