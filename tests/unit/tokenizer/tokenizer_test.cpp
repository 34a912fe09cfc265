// The streaming detokenizer, limits, ends of generation, words cut at any place, and normal forms.
#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include "support/testdata.h"
#include "text/unicode.h"
#include "text/utf8.h"
#include "text_metadata.h"

namespace sterna {
namespace {

std::unique_ptr<Tokenizer> golden(const std::string& kind, const std::string& pre = "gpt-2") {
    MapMetadata metadata = MapMetadata::load(source_path("tests/golden/tokenizers/" + kind + ".vocab"));
    metadata.texts["tokenizer.ggml.pre"] = pre;
    auto tokenizer = Tokenizer::from_metadata(metadata);
    EXPECT_TRUE(tokenizer) << tokenizer.error().message;
    return std::move(*tokenizer);
}

bool is_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size(); at += decode_utf8(text, at).length)
        if (decode_utf8(text, at).code_point == kInvalidCodePoint) return false;
    return true;
}

TEST(StreamingDetokenizer, NeverEmitsHalfACharacter) {
    for (const char* kind : {"bpe", "spm"}) {
        auto tokenizer = golden(kind);
        for (const std::string& line : read_lines(source_path("tests/golden/tokenizers/texts.txt"))) {
            std::string text = unescape(line);
            auto ids = tokenizer->encode(text);
            ASSERT_TRUE(ids);
            StreamingDetokenizer stream(*tokenizer, false);
            std::string all;
            for (TokenId id : *ids) {
                std::string part = stream.push(id);
                EXPECT_TRUE(is_utf8(part)) << text;
                all += part;
            }
            all += stream.finish();
            EXPECT_EQ(all, text);
            EXPECT_EQ(all, tokenizer->decode(*ids));
        }
    }
}

