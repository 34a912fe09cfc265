#include "train/bpe_trainer.h"

#include <algorithm>
#include <queue>

#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace sterna::train {

void WordCounts::add(std::string_view text) {
    while (!text.empty()) {
        size_t at = std::string_view::npos, length = 0;
        for (const std::string& token : special_) {
            const size_t found = text.find(token);
            if (found < at || (found == at && found != text.npos && token.size() > length)) {
                at = found;
                length = token.size();
            }
        }
        add_plain(text.substr(0, std::min(at, text.size())));
        if (at == text.npos) return;
        text.remove_prefix(at + length);
    }
}

void WordCounts::add_plain(std::string_view text) {
    if (text.empty()) return;
    std::string composed;
    if (pre_.normalize_nfc && !is_surely_nfc(text)) text = composed = normalize_nfc(text);
    pre_.split(text, [&](size_t begin, size_t end) {
        const std::string_view word = text.substr(begin, end - begin);
        if (auto found = counts_.find(word); found != counts_.end())
            ++found->second;
        else
            counts_.emplace(word, 1);
    });
}

void WordCounts::add(const WordCounts& other) {
    for (const auto& [word, count] : other.counts_) counts_[word] += count;
}

namespace {

using Pair = std::pair<uint32_t, uint32_t>;

struct PairHash {
    size_t operator()(const Pair& pair) const {
        return size_t((uint64_t(pair.first) << 32 | pair.second) * 0x9E3779B97F4A7C15u >> 7);
    }
};

struct PairState {
    int64_t count = 0;
    std::vector<uint32_t> words;  // in which it may occur; those of them where it no longer does change nothing
};

struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
        return count != other.count ? count < other.count : pair > other.pair;
    }
};

class Learner {
public:
    explicit Learner(const WordCounts::Map& words) {
        for (int b = 0; b < 256; ++b) order_.push_back(uint8_t(b));
        std::sort(order_.begin(), order_.end(),
                  [](uint8_t a, uint8_t b) { return kByteAlphabet.to_char[a] < kByteAlphabet.to_char[b]; });
        std::vector<uint32_t> id_of(256);
        for (uint32_t i = 0; i < 256; ++i) {
            id_of[order_[i]] = i;
            result_.tokens.emplace_back(1, char(order_[i]));
            ids_.emplace(result_.tokens.back(), i);
        }
        std::vector<const WordCounts::Map::value_type*> sorted;
        for (const auto& each : words)
            if (each.first.size() > 1) sorted.push_back(&each);
        // The map's order is not ours to rely on; the result does not depend on this one, but memory access does.
        std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
        for (const auto* each : sorted) {
            std::vector<uint32_t> word;
            for (char c : each->first) word.push_back(id_of[uint8_t(c)]);
            const uint32_t index = uint32_t(words_.size());
            for (size_t i = 0; i + 1 < word.size(); ++i) change({word[i], word[i + 1]}, int64_t(each->second), index);
            words_.push_back(std::move(word));
            counts_.push_back(int64_t(each->second));
        }
        push_grown();
    }

    BpeMerges learn(size_t n_tokens) {
        while (result_.tokens.size() < n_tokens && !heap_.empty()) {
            const Candidate best = heap_.top();
            heap_.pop();
            PairState& state = pairs_[best.pair];
            if (state.count != best.count) {
                if (state.count > 0) heap_.push({state.count, best.pair});
                continue;
            }
            if (best.count < kLeastCount) break;
            merge(best.pair);
        }
        return std::move(result_);
    }

private:
    static constexpr int64_t kLeastCount = 2;  // a pair seen once teaches nothing

    void change(Pair pair, int64_t by, uint32_t word) {
        PairState& state = pairs_[pair];
        state.count += by;
        if (by <= 0) return;
        if (state.words.empty() || state.words.back() != word) state.words.push_back(word);
        grown_.push_back(pair);
    }

    void push_grown() {
        std::sort(grown_.begin(), grown_.end());
        grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
        for (const Pair& pair : grown_)
            if (const int64_t count = pairs_[pair].count; count > 0) heap_.push({count, pair});
        grown_.clear();
    }

    void merge(Pair pair) {
        std::string text = result_.tokens[pair.first] + result_.tokens[pair.second];
        auto [at, is_new] = ids_.emplace(text, uint32_t(result_.tokens.size()));
        const uint32_t whole = at->second;
        if (is_new) result_.tokens.push_back(std::move(text));
        result_.merges.push_back(pair);
        std::vector<uint32_t> where = std::move(pairs_[pair].words);
        pairs_[pair].words.clear();
        std::sort(where.begin(), where.end());
        where.erase(std::unique(where.begin(), where.end()), where.end());
        for (uint32_t index : where) merge_in(index, pair, whole);
        pairs_[pair].count = 0;
        push_grown();
    }

    void merge_in(uint32_t index, Pair pair, uint32_t whole) {
        std::vector<uint32_t>& word = words_[index];
        const int64_t count = counts_[index];
        size_t to = 0;
        for (size_t from = 0; from < word.size(); ++to) {
            if (from + 1 < word.size() && word[from] == pair.first && word[from + 1] == pair.second) {
                if (to > 0) {
                    change({word[to - 1], pair.first}, -count, index);
                    change({word[to - 1], whole}, count, index);
                }
                from += 2;
                if (from < word.size()) {
                    change({pair.second, word[from]}, -count, index);
                    change({whole, word[from]}, count, index);
                }
                word[to] = whole;
            } else {
                word[to] = word[from++];
            }
        }
        word.resize(to);
    }

    std::vector<uint8_t> order_;
    BpeMerges result_;
    std::unordered_map<std::string, uint32_t> ids_;
    std::vector<std::vector<uint32_t>> words_;
    std::vector<int64_t> counts_;
    std::unordered_map<Pair, PairState, PairHash> pairs_;
    std::vector<Pair> grown_;
    std::priority_queue<Candidate> heap_;
};

}  // namespace

BpeMerges learn_merges(const WordCounts::Map& words, size_t n_tokens) {
    return Learner(words).learn(n_tokens);
}

TokenizerData make_bpe_tokenizer(const WordCounts::Map& words, const BpeOptions& options) {
    const BpeMerges learnt = learn_merges(words, options.vocab_size - options.special.size());
    TokenizerData data;
    data.model = "gpt2";
    data.pre = options.pre;
    for (const std::string& token : learnt.tokens) {
        data.tokens.push_back(kByteAlphabet.spell(token));
        data.types.push_back(int64_t(TokenType::kNormal));
    }
    for (const auto& [left, right] : learnt.merges) data.merges.push_back(data.tokens[left] + " " + data.tokens[right]);
    for (const std::string& token : options.special) {
        const int64_t id = int64_t(data.tokens.size());
        data.tokens.push_back(token);
        data.types.push_back(int64_t(TokenType::kControl));
        // What stops an answer is `eos`; where turns have an end of their own it is that one.
        if (token == (options.end_of_turn.empty() ? options.end : options.end_of_turn)) data.ids["eos"] = id;
        if (token == options.end_of_turn) data.ids["eot"] = id;
        if (token == options.end) data.ids["padding"] = id;
    }
    data.add_bos = false;
    if (!options.chat_template.empty()) data.chat_templates.emplace_back("", options.chat_template);
    return data;
}

}  // namespace sterna::train
