#include "train/recipe.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "convert/type_plan.h"
#include "text/pretokenizer.h"
#include "train/recipe_section.h"

namespace sterna::train {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxCount = int64_t(1) << 40;

Result<std::string> read_small_file(const std::string& path) {
    std::error_code problem;
    if (fs::is_directory(path, problem)) return fail(ErrorCode::kBadArgument, "{}: a folder, expected a file", path);
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::kNotFound, "{}: cannot open", path);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.size() > RecipeLimits{}.max_file_bytes)
        return fail(ErrorCode::kLimit, "{}: {} bytes, limit {}", path, text.size(), RecipeLimits{}.max_file_bytes);
    return text;
}

class Reader {
public:
    Reader(const toml::table& root, const std::string& path) : root_(root), errors_(path) { recipe_.path = path; }

    Result<Recipe> read() {
        RecipeSection top(&root_, "", errors_, nullptr);
        recipe_.name = top.text("name", fs::path(recipe_.path).stem().string());
        if (recipe_.name.empty() || recipe_.name.find('/') != std::string::npos)
            top.wrong("name", fmt::format("\"{}\", expected a word that can be part of a file's name", recipe_.name));
        lora();
        model();
        tokenizer();
        data();
        training();
        evaluation();
        checkpoint();
        output();
        top.finish({"lora", "model", "tokenizer", "data", "training", "evaluation", "checkpoint", "output"});
        if (!errors_.status()) return std::unexpected(errors_.status().error());
        if (recipe_.base.empty())
            if (Status sizes = check_sizes(recipe_.net); !sizes)
                return fail(sizes.error().code, "{}: {}", recipe_.path, sizes.error().message);
        return std::move(recipe_);
    }

private:
    RecipeSection section(const char* name, bool identity = true) {
        const toml::node* at = root_.get(name);
        if (at && !at->is_table()) errors_.report(at, name, "expected a table: [" + std::string(name) + "]");
        return {at ? at->as_table() : nullptr, name, errors_, identity ? &recipe_.identity : nullptr};
    }

    std::string beside(const std::string& path) const {
        if (path.empty() || fs::path(path).is_absolute()) return path;
        return (fs::path(recipe_.path).parent_path() / path).lexically_normal().string();
    }

    int size(RecipeSection& from, const char* key, int otherwise, int most) {
        if (otherwise == 0 && !from.has(key)) from.wrong(key, "absent, expected a size");
        return int(from.integer(key, otherwise, 1, most));
    }

    void lora() {
        if (!root_.contains("lora")) return;
        RecipeSection from = section("lora");
        recipe_.base = beside(from.text("base"));
        if (recipe_.base.empty()) from.wrong("base", "absent, expected a GGUF file or a folder with config.json");
        recipe_.lora.rank = int(from.integer("rank", 8, 1, RecipeLimits{}.max_rank));
        recipe_.lora.alpha = from.number("alpha", 2.0 * recipe_.lora.rank, 1e-6, 1e6);
        recipe_.lora.targets = from.texts("targets", {"attn", "ffn"});
        from.finish();
    }

    void model() {
        RecipeSection from = section("model");
        if (const std::string base = beside(from.text("base")); !base.empty()) {
            if (!recipe_.base.empty()) from.wrong("base", "cannot stand beside lora.base");
            recipe_.base = base;
        }
        if (recipe_.base.empty())
            sizes(from);
        else
            for (const char* key : {"kind", "width", "layers", "heads", "kv_heads", "head_dim", "ffn", "context",
                                    "rope_base", "norm_epsilon", "tied_embedding"})
                if (from.has(key)) from.wrong(key, "the base says it");
        from.finish();
    }

