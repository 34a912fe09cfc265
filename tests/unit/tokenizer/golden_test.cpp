// Small vocabularies and nasty texts against Hugging Face's tokenizers and sentencepiece
// (tools/make_tokenizer_golden.py).
#include <gtest/gtest.h>

#include <sstream>

#include "support/testdata.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text_metadata.h"

namespace sterna {
namespace {

std::filesystem::path golden_path(const std::string& name) {
    return source_path("tests/golden/tokenizers/" + name);
}

std::vector<std::string> texts() {
    std::vector<std::string> out;
    for (const std::string& line : read_lines(golden_path("texts.txt"))) out.push_back(unescape(line));
    return out;
}

template <typename T>
std::string join(const std::vector<T>& numbers) {
    std::string out;
    for (T n : numbers) out += (out.empty() ? "" : " ") + std::to_string(n);
    return out;
}

TEST(TokenizerGolden, PiecesOfEveryPretokenizer) {
    auto inputs = texts();
    ASSERT_GT(inputs.size(), 50u);
    auto lines = read_lines(golden_path("pieces.txt"));
    size_t n_rules = 0;
    for (size_t at = 0; at < lines.size(); at += inputs.size() + 1) {
        ASSERT_TRUE(lines[at].starts_with("pre ")) << lines[at];
        std::string name = lines[at].substr(4);
        ASSERT_LE(at + 1 + inputs.size(), lines.size());
        const Pretokenizer* rules = Pretokenizer::find(name);
        ASSERT_TRUE(rules) << name;
        for (size_t i = 0; i < inputs.size(); ++i) {
            std::vector<size_t> pieces;
            rules->split(inputs[i], [&](size_t begin, size_t end) { pieces.push_back(end - begin); });
            EXPECT_EQ(join(pieces), lines[at + 1 + i]) << name << ": " << inputs[i];
        }
        ++n_rules;
    }
    EXPECT_GE(n_rules, 27u);
}

class TokenizerGoldenIds : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerGoldenIds, Equal) {
    auto inputs = texts();
    MapMetadata metadata = MapMetadata::load(golden_path(std::string(GetParam()) + ".vocab"));
    if (std::string_view(GetParam()) == "bpe") metadata.numbers.erase("tokenizer.ggml.scores");
    auto lines = read_lines(golden_path(std::string(GetParam()) + ".ids"));
    size_t n_compared = 0;
    for (size_t at = 0; at < lines.size();) {
        std::string what;
        for (; at < lines.size() && lines[at].starts_with("with "); ++at) {
            metadata.add_line("key " + lines[at].substr(5));
            what += lines[at].substr(5) + ' ';
        }
        ASSERT_EQ(lines[at++], "encode");
        auto tokenizer = Tokenizer::from_metadata(metadata);
        ASSERT_TRUE(tokenizer) << tokenizer.error().message;
        for (const std::string& text : inputs) {
            auto ids = (*tokenizer)->encode(text, {.add_special = false});
            ASSERT_TRUE(ids);
            ASSERT_LT(at, lines.size());
            EXPECT_EQ(join(*ids), lines[at++]) << what << ": " << text;
            ++n_compared;
        }
    }
    EXPECT_GE(n_compared, inputs.size());
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerGoldenIds, testing::Values("bpe", "spm", "unigram", "wordpiece"),
                         [](const testing::TestParamInfo<const char*>& kind) { return std::string(kind.param); });

}  // namespace
}  // namespace sterna
