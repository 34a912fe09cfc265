// tokenizer.json of Hugging Face's tokenizers: model, normalizer, pre-tokenizer, added tokens, post-processor.
#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include <nlohmann/json.hpp>

#include "convert/tokenizer_data.h"
#include "text/split_regex.h"
#include "text/utf8.h"

namespace sterna {

namespace {

using Json = nlohmann::json;

constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kPunctuation = R"([\p{P}\$\+<=>\^~\|`])";

const Json* find(const Json& object, const char* key) {
    if (!object.is_object()) return nullptr;
    auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
}
std::string text_of(const Json& object, const char* key, std::string fallback = "") {
    const Json* value = find(object, key);
    return value && value->is_string() ? value->get<std::string>() : fallback;
}
bool flag_of(const Json& object, const char* key, bool fallback) {
    const Json* value = find(object, key);
    return value && value->is_boolean() ? value->get<bool>() : fallback;
}

std::string escape_regex(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (std::string_view("\\^$.|?*+()[]{}-&").find(c) != std::string_view::npos) out += '\\';
        out += c;
    }
    return out;
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
    for (size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) text.replace(at, from.size(), to);
    return text;
}

// What normalizer and pre-tokenizer do, as the steps of text/split_program.h.
struct Pipeline {
    std::vector<std::string> normalizer, split;
    std::vector<std::string> unknown;  // parts there are no steps for
    std::string charsmap;              // base64
    size_t charsmap_at = 0;            // how many steps stand before it
    bool bert = false, lowercase = true, clean_text = true, chinese = true;
    std::optional<bool> strip_accents;
    bool bert_split = false;
    bool merges_blanks = false;  // runs of blanks become one
};

std::string replace_step(const char* kind, const std::string& from, const std::string& to) {
    return fmt::format("replace_{} {} {}{}", kind, from.size(), from, to);
}

void add_replace(const Json& part, std::vector<std::string>& steps, Pipeline& pipeline) {
    const Json* pattern = find(part, "pattern");
    std::string content = text_of(part, "content");
    if (!pattern) return;
    std::string text = text_of(*pattern, "String"), regex = text_of(*pattern, "Regex");
    if (pattern->is_string()) text = pattern->get<std::string>();
    if (!text.empty()) {
        steps.push_back(replace_step("text", text, content));
    } else if (!regex.empty()) {
        if (regex == " {2,}" || regex == R"(\s+)") pipeline.merges_blanks = true;
        if (auto compiled = SplitRegex::compile(regex); compiled) {
            steps.push_back(replace_step("regex", regex, content));
        } else {
            pipeline.unknown.push_back(fmt::format("Replace of '{}'", regex));
        }
    }
}

void add_normalizer(const Json& part, Pipeline& pipeline, int depth = 0) {
    std::string type = text_of(part, "type");
    auto& steps = pipeline.normalizer;
    if (type == "Sequence" && depth < 16) {
        if (const Json* parts = find(part, "normalizers"); parts && parts->is_array())
            for (const Json& p : *parts) add_normalizer(p, pipeline, depth + 1);
    } else if (type == "NFC") {
        steps.push_back("nfc");
    } else if (type == "NFD") {
        steps.push_back("nfd");
    } else if (type == "Lowercase") {
        steps.push_back("lowercase");
    } else if (type == "StripAccents") {
        steps.push_back("strip_accents");
    } else if (type == "Strip") {
        if (flag_of(part, "strip_left", true)) steps.push_back("strip_left");
        if (flag_of(part, "strip_right", true)) steps.push_back("strip_right");
    } else if (type == "Prepend") {
        steps.push_back("prepend " + text_of(part, "prepend"));
    } else if (type == "Replace") {
        add_replace(part, steps, pipeline);
    } else if (type == "ByteLevel") {
        steps.push_back("byte_level");
    } else if (type == "Precompiled") {
        pipeline.charsmap = text_of(part, "precompiled_charsmap");
        pipeline.charsmap_at = steps.size();
    } else if (type == "BertNormalizer") {
        pipeline.bert = true;
        pipeline.lowercase = flag_of(part, "lowercase", true);
        pipeline.clean_text = flag_of(part, "clean_text", true);
        pipeline.chinese = flag_of(part, "handle_chinese_chars", true);
        if (find(part, "strip_accents")) pipeline.strip_accents = flag_of(part, "strip_accents", true);
    } else {
        pipeline.unknown.push_back("normalizer " + (type.empty() ? "without a type" : type));
    }
}

const char* behaviour_of(const Json& part, const char* fallback) {
    std::string name = text_of(part, "behavior", fallback);
    for (auto [theirs, ours] : {std::pair("Isolated", "isolated"),
                                {"Removed", "removed"},
                                {"Contiguous", "contiguous"},
                                {"MergedWithPrevious", "merged_with_previous"},
                                {"MergedWithNext", "merged_with_next"}})
        if (name == theirs) return ours;
    return nullptr;
}

void add_metaspace(const Json& part, Pipeline& pipeline) {
    std::string blank = text_of(part, "replacement", std::string(kBlank));
    // Older files say add_prefix_space instead of prepend_scheme.
    std::string scheme = text_of(part, "prepend_scheme", flag_of(part, "add_prefix_space", true) ? "always" : "never");
    pipeline.split.push_back(replace_step("text", " ", blank));
    if (scheme == "always") pipeline.split.push_back("prefix " + blank);
    if (scheme == "first") pipeline.split.push_back("prefix_first " + blank);
    if (flag_of(part, "split", true)) pipeline.split.push_back("merged_with_next " + escape_regex(blank));
}

void add_pre_tokenizer(const Json& part, Pipeline& pipeline, int depth = 0) {
    std::string type = text_of(part, "type");
    auto& steps = pipeline.split;
    if (type == "Sequence" && depth < 16) {
        if (const Json* parts = find(part, "pretokenizers"); parts && parts->is_array())
            for (const Json& p : *parts) add_pre_tokenizer(p, pipeline, depth + 1);
    } else if (type == "ByteLevel") {
        if (flag_of(part, "add_prefix_space", true)) steps.push_back("prefix  ");
        if (flag_of(part, "use_regex", true)) steps.push_back(std::string("isolated ") + kGpt2);
        steps.push_back("byte_level");
    } else if (type == "Split") {
        const Json* pattern = find(part, "pattern");
        std::string regex = pattern ? text_of(*pattern, "Regex") : "";
        if (pattern && regex.empty())
            regex = escape_regex(pattern->is_string() ? pattern->get<std::string>() : text_of(*pattern, "String"));
        const char* behaviour = behaviour_of(part, "Isolated");
        auto compiled = SplitRegex::compile(regex);
        if (!behaviour || regex.empty()) {
            pipeline.unknown.push_back("Split " + text_of(part, "behavior"));
        } else if (!compiled) {
            pipeline.unknown.push_back("Split (" + compiled.error().message + ")");
        } else {
            steps.push_back(fmt::format("{}{} {}", flag_of(part, "invert", false) ? "not_" : "", behaviour, regex));
        }
    } else if (type == "Digits") {
        steps.push_back(flag_of(part, "individual_digits", false) ? R"(isolated \p{N})" : R"(contiguous \p{N}+)");
    } else if (type == "Punctuation") {
        const char* behaviour = behaviour_of(part, "Isolated");
        // A run is one match, so that the text is that of Falcon's expression.
        bool run = behaviour == std::string_view("contiguous");
        steps.push_back(fmt::format("{} {}{}", behaviour ? behaviour : "isolated", kPunctuation, run ? "+" : ""));
    } else if (type == "Whitespace") {
        steps.push_back(R"(not_removed \w+|[^\w\s]+)");
    } else if (type == "WhitespaceSplit") {
        steps.push_back(R"(removed \s)");
    } else if (type == "BertPreTokenizer") {
        pipeline.bert_split = true;
        steps.push_back(R"(removed \s)");
        steps.push_back(std::string("isolated ") + kPunctuation);
    } else if (type == "CharDelimiterSplit") {
        steps.push_back("removed " + escape_regex(text_of(part, "delimiter")));
    } else if (type == "Metaspace") {
        add_metaspace(part, pipeline);
    } else {
        pipeline.unknown.push_back("pre-tokenizer " + (type.empty() ? "without a type" : type));
    }
}

class Reader {
public:
    Reader(const Json& root, const std::string& path, TokenizerData& data) : root_(root), path_(path), data_(data) {}

