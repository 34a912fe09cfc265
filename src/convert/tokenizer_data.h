// A tokenizer on its way from a checkpoint folder into GGUF metadata: what the readers of its several files fill in, one
// after the other. Thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "format/gguf.h"
#include "text/tokenizer.h"

namespace sterna {

inline constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581, how SentencePiece writes a blank

struct TokenizerFileLimits {
    uint64_t max_file_bytes = 1u << 28;  // the largest tokenizer.json have some 35 MB
    int64_t max_vocab = 1 << 20;
};

struct TokenizerData {
    std::string model;  // tokenizer.ggml.model
    std::string pre = "default";
    std::vector<std::string> tokens;  // empty: a hole
    std::vector<double> scores;       // empty, or one for each
    std::vector<int64_t> types;
    std::vector<std::string> merges;
    std::string charsmap;
    std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces, lowercase, strip_accents;
    // The private keys of text/split_program.h; nothing: not written.
    std::optional<bool> ignore_merges;
    std::optional<std::vector<std::string>> normalizer, split;
    std::vector<std::string> options;
    std::vector<int64_t> strip_left, strip_right;
    std::map<std::string, int64_t> ids;  // "bos", "eos", "eot", ... as in tokenizer.ggml.*_token_id
    std::vector<int64_t> end_ids;        // every token that ends an answer, as generation_config.json lists them
    std::vector<std::pair<std::string, std::string>> chat_templates;  // name and text; the default one has no name
    std::vector<std::string> warnings;

    size_t size() const { return tokens.size(); }
    // Puts a token in its place; what lies between is a hole.
    Status set(int64_t id, std::string text, TokenType type, double score = 0);
    std::optional<int64_t> find(std::string_view text) const;  // linear
    void warn(std::string sentence) { warnings.push_back(std::move(sentence)); }
};

// "<|...|>" and its relatives: never plain text, whatever the file says.
bool looks_special(std::string_view text);

Result<std::string> read_tokenizer_file(const std::string& path);

// The readers. `text` is a file's content, `path` for messages.
Status read_tokenizer_json(const std::string& text, const std::string& path, TokenizerData& data);
Status read_sentencepiece_tokenizer(const std::string& text, const std::string& path, TokenizerData& data);
Status read_tiktoken(const std::string& text, const std::string& path, const std::string& folder, TokenizerData& data);
// vocab.json and merges.txt of byte-level BPE.
Status read_vocab_and_merges(const std::string& folder, TokenizerData& data);
Status read_rwkv_vocabulary(const std::string& text, const std::string& path, TokenizerData& data);
bool is_tiktoken(std::string_view text);
// tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json, config.json, templates.
Status read_special_tokens(const std::string& folder, TokenizerData& data);

// Sets tokenizer.ggml.pre and the private keys for these steps (split_program.h).
void name_pretokenizer(std::vector<std::string> normalizer, std::vector<std::string> split, bool ignore_merges,
                       TokenizerData& data);
// The steps of a known name; nothing for an unknown one.
std::optional<std::vector<std::string>> pretokenizer_steps(std::string_view name);

Status write_tokenizer_data(const TokenizerData& data, int64_t vocab_rows, GgufWriter& writer,
                            std::vector<std::string>& warnings);

}  // namespace sterna
