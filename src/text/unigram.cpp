// SentencePiece unigram (T5, XLM-RoBERTa): the text is normalized, then cut so that the sum of the tokens' scores is
// largest. Source: SentencePiece's normalizer and unigram_model; the character map is a Darts-clone double array.
#include <algorithm>
#include <limits>
#include <optional>

#include "base/bytes.h"
#include "text/split_program.h"
#include "text/tokenizer_base.h"
#include "text/utf8.h"

namespace sterna {

namespace {

// Replacements of character sequences:
//
//   u32 bytes of the array | array of u32 units | replacement texts, each ended by a zero byte
//
// A unit: bits 0-7 label, 8 "a value hangs here", 9 offset is in units of 256, 10-30 offset, 31 set in value units. The
// child of node n for byte b is at n ^ offset(n) ^ b if its label is b; the value of n is at n ^ offset(n).
class CharacterMap {
public:
    static Result<CharacterMap> read(const std::vector<int64_t>& bytes) {
        constexpr std::string_view kKey = "tokenizer.ggml.precompiled_charsmap";
        CharacterMap map;
        if (bytes.empty()) return map;
        std::vector<uint8_t> raw(bytes.size());
        for (size_t i = 0; i < raw.size(); ++i) raw[i] = uint8_t(bytes[i]);
        ByteReader reader(raw);
        auto array_bytes = reader.read<uint32_t>();
        if (!array_bytes || *array_bytes % 4 != 0 || *array_bytes > reader.remaining())
            return fail(ErrorCode::kBadFile, "{}: array of {} bytes in {} bytes", kKey, array_bytes.value_or(0),
                        raw.size());
        map.units_.resize(*array_bytes / 4);
        for (uint32_t& unit : map.units_) unit = *reader.read<uint32_t>();
        map.texts_ = std::string(*reader.read_text(reader.remaining()));
        return map;
    }

    // The longest entry that text starts with at `at`: its length, 0 for none.
    size_t match(std::string_view text, size_t at, std::string_view* replacement) const {
        if (units_.empty()) return 0;
        size_t best = 0, value = 0;
        size_t node = offset(units_[0]);
        for (size_t i = at; i < text.size() && text[i] != '\0'; ++i) {
            uint8_t byte = uint8_t(text[i]);
            node ^= byte;
            if (node >= units_.size() || (units_[node] & 0x800000FF) != byte) break;
            uint32_t unit = units_[node];
            node ^= offset(unit);
            if (unit >> 8 & 1) {
                if (node >= units_.size()) break;
                best = i + 1 - at;
                value = units_[node] & 0x7FFFFFFF;
            }
        }
        if (best == 0 || value >= texts_.size()) return 0;
        std::string_view rest = std::string_view(texts_).substr(value);
        *replacement = rest.substr(0, rest.find('\0'));
        return best;
    }

private:
    static size_t offset(uint32_t unit) { return size_t(unit >> 10) << ((unit & 512) >> 6); }

    std::vector<uint32_t> units_;
    std::string texts_;
};

class UnigramTokenizer : public TokenizerBase {
public:
    Status prepare(const Metadata& metadata) {
        if (!vocab_.has_scores())
            return fail(ErrorCode::kBadFile, "tokenizer.ggml.scores: absent, expected one for each of {} tokens",
                        vocab_.size());
        remove_extra_whitespaces_ = metadata.get_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
        if (metadata.has("tokenizer.ggml.precompiled_charsmap")) {
            auto bytes = metadata.get_ints("tokenizer.ggml.precompiled_charsmap");
            if (!bytes) return fail(ErrorCode::kBadFile, "tokenizer.ggml.precompiled_charsmap: not a list of bytes");
            STERNA_TRY(map, CharacterMap::read(*bytes));
            characters_ = std::move(map);
        }
        if (metadata.has(SplitProgram::kSplitKey)) {
            STERNA_TRY(program, SplitProgram::read(metadata));
            program_ = std::move(program);
        }
        std::vector<std::pair<std::string_view, int32_t>> pieces, user;
        float lowest = std::numeric_limits<float>::max();
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) {
            TokenType type = vocab_.type(id);
            if (type == TokenType::kNormal) lowest = std::min(lowest, vocab_.score(id));
            if (type == TokenType::kNormal || type == TokenType::kUserDefined) pieces.emplace_back(vocab_.text(id), id);
            if (type == TokenType::kUserDefined) user.emplace_back(vocab_.text(id), id);
        }
        if (pieces.empty())
            return fail(ErrorCode::kBadFile, "tokenizer.ggml.token_type: no normal token, expected at least one");
        pieces_ = Trie(std::move(pieces));
        user_defined_pieces_ = Trie(std::move(user));
        // SentencePiece's penalty for a character that no token covers.
        unknown_score_ = double(lowest) - 10.0;
        has_all_bytes_ = std::all_of(std::begin(byte_ids_), std::end(byte_ids_), [](TokenId id) { return id >= 0; });
        return {};
    }

protected:
    std::string bytes_of(TokenId id) const override { return unescape_spaces(vocab_.text(id)); }

