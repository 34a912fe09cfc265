// SentencePiece BPE: characters merge into tokens, the best score first. Source: SentencePiece's bpe_model, and
// llama.cpp's treatment of blanks beside special tokens.
#include <algorithm>
#include <unordered_map>

#include "text/bpe_merge.h"
#include "text/tokenizer_base.h"
#include "text/utf8.h"

namespace sterna {

namespace {

class SpmTokenizer : public TokenizerBase {
public:
    Status prepare(const Metadata& metadata) {
        if (!vocab_.has_scores())
            return fail(ErrorCode::kBadFile, "tokenizer.ggml.scores: absent, expected one for each of {} tokens",
                        vocab_.size());
        remove_extra_whitespaces_ = metadata.get_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
        // The higher the score the lower the rank; equal scores share one.
        std::vector<float> scores(vocab_.size());
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) scores[size_t(id)] = vocab_.score(id);
        std::sort(scores.begin(), scores.end(), std::greater<>());
        scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
        ranks_.resize(vocab_.size());
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id) {
            auto at = std::lower_bound(scores.begin(), scores.end(), vocab_.score(id), std::greater<>());
            ranks_[size_t(id)] = uint32_t(at - scores.begin());
        }
        powers_.resize(vocab_.longest_token() + 1, 1);
        for (size_t i = 1; i < powers_.size(); ++i) powers_[i] = powers_[i - 1] * RollingHash::kBase;
        bool all_bytes = true;
        for (TokenId id : byte_ids_) all_bytes = all_bytes && id >= 0;
        if (!all_bytes) warn("not all 256 byte tokens are there; unknown characters become the unknown token");
        for (TokenId id = 0; size_t(id) < vocab_.size(); ++id)
            if (mergeable(id) && blank_after_other(vocab_.text(id))) words_are_independent_ = false;
        return {};
    }

protected:
    std::string bytes_of(TokenId id) const override { return unescape_spaces(vocab_.text(id)); }

    void encode_text(std::string_view text, std::vector<TokenId>& out) const override {
        std::string escaped = escape(text);
        Job job{escaped, out, WordCache(escaped.size()), {}, {}, {}};
        if (!words_are_independent_) {
            encode_word(job, 0, escaped.size());
            return;
        }
        // No token has a blank after something else, so no merge reaches over the start of a run of blanks.
        for (size_t begin = 0; begin < escaped.size();) {
            size_t end = begin;
            while (is_blank(escaped, end)) end += kSpaceSymbol.size();
            while (end < escaped.size() && !is_blank(escaped, end)) ++end;
            if (!job.cache.replay(escaped, begin, end, out)) {
                size_t first = out.size();
                encode_word(job, begin, end);
                job.cache.remember(escaped, begin, end, first, out.size());
            }
            begin = end;
        }
    }

private:
    struct Job {
        const std::string& text;
        std::vector<TokenId>& out;
        WordCache cache;
        Merger merger;
        std::vector<uint64_t> hashes;  // of the word's prefixes
        // How an unused token came about: what it is written as instead.
        std::unordered_map<TokenId, std::pair<TokenId, TokenId>> unused;
    };

    static bool is_blank(std::string_view text, size_t at) { return text.substr(at).starts_with(kSpaceSymbol); }
    static bool blank_after_other(std::string_view text) {
        size_t at = 0;
        while (is_blank(text, at)) at += kSpaceSymbol.size();
        return text.find(kSpaceSymbol, at) != text.npos;
    }
    // Control, unknown and byte tokens are never made from text.
    bool mergeable(TokenId id) const {
        TokenType type = vocab_.type(id);
        return type == TokenType::kNormal || type == TokenType::kUserDefined || type == TokenType::kUnused;
    }

    std::string escape(std::string_view text) const {
        std::string out;
        out.reserve(text.size() + text.size() / 2 + 4);
        if (add_space_prefix_) out += kSpaceSymbol;
        bool after_blank = true;
        for (char c : text) {
            if (c == ' ' && remove_extra_whitespaces_ && after_blank) continue;
            after_blank = c == ' ';
            if (c == ' ') {
                out += kSpaceSymbol;
            } else {
                out += c;
            }
        }
        if (remove_extra_whitespaces_ && std::string_view(out).ends_with(kSpaceSymbol)) out.resize(out.size() - 3);
        return out;
    }

    void encode_word(Job& job, size_t word_begin, size_t word_end) const {
        std::string_view word = std::string_view(job.text).substr(word_begin, word_end - word_begin);
        job.hashes.resize(word.size() + 1);
        job.hashes[0] = 0;
        for (size_t i = 0; i < word.size(); ++i) job.hashes[i + 1] = RollingHash::extend(job.hashes[i], word[i]);
        job.merger.clear();
        for (size_t i = 0; i < word.size();) {
            size_t n = decode_utf8(word, i).length;
            job.merger.add(uint32_t(i), find_part(job, word, i, i + n));
            i += n;
        }
        auto find = [&](const MergeSymbol& left, const MergeSymbol& right, uint32_t end) -> Merge {
            TokenId id = find_part(job, word, left.begin, end);
            if (id < 0) return {};
            if (vocab_.type(id) == TokenType::kUnused) job.unused[id] = {left.token, right.token};
            return {ranks_[size_t(id)], id};
        };
        job.merger.run(uint32_t(word.size()), find, [&](const MergeSymbol& symbol, uint32_t end) {
            if (symbol.token >= 0) {
                append(job, symbol.token, 0);
                return;
            }
            for (uint32_t i = symbol.begin; i < end; ++i) {
                if (byte_ids_[uint8_t(word[i])] >= 0) {
                    job.out.push_back(byte_ids_[uint8_t(word[i])]);
                } else if (i == symbol.begin && special_.unknown) {
                    job.out.push_back(*special_.unknown);
                }
            }
        });
    }

    TokenId find_part(const Job& job, std::string_view word, size_t begin, size_t end) const {
        size_t n = end - begin;
        if (n >= powers_.size()) return -1;
        uint64_t hash = job.hashes[end] - job.hashes[begin] * powers_[n];
        auto id = vocab_.find(word.substr(begin, n), hash);
        return id && mergeable(*id) ? *id : -1;
    }

    // Unused tokens take part in merging but are written as the two they were made of.
    void append(Job& job, TokenId id, int depth) const {
        auto parts = job.unused.find(id);
        if (vocab_.type(id) != TokenType::kUnused || parts == job.unused.end() || parts->second.first < 0 ||
            parts->second.second < 0 || depth > 64) {
            job.out.push_back(id);
            return;
        }
        auto [left, right] = parts->second;
        append(job, left, depth + 1);
        append(job, right, depth + 1);
    }

    bool remove_extra_whitespaces_ = false;
    bool words_are_independent_ = true;
    std::vector<uint32_t> ranks_;
    std::vector<uint64_t> powers_;  // of the rolling hash's base
};

}  // namespace

TokenizerResult make_spm_tokenizer(const Metadata& metadata, Vocabulary vocabulary, const TokenizerLimits& limits) {
    auto tokenizer = std::make_unique<SpmTokenizer>();
    tokenizer->init(metadata, std::move(vocabulary),
                    {.bos = 1, .eos = 2, .unknown = 0, .add_bos = true, .add_space_prefix = true}, limits);
    STERNA_CHECK(tokenizer->prepare(metadata));
    return tokenizer;
}

}  // namespace sterna
