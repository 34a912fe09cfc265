// GGUF metadata as a tokenizer.json, the other way round than tokenizer_json_read.cpp.
#include <algorithm>
#include <exception>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "convert/hf_tokenizer.h"
#include "convert/tokenizer_data.h"
#include "text/pretokenizer.h"
#include "text/split_program.h"
#include "text/utf8.h"

namespace sterna {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view kGpt2Step =
    R"(isolated 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string encode_base64(const std::vector<int64_t>& bytes) {
    constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; ++k) bits = bits << 8 | uint32_t(i + k < bytes.size() ? bytes[i + k] & 255 : 0);
        for (size_t k = 0; k < 4; ++k) out += i + k <= bytes.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
    }
    return out;
}

OrderedJson replace(const char* kind, std::string_view from, std::string_view to) {
    return {{"type", "Replace"}, {"pattern", {{kind, from}}}, {"content", to}};
}
OrderedJson split(std::string_view regex, std::string_view behaviour = "Isolated", bool invert = false) {
    return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", behaviour}, {"invert", invert}};
}
OrderedJson byte_level(bool prefix, bool regex) {
    return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", regex}};
}
OrderedJson sequence(const char* list, std::vector<OrderedJson> parts) {
    if (parts.empty()) return nullptr;
    if (parts.size() == 1) return parts[0];
    return {{"type", "Sequence"}, {list, parts}};
}

class JsonWriter {
public:
    explicit JsonWriter(const Metadata& metadata) : metadata_(metadata) {}