    Status read() {
        const Json* model = find(root_, "model");
        if (!model || !model->is_object()) return fail(ErrorCode::kBadFile, "{}: no model", path_);
        model_ = model;
        if (const Json* part = find(root_, "normalizer")) add_normalizer(*part, pipeline_);
        if (const Json* part = find(root_, "pre_tokenizer")) add_pre_tokenizer(*part, pipeline_);
        std::string type = text_of(*model, "type");
        const Json* vocab = find(*model, "vocab");
        if (!vocab) return fail(ErrorCode::kBadFile, "{}: the model has no vocab", path_);
        // Files from before the models had a type.
        if (type.empty()) type = vocab->is_array() ? "Unigram" : find(*model, "merges") ? "BPE" : "WordPiece";
        if (type == "BPE") {
            STERNA_CHECK(read_bpe());
        } else if (type == "Unigram") {
            STERNA_CHECK(read_unigram());
        } else if (type == "WordPiece") {
            STERNA_CHECK(read_wordpiece());
        } else {
            return fail(ErrorCode::kUnsupported, "{}: model '{}', expected BPE, Unigram or WordPiece", path_, type);
        }
        for (const std::string& part : pipeline_.unknown)
            data_.warn(fmt::format("{}: {} is not reproduced", path_, part));
        STERNA_CHECK(read_added_tokens());
        read_post_processor();
        return {};
    }

private:
    Status read_map(const Json& vocab) {
        if (!vocab.is_object()) return fail(ErrorCode::kBadFile, "{}: vocab is no object", path_);
        for (auto& [text, id] : vocab.items()) {
            if (!id.is_number_integer())
                return fail(ErrorCode::kBadFile, "{}: the id of '{}' is no number", path_, text);
            STERNA_CHECK(data_.set(id.get<int64_t>(), text, TokenType::kNormal));
        }
        return {};
    }

