// WordPiece (BERT): the text is cleaned, cut at blanks and punctuation, and each word covered greedily by the longest
// tokens. Source: the BertNormalizer, BertPreTokenizer and WordPiece of Hugging Face's tokenizers. In GGUF files the
// tokens that start a word begin with U+2581 and the others have lost their "##".
#include "text/tokenizer_base.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace sterna {

namespace {

constexpr size_t kMaxWordCharacters = 100;  // longer words are unknown, as in BERT

bool is_cjk(uint32_t cp) {
    return (cp >= 0x4E00 && cp <= 0x9FFF) || (cp >= 0x3400 && cp <= 0x4DBF) || (cp >= 0x20000 && cp <= 0x2A6DF) ||
           (cp >= 0x2A700 && cp <= 0x2B73F) || (cp >= 0x2B740 && cp <= 0x2B81F) ||
           (cp >= 0x2B920 && cp <= 0x2CEAF) ||  // so in Hugging Face's tokenizers; BERT itself has 0x2B820
           (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0x2F800 && cp <= 0x2FA1F);
}

bool is_ascii_mark(uint32_t cp) {
    return cp - '!' < 15 || cp - ':' < 7 || cp - '[' < 6 || cp - '{' < 4;
}

class WordPieceTokenizer : public TokenizerBase {
public:
    void prepare(const Metadata& metadata) {
        lowercase_ = metadata.get_bool("tokenizer.ggml.normalizer.lowercase").value_or(true);
        strip_accents_ = metadata.get_bool("tokenizer.ggml.normalizer.strip_accents").value_or(lowercase_);
        std::vector<std::pair<std::string_view, int32_t>> pieces;
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id)
            if (vocab_.type(id) != TokenType::kControl) pieces.emplace_back(vocab_.text(id), id);
        pieces_ = Trie(std::move(pieces));
        if (auto cls = metadata.get_int("tokenizer.ggml.cls_token_id"); cls && vocab_.contains(*cls))
            special_.bos = TokenId(*cls);
        if (!special_.unknown) warn("the file names no unknown token; words that are not covered are left out");
    }

protected:
    std::string bytes_of(TokenId id) const override { return unescape_spaces(vocab_.text(id)); }
    std::optional<TokenId> closing_id() const override { return special_.separator; }

    void encode_text(std::string_view raw, std::vector<TokenId>& out) const override {
        std::string word;
        size_t n_characters = 0;
        auto flush = [&] {
            if (n_characters > 0) encode_word(word, n_characters, out);
            word = kSpaceSymbol;
            n_characters = 0;
        };
        flush();
        auto add = [&](uint32_t cp) {
            append_utf8(word, cp);
            ++n_characters;
        };
        // Lines are normalized one by one, so that a long text needs no long copy.
        std::vector<uint32_t> line;
        for (size_t at = 0; at < raw.size();) {
            line.clear();
            bool ended = false;
            while (at < raw.size() && !ended) {
                Utf8Char c = decode_utf8(raw, at);
                at += c.length;
                if (c.code_point == 0 || c.code_point == 0xFFFD || c.code_point == kInvalidCodePoint) continue;
                ended = c.code_point == '\n';
                line.push_back(c.code_point);
            }
            if (strip_accents_) line = normalize_nfd(line);
            for (uint32_t cp : line) {
                CharSet set = char_set(cp);
                bool layout = cp == '\t' || cp == '\n' || cp == '\r';
                // Before blanks: U+0085 and the vertical tab are control characters here, and vanish.
                if (!layout && (set & (kControlChar | kFormatChar | kPrivateUse))) {
                    continue;
                } else if (set & kWhiteSpace) {
                    flush();
                } else if (strip_accents_ && (set & kNonspacingMark)) {
                    continue;
                } else {
                    bool alone = (set & kPunctuation) || is_ascii_mark(cp) || is_cjk(cp);
                    if (alone) flush();
                    add(lowercase_ ? to_lower(cp) : cp);
                    if (alone) flush();
                }
            }
        }
        flush();
    }

private:
    void encode_word(std::string_view word, size_t n_characters, std::vector<TokenId>& out) const {
        size_t first = out.size();
        size_t at = 0;
        while (at < word.size() && n_characters <= kMaxWordCharacters) {
            auto match = pieces_.longest(word, at);
            // A match that is the mark of a word's start and nothing else covers no text.
            if (!match || (at == 0 && match->length <= kSpaceSymbol.size())) break;
            out.push_back(match->value);
            at += match->length;
        }
        if (at == word.size()) return;
        out.resize(first);
        if (special_.unknown) out.push_back(*special_.unknown);
    }

    Trie pieces_;
    bool lowercase_ = true, strip_accents_ = true;
};

}  // namespace

TokenizerResult make_wordpiece_tokenizer(const Metadata& metadata, Vocabulary vocabulary,
                                         const TokenizerLimits& limits) {
    auto tokenizer = std::make_unique<WordPieceTokenizer>();
    tokenizer->init(metadata, std::move(vocabulary),
                    {.bos = 101, .unknown = 100, .separator = 102, .padding = 0, .mask = 103, .add_bos = true}, limits);
    tokenizer->prepare(metadata);
    return tokenizer;
}

}  // namespace sterna
