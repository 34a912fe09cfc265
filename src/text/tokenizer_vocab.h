// The token table of a model: texts, types, scores, the special ids, and an index from text to id. Immutable after
// load.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metadata.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace sterna {

// Polynomial hash of a byte string modulo 2^64: the hash of any part of a text follows from the hashes of its prefixes.
class RollingHash {
public:
    static constexpr uint64_t kBase = 0x9E3779B97F4A7C15;
    static uint64_t extend(uint64_t hash, char byte) { return hash * kBase + uint8_t(byte) + 1; }
    static uint64_t of(std::string_view text) {
        uint64_t hash = 0;
        for (char c : text) hash = extend(hash, c);
        return hash;
    }
};

class Vocabulary {
public:
    static Result<Vocabulary> read(const Metadata& metadata, const TokenizerLimits& limits);

    size_t size() const { return types_.size(); }
    bool contains(int64_t id) const { return id >= 0 && uint64_t(id) < size(); }
    std::string_view text(TokenId id) const {
        return std::string_view(texts_).substr(offsets_[size_t(id)], offsets_[size_t(id) + 1] - offsets_[size_t(id)]);
    }
    TokenType type(TokenId id) const { return types_[size_t(id)]; }
    void set_type(TokenId id, TokenType type) { types_[size_t(id)] = type; }
    float score(TokenId id) const { return scores_.empty() ? 0.0f : scores_[size_t(id)]; }
    bool has_scores() const { return !scores_.empty(); }
    size_t longest_token() const { return longest_; }

    // Of equal texts the first; never an empty one.
    std::optional<TokenId> find(std::string_view text) const { return find(text, RollingHash::of(text)); }
    std::optional<TokenId> find(std::string_view text, uint64_t rolling_hash) const;
    // The token that stands for one byte, "<0x0A>".
    std::optional<TokenId> find_byte(uint8_t byte) const;

    size_t n_empty() const { return n_empty_; }
    size_t n_duplicates() const { return n_duplicates_; }

private:
    void build_index();

    std::string texts_;
    std::vector<uint32_t> offsets_;  // size() + 1
    std::vector<TokenType> types_;
    std::vector<float> scores_;    // empty: all zero
    std::vector<uint64_t> slots_;  // open addressing: upper half of the hash << 32 | id + 1
    uint64_t slot_mask_ = 0;
    size_t longest_ = 0, n_empty_ = 0, n_duplicates_ = 0;
};

// The value of "<0x0A>" spellings.
std::optional<uint8_t> byte_token_value(std::string_view text);

}  // namespace sterna