    Status read_merges(const Json& list) {
        if (!list.is_array()) return fail(ErrorCode::kBadFile, "{}: merges is no list", path_);
        for (const Json& merge : list) {
            std::string left, right;
            if (merge.is_string()) {
                const auto& text = merge.get_ref<const std::string&>();
                size_t blank = text.find(' ', 1);
                if (blank == text.npos) continue;  // "#version: 0.2"
                left = text.substr(0, blank);
                right = text.substr(blank + 1);
            } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
                left = merge[0].get<std::string>();
                right = merge[1].get<std::string>();
            } else {
                return fail(ErrorCode::kBadFile, "{}: merge {} is neither a text nor a pair", path_, merges_.size());
            }
            merges_.emplace_back(std::move(left), std::move(right));
        }
        return {};
    }

    Status read_bpe() {
        STERNA_CHECK(read_map((*model_)["vocab"]));
        if (const Json* merges = find(*model_, "merges")) STERNA_CHECK(read_merges(*merges));
        for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"})
            if (!text_of(*model_, affix).empty())
                return fail(ErrorCode::kUnsupported, "{}: BPE with {} '{}'", path_, affix, text_of(*model_, affix));
        if (const Json* dropout = find(*model_, "dropout");
            dropout && dropout->is_number() && dropout->get<double>() > 0)
            data_.warn(fmt::format("{}: dropout is left out", path_));
        const bool ignore_merges = flag_of(*model_, "ignore_merges", false);
        unknown_ = text_of(*model_, "unk_token");
        const Json* decoder = find(root_, "decoder");
        const bool byte_level =
            std::find(pipeline_.split.begin(), pipeline_.split.end(), "byte_level") != pipeline_.split.end() ||
            std::find(pipeline_.normalizer.begin(), pipeline_.normalizer.end(), "byte_level") !=
                pipeline_.normalizer.end() ||
            (decoder && text_of(*decoder, "type") == "ByteLevel");
        if (byte_level) {
            data_.model = "gpt2";
            write_merges();
            name_pretokenizer(pipeline_.normalizer, pipeline_.split, ignore_merges, data_);
            if (unknown_.empty() && data_.split) data_.options.push_back("no_unk");
            return {};
        }
        return read_character_bpe(ignore_merges);
    }

