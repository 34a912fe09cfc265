#include "train/bpe_trainer.h"

#include <gtest/gtest.h>

#include <map>

namespace sterna::train {
namespace {

WordCounts::Map words(std::initializer_list<std::pair<const char*, uint64_t>> list) {
    WordCounts::Map map;
    for (const auto& [word, count] : list) map[word] = count;
    return map;
}

std::vector<std::string> learned(const BpeMerges& merges) {
    return {merges.tokens.begin() + 256, merges.tokens.end()};
}

// Counts every pair anew before each merge.
std::vector<std::string> by_counting(const WordCounts::Map& words, size_t n_tokens) {
    std::vector<std::pair<std::vector<std::string>, uint64_t>> split;
    std::map<std::string, size_t> rank;
    const BpeMerges start = learn_merges({}, 256);
    for (size_t i = 0; i < 256; ++i) rank[start.tokens[i]] = i;
    for (const auto& [word, count] : words) {
        std::vector<std::string> parts;
        for (char c : word) parts.emplace_back(1, c);
        split.emplace_back(parts, count);
    }
    std::vector<std::string> result;
    while (rank.size() < n_tokens) {
        std::map<std::pair<size_t, size_t>, uint64_t> counts;
        for (const auto& [parts, count] : split)
            for (size_t i = 0; i + 1 < parts.size(); ++i) counts[{rank[parts[i]], rank[parts[i + 1]]}] += count;
        uint64_t most = 1;
        std::pair<size_t, size_t> best{};
        for (const auto& [pair, count] : counts)
            if (count > most) {
                most = count;
                best = pair;
            }
        if (most < 2) break;
        std::string whole;
        for (auto& [parts, count] : split)
            for (size_t i = 0; i + 1 < parts.size(); ++i)
                if (rank[parts[i]] == best.first && rank[parts[i + 1]] == best.second) {
                    whole = parts[i] + parts[i + 1];
                    parts[i] = whole;
                    parts.erase(parts.begin() + std::ptrdiff_t(i) + 1);
                }
        if (!rank.contains(whole)) result.push_back(whole);
        rank.emplace(whole, rank.size());
    }
    return result;
}

TEST(BpeTrainer, MostFrequentPairFirst) {
    const BpeMerges merges = learn_merges(words({{"low", 5}, {"lower", 2}, {"newest", 6}, {"widest", 3}}), 256 + 5);
    EXPECT_EQ(learned(merges), (std::vector<std::string>{"es", "est", "lo", "low", "ew"}));
}

TEST(BpeTrainer, TiesGoToTheOlderTokens) {
    EXPECT_EQ(learned(learn_merges(words({{"zy", 3}, {"ab", 3}, {"ac", 3}}), 256 + 3)),
              (std::vector<std::string>{"ab", "ac", "zy"}));
}

TEST(BpeTrainer, StopsWhereNothingOccursTwice) {
    EXPECT_EQ(learned(learn_merges(words({{"ab", 1}, {"cd", 1}}), 1000)), std::vector<std::string>{});
    EXPECT_EQ(learn_merges({}, 300).tokens.size(), 256u);
}

TEST(BpeTrainer, AgreesWithCountingAnew) {
    uint32_t state = 1;
    auto draw = [&](uint32_t n) { return (state = state * 1664525 + 1013904223) >> 8 & 0xFFFF ? (state >> 8) % n : 0; };
    for (int round = 0; round < 20; ++round) {
        WordCounts::Map map;
        for (int i = 0; i < 60; ++i) {
            std::string word;
            for (uint32_t n = 1 + draw(9); n > 0; --n) word += char('a' + draw(4));
            // Runs of one letter are left out: there the counts of overlapping pairs depend on how one counts.
            bool run = false;
            for (size_t k = 2; k < word.size(); ++k) run |= word[k] == word[k - 1] && word[k] == word[k - 2];
            if (!run) map[word] += 1 + draw(20);
        }
        const std::vector<std::string> fast = learned(learn_merges(map, 256 + 12));
        const std::vector<std::string> slow = by_counting(map, 256 + 12);
        ASSERT_EQ(fast, slow) << round;
    }
}

TEST(BpeTrainer, WordsAndSpecialTokens) {
    const Pretokenizer& pre = *Pretokenizer::find("qwen2");
    const std::vector<std::string> special = {"<|end|>", "<|"};
    WordCounts counts(pre, special);
    counts.add("two 12<|end|>two two");
    EXPECT_EQ(counts.counts(), words({{"two", 2}, {" two", 1}, {" ", 1}, {"1", 1}, {"2", 1}}));
}

TEST(BpeTrainer, TokenizerReadsWhatItWrote) {
    const Pretokenizer& pre = *Pretokenizer::find("qwen2");
    BpeOptions options;
    options.vocab_size = 290;
    options.pre = "qwen2";
    options.end = "<|endoftext|>";
    options.end_of_turn = "<|im_end|>";
    options.special = {"<|im_start|>", "<|endoftext|>", "<|im_end|>"};
    WordCounts counts(pre, options.special);
    const std::string text = "Grüße an die Möwen: the terns greet the gulls, and the gulls greet the terns. 42!";
    counts.add(text);
    counts.add(text);
    GgufWriter writer;
    std::vector<std::string> warnings;
    const TokenizerData data = make_bpe_tokenizer(counts.counts(), options);
    ASSERT_EQ(data.size(), 290u);
    ASSERT_TRUE(write_tokenizer_data(data, 0, writer, warnings));
    EXPECT_TRUE(warnings.empty());
    auto bytes = writer.to_bytes();
    ASSERT_TRUE(bytes);
    auto file = GgufFile::from_bytes(*bytes, "t");
    ASSERT_TRUE(file);
    auto tokenizer = Tokenizer::from_metadata(**file);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    auto ids = (*tokenizer)->encode(text);
    ASSERT_TRUE(ids);
    EXPECT_EQ((*tokenizer)->decode(*ids), text);
    EXPECT_LT(ids->size(), text.size() * 2 / 3);
    EXPECT_EQ((*tokenizer)->special().eos, (*tokenizer)->find("<|im_end|>"));
    EXPECT_TRUE((*tokenizer)->is_end_of_generation(*(*tokenizer)->find("<|endoftext|>")));
    EXPECT_EQ((*tokenizer)->token_type(287), TokenType::kControl);
}

}  // namespace
}  // namespace sterna::train
