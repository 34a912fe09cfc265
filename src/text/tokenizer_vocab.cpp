#include "text/tokenizer_vocab.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sterna {

namespace {

constexpr std::string_view kTokens = "tokenizer.ggml.tokens", kScores = "tokenizer.ggml.scores",
                           kTypes = "tokenizer.ggml.token_type";

uint64_t mix(uint64_t hash) {
    hash ^= hash >> 32;
    hash *= 0xD6E8FEB86659FD93;
    return hash ^ hash >> 32;
}

}  // namespace

Result<Vocabulary> Vocabulary::read(const Metadata& metadata, const TokenizerLimits& limits) {
    auto tokens = metadata.get_strings(kTokens);
    if (!tokens) {
        return fail(ErrorCode::kBadFile, "{}: {}, expected a list of texts", kTokens,
                    metadata.has(kTokens) ? "something else" : "absent");
    }
    if (tokens->empty()) return fail(ErrorCode::kBadFile, "{}: empty, expected at least one token", kTokens);
    if (tokens->size() > limits.max_vocab)
        return fail(ErrorCode::kLimit, "{}: {} tokens, limit {}", kTokens, tokens->size(), limits.max_vocab);

    Vocabulary v;
    uint64_t total = 0;
    for (size_t i = 0; i < tokens->size(); ++i) {
        size_t n = (*tokens)[i].size();
        if (n > limits.max_token_bytes)
            return fail(ErrorCode::kLimit, "{}[{}]: {} bytes, limit {}", kTokens, i, n, limits.max_token_bytes);
        total += n;
        v.longest_ = std::max(v.longest_, n);
    }
    if (total > UINT32_MAX)
        return fail(ErrorCode::kLimit, "{}: {} bytes of text, limit {}", kTokens, total, UINT32_MAX);
    v.texts_.reserve(size_t(total));
    v.offsets_.reserve(tokens->size() + 1);
    v.offsets_.push_back(0);
    for (std::string_view text : *tokens) {
        v.texts_ += text;
        v.offsets_.push_back(uint32_t(v.texts_.size()));
        v.n_empty_ += text.empty();
    }

    v.types_.assign(tokens->size(), TokenType::kNormal);
    if (metadata.has(kTypes)) {
        auto types = metadata.get_ints(kTypes);
        if (!types) return fail(ErrorCode::kBadFile, "{}: not a list of numbers", kTypes);
        if (types->size() < tokens->size())
            return fail(ErrorCode::kBadFile, "{}: {} entries, expected {}", kTypes, types->size(), tokens->size());
        for (size_t i = 0; i < tokens->size(); ++i) {
            int64_t type = (*types)[i];
            // A type that is not in the list is treated like an unused token, as in llama.cpp.
            v.types_[i] = type >= 1 && type <= 6 ? TokenType(type) : TokenType::kUnused;
        }
    }
    if (metadata.has(kScores)) {
        auto scores = metadata.get_floats(kScores);
        if (!scores) return fail(ErrorCode::kBadFile, "{}: not a list of numbers", kScores);
        if (scores->size() < tokens->size())
            return fail(ErrorCode::kBadFile, "{}: {} entries, expected {}", kScores, scores->size(), tokens->size());
        v.scores_.resize(tokens->size());
        for (size_t i = 0; i < tokens->size(); ++i) {
            v.scores_[i] = float((*scores)[i]);
            if (!std::isfinite(v.scores_[i]))
                return fail(ErrorCode::kBadFile, "{}[{}]: {}, expected a finite number", kScores, i, v.scores_[i]);
        }
    }
    v.build_index();
    return v;
}

void Vocabulary::build_index() {
    size_t n_slots = std::bit_ceil(size() * 3 / 2 + 1);
    slots_.assign(n_slots, 0);
    slot_mask_ = n_slots - 1;
    for (TokenId id = 0; size_t(id) < size(); ++id) {
        std::string_view token = text(id);
        if (token.empty()) continue;
        uint64_t hash = RollingHash::of(token);
        if (find(token, hash)) {
            ++n_duplicates_;
            continue;
        }
        hash = mix(hash);
        size_t at = hash & slot_mask_;
        while (slots_[at] != 0) at = (at + 1) & slot_mask_;
        slots_[at] = (hash >> 32) << 32 | uint32_t(id + 1);
    }
}

std::optional<TokenId> Vocabulary::find(std::string_view wanted, uint64_t rolling_hash) const {
    uint64_t hash = mix(rolling_hash);
    for (size_t at = hash & slot_mask_; slots_[at] != 0; at = (at + 1) & slot_mask_) {
        if (slots_[at] >> 32 != hash >> 32) continue;
        TokenId id = TokenId(uint32_t(slots_[at])) - 1;
        if (text(id) == wanted) return id;
    }
    return std::nullopt;
}

std::optional<TokenId> Vocabulary::find_byte(uint8_t byte) const {
    constexpr char kHex[] = "0123456789ABCDEF";
    const char name[] = {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
    return find(std::string_view(name, sizeof name));
}

std::optional<uint8_t> byte_token_value(std::string_view text) {
    if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
    int value = 0;
    for (char c : text.substr(3, 2)) {
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0) return std::nullopt;
        value = value * 16 + digit;
    }
    return uint8_t(value);
}

}  // namespace sterna