    Result<std::string> write() {
        auto kind = metadata_.get_string(key("model"));
        auto tokens = metadata_.get_strings(key("tokens"));
        if (!kind || !tokens || tokens->empty())
            return fail(ErrorCode::kBadFile, "tokenizer.ggml.tokens: absent, expected a vocabulary");
        if (tokens->size() > size_t(TokenizerFileLimits{}.max_vocab))
            return fail(ErrorCode::kLimit, "tokenizer.ggml.tokens: {} tokens, limit {}", tokens->size(),
                        TokenizerFileLimits{}.max_vocab);
        tokens_ = std::move(*tokens);
        types_ = metadata_.get_ints(key("token_type")).value_or(std::vector<int64_t>());
        scores_ = metadata_.get_floats(key("scores")).value_or(std::vector<double>());
        types_.resize(tokens_.size(), 1);
        own_steps_ = metadata_.has(SplitProgram::kSplitKey);
        if (*kind == "gpt2" || (*kind == "llama" && own_steps_)) {
            STERNA_CHECK(write_bpe(*kind == "gpt2"));
        } else if (*kind == "llama") {
            STERNA_CHECK(write_sentencepiece());
        } else if (*kind == "t5") {
            STERNA_CHECK(write_unigram());
        } else {
            return fail(ErrorCode::kUnsupported, "tokenizer.ggml.model: '{}', expected gpt2, llama or t5", *kind);
        }
        OrderedJson root{
            {"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"added_tokens", added_tokens()}};
        root["normalizer"] = normalizer_;
        root["pre_tokenizer"] = pre_tokenizer_;
        root["post_processor"] = post_processor();
        root["decoder"] = decoder_;
        root["model"] = std::move(model_);
        return root.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
    }

private:
    static std::string key(std::string_view name) { return fmt::format("tokenizer.ggml.{}", name); }
    bool has_type(size_t id, TokenType type) const { return types_[id] == int64_t(type); }
    std::optional<size_t> special(std::string_view name) const {
        auto id = metadata_.get_int(key(fmt::format("{}_token_id", name)));
        return id && *id >= 0 && size_t(*id) < tokens_.size() ? std::optional(size_t(*id)) : std::nullopt;
    }

    OrderedJson vocabulary() const {
        OrderedJson vocab = OrderedJson::object();
        // Members of an ordered object are searched one by one: a list of pairs becomes one at once.
        auto& members = vocab.get_ref<OrderedJson::object_t&>();
        members.reserve(tokens_.size());
        std::vector<bool> again = duplicates();
        for (size_t id = 0; id < tokens_.size(); ++id)
            if (!again[id]) members.Container::emplace_back(std::string(tokens_[id]), id);
        return vocab;
    }
    std::vector<bool> duplicates() const {
        std::vector<size_t> order(tokens_.size());
        for (size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return tokens_[a] < tokens_[b]; });
        std::vector<bool> again(tokens_.size());
        for (size_t i = 1; i < order.size(); ++i) again[order[i]] = tokens_[order[i]] == tokens_[order[i - 1]];
        return again;
    }

    OrderedJson added_tokens() const {
        OrderedJson list = OrderedJson::array();
        auto strips = [&](const char* name) { return metadata_.get_ints(name).value_or(std::vector<int64_t>()); };
        const auto left = strips("sterna.tokenizer.strip_left"), right = strips("sterna.tokenizer.strip_right");
        for (size_t id = 0; id < tokens_.size(); ++id) {
            bool control = has_type(id, TokenType::kControl) || has_type(id, TokenType::kUnknown);
            if (!control && !has_type(id, TokenType::kUserDefined)) continue;
            auto in = [id](const std::vector<int64_t>& ids) {
                return std::find(ids.begin(), ids.end(), int64_t(id)) != ids.end();
            };
            list.push_back({{"id", id},
                            {"content", tokens_[id]},
                            {"single_word", false},
                            {"lstrip", in(left)},
                            {"rstrip", in(right)},
                            {"normalized", false},
                            {"special", control}});
        }
        return list;
    }

    OrderedJson merges() const {
        OrderedJson list = OrderedJson::array();
        for (std::string_view merge : metadata_.get_strings(key("merges")).value_or(std::vector<std::string_view>())) {
            size_t blank = merge.find(' ', 1);
            if (blank != merge.npos) list.push_back({merge.substr(0, blank), merge.substr(blank + 1)});
        }
        return list;
    }

    OrderedJson bpe_model(OrderedJson merges, bool byte_fallback, bool fuse_unknown, bool ignore_merges,
                          bool unknown) const {
        auto id = special("unknown");
        OrderedJson name = unknown && id ? OrderedJson(tokens_[*id]) : OrderedJson(nullptr);
        return {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", name},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", fuse_unknown},
                {"byte_fallback", byte_fallback},
                {"ignore_merges", ignore_merges},
                {"vocab", vocabulary()},
                {"merges", std::move(merges)}};
    }

    Status write_bpe(bool byte_level_model) {
        std::string_view name = metadata_.get_string(key("pre")).value_or("");
        const Pretokenizer* rules = Pretokenizer::find(name);
        auto options = metadata_.get_strings("sterna.tokenizer.options").value_or(std::vector<std::string_view>());
        auto has = [&](std::string_view what) {
            return std::find(options.begin(), options.end(), what) != options.end();
        };
        bool ignore = metadata_.get_bool("sterna.tokenizer.ignore_merges").value_or(rules && rules->ignore_merges);
        auto steps = metadata_.get_strings(SplitProgram::kNormalizerKey);
        if (own_steps_) {
            auto cuts = metadata_.get_strings(SplitProgram::kSplitKey).value_or(std::vector<std::string_view>());
            STERNA_CHECK(write_split(cuts));
        } else {
            auto expressions = pretokenizer_steps(name);
            if (!expressions)
                return fail(ErrorCode::kUnsupported, "tokenizer.ggml.pre: '{}', no split expression is known for it",
                            name);
            std::vector<OrderedJson> parts;
            for (const std::string& e : *expressions) parts.push_back(split(e));
            parts.push_back(byte_level(false, false));
            pre_tokenizer_ = sequence("pretokenizers", std::move(parts));
            if (!steps && rules && rules->normalize_nfc) normalizer_ = {{"type", "NFC"}};
        }
        if (steps) STERNA_CHECK(write_normalizer(*steps));
        if (byte_level_model) {
            decoder_ = byte_level(true, true);
        } else {
            decoder_ = {{"type", "Metaspace"}, {"replacement", kBlank}, {"prepend_scheme", "always"}, {"split", true}};
        }
        model_ = bpe_model(merges(), has("byte_fallback"), has("fuse_unk"), ignore, !has("no_unk"));
        return {};
    }