    // BPE over characters: SentencePiece's, or something of its own.
    Status read_character_bpe(bool ignore_merges) {
        const bool byte_fallback = flag_of(*model_, "byte_fallback", false);
        bool has_blank = false, has_space = false;
        for (const std::string& token : data_.tokens) {
            has_blank = has_blank || token.find(kBlank) != token.npos;
            has_space = has_space || token.find(' ') != token.npos;
        }
        if (has_space && !has_blank) {
            // A merge is written with a blank between its parts, so blanks inside them need another spelling.
            for (std::string& token : data_.tokens) token = replace_all(token, " ", kBlank);
            for (auto& [left, right] : merges_) {
                left = replace_all(left, " ", kBlank);
                right = replace_all(right, " ", kBlank);
            }
            pipeline_.split.push_back(replace_step("text", " ", std::string(kBlank)));
        }
        if (byte_fallback)
            for (size_t id = 0; id < data_.size(); ++id)
                if (data_.tokens[id].size() == 6 && data_.tokens[id].starts_with("<0x") && data_.tokens[id][5] == '>')
                    data_.types[id] = int64_t(TokenType::kByte);
        // Added tokens are found in the text, not merged.
        if (const Json* added = find(root_, "added_tokens"); added && added->is_array())
            for (const Json& token : *added)
                if (const Json* id = find(token, "id");
                    id && id->is_number_unsigned() && id->get<uint64_t>() < data_.size())
                    if (int64_t& type = data_.types[id->get<uint64_t>()]; type == int64_t(TokenType::kNormal))
                        type = int64_t(TokenType::kUserDefined);
        data_.model = "llama";
        bool exact = derive_scores() && !ignore_merges;
        write_merges();

        const std::string escape = replace_step("text", " ", std::string(kBlank));
        std::vector<std::string> split = pipeline_.split;
        // Gemma: a cut at blanks where none are left.
        if (!pipeline_.normalizer.empty() && pipeline_.normalizer.back() == escape)
            std::erase(split, "merged_with_previous  ");
        const bool prefix =
            pipeline_.normalizer.size() == 2 && pipeline_.normalizer[0] == "prepend " + std::string(kBlank);
        const bool known = split.empty() && !pipeline_.normalizer.empty() && pipeline_.normalizer.back() == escape &&
                           (prefix || pipeline_.normalizer.size() == 1);
        bool adds = prefix;
        for (const std::string& step : pipeline_.split)
            adds = adds || step == "prefix_first " + std::string(kBlank) || step == "prefix " + std::string(kBlank);
        data_.add_space_prefix = adds;
        exact = exact && known && byte_fallback;
        if (exact) {
            data_.merges.clear();
            return {};
        }
        if (!pipeline_.normalizer.empty()) data_.normalizer = pipeline_.normalizer;
        data_.split = pipeline_.split.empty() ? std::vector<std::string>{"none"} : pipeline_.split;
        data_.ignore_merges = ignore_merges;
        if (byte_fallback) data_.options.push_back("byte_fallback");
        if (flag_of(*model_, "fuse_unk", false)) data_.options.push_back("fuse_unk");
        if (unknown_.empty()) data_.options.push_back("no_unk");
        if (data_.options.empty()) data_.options.push_back("none");
        return {};
    }