    void sizes(RecipeSection& from) {
        const RecipeLimits limits;
        NetConfig& net = recipe_.net;
        const size_t kind = from.choice("kind", {"llama", "bitnet", "bitnet-float"});
        net.bitnet = kind > 0;
        net.ternary = kind == 1;
        net.width = size(from, "width", 0, limits.max_width);
        net.n_layers = size(from, "layers", 0, limits.max_layers);
        net.n_heads = size(from, "heads", 0, limits.max_heads);
        net.n_kv_heads = size(from, "kv_heads", std::max(1, net.n_heads), limits.max_heads);
        net.head_dim = size(from, "head_dim", std::max(1, net.width / std::max(1, net.n_heads)), limits.max_head_dim);
        net.ffn_width = size(from, "ffn", 0, limits.max_ffn);
        net.context = size(from, "context", 0, limits.max_context);
        net.rope_base = float(from.number("rope_base", 10000.0, 1.0, 1e9));
        net.norm_epsilon = float(from.number("norm_epsilon", 1e-5, 1e-12, 0.1));
        net.tied_embedding = from.flag("tied_embedding", true);
    }

    void tokenizer() {
        RecipeSection from = section("tokenizer");
        auto& to = recipe_.tokenizer;
        to.from = beside(from.text("from"));
        const std::string path = beside(from.text("chat_template"));
        if (!path.empty()) {
            if (auto text = read_small_file(path))
                to.chat_template = std::move(*text);
            else
                from.wrong("chat_template", text.error().message);
            from.remember("chat_template (text)", to.chat_template);
        }
        if (!to.from.empty() || !recipe_.base.empty())
            for (const char* key : {"vocab_size", "pre", "special", "end", "end_of_turn"})
                if (from.has(key)) from.wrong(key, "the tokenizer that is taken says it");
        if (!to.from.empty() && !recipe_.base.empty()) from.wrong("from", "the base has a tokenizer");
        to.vocab_size = int(from.integer("vocab_size", 2048, 257, RecipeLimits{}.max_vocab));
        to.pre = from.text("pre", "qwen2");
        const Pretokenizer* pre = Pretokenizer::find(to.pre);
        if (!pre || pre->raw_utf8)
            from.wrong("pre",
                       fmt::format("\"{}\" is no way to cut text for byte-level BPE; qwen2 and gpt-2 are", to.pre));
        to.special = from.texts("special");
        to.end = from.text("end", "<|endoftext|>");
        to.end_of_turn = from.text("end_of_turn");
        auto add = [&](const std::string& token) {
            if (token.empty() || std::find(to.special.begin(), to.special.end(), token) != to.special.end()) return;
            to.special.push_back(token);
        };
        add(to.end);
        add(to.end_of_turn);
        if (to.end.empty()) from.wrong("end", "empty, expected the token that ends a document");
        for (const std::string& token : to.special)
            if (token.empty() || token.size() > 256) from.wrong("special", "a token has 1 to 256 bytes");
        if (to.from.empty() && to.vocab_size < 256 + int(to.special.size()))
            from.wrong("vocab_size", fmt::format("{}, expected at least {}: 256 bytes and {} special tokens",
                                                 to.vocab_size, 256 + to.special.size(), to.special.size()));
        from.finish();
    }

    void data() {
        RecipeSection from = section("data");
        auto& to = recipe_.data;
        const toml::node* files = from.node("files");
        const toml::array* list = files ? files->as_array() : nullptr;
        if (!list || list->empty()) from.wrong("files", "expected a list of text or JSONL files");
        for (size_t i = 0; list && i < list->size(); ++i) {
            const toml::node& each = (*list)[i];
            DataFile file;
            if (each.is_string()) {
                file.path = *each.value<std::string>();
            } else if (each.is_table()) {
                RecipeSection entry(each.as_table(), fmt::format("data.files[{}]", i), errors_, nullptr);
                file.path = entry.text("path");
                file.weight = entry.number("weight", 1.0, 0.0, 1000.0);
                entry.finish();
            }
            if (file.path.empty()) from.wrong("files", fmt::format("its entry {} names no file", i + 1));
            from.remember(fmt::format("files[{}]", i), fmt::format("{} {}", file.path, file.weight));
            file.path = beside(file.path);
            to.files.push_back(std::move(file));
        }
        to.held_out = from.number("held_out", 0.01, 0.0, 0.5);
        for (const std::string& path : from.texts("held_out_files")) to.held_out_files.push_back(beside(path));
        to.context_weight = from.number("context_weight", 0.1, 0.0, 1.0);
        from.finish();
    }

