#include "convert/hf_tokenizer.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <fstream>

#include "convert/tokenizer_data.h"
#include "text/split_program.h"

namespace sterna {

namespace {

namespace fs = std::filesystem;

bool exists(const std::string& path) {
    std::error_code error;
    return fs::is_regular_file(path, error);
}

// The first file in the folder with this extension, by name.
std::string first_with_extension(const std::string& folder, std::string_view extension) {
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
        if (at->path().extension() == extension) found.push_back(at->path().string());
    return found.empty() ? std::string() : *std::min_element(found.begin(), found.end());
}

// The pieces of the SentencePiece model are the tokens of tokenizer.json: its exact scores may be used.
bool same_pieces(const TokenizerData& model, const TokenizerData& json) {
    if (model.size() > json.size()) return false;
    size_t n_other = 0;
    for (size_t id = 0; id < model.size(); ++id) n_other += model.tokens[id] != json.tokens[id];
    // Some places are renamed by fine-tunes: <unused7>, reserved ones.
    return n_other <= model.size() / 100;
}

Status read_folder(const std::string& folder, TokenizerData& data) {
    const std::string json_path = folder + "/tokenizer.json";
    std::string model_path;
    for (const char* name : {"/tokenizer.model", "/spiece.model", "/sentencepiece.bpe.model", "/tiktoken.model"})
        if (model_path.empty() && exists(folder + name)) model_path = folder + name;
    if (model_path.empty()) model_path = first_with_extension(folder, ".tiktoken");
    std::string model_text;
    if (!model_path.empty()) {
        STERNA_TRY(text, read_tokenizer_file(model_path));
        model_text = std::move(text);
    }
    const bool has_json = exists(json_path);
    if (has_json) {
        STERNA_TRY(text, read_tokenizer_file(json_path));
        STERNA_CHECK(read_tokenizer_json(text, json_path, data));
        if (model_text.empty() || is_tiktoken(model_text) || (data.model != "llama" && data.model != "t5")) return {};
        TokenizerData pieces;
        if (auto read = read_sentencepiece_tokenizer(model_text, model_path, pieces); !read) {
            data.warn(read.error().message + "; tokenizer.json is used instead");
            return {};
        }
        if (pieces.model != data.model) return {};
        if (!same_pieces(pieces, data)) {
            data.warn(fmt::format("{}: its tokens are not those of tokenizer.json, which is used instead", model_path));
            return {};
        }
        // The model says how to merge, tokenizer.json which tokens there are.
        for (size_t id = 0; id < data.size(); ++id) {
            if (id >= pieces.size()) {
                STERNA_CHECK(pieces.set(int64_t(id), data.tokens[id], TokenType(data.types[id]), -1000.0));
                continue;
            }
            pieces.tokens[id] = data.tokens[id];
            bool marked =
                data.types[id] == int64_t(TokenType::kControl) || data.types[id] == int64_t(TokenType::kUserDefined);
            if (marked && pieces.types[id] != int64_t(TokenType::kUnknown)) pieces.types[id] = data.types[id];
        }
        for (auto& [name, id] : data.ids) pieces.ids[name] = id;
        if (data.add_bos) pieces.add_bos = data.add_bos;
        if (data.add_eos) pieces.add_eos = data.add_eos;
        pieces.warnings = std::move(data.warnings);
        pieces.strip_left = std::move(data.strip_left);
        pieces.strip_right = std::move(data.strip_right);
        data = std::move(pieces);
        return {};
    }
    if (!model_path.empty()) {
        if (is_tiktoken(model_text)) return read_tiktoken(model_text, model_path, folder, data);
        return read_sentencepiece_tokenizer(model_text, model_path, data);
    }
    for (const char* name : {"/rwkv_vocab_v20230424.txt", "/rwkv_vocab.txt"}) {
        if (!exists(folder + name)) continue;
        STERNA_TRY(text, read_tokenizer_file(folder + name));
        return read_rwkv_vocabulary(text, folder + name, data);
    }
    if (exists(folder + "/vocab.json") && exists(folder + "/merges.txt")) return read_vocab_and_merges(folder, data);
    return fail(
        ErrorCode::kNotFound,
        "{}: no tokenizer.json, tokenizer.model, *.tiktoken, vocab.json with merges.txt or rwkv_vocab_v20230424.txt",
        folder);
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) {
    return std::vector<std::string_view>(texts.begin(), texts.end());
}

}  // namespace

bool looks_special(std::string_view text) {
    return (text.size() > 4 && text.starts_with("<|") && text.ends_with("|>")) ||
           (text.starts_with("<｜") && text.ends_with("｜>")) || text == "</s>" || text == "<s>" || text == "<unk>" ||
           text == "<bos>" || text == "<eos>" || text == "<pad>" || text == "<start_of_turn>" ||
           text == "<end_of_turn>";
}

Status TokenizerData::set(int64_t id, std::string text, TokenType type, double score) {
    if (id < 0 || id >= TokenizerFileLimits{}.max_vocab)
        return fail(ErrorCode::kLimit, "token '{}': id {}, expected 0 to {}", text.substr(0, 80), id,
                    TokenizerFileLimits{}.max_vocab - 1);
    auto at = size_t(id);
    if (at >= tokens.size()) {
        tokens.resize(at + 1);
        types.resize(at + 1, int64_t(TokenType::kUnused));
    }
    if (!scores.empty() || score != 0) {
        scores.resize(std::max(tokens.size(), scores.size()), -1000.0);
        scores[at] = score;
    }
    tokens[at] = std::move(text);
    types[at] = int64_t(type);
    return {};
}

std::optional<int64_t> TokenizerData::find(std::string_view text) const {
    for (size_t id = 0; id < tokens.size(); ++id)
        if (tokens[id] == text && !text.empty()) return int64_t(id);
    return std::nullopt;
}

Result<std::string> read_tokenizer_file(const std::string& path) {
    std::error_code error;
    uint64_t size = fs::file_size(path, error);
    if (error) return fail(ErrorCode::kIo, "{}: {}", path, error.message());
    if (size > TokenizerFileLimits{}.max_file_bytes)
        return fail(ErrorCode::kLimit, "{}: {} bytes, limit {}", path, size, TokenizerFileLimits{}.max_file_bytes);
    std::ifstream file(path, std::ios::binary);
    std::string text(size, '\0');
    if (!file.read(text.data(), std::streamsize(size)))
        return fail(ErrorCode::kIo, "{}: {} bytes could not be read", path, size);
    return text;
}

Status write_tokenizer_data(const TokenizerData& data, int64_t vocab_rows, GgufWriter& writer,
                            std::vector<std::string>& warnings) {
    TokenizerData d = data;
    if (vocab_rows > TokenizerFileLimits{}.max_vocab)
        return fail(ErrorCode::kLimit, "embedding: {} rows, limit {}", vocab_rows, TokenizerFileLimits{}.max_vocab);
    if (vocab_rows > 0 && size_t(vocab_rows) < d.size())
        d.warn(fmt::format("the tokenizer has {} tokens, the embedding matrix {} rows; the others are left out",
                           d.size(), vocab_rows));
    size_t n = vocab_rows > 0 ? size_t(vocab_rows) : d.size();
    d.tokens.resize(n);
    d.types.resize(n, int64_t(TokenType::kUnused));
    if (!d.scores.empty()) d.scores.resize(n, -1000.0);
    if (d.model == "llama" && d.scores.empty()) d.scores.resize(n, 0.0);
    for (size_t id = 0; id < n; ++id) {
        if (!d.tokens[id].empty()) continue;
        d.tokens[id] = fmt::format("[PAD{}]", id);
        d.types[id] = int64_t(TokenType::kUnused);
    }

    auto key = [](std::string_view name) { return fmt::format("tokenizer.ggml.{}", name); };
    STERNA_CHECK(writer.set_string(key("model"), d.model));
    STERNA_CHECK(writer.set_string(key("pre"), d.pre));
    STERNA_CHECK(writer.set_strings(key("tokens"), views(d.tokens)));
    if (!d.scores.empty()) STERNA_CHECK(writer.set_floats(key("scores"), GgufType::kF32, d.scores));
    STERNA_CHECK(writer.set_ints(key("token_type"), GgufType::kI32, d.types));
    if (!d.merges.empty() || d.model == "gpt2") STERNA_CHECK(writer.set_strings(key("merges"), views(d.merges)));
    if (!d.charsmap.empty()) {
        std::vector<int64_t> bytes;
        for (char c : d.charsmap) bytes.push_back(uint8_t(c));
        STERNA_CHECK(writer.set_ints(key("precompiled_charsmap"), GgufType::kU8, bytes));
    }
    for (auto& [name, id] : d.ids) {
        if (id < 0 || size_t(id) >= n) {
            d.warn(fmt::format("the {} token is {}, but there are {} tokens; left out", name, id, n));
            continue;
        }
        // The format's own spelling.
        STERNA_CHECK(writer.set_u32(key((name == "separator" ? "seperator" : name) + "_token_id"), uint32_t(id)));
    }
    const std::pair<const char*, std::optional<bool>> flags[] = {
        {"add_bos_token", d.add_bos},
        {"add_eos_token", d.add_eos},
        {"add_space_prefix", d.add_space_prefix},
        {"remove_extra_whitespaces", d.remove_extra_whitespaces},
        {"normalizer.lowercase", d.lowercase},
        {"normalizer.strip_accents", d.strip_accents}};
    for (auto& [name, value] : flags)
        if (value) STERNA_CHECK(writer.set_bool(key(name), *value));
    if (d.normalizer) STERNA_CHECK(writer.set_strings(SplitProgram::kNormalizerKey, views(*d.normalizer)));
    if (d.split) {
        STERNA_CHECK(writer.set_strings(SplitProgram::kSplitKey, views(*d.split)));
        if (!d.options.empty()) STERNA_CHECK(writer.set_strings("sterna.tokenizer.options", views(d.options)));
    }
    if (d.ignore_merges) STERNA_CHECK(writer.set_bool("sterna.tokenizer.ignore_merges", *d.ignore_merges));
    if (!d.strip_left.empty())
        STERNA_CHECK(writer.set_ints("sterna.tokenizer.strip_left", GgufType::kI32, d.strip_left));
    if (!d.strip_right.empty())
        STERNA_CHECK(writer.set_ints("sterna.tokenizer.strip_right", GgufType::kI32, d.strip_right));
    for (auto& [name, text] : d.chat_templates)
        STERNA_CHECK(writer.set_string("tokenizer.chat_template" + (name.empty() ? "" : "." + name), text));
    warnings.insert(warnings.end(), d.warnings.begin(), d.warnings.end());
    return {};
}

Status write_tokenizer(const std::string& folder, int64_t vocab_rows, GgufWriter& writer,
                       std::vector<std::string>& warnings) {
    try {
        TokenizerData data;
        STERNA_CHECK(read_folder(folder, data));
        if (data.size() == 0) return fail(ErrorCode::kBadFile, "{}: the tokenizer has no tokens", folder);
        STERNA_CHECK(read_special_tokens(folder, data));
        return write_tokenizer_data(data, vocab_rows, writer, warnings);
    } catch (const std::exception& error) {
        return fail(ErrorCode::kBadFile, "{}: {}", folder, error.what());
    }
}

}  // namespace sterna
