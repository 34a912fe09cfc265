#include "text/tokenizer.h"

#include "text/split_program.h"
#include "text/tokenizer_base.h"
#include "text/utf8.h"

namespace sterna {

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_metadata(const Metadata& metadata, const TokenizerLimits& limits) {
    auto model = metadata.get_string("tokenizer.ggml.model");
    if (!model) return fail(ErrorCode::kBadFile, "tokenizer.ggml.model: absent, expected a tokenizer's kind");
    if (*model == "none" || *model == "no_vocab") {
        return fail(ErrorCode::kUnsupported,
                    "tokenizer.ggml.model: '{}', this file has no vocabulary to turn text into tokens", *model);
    }
    using Maker = TokenizerResult (*)(const Metadata&, Vocabulary, const TokenizerLimits&);
    // Steps of its own, whatever other programs take the vocabulary for.
    bool own_steps = metadata.has(SplitProgram::kSplitKey) && (*model == "llama" || *model == "gpt2");
    Maker make = own_steps                                ? make_bpe_tokenizer
                 : *model == "llama"                      ? make_spm_tokenizer
                 : *model == "gpt2" || *model == "gemma4" ? make_bpe_tokenizer
                 : *model == "t5"                         ? make_unigram_tokenizer
                 : *model == "bert"                       ? make_wordpiece_tokenizer
                 : *model == "rwkv"                       ? make_rwkv_tokenizer
                                                          : nullptr;
    if (!make)
        return fail(ErrorCode::kUnsupported,
                    "tokenizer.ggml.model: '{}', expected llama, gpt2, gemma4, t5, bert or rwkv", *model);
    STERNA_TRY(vocabulary, Vocabulary::read(metadata, limits));
    return make(metadata, std::move(vocabulary), limits);
}

StreamingDetokenizer::StreamingDetokenizer(const Tokenizer& tokenizer, bool continues, bool with_special)
    : tokenizer_(tokenizer), first_(!continues), with_special_(with_special) {}

std::string StreamingDetokenizer::push(TokenId id) {
    if (id < 0 || size_t(id) >= tokenizer_.vocab_size()) return {};
    std::string_view bytes = tokenizer_.token_bytes(id, with_special_);
    TokenType type = tokenizer_.token_type(id);
    if (first_ && type != TokenType::kControl && type != TokenType::kUnknown) {
        if (tokenizer_.strips_leading_blank() && bytes.starts_with(' ')) bytes.remove_prefix(1);
        first_ = false;
    }
    pending_ += bytes;

    std::string out;
    size_t at = 0;
    while (at < pending_.size()) {
        size_t wanted;
        size_t n = utf8_prefix(pending_, at, &wanted);
        if (wanted != 0 && n < wanted && at + n == pending_.size()) break;  // may still be completed
        if (wanted != 0 && n == wanted) {
            out.append(pending_, at, n);
            at += n;
        } else {
            // The longest part that could have begun a character becomes one U+FFFD (Unicode 16, section 3.9).
            out += kReplacementCharacter;
            at += n == 0 ? 1 : n;
        }
    }
    pending_.erase(0, at);
    return out;
}

std::string StreamingDetokenizer::finish() {
    std::string out(pending_.empty() ? std::string_view() : kReplacementCharacter);
    pending_.clear();
    return out;
}

}  // namespace sterna