TEST(StreamingDetokenizer, ReplacesWhatIsNoUtf8) {
    auto tokenizer = golden("bpe");
    auto stream_of = [&](std::string_view bytes) {
        StreamingDetokenizer stream(*tokenizer);
        std::string all;
        for (char byte : bytes) {
            auto ids = tokenizer->encode(std::string_view(&byte, 1));
            all += stream.push(ids->front());
        }
        return all + "|" + stream.finish();
    };
    EXPECT_EQ(stream_of("a\xFF"
                        "b"),
              "a\xEF\xBF\xBD"
              "b|");
    EXPECT_EQ(stream_of("\xE2\x82\xAC"), "\xE2\x82\xAC|");
    EXPECT_EQ(stream_of("x\xE2\x82"), "x|\xEF\xBF\xBD");
    // The longest part that could have begun a character is one replacement: F0 9F, then 41.
    EXPECT_EQ(stream_of("\xF0\x9F"
                        "A"),
              "\xEF\xBF\xBD"
              "A|");
    // A surrogate is impossible at its second byte: three replacements.
    EXPECT_EQ(stream_of("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD|");
    EXPECT_EQ(stream_of("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD|");
    EXPECT_EQ(stream_of(""), "|");
}

TEST(StreamingDetokenizer, KeepsTheBlankOfAContinuation) {
    auto tokenizer = golden("spm");
    auto ids = tokenizer->encode("the");
    for (bool continues : {false, true}) {
        StreamingDetokenizer stream(*tokenizer, continues);
        std::string all;
        for (TokenId id : *ids) all += stream.push(id);
        EXPECT_EQ(all + stream.finish(), continues ? " the" : "the");
    }
    StreamingDetokenizer stream(*tokenizer);
    EXPECT_EQ(stream.push(-1) + stream.push(1 << 30) + stream.finish(), "");
}

TEST(Tokenizer, EnforcesLimits) {
    MapMetadata metadata = MapMetadata::load(source_path("tests/golden/tokenizers/bpe.vocab"));
    auto message = [&](TokenizerLimits limits) {
        auto tokenizer = Tokenizer::from_metadata(metadata, limits);
        return tokenizer ? std::string() : tokenizer.error().message;
    };
    EXPECT_EQ(message({.max_vocab = 10}), "tokenizer.ggml.tokens: 900 tokens, limit 10");
    EXPECT_NE(message({.max_token_bytes = 4}).find("bytes, limit 4"), std::string::npos);
    EXPECT_NE(message({.max_merges = 5}).find("merges, limit 5"), std::string::npos);
    auto tokenizer = Tokenizer::from_metadata(metadata, {.max_text_bytes = 3});
    ASSERT_TRUE(tokenizer);
    EXPECT_TRUE((*tokenizer)->encode("abc"));
    auto refused = (*tokenizer)->encode("abcd");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message, "text: 4 bytes, limit 3");
}

TEST(Tokenizer, KnowsEndsOfGeneration) {
    MapMetadata metadata;
    metadata.texts["tokenizer.ggml.model"] = "gpt2";
    metadata.texts["tokenizer.ggml.eos_token_id"] = "1";
    metadata.lists["tokenizer.ggml.merges"] = {};
    metadata.lists["tokenizer.ggml.tokens"] = {"a", "b", "<|im_end|>", "<|eom_id|>", "<|end|>", "c"};
    auto tokenizer = Tokenizer::from_metadata(metadata);
    ASSERT_TRUE(tokenizer);
    std::vector<bool> ends;
    for (TokenId id = -1; id < 7; ++id) ends.push_back((*tokenizer)->is_end_of_generation(id));
    EXPECT_EQ(ends, (std::vector<bool>{false, false, true, true, true, true, false, false}));
    EXPECT_EQ((*tokenizer)->special().eom, 3);
    EXPECT_EQ((*tokenizer)->token_bytes(2), "");
    EXPECT_EQ((*tokenizer)->token_bytes(2, true), "<|im_end|>");

    // gpt-oss: "<|end|>" closes a message only.
    metadata.lists["tokenizer.ggml.tokens"] = {"a", "b", "<|return|>", "<|call|>", "<|end|>", "<|channel|>"};
    tokenizer = Tokenizer::from_metadata(metadata);
    ASSERT_TRUE(tokenizer);
    EXPECT_TRUE((*tokenizer)->is_end_of_generation(2));
    EXPECT_FALSE((*tokenizer)->is_end_of_generation(4));
    EXPECT_EQ((*tokenizer)->token_type(5), TokenType::kUserDefined);
}

// Long words go through a heap, short ones through a search, repeated ones through a cache: all must agree.
TEST(Tokenizer, LongAndShortWordsAgree) {
    auto tokenizer = golden("bpe", "superbpe");
    std::string unit = "the little tern flew over the sea";
    std::string text, long_text;
    for (int i = 0; i < 300; ++i) text += unit.substr(0, size_t(i % 23 + 2)) + "1";
    auto whole = tokenizer->encode(text);
    std::vector<TokenId> parts;
    for (size_t begin = 0; begin < text.size();) {
        size_t end = text.find('1', begin);
        for (std::string piece : {text.substr(begin, end - begin), std::string("1")}) {
            auto ids = tokenizer->encode(piece);
            parts.insert(parts.end(), ids->begin(), ids->end());
        }
        begin = end + 1;
    }
    EXPECT_EQ(*whole, parts);
    // Merging is greedy by rank wherever a word stands, so a long run must be made of the same tokens as its bytes say.
    for (int i = 0; i < 50; ++i) long_text += unit;
    auto ids = tokenizer->encode(long_text);
    EXPECT_EQ(tokenizer->decode(*ids), long_text);
    EXPECT_LT(ids->size(), long_text.size() / 2);
}

TEST(Unicode, NormalForms) {
    EXPECT_EQ(normalize_nfc("e\xCC\x81"), "\xC3\xA9");
    EXPECT_EQ(normalize_nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"), "\xED\x95\x9C");  // three jamo, one syllable
    EXPECT_EQ(normalize_nfc("a\xCC\x83\xCC\xA3"), "\xE1\xBA\xA1\xCC\x83");  // marks reorder, the lower one joins
    EXPECT_EQ(normalize_nfc("\xE2\x84\xAB\xFF"), "\xC3\x85\xFF");           // a singleton; a bad byte stays
    EXPECT_EQ(normalize_nfd({0xE9, 0xD55C}), (std::vector<uint32_t>{'e', 0x301, 0x1112, 0x1161, 0x11AB}));
    EXPECT_EQ(to_lower(0x130), uint32_t('i'));
    EXPECT_EQ(to_lower(0x10FFFF), 0x10FFFFu);
    EXPECT_EQ(to_lower(0x410), 0x430u);
    EXPECT_TRUE(char_set(0x4E2D) & kHan);
    EXPECT_TRUE(char_set(0x3000) & kWhiteSpace);
    EXPECT_EQ(char_set(0x110000), kUnassigned);
}

}  // namespace
}  // namespace sterna