    Status write_normalizer(const std::vector<std::string_view>& steps) {
        std::vector<OrderedJson> parts;
        for (std::string_view step : steps) {
            size_t blank = std::min(step.find(' '), step.size());
            std::string_view name = step.substr(0, blank), text = step.substr(std::min(blank + 1, step.size()));
            if (name == "none") continue;
            if (name == "nfc" || name == "nfd") {
                parts.push_back({{"type", name == "nfc" ? "NFC" : "NFD"}});
            } else if (name == "lowercase") {
                parts.push_back({{"type", "Lowercase"}});
            } else if (name == "strip_accents") {
                parts.push_back({{"type", "StripAccents"}});
            } else if (name == "strip_left" || name == "strip_right") {
                parts.push_back(
                    {{"type", "Strip"}, {"strip_left", name == "strip_left"}, {"strip_right", name == "strip_right"}});
            } else if (name == "prepend") {
                parts.push_back({{"type", "Prepend"}, {"prepend", text}});
            } else if (name == "byte_level") {
                parts.push_back({{"type", "ByteLevel"}});
            } else if (auto pair = read_pair(step)) {
                parts.push_back(replace(name == "replace_text" ? "String" : "Regex", pair->first, pair->second));
            } else {
                return fail(ErrorCode::kUnsupported, "{}: step '{}' is not known", SplitProgram::kNormalizerKey,
                            step.substr(0, 80));
            }
        }
        normalizer_ = sequence("normalizers", std::move(parts));
        return {};
    }

    // "replace_text N AB"
    static std::optional<std::pair<std::string_view, std::string_view>> read_pair(std::string_view step) {
        if (!step.starts_with("replace_text ") && !step.starts_with("replace_regex ")) return std::nullopt;
        step = step.substr(step.find(' ') + 1);
        size_t n = 0, at = 0;
        for (; at < step.size() && at < 6 && uint8_t(step[at] - '0') < 10; ++at) n = n * 10 + size_t(step[at] - '0');
        if (at + 1 + n > step.size() || step[at] != ' ') return std::nullopt;
        return std::pair(step.substr(at + 1, n), step.substr(at + 1 + n));
    }

    Status write_split(const std::vector<std::string_view>& steps) {
        std::vector<OrderedJson> parts;
        auto is = [&](size_t i, std::string_view what) { return i < steps.size() && steps[i] == what; };
        for (size_t i = 0; i < steps.size(); ++i) {
            std::string_view step = steps[i];
            if (step == "none") continue;
            if (step == "prefix  " && is(i + 1, kGpt2Step) && is(i + 2, "byte_level")) {
                parts.push_back(byte_level(true, true));
                i += 2;
            } else if (step == "prefix  " && is(i + 1, "byte_level")) {
                parts.push_back(byte_level(true, false));
                ++i;
            } else if (step == "byte_level") {
                parts.push_back(byte_level(false, false));
            } else if (auto pair = read_pair(step); pair && step.starts_with("replace_text") && pair->first == " ") {
                std::string blank(pair->second);
                const char* scheme = is(i + 1, "prefix " + blank)         ? "always"
                                     : is(i + 1, "prefix_first " + blank) ? "first"
                                                                          : "never";
                if (scheme != std::string_view("never")) ++i;
                bool cut = is(i + 1, "merged_with_next " + blank);
                if (cut) ++i;
                parts.push_back(
                    {{"type", "Metaspace"}, {"replacement", blank}, {"prepend_scheme", scheme}, {"split", cut}});
            } else {
                bool invert = step.starts_with("not_");
                std::string_view rest = invert ? step.substr(4) : step;
                size_t blank = std::min(rest.find(' '), rest.size());
                std::string_view behaviour;
                for (auto [ours, theirs] : {std::pair<std::string_view, std::string_view>("isolated", "Isolated"),
                                            {"removed", "Removed"},
                                            {"contiguous", "Contiguous"},
                                            {"merged_with_previous", "MergedWithPrevious"},
                                            {"merged_with_next", "MergedWithNext"}})
                    if (rest.substr(0, blank) == ours) behaviour = theirs;
                if (behaviour.empty() || blank + 1 >= rest.size() + 1)
                    return fail(ErrorCode::kUnsupported, "{}: step '{}' has no place in a tokenizer.json",
                                SplitProgram::kSplitKey, step.substr(0, 80));
                parts.push_back(split(rest.substr(std::min(blank + 1, rest.size())), behaviour, invert));
            }
        }
        pre_tokenizer_ = sequence("pretokenizers", std::move(parts));
        return {};
    }

