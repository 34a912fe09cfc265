// The vocabularies that are no JSON: SentencePiece, tiktoken, RWKV.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "convert/tokenizer_data.h"
#include "format/sentencepiece.h"
#include "text/byte_alphabet.h"
#include "text/utf8.h"

namespace sterna {

namespace {

int base64_digit(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

std::optional<std::string> decode_base64(std::string_view text) {
    while (text.ends_with('=')) text.remove_suffix(1);
    std::string out;
    uint32_t bits = 0;
    int n = 0;
    for (char c : text) {
        int digit = base64_digit(c);
        if (digit < 0) return std::nullopt;
        bits = bits << 6 | uint32_t(digit);
        n += 6;
        if (n >= 8) out += char(bits >> (n -= 8) & 255);
    }
    return out;
}

std::string_view next_line(std::string_view text, size_t& at) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

// "IQ== 0": a token and its rank.
bool read_rank(std::string_view line, std::string& token, int64_t& rank) {
    size_t blank = line.find(' ');
    if (blank == line.npos || blank == 0) return false;
    auto bytes = decode_base64(line.substr(0, blank));
    std::string_view number = line.substr(blank + 1);
    auto end = std::from_chars(number.data(), number.data() + number.size(), rank);
    if (!bytes || bytes->empty() || end.ec != std::errc() || end.ptr != number.data() + number.size()) return false;
    token = std::move(*bytes);
    return true;
}

using Ranks = std::unordered_map<std::string, int64_t>;

// The two parts whose merge made the token: what its bytes merge into while only lower ranks count.
std::pair<std::string, std::string> merge_of(const std::string& token, int64_t rank, const Ranks& ranks) {
    std::vector<size_t> begins(token.size() + 1);
    for (size_t i = 0; i <= token.size(); ++i) begins[i] = i;
    while (begins.size() > 3) {
        size_t best = 0;
        int64_t lowest = rank;
        for (size_t i = 0; i + 2 < begins.size(); ++i) {
            auto at = ranks.find(token.substr(begins[i], begins[i + 2] - begins[i]));
            if (at != ranks.end() && at->second < lowest) {
                lowest = at->second;
                best = i + 1;
            }
        }
        if (best == 0) return {};
        begins.erase(begins.begin() + ptrdiff_t(best));
    }
    return {token.substr(0, begins[1]), token.substr(begins[1])};
}

// tokenizer_class, model_type and the file's name say whose tokenizer it is.
std::string tiktoken_pre(const std::string& folder, const std::string& path, size_t n_tokens, TokenizerData& data) {
    std::string hints = std::filesystem::path(path).filename().string();
    for (const char* file : {"/tokenizer_config.json", "/config.json"}) {
        std::error_code error;
        if (!std::filesystem::is_regular_file(folder + file, error)) continue;
        auto text = read_tokenizer_file(folder + file);
        auto root = text ? nlohmann::json::parse(*text, nullptr, false) : nlohmann::json();
        for (const char* key : {"tokenizer_class", "model_type"})
            if (root.is_object() && root.contains(key) && root[key].is_string())
                hints += ' ' + root[key].get<std::string>();
    }
    for (char& c : hints) c = char(c >= 'A' && c <= 'Z' ? c + 32 : c);
    auto has = [&hints](std::string_view what) { return hints.find(what) != hints.npos; };
    // Qwen's first tokenizer cuts digits one by one, the others by threes.
    if (has("qwen")) return "qwen2";
    if (has("kimi") || has("moonshot")) return "kimi-k2";
    if (has("o200k") || has("gpt-oss") || has("gpt_oss")) return "gpt-4o";
    if (has("llama4")) return "llama4";
    if (has("llama") || has("cl100k") || has("dbrx")) return "llama-bpe";
    if (has("tekken") || has("mistral")) return "tekken";
    if (has("chatglm") || has("glm")) return "chatglm-bpe";
    if (has("gpt2") || has("r50k") || has("p50k")) return "gpt-2";
    std::string guess = n_tokens > 190000 ? "gpt-4o" : n_tokens > 90000 ? "llama-bpe" : "gpt-2";
    data.warn(fmt::format("{}: nothing says how the text is cut before merging; guessed '{}' from {} tokens", path,
                          guess, n_tokens));
    return guess;
}

}  // namespace

bool is_tiktoken(std::string_view text) {
    size_t at = 0;
    std::string token;
    int64_t rank = -1;
    return read_rank(next_line(text.substr(0, std::min<size_t>(text.size(), 1024)), at), token, rank) && rank >= 0;
}

Status read_tiktoken(const std::string& text, const std::string& path, const std::string& folder, TokenizerData& data) {
    Ranks ranks;
    size_t n_lines = 0;
    for (size_t at = 0; at < text.size();) {
        std::string_view line = next_line(text, at);
        ++n_lines;
        if (line.empty()) continue;
        std::string token;
        int64_t rank = -1;
        if (!read_rank(line, token, rank))
            return fail(ErrorCode::kBadFile, "{}: line {} is no token and rank", path, n_lines);
        if (token.size() > 1024)
            return fail(ErrorCode::kLimit, "{}: line {}: token of {} bytes, limit 1024", path, n_lines, token.size());
        STERNA_CHECK(data.set(rank, kByteAlphabet.spell(token), TokenType::kNormal));
        ranks.emplace(std::move(token), rank);
    }
    data.model = "gpt2";
    std::vector<std::pair<int64_t, const std::string*>> order;
    for (auto& [token, rank] : ranks)
        if (token.size() > 1) order.emplace_back(rank, &token);
    std::sort(order.begin(), order.end());
    size_t n_lost = 0;
    for (auto& [rank, token] : order) {
        auto [left, right] = merge_of(*token, rank, ranks);
        if (left.empty()) {
            ++n_lost;
            continue;
        }
        data.merges.push_back(kByteAlphabet.spell(left) + ' ' + kByteAlphabet.spell(right));
    }
    if (n_lost > 0) data.warn(fmt::format("{}: {} tokens are no merge of two others", path, n_lost));
    data.pre = tiktoken_pre(folder, path, ranks.size(), data);
    // tiktoken takes a word that is a token as it stands, and composes nothing unless the model's own code does.
    data.ignore_merges = true;
    if (data.pre == "qwen2") {
        // Qwen's own special tokens follow the ranks.
        auto next = int64_t(data.size());
        for (const char* name : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
            STERNA_CHECK(data.set(next++, name, TokenType::kControl));
        for (int i = 0; i < 205; ++i)
            STERNA_CHECK(data.set(next++, fmt::format("<|extra_{}|>", i), TokenType::kControl));
        data.ids["eos"] = data.ids["bos"] = int64_t(ranks.size());
        data.ids["eot"] = int64_t(ranks.size()) + 2;
    } else if (data.pre == "llama-bpe" && data.size() == 128000) {
        // Meta's files leave the special tokens to their code.
        constexpr const char* kNames[] = {"<|begin_of_text|>",
                                          "<|end_of_text|>",
                                          "<|reserved_special_token_0|>",
                                          "<|reserved_special_token_1|>",
                                          "<|finetune_right_pad_id|>",
                                          "<|reserved_special_token_2|>",
                                          "<|start_header_id|>",
                                          "<|end_header_id|>",
                                          "<|eom_id|>",
                                          "<|eot_id|>",
                                          "<|python_tag|>"};
        int64_t next = 128000;
        for (const char* name : kNames) STERNA_CHECK(data.set(next++, name, TokenType::kControl));
        for (int i = 3; next < 128256; ++i)
            STERNA_CHECK(data.set(next++, fmt::format("<|reserved_special_token_{}|>", i), TokenType::kControl));
        data.ids["bos"] = 128000;
        data.ids["eos"] = 128001;
        data.ids["eom"] = 128008;
        data.ids["eot"] = 128009;
        data.add_bos = true;
    }
    return {};
}

Status read_sentencepiece_tokenizer(const std::string& text, const std::string& path, TokenizerData& data) {
    Bytes bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    STERNA_TRY(model, read_sentencepiece(bytes, path));
    using Kind = SentencePieceModel::Kind;
    if (model.kind != Kind::kBpe && model.kind != Kind::kUnigram)
        return fail(ErrorCode::kUnsupported, "{}: a model of {}, expected BPE or Unigram", path,
                    model.kind == Kind::kWord ? "words" : "characters");
    data.model = model.kind == Kind::kBpe ? "llama" : "t5";
    data.scores.resize(model.pieces.size());
    for (size_t id = 0; id < model.pieces.size(); ++id) {
        const auto& piece = model.pieces[id];
        STERNA_CHECK(data.set(int64_t(id), std::string(piece.text), TokenType(piece.type), double(piece.score)));
        data.scores[id] = double(piece.score);
    }
    for (auto [name, id] :
         {std::pair("unknown", model.unknown), {"bos", model.bos}, {"eos", model.eos}, {"padding", model.padding}})
        if (id >= 0 && size_t(id) < model.pieces.size()) data.ids[name] = id;
    data.add_space_prefix = model.add_dummy_prefix;
    data.remove_extra_whitespaces = model.remove_extra_whitespaces;
    if (model.kind == Kind::kUnigram) {
        data.charsmap.assign(reinterpret_cast<const char*>(model.charsmap.data()), model.charsmap.size());
    } else if (!model.charsmap.empty()) {
        data.warn(fmt::format("{}: its map of characters is not applied with BPE", path));
    }
    if (model.whitespace_as_suffix) data.warn(fmt::format("{}: blanks at the end of words are not reproduced", path));
    if (!model.escape_whitespaces) data.warn(fmt::format("{}: blanks that are not escaped are not reproduced", path));
    return {};
}

namespace {

// A Python literal: 'text', "text" or b'bytes'. Returns: its bytes.
std::optional<std::string> read_python_literal(std::string_view text) {
    bool raw_bytes = text.starts_with('b');
    if (raw_bytes) text.remove_prefix(1);
    if (text.size() < 2 || (text[0] != '\'' && text[0] != '"') || text.back() != text[0]) return std::nullopt;
    text = text.substr(1, text.size() - 2);
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        if (++i == text.size()) return std::nullopt;
        size_t n_digits = text[i] == 'x' ? 2 : text[i] == 'u' ? 4 : text[i] == 'U' ? 8 : 0;
        if (n_digits > 0) {
            uint32_t value = 0;
            if (i + n_digits >= text.size() + 0 && i + n_digits > text.size() - 1) return std::nullopt;
            auto end = std::from_chars(text.data() + i + 1, text.data() + i + 1 + n_digits, value, 16);
            if (end.ptr != text.data() + i + 1 + n_digits) return std::nullopt;
            raw_bytes ? void(out += char(value)) : append_utf8(out, value);
            i += n_digits;
        } else {
            char c = text[i];
            out += c == 'n'   ? '\n'
                   : c == 't' ? '\t'
                   : c == 'r' ? '\r'
                   : c == '0' ? '\0'
                   : c == 'a' ? '\a'
                   : c == 'b' ? '\b'
                   : c == 'f' ? '\f'
                   : c == 'v' ? '\v'
                              : c;
        }
    }
    return out;
}

}  // namespace

// Lines "ID LITERAL LENGTH".
Status read_rwkv_vocabulary(const std::string& text, const std::string& path, TokenizerData& data) {
    size_t n_lines = 0;
    STERNA_CHECK(data.set(0, "<s>", TokenType::kControl));
    for (size_t at = 0; at < text.size();) {
        std::string_view line = next_line(text, at);
        ++n_lines;
        if (line.empty()) continue;
        size_t first = line.find(' '), last = line.rfind(' ');
        int64_t id = -1, length = -1;
        bool ok = first != line.npos && last > first;
        if (ok) ok = std::from_chars(line.data(), line.data() + first, id).ec == std::errc();
        if (ok) ok = std::from_chars(line.data() + last + 1, line.data() + line.size(), length).ec == std::errc();
        auto bytes = ok ? read_python_literal(line.substr(first + 1, last - first - 1)) : std::nullopt;
        if (!bytes || int64_t(bytes->size()) != length)
            return fail(ErrorCode::kBadFile, "{}: line {} is no id, text and length", path, n_lines);
        std::string spelled;
        for (size_t i = 0; i < bytes->size();) {
            Utf8Char c = decode_utf8(*bytes, i);
            char b = (*bytes)[i];
            if (b == '\\' || b == '\'') {
                spelled += '\\';
                spelled += b;
            } else if (b == '\n' || b == '\t' || b == '\r') {
                spelled += b == '\n' ? "\\n" : b == '\t' ? "\\t" : "\\r";
            } else if (c.code_point == kInvalidCodePoint || c.code_point < 32 || c.code_point == 127) {
                spelled += fmt::format("\\x{:02x}", uint8_t(b));
            } else {
                spelled += bytes->substr(i, c.length);
            }
            i += c.length;
        }
        STERNA_CHECK(data.set(id, std::move(spelled), TokenType::kNormal));
    }
    data.model = "rwkv";
    data.ids["bos"] = data.ids["eos"] = 0;
    data.add_bos = false;
    return {};
}

}  // namespace sterna
