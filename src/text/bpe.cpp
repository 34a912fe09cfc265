// Byte-level BPE (GPT-2 and all that follow it): the pre-tokenizer cuts words, the merge list joins the bytes of each.
#include <optional>

#include "text/bpe_merge.h"
#include "text/byte_alphabet.h"
#include "text/split_program.h"
#include "text/tokenizer_base.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace sterna {

namespace {

// From a pair of tokens to what they merge into.
class PairTable {
public:
    explicit PairTable(size_t n_merges = 0) : slots_(std::max<size_t>(n_merges + n_merges / 2, 16)) {}

    // The first of equal pairs stays.
    void add(TokenId left, TokenId right, Merge merge) {
        Slot& slot = slots_[place(left, right)];
        if (slot.merge.token < 0) slot = {left, right, merge};
    }
    Merge find(TokenId left, TokenId right) const { return slots_[place(left, right)].merge; }

private:
    struct Slot {
        TokenId left = -1, right = -1;
        Merge merge;
    };

    size_t place(TokenId left, TokenId right) const {
        uint64_t hash = (uint64_t(uint32_t(left)) << 32 | uint32_t(right)) * 0x9E3779B97F4A7C15;
        hash = (hash ^ hash >> 29) * 0xBF58476D1CE4E5B9;
        // The upper half of a product spreads a 32-bit hash over any number of slots.
        size_t at = size_t((hash >> 32) * slots_.size() >> 32);
        while (slots_[at].merge.token >= 0 && (slots_[at].left != left || slots_[at].right != right))
            at = at + 1 < slots_.size() ? at + 1 : 0;
        return at;
    }

    std::vector<Slot> slots_;  // always with room: 3/2 of the merges
};

class BpeTokenizer : public TokenizerBase {
public:
    BpeTokenizer(const Pretokenizer& rules, std::optional<SplitProgram> program)
        : rules_(rules), program_(std::move(program)) {}

    Status prepare(const Metadata& metadata, const TokenizerLimits& limits, std::string_view unknown_pre) {
        constexpr std::string_view kMerges = "tokenizer.ggml.merges";
        if (!unknown_pre.empty())
            warn(fmt::format("tokenizer.ggml.pre is '{}', which is not known; words are cut by the default rules",
                             unknown_pre));
        auto merges = metadata.get_strings(kMerges);
        if (!merges) {
            return fail(ErrorCode::kBadFile, "{}: {}, expected a list of texts", kMerges,
                        metadata.has(kMerges) ? "something else" : "absent");
        }
        if (merges->size() > limits.max_merges)
            return fail(ErrorCode::kLimit, "{}: {} merges, limit {}", kMerges, merges->size(), limits.max_merges);
        pairs_ = PairTable(merges->size());
        size_t n_ignored = 0;
        std::string joined;
        for (size_t i = 0; i < merges->size(); ++i) {
            // The first character of the left part may itself be a blank.
            std::string_view merge = (*merges)[i];
            size_t blank = merge.find(' ', 1);
            if (blank == merge.npos) {
                ++n_ignored;
                continue;
            }
            std::string_view left = merge.substr(0, blank), right = merge.substr(blank + 1);
            joined.assign(left).append(right);
            auto a = vocab_.find(left), b = vocab_.find(right), ab = vocab_.find(joined);
            if (a && b && ab) {
                pairs_.add(*a, *b, {uint32_t(i), *ab});
            } else {
                ++n_ignored;
            }
        }
        if (n_ignored > 0) warn(fmt::format("{} merges name tokens that are not there; ignored", n_ignored));

        // Gemma 4's first files say no and mean yes.
        if (rules_.whole_newlines) add_bos_ = special_.bos.has_value();

        if (program_) {
            read_options(metadata);
            return {};
        }
        size_t n_missing = 0;
        for (int b = 0; b < 256; ++b) {
            std::string name;
            append_utf8(name, kByteAlphabet.to_char[size_t(b)]);
            base_ids_[b] = rules_.raw_utf8 ? byte_ids_[b] : vocab_.find(name).value_or(-1);
            n_missing += base_ids_[b] < 0;
        }
        if (n_missing > 0)
            warn(fmt::format("{} of 256 byte tokens are not there; such bytes are {}", n_missing,
                             special_.unknown ? "the unknown token" : "left out"));
        return {};
    }

protected:
    std::string bytes_of(TokenId id) const override {
        std::string_view text = vocab_.text(id);
        if (program_ ? !byte_level_ : rules_.raw_utf8) return unescape_spaces(text);
        // A token that is not spelled in the byte alphabet stands for itself.
        return kByteAlphabet.read(text).value_or(std::string(text));
    }