    // Merging by score, as merges: every pair of tokens whose whole is a token, the best whole first.
    Status write_sentencepiece() {
        if (scores_.size() < tokens_.size())
            return fail(ErrorCode::kBadFile, "tokenizer.ggml.scores: {} entries, expected {}", scores_.size(),
                        tokens_.size());
        std::unordered_map<std::string_view, uint32_t> ids;
        auto mergeable = [&](size_t id) { return has_type(id, TokenType::kNormal); };
        for (size_t id = 0; id < tokens_.size(); ++id)
            if (mergeable(id) && !tokens_[id].empty()) ids.emplace(tokens_[id], uint32_t(id));
        std::vector<uint32_t> order;
        for (auto& [text, id] : ids) order.push_back(id);
        std::sort(order.begin(), order.end(),
                  [&](uint32_t a, uint32_t b) { return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : a < b; });
        OrderedJson list = OrderedJson::array();
        for (uint32_t whole : order) {
            std::string_view text = tokens_[whole];
            std::vector<std::pair<uint32_t, uint32_t>> pairs;
            for (size_t at = decode_utf8(text, 0).length; at < text.size(); at += decode_utf8(text, at).length) {
                auto a = ids.find(text.substr(0, at)), b = ids.find(text.substr(at));
                if (a != ids.end() && b != ids.end()) pairs.emplace_back(a->second, b->second);
            }
            std::sort(pairs.begin(), pairs.end());
            for (auto [a, b] : pairs) list.push_back({tokens_[a], tokens_[b]});
        }
        std::vector<OrderedJson> parts;
        if (metadata_.get_bool(key("add_space_prefix")).value_or(true))
            parts.push_back({{"type", "Prepend"}, {"prepend", kBlank}});
        if (metadata_.get_bool(key("remove_extra_whitespaces")).value_or(false)) {
            parts.insert(parts.begin(), replace("Regex", " {2,}", " "));
            parts.insert(parts.begin(), replace("Regex", "\\A +| +\\z", ""));
        }
        parts.push_back(replace("String", " ", kBlank));
        normalizer_ = sequence("normalizers", std::move(parts));
        decoder_ = {{"type", "Sequence"},
                    {"decoders", {replace("String", kBlank, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
        model_ = bpe_model(std::move(list), has_bytes(), true, false, true);
        return {};
    }

    bool has_bytes() const {
        size_t n = 0;
        for (size_t id = 0; id < tokens_.size(); ++id) n += has_type(id, TokenType::kByte);
        return n == 256;
    }

    Status write_unigram() {
        if (scores_.size() < tokens_.size())
            return fail(ErrorCode::kBadFile, "tokenizer.ggml.scores: {} entries, expected {}", scores_.size(),
                        tokens_.size());
        OrderedJson vocab = OrderedJson::array();
        for (size_t id = 0; id < tokens_.size(); ++id)
            vocab.push_back(
                {tokens_[id], has_type(id, TokenType::kNormal) || has_type(id, TokenType::kByte) ? scores_[id] : 0.0});
        auto unknown = special("unknown");
        model_ = {{"type", "Unigram"},
                  {"unk_id", unknown ? OrderedJson(*unknown) : OrderedJson(nullptr)},
                  {"vocab", std::move(vocab)},
                  {"byte_fallback", has_bytes()}};
        std::vector<OrderedJson> parts;
        if (auto map = metadata_.get_ints(key("precompiled_charsmap")); map && !map->empty())
            parts.push_back({{"type", "Precompiled"}, {"precompiled_charsmap", encode_base64(*map)}});
        if (own_steps_) {
            STERNA_CHECK(
                write_split(metadata_.get_strings(SplitProgram::kSplitKey).value_or(std::vector<std::string_view>())));
            STERNA_CHECK(write_normalizer(
                metadata_.get_strings(SplitProgram::kNormalizerKey).value_or(std::vector<std::string_view>())));
            if (!normalizer_.is_null()) parts.push_back(normalizer_);
            normalizer_ = sequence("normalizers", std::move(parts));
            decoder_ = {{"type", "Metaspace"}, {"replacement", kBlank}, {"prepend_scheme", "always"}, {"split", true}};
            return {};
        }
        if (metadata_.get_bool(key("remove_extra_whitespaces")).value_or(false)) {
            parts.push_back(replace("Regex", "\\A +| +\\z", ""));
            parts.push_back(replace("Regex", " {2,}", " "));
        }
        normalizer_ = sequence("normalizers", std::move(parts));
        bool prefix = metadata_.get_bool(key("add_space_prefix")).value_or(false);
        pre_tokenizer_ = {{"type", "Metaspace"},
                          {"replacement", kBlank},
                          {"prepend_scheme", prefix ? "always" : "never"},
                          {"split", true}};
        decoder_ = pre_tokenizer_;
        return {};
    }

    OrderedJson post_processor() const {
        const bool t5 = model_["type"] == "Unigram";
        bool bos = metadata_.get_bool(key("add_bos_token")).value_or(false);
        bool eos = metadata_.get_bool(key("add_eos_token")).value_or(t5);
        auto bos_id = special("bos"), eos_id = special("eos");
        bos = bos && bos_id;
        eos = eos && eos_id;
        if (!bos && !eos) return nullptr;
        OrderedJson single = OrderedJson::array(), pair = OrderedJson::array(), tokens = OrderedJson::object();
        auto token = [&](size_t id, int type) {
            std::string name(tokens_[id]);
            tokens[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
            return OrderedJson{{"SpecialToken", {{"id", name}, {"type_id", type}}}};
        };
        for (int type = 0; type < 2; ++type) {
            std::vector<OrderedJson> parts;
            if (bos) parts.push_back(token(*bos_id, type));
            parts.push_back({{"Sequence", {{"id", type ? "B" : "A"}, {"type_id", type}}}});
            if (eos) parts.push_back(token(*eos_id, type));
            for (const OrderedJson& part : parts) {
                if (type == 0) single.push_back(part);
                pair.push_back(part);
            }
        }
        return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
    }

    const Metadata& metadata_;
    std::vector<std::string_view> tokens_;
    std::vector<int64_t> types_;
    std::vector<double> scores_;
    bool own_steps_ = false;
    OrderedJson normalizer_ = nullptr, pre_tokenizer_ = nullptr, decoder_ = nullptr, model_;
};

}  // namespace

Result<std::string> tokenizer_json(const Metadata& metadata) {
    try {
        return JsonWriter(metadata).write();
    } catch (const std::exception& error) {
        return fail(ErrorCode::kBadFile, "tokenizer: {}", error.what());
    }
}

}  // namespace sterna
