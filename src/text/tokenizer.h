// Text to token ids and back, exactly as the model's own tokenizer does it. Immutable after load; share freely.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"

namespace sterna {

using TokenId = int32_t;

enum class TokenType : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

struct TokenizerLimits {
    size_t max_vocab = 1u << 20;   // some 30 bytes of index a token
    size_t max_merges = 1u << 22;  // up to 32 bytes a merge
    size_t max_token_bytes = 1u << 16;
    size_t max_text_bytes = 1u << 28;  // encoding one word that long takes up to 40 bytes a byte
};

struct EncodeOptions {
    bool add_special = true;  // bos/eos (or [CLS]/[SEP]) as the model wants them
    bool parse_special =
        false;  // "<|im_end|>" in the text becomes the control token; user-defined tokens are always found
};

class Tokenizer {
public:
    // Reads tokenizer.ggml.* keys. Copies what it needs: the metadata may go away.
    static Result<std::unique_ptr<Tokenizer>> from_metadata(const Metadata& metadata,
                                                            const TokenizerLimits& limits = {});
    virtual ~Tokenizer() = default;

    // A byte that is no UTF-8 is encoded as itself where the vocabulary can (byte-level BPE, byte fallback), else as
    // U+FFFD.
    virtual Result<std::vector<TokenId>> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

    // The bytes a token stands for when written out (a control token: nothing, unless with_special; an unused one:
    // nothing). Lifetime: the view lives as long as the tokenizer. Requires: id in [0, vocab_size()).
    virtual std::string_view token_bytes(TokenId id, bool with_special = false) const = 0;

    // The text of a token sequence; strips the leading blank that SentencePiece models add. Not necessarily valid
    // UTF-8. Ids out of range stand for nothing.
    virtual std::string decode(std::span<const TokenId> ids, bool with_special = false) const = 0;

    virtual size_t vocab_size() const = 0;
    virtual std::string_view token_text(TokenId id) const = 0;  // as the vocabulary spells it: "Ġthe", "▁the", "<0x0A>"
    virtual TokenType token_type(TokenId id) const = 0;
    virtual std::optional<TokenId> find(std::string_view token_text) const = 0;  // of duplicates, the first

    struct SpecialIds {
        std::optional<TokenId> bos, eos, eot, eom, unknown, padding, separator, mask;
    };
    virtual const SpecialIds& special() const = 0;
    // Tokens after which an answer is over: eos, eot, eom and the well-known spellings of them ("<|im_end|>",
    // "<|eot_id|>",
    // ...).
    virtual bool is_end_of_generation(TokenId id) const = 0;
    virtual bool adds_bos() const = 0;
    virtual bool adds_eos() const = 0;

    // Whether decode() strips a blank in front of the first token.
    virtual bool strips_leading_blank() const { return false; }
    // What is odd about the vocabulary though it can be used, one sentence; empty when nothing is.
    virtual std::string_view warning() const { return {}; }
};

// Turns a stream of tokens into text that never ends inside a UTF-8 character. Bytes that are no UTF-8 become U+FFFD.
// Thread-compatible.
class StreamingDetokenizer {
public:
    // Lifetime: the tokenizer outlives this. `continues`: the stream goes on after a prompt, so a leading blank is
    // kept.
    explicit StreamingDetokenizer(const Tokenizer& tokenizer, bool continues = true, bool with_special = false);

    // Returns: the text that is complete with this token; may be empty.
    std::string push(TokenId id);
    // Returns: what is left, an unfinished character as U+FFFD.
    std::string finish();

private:
    const Tokenizer& tokenizer_;
    bool first_;
    bool with_special_;
    std::string pending_;
};

}  // namespace sterna
