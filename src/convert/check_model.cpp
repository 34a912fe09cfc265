#include "convert/check_model.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/printable.h"
#include "convert/listed_checkpoint.h"
#include "convert/text_lists.h"
#include "model/model.h"
#include "text/chat.h"

namespace sterna {

namespace {

using Verdict = ModelCheck::Verdict;

constexpr size_t kNamed = 3;  // of many findings
constexpr int64_t kChunk = int64_t(1) << 16;
constexpr int64_t kUnusedToken = 5;

// "a, b and 7 more"
class Findings {
public:
    void add(std::string finding) {
        if (++n_ <= kNamed) shown_.push_back(std::move(finding));
    }
    bool empty() const { return n_ == 0; }
    size_t size() const { return n_; }
    std::string text(std::string_view separator = ", ") const {
        return join_text(shown_, separator) + (n_ > kNamed ? fmt::format(" and {} more", n_ - kNamed) : "");
    }

private:
    std::vector<std::string> shown_;
    size_t n_ = 0;
};

std::string shape_of(const TensorSpec& spec, const Config& config, int64_t layer, bool& fits, const TensorView& found) {
    std::string text;
    int i = 0;
    for (std::string_view dim : split_text(spec.shape, ',')) {
        while (dim.starts_with(' ')) dim.remove_prefix(1);
        const int64_t extent = resolve_dim(dim, config, layer);
        if (i < kMaxDims && extent != kAnyDim) fits = fits && found.shape[size_t(i)] == extent;
        text += (i++ ? ", " : "[") + (extent == kAnyDim ? std::string("any") : std::to_string(extent));
    }
    for (; i < kMaxDims; ++i) fits = fits && found.shape[size_t(i)] == 1;
    return text + "]";
}

ModelCheck check_table(const GgufFile& file, const Architecture& architecture, Config& config) {
    const TensorView* embedding = file.find_tensor("token_embd.weight");
    if (!embedding) return {"tensors", Verdict::kBad, "token_embd.weight: missing"};
    config.vocab_size = embedding->shape[1];
    Findings bad, unknown;
    std::unordered_set<std::string> known;
    auto check = [&](const TensorSpec& spec, int64_t layer) {
        std::string name = layer < 0 ? std::string(spec.gguf_name) : layer_name(spec.gguf_name, layer);
        if (layer >= 0 && !spec.applies(config, layer)) return;
        known.insert(name);
        const TensorView* tensor = file.find_tensor(name);
        if (!tensor) {
            const std::string other = layer < 0 ? std::string(spec.unless) : layer_name(spec.unless, layer);
            if (spec.required && (spec.unless.empty() || !file.find_tensor(other))) bad.add(name + ": missing");
            return;
        }
        bool fits = true;
        const std::string wanted = shape_of(spec, config, layer, fits, *tensor);
        if (!fits) bad.add(fmt::format("{}: shape {}, expected {}", name, shape_text(*tensor), wanted));
    };
    for (const TensorSpec& spec : architecture.tensors(config)) {
        if (spec.gguf_name.find("{}") == std::string_view::npos) {
            check(spec, -1);
            continue;
        }
        for (int64_t layer = 0; layer < config.n_layers; ++layer) check(spec, layer);
    }
    for (const TensorView& tensor : file.tensors())
        if (!known.contains(std::string(tensor.name))) unknown.add(printable(tensor.name));
    if (!bad.empty()) return {"tensors", Verdict::kBad, fmt::format("{} wrong: {}", bad.size(), bad.text("; "))};
    if (!unknown.empty())
        return {
            "tensors", Verdict::kNote,
            fmt::format("all there; {} that {} does not use: {}", unknown.size(), config.architecture, unknown.text())};
    return {"tensors", Verdict::kGood,
            fmt::format("{}, all there, shapes as the configuration says", file.tensors().size())};
}

// "8B", "494M", "8x7B": the number of parameters, 0 when it says none.
double size_of_label(std::string_view label) {
    const size_t times = label.find('x');
    double number =
        std::strtod(std::string(label.substr(times == std::string_view::npos ? 0 : times + 1)).c_str(), nullptr);
    const char unit = label.empty() ? ' ' : label.back();
    if (times != std::string_view::npos) return 0;  // experts share layers: no simple product
    return number * (unit == 'T' ? 1e12 : unit == 'B' ? 1e9 : unit == 'M' ? 1e6 : unit == 'K' ? 1e3 : 0);
}

ModelCheck check_parameters(const GgufFile& file) {
    double n = 0, bytes = 0;
    for (const TensorView& tensor : file.tensors()) {
        n += double(tensor.n_elements());
        bytes += double(tensor.data.size());
    }
    std::string text = fmt::format("{:.0f} ({:.3g} B), {:.2f} bits each", n, n / 1e9, n > 0 ? 8 * bytes / n : 0);
    const std::string label(file.get_string("general.size_label").value_or(""));
    const double said = size_of_label(label);
    // A label is rounded, and some count the embedding while others do not.
    if (said > 0 && (n < 0.6 * said || n > 1.6 * said))
        return {"parameters", Verdict::kBad, fmt::format("{}; general.size_label says {}", text, printable(label))};
    return {"parameters", Verdict::kGood, std::move(text)};
}

struct ValueSums {
    std::atomic<int64_t> not_finite = 0, not_zero = 0;
};

// Each task takes a run of whole rows.
void scan_tensor(const TensorView& tensor, ThreadPool& pool, ValueSums& sums) {
    const DTypeTraits* traits = dtype_traits(tensor.type);
    const int64_t width = tensor.shape[0], rows = tensor.n_elements() / width;
    const int64_t step = std::max<int64_t>(1, kChunk / width);
    const int64_t n_tasks = std::min<int64_t>((rows + step - 1) / step, 1 << 20);
    const int64_t per_task = (rows + n_tasks - 1) / n_tasks;
    const size_t row_bytes = size_t(width / traits->block_size * traits->block_bytes);
    pool.run(int(n_tasks), [&](int task, int) {
        const int64_t begin = int64_t(task) * per_task, end = std::min(rows, begin + per_task);
        std::vector<float> values(size_t(step * width));
        for (int64_t row = begin; row < end; row += step) {
            const int64_t n = std::min(step, end - row) * width;
            traits->decode(tensor.data.data() + size_t(row) * row_bytes, values.data(), n);
            int64_t odd = 0, some = 0;
            for (int64_t i = 0; i < n; ++i) {
                odd += std::isfinite(values[size_t(i)]) ? 0 : 1;
                some += values[size_t(i)] != 0.0f ? 1 : 0;
            }
            sums.not_finite += odd;
            sums.not_zero += some;
        }
    });
}

ModelCheck check_values(const GgufFile& file, ThreadPool& pool) {
    Findings odd, zero;
    for (const TensorView& tensor : file.tensors()) {
        const DTypeTraits* traits = dtype_traits(tensor.type);
        if (!traits || !traits->decode || tensor.n_elements() == 0) continue;
        ValueSums sums;
        scan_tensor(tensor, pool, sums);
        file.release(tensor);
        if (sums.not_finite > 0)
            odd.add(fmt::format("{}: {} of {}", printable(tensor.name), sums.not_finite.load(), tensor.n_elements()));
        else if (sums.not_zero == 0 && tensor.n_dims > 1)
            zero.add(printable(tensor.name));
    }
    if (!odd.empty())
        return {"values", Verdict::kBad,
                fmt::format("infinite or not a number in {} tensors: {}", odd.size(), odd.text("; "))};
    if (!zero.empty())
        return {"values", Verdict::kNote,
                fmt::format("all finite; {} matrices are all zero: {}", zero.size(), zero.text())};
    return {"values", Verdict::kGood, "all finite"};
}

// An identifier and its text, for messages.
std::string token_text(int64_t id, std::string_view text) {
    return fmt::format("{} '{}'", id, printable(text));
}

ModelCheck check_vocabulary(const GgufFile& file) {
    const auto tokens = file.get_strings("tokenizer.ggml.tokens");
    if (!tokens) return {"tokenizer", Verdict::kNote, "none: the file takes token numbers only"};
    Findings bad, twice, empty;
    if (const TensorView* embedding = file.find_tensor("token_embd.weight");
        embedding && embedding->shape[1] != int64_t(tokens->size()))
        bad.add(fmt::format("{} tokens for {} rows of token_embd.weight", tokens->size(), embedding->shape[1]));
    const auto types = file.get_ints("tokenizer.ggml.token_type");
    for (const char* list : {"tokenizer.ggml.token_type", "tokenizer.ggml.scores"})
        if (const GgufValue* value = file.find_value(list); value && value->n_elements != tokens->size())
            bad.add(fmt::format("{} entries in {} for {} tokens", value->n_elements, list, tokens->size()));
    std::unordered_map<std::string_view, size_t> seen;
    for (size_t id = 0; id < tokens->size(); ++id) {
        const std::string_view text = (*tokens)[id];
        const bool unused = types && id < types->size() && (*types)[id] == kUnusedToken;
        if (text.empty() && !unused) empty.add(std::to_string(id));
        if (const auto [at, is_new] = seen.try_emplace(text, id); !is_new && !text.empty())
            twice.add(fmt::format("{} = {}", token_text(int64_t(id), text), at->second));
    }
    if (!empty.empty()) bad.add(fmt::format("{} ids without text ({})", empty.size(), empty.text()));
    if (!twice.empty()) bad.add(fmt::format("{} texts occur twice ({})", twice.size(), twice.text()));
    constexpr const char* kSpecial[] = {"bos", "eos", "eot", "eom", "unknown", "padding", "seperator", "mask", "cls"};
    for (const char* name : kSpecial) {
        const auto id = file.get_int(fmt::format("tokenizer.ggml.{}_token_id", name));
        if (id && (*id < 0 || *id >= int64_t(tokens->size())))
            bad.add(fmt::format("{} is token {}, of {}", name, *id, tokens->size()));
    }
    if (const auto merges = file.get_strings("tokenizer.ggml.merges")) {
        Findings unknown;
        for (std::string_view merge : *merges) {
            const size_t blank = merge.find(' ', 1);
            const bool known = blank != std::string_view::npos && seen.contains(merge.substr(0, blank)) &&
                               seen.contains(merge.substr(blank + 1));
            if (!known) unknown.add("'" + printable(merge) + "'");
        }
        if (!unknown.empty())
            bad.add(fmt::format("{} merges of pieces that are no tokens ({})", unknown.size(), unknown.text()));
    }
    if (!bad.empty()) return {"tokenizer", Verdict::kBad, bad.text("; ")};
    return {"tokenizer", Verdict::kGood,
            fmt::format("{}, {} tokens, each with a text of its own",
                        printable(file.get_string("tokenizer.ggml.model").value_or("?")), tokens->size())};
}

ModelCheck check_template(const GgufFile& file) {
    const auto source = file.get_string("tokenizer.chat_template");
    if (!source || source->empty()) {
        if (!file.has("tokenizer.ggml.tokens")) return {"template", Verdict::kNote, "none"};
        return {"template", Verdict::kNote, "none: a base model, or a chat has to name a built-in one"};
    }
    const auto tokens = file.get_strings("tokenizer.ggml.tokens");
    auto text_of = [&](const char* key) {
        const auto id = file.get_int(key);
        return tokens && id && *id >= 0 && *id < int64_t(tokens->size()) ? (*tokens)[size_t(*id)] : std::string_view{};
    };
    auto compiled = ChatTemplate::from_source(*source, text_of("tokenizer.ggml.bos_token_id"),
                                              text_of("tokenizer.ggml.eos_token_id"));
    if (!compiled) return {"template", Verdict::kBad, compiled.error().message};
    auto rendered = compiled->render({{.role = "user", .content = "Hello"}});
    if (!rendered) return {"template", Verdict::kBad, rendered.error().message};
    if (rendered->find("Hello") == std::string::npos)
        return {"template", Verdict::kBad, "leaves out what the user says"};
    return {"template", Verdict::kGood, fmt::format("{} bytes, renders a conversation", source->size())};
}

}  // namespace

std::vector<ModelCheck> check_model(const GgufFile& file, ThreadPool& pool) {
    std::vector<ModelCheck> checks;
    auto plan = plan_model(file, {});
    if (!plan) {
        checks.push_back({"configuration", Verdict::kBad, plan.error().message});
    } else {
        const Config& config = plan->config;
        checks.push_back({"configuration", Verdict::kGood,
                          fmt::format("{}, {} layers, width {}, {} heads, context {}", config.architecture,
                                      config.n_layers, config.width, config.n_heads[0], config.context_length)});
        if (!file.tensors().empty()) checks.push_back(check_table(file, *plan->architecture, plan->config));
    }
    if (file.tensors().empty()) {
        checks.push_back({"tensors", Verdict::kNote, "none: a vocabulary only"});
    } else {
        checks.push_back(check_parameters(file));
        checks.push_back(check_values(file, pool));
    }
    checks.push_back(check_vocabulary(file));
    checks.push_back(check_template(file));
    return checks;
}

}  // namespace sterna
