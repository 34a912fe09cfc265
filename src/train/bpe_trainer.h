// Learns the merges of a byte-level BPE vocabulary (Sennrich et al., arXiv 1508.07909, over bytes as in GPT-2): again and
// again the most frequent pair of neighbours becomes a token. Equal counts are decided by the older left token, then the
// older right one, as the tokenizers package does, so the same text gives the same merges. Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "convert/tokenizer_data.h"
#include "text/pretokenizer.h"

namespace sterna::train {

// How often each word occurs. A word is what the pre-tokenizer cuts out: no merge crosses its edge.
class WordCounts {
public:
    // `special` are never part of a word. Lifetime: both outlive this.
    WordCounts(const Pretokenizer& pre, const std::vector<std::string>& special) : pre_(pre), special_(special) {}

    void add(std::string_view text);
    void add(const WordCounts& other);

    struct Hash {
        using is_transparent = void;
        size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    };
    using Map = std::unordered_map<std::string, uint64_t, Hash, std::equal_to<>>;
    const Map& counts() const { return counts_; }

private:
    void add_plain(std::string_view text);

    const Pretokenizer& pre_;
    const std::vector<std::string>& special_;
    Map counts_;
};

struct BpeMerges {
    std::vector<std::string>
        tokens;  // as bytes: the 256 single ones in the order of their printed characters, then one for each merge
    std::vector<std::pair<uint32_t, uint32_t>> merges;  // indices of tokens
};

// Learns until there are `n_tokens` tokens, or no pair occurs twice. Requires: n_tokens >= 256.
BpeMerges learn_merges(const WordCounts::Map& words, size_t n_tokens);

struct BpeOptions {
    size_t vocab_size = 0;
    std::string pre, end, end_of_turn, chat_template;
    std::vector<std::string> special;  // with `end` and `end_of_turn`; they come last in the vocabulary
};

// The whole tokenizer, ready to be written. Fewer tokens than asked for where the text gives no more.
TokenizerData make_bpe_tokenizer(const WordCounts::Map& words, const BpeOptions& options);

}  // namespace sterna::train