    void training() {
        RecipeSection from = section("training");
        auto& to = recipe_.training;
        RecipeSection length = section("training", false);
        to.steps = length.integer("steps", 0, 0, 1 << 30);
        to.tokens = length.integer("tokens", 0, 0, kMaxCount);
        to.epochs = length.number("epochs", 0.0, 0.0, 1e6);
        if ((to.steps > 0) + (to.tokens > 0) + (to.epochs > 0) != 1)
            length.wrong("steps", "expected one of steps, tokens and epochs");
        to.batch_tokens = from.integer("batch_tokens", 8192, 1, RecipeLimits{}.max_batch_tokens);
        const bool has_base = !recipe_.base.empty();
        to.row_length = int(from.integer("row_length", has_base ? 512 : std::max(1, recipe_.net.context), 2, 1 << 20));
        if (has_base) recipe_.net.context = to.row_length;
        if (to.row_length > recipe_.net.context)
            from.wrong("row_length",
                       fmt::format("{} is more than the model's context of {}", to.row_length, recipe_.net.context));
        if (to.batch_tokens < to.row_length)
            from.wrong("batch_tokens", fmt::format("{} is less than a row of {}", to.batch_tokens, to.row_length));
        recipe_.net.bf16 = length.choice("precision", {"f32", "bf16"}) == 1;
        from.remember("precision", recipe_.net.bf16 ? "bf16" : "");
        recipe_.net.int8_gradients = length.flag("int8_gradients", false);
        from.remember("int8_gradients", recipe_.net.int8_gradients ? "true" : "");
        if (recipe_.net.int8_gradients && !recipe_.net.ternary)
            length.wrong("int8_gradients", "for kind = \"bitnet\" only");
        to.accumulation = int(from.integer("accumulation", 1, 1, 1 << 16));
        if (to.accumulation > to.batch_tokens / to.row_length)
            from.wrong("accumulation",
                       fmt::format("{} parts of a batch of {} rows", to.accumulation, to.batch_tokens / to.row_length));
        to.seed = uint64_t(from.integer("seed", 1, 0, INT64_MAX));
        // A model that knows something already is led on gently.
        std::vector<std::string_view> optimizers = {"muon", "adamw"};
        if (has_base) std::swap(optimizers[0], optimizers[1]);
        to.optimizer.muon = optimizers[from.choice("optimizer", optimizers)] == "muon";
        to.learning_rate = from.number("learning_rate", has_base ? 3e-4 : 1e-3, 0.0, 1e9);
        to.muon_learning_rate = from.number("muon_learning_rate", 0.02, 0.0, 1e9);
        to.warmup_steps = from.integer("warmup_steps", 100, 0, 1 << 30);
        constexpr ScheduleShape kShapes[] = {ScheduleShape::kStable, ScheduleShape::kCosine, ScheduleShape::kLinear};
        to.schedule = kShapes[from.choice("schedule", {"wsd", "cosine", "linear"})];
        to.final_fraction = from.number("final_fraction", 0.0, 0.0, 1.0);
        to.decay_fraction = from.number("decay_fraction", 0.2, 0.0, 1.0);
        to.two_stage = from.flag("two_stage", false);
        to.second_stage_fraction = from.number("second_stage_fraction", 0.66, 0.0, 1.0);
        to.optimizer.weight_decay = float(from.number("weight_decay", has_base ? 0.0 : 0.1, 0.0, 10.0));
        to.optimizer.beta1 = float(from.number("beta1", 0.9, 0.0, 0.99999));
        to.optimizer.beta2 = float(from.number("beta2", 0.95, 0.0, 0.99999));
        to.optimizer.epsilon = float(from.number("epsilon", 1e-8, 1e-20, 1.0));
        to.optimizer.muon_momentum = float(from.number("muon_momentum", 0.95, 0.0, 0.99999));
        to.optimizer.clip_norm = float(from.number("clip", 1.0, 0.0, 1e9));
        from.finish({"steps", "tokens", "epochs", "precision", "int8_gradients"});
    }