    // Scores that put tokens in the order of their merges. Returns: whether merging by score does what the merges do.
    bool derive_scores() {
        std::unordered_map<std::string_view, uint32_t> ids;
        ids.reserve(data_.size() * 2);
        for (size_t id = 0; id < data_.size(); ++id)
            if (!data_.tokens[id].empty()) ids.emplace(data_.tokens[id], uint32_t(id));
        std::vector<int64_t> rank(data_.size(), -1);
        std::unordered_set<uint64_t> pairs;
        pairs.reserve(merges_.size() * 2);
        bool grouped = true;
        uint32_t last = UINT32_MAX;
        for (size_t i = 0; i < merges_.size(); ++i) {
            auto a = ids.find(merges_[i].first), b = ids.find(merges_[i].second);
            auto ab = ids.find(merges_[i].first + merges_[i].second);
            if (a == ids.end() || b == ids.end() || ab == ids.end()) continue;
            pairs.insert(uint64_t(a->second) << 32 | b->second);
            if (ab->second == last) continue;
            last = ab->second;
            if (rank[last] >= 0) grouped = false;
            if (rank[last] < 0) rank[last] = int64_t(i);
        }
        data_.scores.assign(data_.size(), 0);
        for (size_t id = 0; id < data_.size(); ++id)
            if (rank[id] >= 0) data_.scores[id] = -double(rank[id]) - 1;
        bool complete = true;
        for (size_t id = 0; id < data_.size(); ++id) {
            if (data_.types[id] != int64_t(TokenType::kNormal)) continue;
            std::string_view text = data_.tokens[id];
            size_t at = decode_utf8(text, 0).length;
            if (at < text.size() && rank[id] < 0) data_.scores[id] = -double(merges_.size()) - 1;
            for (; at < text.size(); at += decode_utf8(text, at).length) {
                auto a = ids.find(text.substr(0, at)), b = ids.find(text.substr(at));
                if (a != ids.end() && b != ids.end() && data_.types[a->second] == int64_t(TokenType::kNormal) &&
                    data_.types[b->second] == int64_t(TokenType::kNormal))
                    complete = complete && pairs.contains(uint64_t(a->second) << 32 | b->second);
            }
        }
        return grouped && complete;
    }

    void write_merges() {
        data_.merges.reserve(merges_.size());
        for (auto& [left, right] : merges_) {
            if (data_.model == "gpt2") {
                // Only a broken file has blanks here; they would look like the end of the left part.
                left = replace_all(left, " ", "\xC4\xA0");
                right = replace_all(right, " ", "\xC4\xA0");
            }
            data_.merges.push_back(left + " " + right);
        }
        merges_.clear();
    }