    void encode_first_text(std::string_view text, std::vector<TokenId>& out) const override {
        program_ ? encode_by_program(text, true, out) : encode_text(text, out);
    }

    void encode_text(std::string_view text, std::vector<TokenId>& out) const override {
        if (program_) return encode_by_program(text, false, out);
        std::string changed;
        if (rules_.normalize_nfc && !is_surely_nfc(text)) text = changed = normalize_nfc(text);
        if (rules_.raw_utf8) text = changed = escape(text);
        WordCache cache(text.size());
        Merger merger;
        std::string name;
        rules_.split(text, [&](size_t begin, size_t end) {
            if (cache.replay(text, begin, end, out)) return;
            size_t first = out.size();
            encode_word(text.substr(begin, end - begin), merger, name, out);
            cache.remember(text, begin, end, first, out.size());
        });
    }

private:
    static std::string escape(std::string_view text) {
        std::string out;
        out.reserve(text.size() + text.size() / 2);
        for (char c : text) {
            if (c == ' ') {
                out += kSpaceSymbol;
            } else {
                out += c;
            }
        }
        return out;
    }

    // sterna.tokenizer.options: what the model of a tokenizer.json says beside its merges.
    void read_options(const Metadata& metadata) {
        for (std::string_view option :
             metadata.get_strings("sterna.tokenizer.options").value_or(std::vector<std::string_view>())) {
            if (option == "byte_level") byte_level_ = true;
            if (option == "byte_fallback") byte_fallback_ = true;
            if (option == "fuse_unk") fuse_unknown_ = true;
            if (option == "no_unk") special_.unknown.reset();
        }
    }

    void encode_by_program(std::string_view text, bool first, std::vector<TokenId>& out) const {
        std::string all;  // the pieces, for the cache
        WordCache cache(text.size());
        Merger merger;
        program_->run(text, first, [&](std::string_view piece) {
            if (piece.size() > kMaxPieces - all.size()) return;
            size_t begin = all.size();
            all += piece;
            if (cache.replay(all, begin, all.size(), out)) return;
            size_t first_id = out.size();
            encode_piece(piece, merger, out);
            cache.remember(all, begin, all.size(), first_id, out.size());
        });
    }

    // As the BPE model of Hugging Face's tokenizers: over characters; one that is no token becomes bytes, the unknown
    // token, or nothing.
    void encode_piece(std::string_view piece, Merger& merger, std::vector<TokenId>& out) const {
        if (rules_.ignore_merges && piece.size() <= vocab_.longest_token()) {
            if (auto id = vocab_.find(piece); id && vocab_.type(*id) != TokenType::kControl) {
                out.push_back(*id);
                return;
            }
        }
        merger.clear();
        bool after_unknown = false;
        for (size_t i = 0; i < piece.size();) {
            size_t n = decode_utf8(piece, i).length;
            auto id = vocab_.find(piece.substr(i, n));
            bool known = id.has_value();
            if (known) {
                merger.add(uint32_t(i), *id);
            } else if (has_bytes(piece.substr(i, n))) {
                known = true;
                for (size_t k = 0; k < n; ++k) merger.add(uint32_t(i + k), byte_ids_[uint8_t(piece[i + k])]);
            } else if (special_.unknown && !(after_unknown && fuse_unknown_)) {
                merger.add(uint32_t(i), *special_.unknown);
            }
            after_unknown = !known;
            i += n;
        }
        auto find = [this](const MergeSymbol& left, const MergeSymbol& right, uint32_t) {
            return pairs_.find(left.token, right.token);
        };
        merger.run(uint32_t(piece.size()), find,
                   [&](const MergeSymbol& symbol, uint32_t) { out.push_back(symbol.token); });
    }