    void evaluation() {
        RecipeSection from = section("evaluation", false);
        auto& to = recipe_.evaluation;
        to.every = from.integer("every", 100, 0, 1 << 30);
        to.rows = from.integer("rows", 64, 0, 1 << 30);
        to.sample_tokens = from.integer("sample_tokens", 64, 1, 65536);
        const toml::node* samples = from.node("samples");
        const toml::array* list = samples ? samples->as_array() : nullptr;
        if (samples && !list) from.wrong("samples", "expected a list");
        for (size_t i = 0; list && i < list->size(); ++i) {
            const toml::node& each = (*list)[i];
            Sample sample;
            if (each.is_string()) {
                sample.text = *each.value<std::string>();
            } else if (each.is_table()) {
                RecipeSection entry(each.as_table(), fmt::format("evaluation.samples[{}]", i), errors_, nullptr);
                sample.system = entry.text("system");
                sample.user = entry.text("user");
                sample.is_chat = true;
                entry.finish();
            }
            if (sample.text.empty() && sample.user.empty())
                from.wrong("samples", fmt::format("its entry {} is neither a text nor {{ user = \"...\" }}", i + 1));
            to.samples.push_back(std::move(sample));
        }
        from.finish();
    }

    void checkpoint() {
        RecipeSection from = section("checkpoint", false);
        recipe_.checkpoint.every = from.integer("every", 0, 0, 1 << 30);
        recipe_.checkpoint.every_seconds = from.number("every_seconds", 300.0, 0.0, 1e9);
        from.finish();
    }

    void output() {
        RecipeSection from = section("output", false);
        auto& to = recipe_.output;
        to.folder = beside(from.text("folder", recipe_.name));
        std::vector<std::string> types = {"f16"};
        if (recipe_.lora.rank > 0) types.clear();
        to.gguf = from.texts("gguf", types);
        for (const std::string& type : to.gguf)
            if (!find_type_target(type)) from.wrong("gguf", fmt::format("\"{}\" is no type of sterna quantize", type));
        to.safetensors = from.text("safetensors");
        to.author = from.text("author");
        to.license = from.text("license");
        to.description = from.text("description");
        if (from.node("temperature")) to.temperature = float(from.number("temperature", 0.0, 0.0, 100.0));
        from.finish();
    }

    const toml::table& root_;
    RecipeErrors errors_;
    Recipe recipe_;
};

}  // namespace

int64_t n_parameters(const NetConfig& net) {
    const int64_t width = net.width, q = int64_t(net.n_heads) * net.head_dim,
                  kv = int64_t(net.n_kv_heads) * net.head_dim;
    int64_t layer = width * q * 2 + width * kv * 2 + width * net.ffn_width * 3 + 2 * width;
    if (net.bitnet) layer += q + net.ffn_width;
    return layer * net.n_layers + width + int64_t(net.vocab_size) * width * (net.tied_embedding ? 1 : 2);
}

Status check_sizes(const NetConfig& net, const RecipeLimits& limits) {
    if (net.n_heads % net.n_kv_heads)
        return fail(ErrorCode::kBadArgument, "model.heads: {} heads cannot share {} kv_heads evenly", net.n_heads,
                    net.n_kv_heads);
    if (net.head_dim % 2)
        return fail(ErrorCode::kBadArgument, "model.head_dim: {} is odd, and positions turn pairs", net.head_dim);
    if (n_parameters(net) > limits.max_parameters)
        return fail(ErrorCode::kLimit, "model: {} weights, limit {}", n_parameters(net), limits.max_parameters);
    return {};
}

Result<Recipe> parse_recipe(std::string_view text, const std::string& path) {
    toml::parse_result parsed = toml::parse(text, path);
    if (!parsed)
        return fail(ErrorCode::kBadFile, "{}:{}: {}", path, parsed.error().source().begin.line,
                    parsed.error().description());
    STERNA_TRY(recipe, Reader(parsed.table(), path).read());
    recipe.text = text;
    return recipe;
}

Result<Recipe> read_recipe(const std::string& path) {
    STERNA_TRY(text, read_small_file(path));
    return parse_recipe(text, path);
}

}  // namespace sterna::train
