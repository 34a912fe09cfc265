#include "text/tokenizer_base.h"

#include <algorithm>

namespace sterna {

namespace {

constexpr std::string_view kEndOfTurn[] = {
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>",         "<|endoftext|>",     "<|end_of_text|>",
    "<EOT>",      "_<EOT>",     "[EOT]",   "<｜end▁of▁sentence｜>", "<end_of_utterance>"};
constexpr std::string_view kMoreEnds[] = {"<|return|>", "<|call|>",         "<|flush|>", "<|calls|>",
                                          "</s>",       "<|eom_id|>",       "[EOS]",     "<eos>",
                                          "<turn|>",    "<|tool_response>", "[e~["};
// The marks between files of a code model: what follows them is another text.
constexpr std::string_view kPadSpellings[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"};
constexpr std::string_view kRepoSpellings[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"};
constexpr std::string_view kFileSpellings[] = {"<|file_sep|>"};
// Shown and found in plain text though the file says "control": the channels of gpt-oss.
constexpr std::string_view kAlwaysShown[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

bool is_special(TokenType type) {
    return type == TokenType::kControl || type == TokenType::kUnknown;
}
bool is_c_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

void sort_unique(std::vector<TokenId>& ids) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace

void TokenizerBase::init(const Metadata& metadata, Vocabulary vocabulary, const TokenizerDefaults& defaults,
                         const TokenizerLimits& limits) {
    vocab_ = std::move(vocabulary);
    limits_ = limits;
    if (vocab_.n_empty() > 0) warn(fmt::format("{} empty tokens, which nothing encodes to", vocab_.n_empty()));
    if (vocab_.n_duplicates() > 0)
        warn(fmt::format("{} tokens repeat an earlier one; only the first is encoded to", vocab_.n_duplicates()));
    for (int b = 0; b < 256; ++b) byte_ids_[b] = vocab_.find_byte(uint8_t(b)).value_or(-1);

    read_special_ids(metadata, defaults);
    find_end_of_generation(metadata);
    add_space_prefix_ = metadata.get_bool("tokenizer.ggml.add_space_prefix").value_or(defaults.add_space_prefix);
    set_strips(metadata);

    std::vector<std::pair<std::string_view, int32_t>> user, all;
    for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) {
        if (vocab_.type(id) == TokenType::kUserDefined) user.emplace_back(vocab_.text(id), id);
        if (vocab_.type(id) == TokenType::kUserDefined || is_special(vocab_.type(id)))
            all.emplace_back(vocab_.text(id), id);
    }
    user_defined_ = Trie(std::move(user));
    all_special_ = Trie(std::move(all));
    build_bytes();
}

void TokenizerBase::read_special_ids(const Metadata& metadata, const TokenizerDefaults& defaults) {
    auto read = [&](std::string_view key, int64_t fallback) -> std::optional<TokenId> {
        auto given = metadata.get_int(key);
        if (given && vocab_.contains(*given)) return TokenId(*given);
        // -1 as an unsigned number is how converters write "none".
        if (given && *given != -1 && *given != 0xFFFFFFFF)
            warn(fmt::format("{} is {}, the vocabulary has {} tokens; ignored", key, *given, vocab_.size()));
        if (vocab_.contains(fallback)) return TokenId(fallback);
        return std::nullopt;
    };
    special_.bos = read("tokenizer.ggml.bos_token_id", defaults.bos);
    special_.eos = read("tokenizer.ggml.eos_token_id", defaults.eos);
    special_.eot = read("tokenizer.ggml.eot_token_id", -1);
    special_.eom = read("tokenizer.ggml.eom_token_id", -1);
    special_.unknown = read("tokenizer.ggml.unknown_token_id", defaults.unknown);
    special_.padding = read("tokenizer.ggml.padding_token_id", defaults.padding);
    // The format's own spelling, and the dictionary's.
    special_.separator = read("tokenizer.ggml.seperator_token_id", defaults.separator);
    if (auto id = read("tokenizer.ggml.separator_token_id", -1)) special_.separator = id;
    special_.mask = read("tokenizer.ggml.mask_token_id", defaults.mask);

    add_bos_ = metadata.get_bool("tokenizer.ggml.add_bos_token").value_or(defaults.add_bos);
    add_eos_ = metadata.get_bool("tokenizer.ggml.add_eos_token").value_or(defaults.add_eos);
    if (add_bos_ && !special_.bos) {
        warn("texts should begin with a bos token, but the file names none");
        add_bos_ = false;
    }
    if (add_eos_ && !special_.eos) {
        warn("texts should end with an eos token, but the file names none");
        add_eos_ = false;
    }
}

void TokenizerBase::find_end_of_generation(const Metadata& metadata) {
    auto first_of = [this](std::span<const std::string_view> spellings) -> std::optional<TokenId> {
        for (std::string_view spelling : spellings)
            if (auto id = vocab_.find(spelling)) return id;
        return std::nullopt;
    };
    std::vector<TokenId>& ends = end_of_generation_;
    auto add_control = [&](std::optional<TokenId> id) {
        if (!id) return;
        ends.push_back(*id);
        vocab_.set_type(*id, TokenType::kControl);
    };
    if (!special_.eot) special_.eot = first_of(kEndOfTurn);
    if (!special_.eom) special_.eom = vocab_.find("<|eom_id|>");
    for (std::string_view spelling : kEndOfTurn) add_control(vocab_.find(spelling));
    for (std::string_view spelling : kMoreEnds) add_control(vocab_.find(spelling));
    auto given = [&](std::string_view key) -> std::optional<TokenId> {
        auto id = metadata.get_int(key);
        return id && vocab_.contains(*id) ? std::optional(TokenId(*id)) : std::nullopt;
    };
    auto either = [](std::optional<TokenId> a, std::optional<TokenId> b) { return a ? a : b; };
    add_control(either(given("tokenizer.ggml.fim_pad_token_id"), first_of(kPadSpellings)));
    add_control(either(given("tokenizer.ggml.fim_rep_token_id"), first_of(kRepoSpellings)));
    add_control(either(given("tokenizer.ggml.fim_sep_token_id"), first_of(kFileSpellings)));
    for (std::string_view spelling : kAlwaysShown)
        if (auto id = vocab_.find(spelling)) vocab_.set_type(*id, TokenType::kUserDefined);
    for (auto id : {special_.eos, special_.eot, special_.eom})
        if (id) ends.push_back(*id);

    auto has = [this](std::string_view text) { return vocab_.find(text).has_value(); };
    auto drop = [&](std::string_view text, TokenType type) {
        if (auto id = vocab_.find(text)) {
            std::erase(ends, *id);
            vocab_.set_type(*id, type);
            if (special_.eot == id) special_.eot.reset();
        }
    };
    // In these families "<|end|>" closes a message, not the answer.
    bool calls = has("<|call|>") || has("<|calls|>");
    if (calls && (has("<|return|>") || has("<|flush|>"))) drop("<|end|>", TokenType::kUserDefined);
    if (has("<|tool_response>") && has("</s>")) drop("</s>", TokenType::kNormal);
    sort_unique(ends);
}

void TokenizerBase::set_strips(const Metadata& metadata) {
    for (auto [key, ids] : {std::pair("sterna.tokenizer.strip_left", &strips_left_),
                            std::pair("sterna.tokenizer.strip_right", &strips_right_)}) {
        auto given = metadata.has(key) ? metadata.get_ints(key) : std::nullopt;
        for (int64_t id : given.value_or(std::vector<int64_t>()))
            if (vocab_.contains(id)) ids->push_back(TokenId(id));
        sort_unique(*ids);
    }
    if (!strips_left_.empty() || !strips_right_.empty()) return;
    // Other files have no place for these; they follow from the model, as in llama.cpp.
    std::string name(metadata.get_string("general.name").value_or(""));
    for (char& c : name) c = char(c >= 'A' && c <= 'Z' ? c + 32 : c);
    std::string_view pre = metadata.get_string("tokenizer.ggml.pre").value_or("");
    std::string_view arch = metadata.get_string("general.architecture").value_or("");
    auto within = [](std::string_view text, std::initializer_list<std::string_view> parts) {
        return std::any_of(parts.begin(), parts.end(), [&](auto p) { return text.find(p) != text.npos; });
    };
    if (within(pre, {"jina-v2-de", "jina-v2-es", "jina-v2-code"}) || within(arch, {"nomic-bert-moe", "jina-bert-v3"})) {
        if (auto id = vocab_.find("<mask>")) strips_left_.push_back(*id);
    } else if (within(name, {"phi-3", "phi3"})) {
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) {
            std::string_view text = vocab_.text(id);
            bool special = is_special(vocab_.type(id)) || vocab_.type(id) == TokenType::kUserDefined || text == "</s>";
            if (special && text != "<unk>" && text != "<s>" && text != "<|endoftext|>") strips_right_.push_back(id);
        }
    } else if (within(name, {"modern-bert"})) {
        if (auto id = vocab_.find("[MASK]")) strips_left_.push_back(*id);
    }
}

void TokenizerBase::build_bytes() {
    byte_offsets_.reserve(vocab_.size() + 1);
    byte_offsets_.push_back(0);
    for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) {
        switch (vocab_.type(id)) {
            case TokenType::kUnused:
                break;
            case TokenType::kUnknown:
            case TokenType::kControl:
            case TokenType::kUserDefined:
                bytes_ += vocab_.text(id);
                break;
            case TokenType::kByte:
                if (auto byte = byte_token_value(vocab_.text(id))) {
                    bytes_ += char(*byte);
                    break;
                }
                [[fallthrough]];
            case TokenType::kNormal:
                bytes_ += bytes_of(id);
                break;
        }
        byte_offsets_.push_back(uint32_t(bytes_.size()));
    }
}

Result<std::vector<TokenId>> TokenizerBase::encode(std::string_view text, const EncodeOptions& options) const {
    if (text.size() > limits_.max_text_bytes)
        return fail(ErrorCode::kLimit, "text: {} bytes, limit {}", text.size(), limits_.max_text_bytes);
    std::vector<TokenId> out;
    if (options.add_special && add_bos_) out.push_back(*special_.bos);

    const Trie& trie = options.parse_special ? all_special_ : user_defined_;
    size_t start = 0;
    auto flush = [&](size_t end) {
        if (start >= end) return;
        std::string_view part = text.substr(start, end - start);
        start == 0 ? encode_first_text(part, out) : encode_text(part, out);
    };
    for (size_t p = 0; p < text.size() && !trie.empty();) {
        auto match = trie.longest(text, p);
        if (!match) {
            ++p;
            continue;
        }
        size_t end = p;
        if (std::binary_search(strips_left_.begin(), strips_left_.end(), match->value))
            while (end > start && is_c_space(text[end - 1])) --end;
        flush(end);
        out.push_back(match->value);
        p += match->length;
        if (std::binary_search(strips_right_.begin(), strips_right_.end(), match->value))
            while (p < text.size() && is_c_space(text[p])) ++p;
        start = p;
    }
    flush(text.size());
    if (options.add_special)
        if (auto id = closing_id()) out.push_back(*id);
    return out;
}

std::string_view TokenizerBase::token_bytes(TokenId id, bool with_special) const {
    if (!with_special && is_special(vocab_.type(id))) return {};
    uint32_t begin = byte_offsets_[size_t(id)];
    return std::string_view(bytes_).substr(begin, byte_offsets_[size_t(id) + 1] - begin);
}

std::string TokenizerBase::decode(std::span<const TokenId> ids, bool with_special) const {
    std::string out;
    bool first = true;
    for (TokenId id : ids) {
        if (!vocab_.contains(id)) continue;
        std::string_view part = token_bytes(id, with_special);
        if (first && !is_special(vocab_.type(id))) {
            if (add_space_prefix_ && part.starts_with(' ')) part.remove_prefix(1);
            first = false;
        }
        out += part;
    }
    return out;
}

bool TokenizerBase::is_end_of_generation(TokenId id) const {
    return std::binary_search(end_of_generation_.begin(), end_of_generation_.end(), id);
}

void TokenizerBase::warn(std::string sentence) {
    if (!warning_.empty()) warning_ += "; ";
    warning_ += sentence;
}

void TokenizerBase::append_byte_or_unknown(uint8_t byte, std::vector<TokenId>& out) const {
    if (byte_ids_[byte] >= 0) {
        out.push_back(byte_ids_[byte]);
    } else if (special_.unknown) {
        out.push_back(*special_.unknown);
    }
}

std::string TokenizerBase::unescape_spaces(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size();) {
        if (text.substr(i).starts_with(kSpaceSymbol)) {
            out += ' ';
            i += kSpaceSymbol.size();
        } else {
            out += text[i++];
        }
    }
    return out;
}

}  // namespace sterna