    bool has_bytes(std::string_view character) const {
        for (char c : character)
            if (!byte_fallback_ || byte_ids_[uint8_t(c)] < 0) return false;
        return true;
    }

    // The token that is the whole word, where the model looks for one before merging.
    std::optional<TokenId> find_whole(std::string_view word, std::string& name) const {
        bool newlines = rules_.whole_newlines && word.find_first_not_of('\n') == word.npos;
        if ((!rules_.ignore_merges && !newlines) || word.size() > vocab_.longest_token()) return std::nullopt;
        std::optional<TokenId> id;
        if (rules_.raw_utf8) {
            id = vocab_.find(word);
        } else {
            name.clear();
            for (char c : word) append_utf8(name, kByteAlphabet.to_char[uint8_t(c)]);
            id = vocab_.find(name);
        }
        return id && vocab_.type(*id) != TokenType::kControl ? id : std::nullopt;
    }

    void encode_word(std::string_view word, Merger& merger, std::string& name, std::vector<TokenId>& out) const {
        if (auto id = find_whole(word, name)) {
            out.push_back(*id);
            return;
        }
        merger.clear();
        for (size_t i = 0; i < word.size();) {
            size_t n = rules_.raw_utf8 ? decode_utf8(word, i).length : 1;
            TokenId id = rules_.raw_utf8 ? vocab_.find(word.substr(i, n)).value_or(-1) : base_ids_[uint8_t(word[i])];
            merger.add(uint32_t(i), id);
            i += n;
        }
        auto find = [this](const MergeSymbol& left, const MergeSymbol& right, uint32_t) {
            return left.token < 0 || right.token < 0 ? Merge{} : pairs_.find(left.token, right.token);
        };
        merger.run(uint32_t(word.size()), find, [&](const MergeSymbol& symbol, uint32_t end) {
            if (symbol.token >= 0) {
                out.push_back(symbol.token);
                return;
            }
            for (uint32_t i = symbol.begin; i < end; ++i) append_byte_or_unknown(uint8_t(word[i]), out);
        });
    }

    static constexpr size_t kMaxPieces = size_t(1) << 31;  // bytes; places in them are 32-bit numbers

    Pretokenizer rules_;
    std::optional<SplitProgram> program_;  // instead of the rules' own cuts
    bool byte_level_ = false, byte_fallback_ = false, fuse_unknown_ = false;
    PairTable pairs_;
    TokenId base_ids_[256];
};

}  // namespace

TokenizerResult make_bpe_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits) {
    bool gemma = metadata.get_string("tokenizer.ggml.model") == "gemma4";
    std::string_view pre = gemma ? "gemma4" : metadata.get_string("tokenizer.ggml.pre").value_or("");
    const Pretokenizer* known = Pretokenizer::find(pre);
    Pretokenizer rules = known ? *known : Pretokenizer::fallback();
    std::optional<SplitProgram> program;
    if (metadata.has(SplitProgram::kSplitKey)) {
        STERNA_TRY(compiled, SplitProgram::read(metadata));
        program = std::move(compiled);
        rules.raw_utf8 = rules.whole_newlines = false;
    } else if (metadata.has(SplitProgram::kNormalizerKey)) {
        // Cut as the name says, but with or without composing.
        auto steps = metadata.get_strings(SplitProgram::kNormalizerKey).value_or(std::vector<std::string_view>());
        rules.normalize_nfc = std::find(steps.begin(), steps.end(), "nfc") != steps.end();
    }
    rules.ignore_merges = metadata.get_bool("sterna.tokenizer.ignore_merges").value_or(rules.ignore_merges);
    std::string_view unknown_pre = known || program ? std::string_view() : pre;
    auto tokenizer = std::make_unique<BpeTokenizer>(rules, std::move(program));
    TokenizerDefaults defaults{.add_bos = known && known->add_bos};
    if (!gemma) defaults.bos = defaults.eos = 11;
    if (pre == "glm4" || pre == "glm5" || pre == "chatglm-bpe") defaults.bos = -1;
    tokenizer->init(metadata, std::move(vocabulary), defaults, limits);
    STERNA_CHECK(tokenizer->prepare(metadata, limits, unknown_pre));
    return tokenizer;
}

}  // namespace sterna
