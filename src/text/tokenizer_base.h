// What all kinds of tokenizer share: special tokens in the text, bos and eos, the bytes of tokens, decoding. A kind
// implements encode_text() for the text between special tokens, and one maker function at the end of this header.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/metadata.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_trie.h"
#include "text/tokenizer_vocab.h"

namespace sterna {

constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581, SentencePiece's visible blank

// What a kind of tokenizer does where the file does not say.
struct TokenizerDefaults {
    int64_t bos = -1, eos = -1, unknown = -1, separator = -1, padding = -1, mask = -1;
    bool add_bos = false, add_eos = false, add_space_prefix = false;
};

class TokenizerBase : public Tokenizer {
public:
    // Fills in everything but what encode_text() needs. To be called once.
    void init(const Metadata& metadata, Vocabulary vocabulary, const TokenizerDefaults& defaults,
              const TokenizerLimits& limits);

    Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions& options) const override;
    std::string_view token_bytes(TokenId id, bool with_special) const override;
    std::string decode(std::span<const TokenId> ids, bool with_special) const override;

    size_t vocab_size() const override { return vocab_.size(); }
    std::string_view token_text(TokenId id) const override { return vocab_.text(id); }
    TokenType token_type(TokenId id) const override { return vocab_.type(id); }
    std::optional<TokenId> find(std::string_view text) const override { return vocab_.find(text); }
    const SpecialIds& special() const override { return special_; }
    bool is_end_of_generation(TokenId id) const override;
    bool adds_bos() const override { return add_bos_; }
    bool adds_eos() const override { return add_eos_; }
    bool strips_leading_blank() const override { return add_space_prefix_; }
    std::string_view warning() const override { return warning_; }

protected:
    // Appends the ids of text that holds no special token.
    virtual void encode_text(std::string_view text, std::vector<TokenId>& out) const = 0;
    // The same for the text before the first special token.
    virtual void encode_first_text(std::string_view text, std::vector<TokenId>& out) const { encode_text(text, out); }
    // The bytes that a normal, user-defined or byte token stands for.
    virtual std::string bytes_of(TokenId id) const = 0;
    // The id that ends a text when special ids are asked for.
    virtual std::optional<TokenId> closing_id() const { return add_eos_ ? special_.eos : std::nullopt; }

    void warn(std::string sentence);
    void append_byte_or_unknown(uint8_t byte, std::vector<TokenId>& out) const;
    // "▁" as " "; for kinds whose tokens are spelled that way.
    std::string unescape_spaces(std::string_view text) const;

    Vocabulary vocab_;
    SpecialIds special_;
    TokenId byte_ids_[256];  // "<0x0A>" tokens, -1 where there is none
    bool add_bos_ = false, add_eos_ = false, add_space_prefix_ = false;

private:
    void read_special_ids(const Metadata& metadata, const TokenizerDefaults& defaults);
    void find_end_of_generation(const Metadata& metadata);
    void set_strips(const Metadata& metadata);
    void build_bytes();

    TokenizerLimits limits_;
    Trie user_defined_, all_special_;
    std::vector<TokenId> end_of_generation_;           // sorted
    std::vector<TokenId> strips_left_, strips_right_;  // sorted: tokens that swallow blanks beside them
    std::string bytes_;
    std::vector<uint32_t> byte_offsets_;
    std::string warning_;
};

using TokenizerResult = Result<std::unique_ptr<Tokenizer>>;
TokenizerResult make_bpe_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits);
TokenizerResult make_spm_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits);
TokenizerResult make_unigram_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits);
TokenizerResult make_wordpiece_tokenizer(const Metadata& metadata, Vocabulary vocabulary,
                                         const TokenizerLimits& limits);
TokenizerResult make_rwkv_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits);

}  // namespace sterna
