// RWKV World: greedy longest match over byte strings. Tokens are spelled with \n, \t, \r, \\, \' and \xAB escapes.
#include "text/tokenizer_base.h"

namespace sterna {

namespace {

std::string unescape(std::string_view text) {
    auto digit = [&](size_t i) -> int {
        if (i >= text.size()) return -1;
        char c = text[i];
        return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    };
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            out += text[i];
            continue;
        }
        char c = text[++i];
        if (c == 'x' && digit(i + 1) >= 0 && digit(i + 2) >= 0) {
            out += char(digit(i + 1) * 16 + digit(i + 2));
            i += 2;
        } else {
            out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
        }
    }
    return out;
}

class RwkvTokenizer : public TokenizerBase {
public:
    void prepare() {
        std::vector<std::string> texts;
        std::vector<std::pair<std::string_view, int32_t>> entries;
        texts.reserve(vocab_.size());
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) {
            if (vocab_.type(id) == TokenType::kControl) continue;
            texts.push_back(unescape(vocab_.text(id)));
            entries.emplace_back(texts.back(), id);
        }
        tokens_ = Trie(std::move(entries));
    }

protected:
    std::string bytes_of(TokenId id) const override { return unescape(vocab_.text(id)); }

    void encode_text(std::string_view text, std::vector<TokenId>& out) const override {
        for (size_t at = 0; at < text.size();) {
            auto match = tokens_.longest(text, at);
            if (match) {
                out.push_back(match->value);
            } else if (special_.unknown) {
                out.push_back(*special_.unknown);
            }
            at += match ? match->length : 1;
        }
    }

private:
    Trie tokens_;
};

}  // namespace

TokenizerResult make_rwkv_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits) {
    auto tokenizer = std::make_unique<RwkvTokenizer>();
    tokenizer->init(metadata, std::move(vocabulary), {}, limits);
    tokenizer->prepare();
    return tokenizer;
}

}  // namespace sterna
