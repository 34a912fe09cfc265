// Real vocabularies against the ids that the models' own tokenizers gave (shared test data).
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "format/gguf.h"
#include "support/testdata.h"
#include "text/tokenizer.h"

namespace sterna {
namespace {

std::string read_file(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> split(const std::string& text, const std::string& by) {
    std::vector<std::string> parts;
    size_t begin = 0;
    for (size_t at; (at = text.find(by, begin)) != std::string::npos; begin = at + by.size())
        parts.push_back(text.substr(begin, at - begin));
    parts.push_back(text.substr(begin));
    return parts;
}

std::string join(const std::vector<TokenId>& ids) {
    std::string out;
    for (TokenId id : ids) out += ' ' + std::to_string(id);
    return out;
}

class Reference : public testing::TestWithParam<const char*> {};

TEST_P(Reference, IdsEqual) {
    auto path = shared_testdata(std::string("vocab/ggml-vocab-") + GetParam() + ".gguf");
    if (!path) GTEST_SKIP() << "no shared test data";
    auto file = GgufFile::open(path->string());
    ASSERT_TRUE(file) << file.error().message;
    auto tokenizer = Tokenizer::from_metadata(**file);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    file->reset();  // the tokenizer keeps nothing of it

    auto texts = split(read_file(path->string() + ".inp"), "\n__ggml_vocab_test__\n");
    auto lines = split(read_file(path->string() + ".out"), "\n");
    ASSERT_FALSE(texts.empty());
    texts.pop_back();  // every text is followed by the separator
    lines.pop_back();
    ASSERT_EQ(texts.size(), lines.size());
    size_t passed = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
        auto ids = (*tokenizer)->encode(texts[i], {.add_special = false});
        ASSERT_TRUE(ids);
        EXPECT_EQ(join(*ids), lines[i]) << "text " << i << ": " << texts[i];
        passed += join(*ids) == lines[i];
        // What byte-level and SentencePiece tokenizers read they write back.
        if (std::string_view(GetParam()) != "bert-bge") {
            EXPECT_EQ((*tokenizer)->decode(*ids), texts[i]);
        }
    }
    RecordProperty("passed", int(passed));
    printf("%s: %zu of %zu texts\n", GetParam(), passed, texts.size());
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Reference,
                         testing::Values("llama-spm", "phi-3", "gpt-2", "starcoder", "falcon", "deepseek-llm",
                                         "bert-bge"),
                         [](const testing::TestParamInfo<const char*>& vocabulary) {
                             std::string name = vocabulary.param;
                             for (char& c : name) c = c == '-' ? '_' : c;
                             return name;
                         });

}  // namespace
}  // namespace sterna