    Status read_unigram() {
        const Json& vocab = (*model_)["vocab"];
        if (!vocab.is_array()) return fail(ErrorCode::kBadFile, "{}: vocab of a Unigram model is no list", path_);
        for (size_t id = 0; id < vocab.size(); ++id) {
            const Json& entry = vocab[id];
            if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number())
                return fail(ErrorCode::kBadFile, "{}: vocab[{}] is no pair of text and score", path_, id);
            STERNA_CHECK(
                data_.set(int64_t(id), entry[0].get<std::string>(), TokenType::kNormal, entry[1].get<double>()));
        }
        data_.scores.resize(data_.size());
        data_.model = "t5";
        if (const Json* unk = find(*model_, "unk_id"); unk && unk->is_number_integer()) {
            int64_t id = unk->get<int64_t>();
            if (id >= 0 && size_t(id) < data_.size()) {
                data_.ids["unknown"] = id;
                data_.types[size_t(id)] = int64_t(TokenType::kUnknown);
                unknown_ = data_.tokens[size_t(id)];
            }
        }
        if (flag_of(*model_, "byte_fallback", false)) {
            for (size_t id = 0; id < data_.size(); ++id)
                if (data_.tokens[id].size() == 6 && data_.tokens[id].starts_with("<0x") && data_.tokens[id][5] == '>')
                    data_.types[id] = int64_t(TokenType::kByte);
        }
        STERNA_CHECK(decode_charsmap());
        bool split_at_blanks = false;
        data_.add_space_prefix = false;
        for (const std::string& step : pipeline_.split) {
            if (step == R"(removed \s)" || step.starts_with("not_removed")) split_at_blanks = true;
            if (step.starts_with("prefix")) data_.add_space_prefix = true;
        }
        // Cut at blanks, every word with one in front: the same as one blank between words and one at the start.
        data_.remove_extra_whitespaces = split_at_blanks || pipeline_.merges_blanks;
        // Other programs know SentencePiece's treatment of blanks only; the file's own steps are beside it.
        const bool precompiled_first = pipeline_.charsmap.empty() || pipeline_.charsmap_at == 0;
        if (!precompiled_first)
            data_.warn(fmt::format("{}: its map of characters is applied before the other normalizers", path_));
        if (!pipeline_.normalizer.empty()) data_.normalizer = pipeline_.normalizer;
        data_.split = pipeline_.split.empty() ? std::vector<std::string>{"none"} : pipeline_.split;
        return {};
    }

    Status decode_charsmap() {
        uint32_t bits = 0;
        int n = 0;
        for (char c : pipeline_.charsmap) {
            int v = c >= 'A' && c <= 'Z'   ? c - 'A'
                    : c >= 'a' && c <= 'z' ? c - 'a' + 26
                    : c >= '0' && c <= '9' ? c - '0' + 52
                    : c == '+'             ? 62
                    : c == '/'             ? 63
                                           : -1;
            if (c == '=') break;
            if (v < 0) return fail(ErrorCode::kBadFile, "{}: precompiled_charsmap is no base64", path_);
            bits = bits << 6 | uint32_t(v);
            n += 6;
            if (n < 8) continue;
            n -= 8;
            data_.charsmap += char(bits >> n & 255);
        }
        return {};
    }

    Status read_wordpiece() {
        STERNA_CHECK(read_map((*model_)["vocab"]));
        data_.model = "bert";
        unknown_ = text_of(*model_, "unk_token", "[UNK]");
        const std::string prefix = text_of(*model_, "continuing_subword_prefix", "##");
        for (std::string& token : data_.tokens) {
            if (token.empty() || (token.starts_with("[") && token.ends_with("]"))) continue;
            if (!prefix.empty() && token.starts_with(prefix)) {
                token = token.substr(prefix.size());
            } else {
                token = std::string(kBlank) + token;
            }
        }
        data_.lowercase = pipeline_.bert ? pipeline_.lowercase
                                         : std::find(pipeline_.normalizer.begin(), pipeline_.normalizer.end(),
                                                     "lowercase") != pipeline_.normalizer.end();
        data_.strip_accents = pipeline_.strip_accents.value_or(*data_.lowercase && pipeline_.bert);
        if (!pipeline_.bert || !pipeline_.bert_split || !pipeline_.clean_text || !pipeline_.chinese)
            data_.warn(
                fmt::format("{}: WordPiece without BERT's own normalizer and cuts is not reproduced exactly", path_));
        if (const Json* most = find(*model_, "max_input_chars_per_word"); most && *most != 100)
            data_.warn(fmt::format("{}: words of more than 100 characters are unknown here, the file says {}", path_,
                                   most->dump()));
        return {};
    }

    Status read_added_tokens() {
        if (const Json* added = find(root_, "added_tokens"); added && added->is_array()) {
            for (const Json& token : *added) {
                const Json* id = find(token, "id");
                if (!id || !id->is_number_integer())
                    return fail(ErrorCode::kBadFile, "{}: an added token has no id", path_);
                STERNA_CHECK(add_token(id->get<int64_t>(), token));
            }
        }
        if (!data_.scores.empty()) data_.scores.resize(data_.size(), -1000.0);
        if (unknown_.empty()) return {};
        // Added tokens are spelled as they are: the unknown token of WordPiece has lost its mark of a word's start.
        if (!data_.ids.contains("unknown"))
            if (auto id = data_.find(unknown_)) data_.ids["unknown"] = *id;
        if (data_.ids.contains("unknown") && !data_.tokens.empty()) {
            auto id = size_t(data_.ids["unknown"]);
            data_.types[id] = int64_t(TokenType::kUnknown);
        }
        return {};
    }

    Status add_token(int64_t id, const Json& token) {
        std::string text = text_of(token, "content");
        const bool special = flag_of(token, "special", false) || looks_special(text);
        if (!special && flag_of(token, "normalized", true) && data_.model != "gpt2" && data_.model != "bert")
            text = replace_all(text, kBlank, " ");
        bool known = id >= 0 && size_t(id) < data_.size() && !data_.tokens[size_t(id)].empty();
        double score =
            known && !data_.scores.empty() && size_t(id) < data_.scores.size() ? data_.scores[size_t(id)] : -1000.0;
        if (data_.types.size() > size_t(std::max<int64_t>(id, 0)) &&
            data_.types[size_t(id)] == int64_t(TokenType::kByte))
            return {};
        STERNA_CHECK(data_.set(id, text, special ? TokenType::kControl : TokenType::kUserDefined, score));
        if (flag_of(token, "lstrip", false)) data_.strip_left.push_back(id);
        if (flag_of(token, "rstrip", false)) data_.strip_right.push_back(id);
        if (flag_of(token, "single_word", false))
            data_.warn(fmt::format("{}: '{}' is found inside words, too", path_, text));
        return {};
    }

    // What stands before and after a text.
    void read_post_processor() {
        const Json* root = find(root_, "post_processor");
        if (!root) return;
        std::vector<const Json*> parts{root};
        if (const Json* list = find(*root, "processors"); list && list->is_array()) {
            parts.clear();
            for (const Json& p : *list) parts.push_back(&p);
        }
        for (const Json* part : parts) {
            std::string type = text_of(*part, "type");
            if (type == "BertProcessing" || type == "RobertaProcessing") {
                data_.add_bos = data_.add_eos = true;
                for (auto [key, name] : {std::pair("cls", "bos"), {"sep", "eos"}}) {
                    const Json* pair = find(*part, key);
                    if (pair && pair->is_array() && pair->size() == 2 && (*pair)[1].is_number_integer())
                        data_.ids[name] = (*pair)[1].get<int64_t>();
                }
            } else if (type == "TemplateProcessing") {
                read_template(*part);
            }
        }
    }

    void read_template(const Json& part) {
        const Json* single = find(part, "single");
        if (!single || !single->is_array()) return;
        bool after_text = false, bos = false, eos = false;
        for (const Json& item : *single) {
            if (find(item, "Sequence")) after_text = true;
            const Json* token = find(item, "SpecialToken");
            if (!token) continue;
            std::string text = text_of(*token, "id");
            if (bool& there = after_text ? eos : bos; there) {
                data_.warn(fmt::format("{}: more than one special token {} a text; only one is added", path_,
                                       after_text ? "after" : "before"));
                continue;
            } else {
                there = true;
            }
            if (auto id = data_.find(text)) data_.ids[after_text ? "eos" : "bos"] = *id;
        }
        data_.add_bos = bos;
        data_.add_eos = eos;
    }

    const Json& root_;
    const std::string& path_;
    TokenizerData& data_;
    const Json* model_ = nullptr;
    Pipeline pipeline_;
    std::string unknown_;
    std::vector<std::pair<std::string, std::string>> merges_;
};

}  // namespace

Status read_tokenizer_json(const std::string& text, const std::string& path, TokenizerData& data) {
    Json root = Json::parse(text, nullptr, false);
    if (root.is_discarded() || !root.is_object()) return fail(ErrorCode::kBadFile, "{}: no JSON object", path);
    return Reader(root, path, data).read();
}

}  // namespace sterna