    void encode_text(std::string_view raw, std::vector<TokenId>& out) const override {
        program_ ? encode_by_program(raw, false, out) : encode_normalized(normalize(raw), out);
    }
    void encode_first_text(std::string_view raw, std::vector<TokenId>& out) const override {
        program_ ? encode_by_program(raw, true, out) : encode_text(raw, out);
    }

private:
    // As Hugging Face's tokenizers: the map of characters, then the steps of the file, then each piece by itself.
    void encode_by_program(std::string_view raw, bool first, std::vector<TokenId>& out) const {
        program_->run(map_characters(raw), first, [&](std::string_view piece) { encode_normalized(piece, out); });
    }

    std::string map_characters(std::string_view raw) const {
        std::string out;
        out.reserve(raw.size());
        for (size_t at = 0; at < raw.size();) {
            std::string_view part;
            size_t consumed = characters_.match(raw, at, &part);
            if (consumed == 0) {
                consumed = decode_utf8(raw, at).length;
                part = raw.substr(at, consumed);
            }
            out += part;
            at += consumed;
        }
        return out;
    }

    void encode_normalized(std::string_view text, std::vector<TokenId>& out) const {
        if (text.empty()) return;
        struct Best {
            double score = -std::numeric_limits<double>::infinity();
            uint32_t begin = 0;
            TokenId token = -1;  // -1: unknown
        };
        std::vector<Best> best(text.size() + 1);
        best[0].score = 0;
        for (size_t at = 0; at < text.size();) {
            size_t character = decode_utf8(text, at).length;
            bool covered = false;
            pieces_.each_prefix(text, at, [&](size_t length, TokenId id) {
                covered = covered || length == character;
                double score = vocab_.type(id) == TokenType::kUserDefined ? 0.0 : double(vocab_.score(id));
                score += best[at].score;
                if (score > best[at + length].score) best[at + length] = {score, uint32_t(at), id};
            });
            double score = best[at].score + unknown_score_;
            if (!covered && score > best[at + character].score) best[at + character] = {score, uint32_t(at), -1};
            at += character;
        }
        // From the end back; a token that starts inside a character cannot be on the way, for no path ends there.
        std::vector<std::pair<uint32_t, uint32_t>> path;
        for (uint32_t at = uint32_t(text.size()); at > 0; at = best[at].begin) path.emplace_back(best[at].begin, at);
        bool after_unknown = false;
        for (auto part = path.rbegin(); part != path.rend(); ++part) {
            TokenId id = best[part->second].token;
            if (id >= 0) {
                out.push_back(id);
            } else if (has_all_bytes_) {
                for (uint32_t i = part->first; i < part->second; ++i) out.push_back(byte_ids_[uint8_t(text[i])]);
            } else if (!after_unknown && special_.unknown) {
                out.push_back(*special_.unknown);  // one for a run of unknown characters
            }
            after_unknown = id < 0;
        }
    }

    std::string normalize(std::string_view raw) const {
        std::string out;
        out.reserve(raw.size() + raw.size() / 2 + 4);
        bool after_blank = remove_extra_whitespaces_, started = false;
        for (size_t at = 0; at < raw.size();) {
            std::string_view part;
            size_t consumed = 0;
            if (auto user = user_defined_pieces_.longest(raw, at)) {
                consumed = user->length;
                part = raw.substr(at, consumed);
            } else if ((consumed = characters_.match(raw, at, &part)) == 0) {
                Utf8Char c = decode_utf8(raw, at);
                consumed = c.length;
                part = c.code_point == kInvalidCodePoint ? kReplacementCharacter : raw.substr(at, consumed);
            }
            at += consumed;
            while (after_blank && part.starts_with(' ')) part.remove_prefix(1);
            if (part.empty()) continue;
            if (!started && add_space_prefix_) out += kSpaceSymbol;
            started = true;
            for (char c : part) {
                if (c == ' ') {
                    out += kSpaceSymbol;
                } else {
                    out += c;
                }
            }
            after_blank = remove_extra_whitespaces_ && part.ends_with(' ');
        }
        if (remove_extra_whitespaces_)
            while (std::string_view(out).ends_with(kSpaceSymbol)) out.resize(out.size() - kSpaceSymbol.size());
        return out;
    }

    CharacterMap characters_;
    std::optional<SplitProgram> program_;  // instead of SentencePiece's own treatment of blanks
    Trie pieces_, user_defined_pieces_;
    double unknown_score_ = 0;
    bool remove_extra_whitespaces_ = false;
    bool has_all_bytes_ = false;
};

}  // namespace

TokenizerResult make_unigram_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits) {
    auto tokenizer = std::make_unique<UnigramTokenizer>();
    tokenizer->init(metadata, std::move(vocabulary), {.eos = 1, .unknown = 2, .padding = 0, .add_eos = true}, limits);
    STERNA_CHECK(tokenizer->prepare(metadata));
    return tokenizer;
}

}  // namespace sterna
