// Tokenizers as checkpoints publish them, converted to GGUF, against the ids of their own libraries
// (tools/make_tokenizer_json_golden.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "convert/hf_tokenizer.h"
#include "support/testdata.h"
#include "text/split_program.h"
#include "text/tokenizer.h"

namespace sterna {
namespace {

const std::filesystem::path kFolder = "tests/golden/tokenizer_json";

std::vector<std::string> read_lines(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    return lines;
}

// \n \r \t \\ \xAB
std::string unescape(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        char c = text[++i];
        if (c == 'x') {
            out += char(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
            i += 2;
        } else {
            out += c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
        }
    }
    return out;
}

std::vector<std::string> texts() {
    std::vector<std::string> out;
    for (const std::string& line : read_lines(source_path(kFolder / "texts.txt"))) out.push_back(unescape(line));
    return out;
}

template <typename T>
std::string join(const std::vector<T>& numbers) {
    std::string out;
    for (T n : numbers) out += (out.empty() ? "" : " ") + std::to_string(n);
    return out;
}

struct Converted {
    std::vector<uint8_t> bytes;
    std::unique_ptr<GgufFile> file;
    std::unique_ptr<Tokenizer> tokenizer;
    std::vector<std::string> warnings;
};

Result<Converted> convert(const std::string& folder, int64_t rows = 0) {
    Converted out;
    GgufWriter writer;
    STERNA_CHECK(write_tokenizer(folder, rows, writer, out.warnings));
    STERNA_TRY(bytes, writer.to_bytes());
    out.bytes = std::move(bytes);
    STERNA_TRY(file, GgufFile::from_bytes(out.bytes, "memory"));
    out.file = std::move(file);
    STERNA_TRY(tokenizer, Tokenizer::from_metadata(*out.file));
    out.tokenizer = std::move(tokenizer);
    return out;
}

std::string value_of(const GgufFile& file, const std::string& key) {
    if (auto text = file.get_string(key)) return std::string(*text);
    if (auto number = file.get_int(key)) return std::to_string(*number);
    return "absent";
}

class TokenizerJsonGolden : public testing::TestWithParam<std::string> {};

void compare(const Tokenizer& tokenizer, const std::vector<std::string>& lines) {
    auto inputs = texts();
    size_t at = 0, n_compared = 0;
    while (at < lines.size() && lines[at].starts_with("key ")) ++at;
    while (at < lines.size()) {
        bool special = lines[at] == "special", plain = lines[at] == "plain";
        ASSERT_TRUE(special || plain || lines[at] == "encode") << lines[at];
        ++at;
        for (size_t i = 0; i < inputs.size() && at < lines.size(); ++i, ++at) {
            if (lines[at] == "special") break;
            if (lines[at] == "skip") continue;
            auto ids = tokenizer.encode(inputs[i], {.add_special = special, .parse_special = !plain});
            ASSERT_TRUE(ids);
            EXPECT_EQ(join(*ids), lines[at]) << (special ? "special " : "") << i << ": " << inputs[i];
            ++n_compared;
        }
    }
    EXPECT_GE(n_compared, 60u);
}

TEST_P(TokenizerJsonGolden, IdsEqual) {
    auto folder = source_path(kFolder / GetParam());
    auto converted = convert(folder.string());
    ASSERT_TRUE(converted) << converted.error().message;
    auto lines = read_lines(folder / "expected.txt");
    for (const std::string& line : lines) {
        if (!line.starts_with("key ")) break;
        size_t blank = line.find(' ', 4);
        EXPECT_EQ(value_of(*converted->file, line.substr(4, blank - 4)), line.substr(blank + 1)) << line;
    }
    for (const std::string& warning : converted->warnings) ADD_FAILURE() << warning;
    compare(*converted->tokenizer, lines);
}

// Written back as tokenizer.json and converted once more, everything is as it was.
TEST_P(TokenizerJsonGolden, RoundTrip) {
    auto folder = source_path(kFolder / GetParam());
    auto converted = convert(folder.string());
    ASSERT_TRUE(converted) << converted.error().message;
    auto json = tokenizer_json(*converted->file);
    if (!json && converted->file->get_string("tokenizer.ggml.model") == "bert") GTEST_SKIP() << json.error().message;
    ASSERT_TRUE(json) << json.error().message;
    auto back = std::filesystem::temp_directory_path() / ("sterna_tokenizer_" + GetParam());
    std::filesystem::create_directories(back);
    std::ofstream(back / "tokenizer.json", std::ios::binary) << *json;
    auto again = convert(back.string());
    std::filesystem::remove_all(back);
    ASSERT_TRUE(again) << again.error().message;
    compare(*again->tokenizer, read_lines(folder / "expected.txt"));
}

// The same tokenizers as vocab.json and merges.txt, with what else transformers wrote before tokenizer.json.
class VocabAndMerges : public testing::Test {
protected:
    void SetUp() override { std::filesystem::create_directories(folder_); }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void write(const std::string& name, const std::string& text) {
        std::ofstream(folder_ / name, std::ios::binary) << text;
    }

    void write_golden(const std::string& name, const std::string& tokenizer_class) {
        std::ifstream file(source_path(kFolder / name / "tokenizer.json"), std::ios::binary);
        const auto json = nlohmann::json::parse(file);
        write("vocab.json", json["model"]["vocab"].dump());
        std::string merges = "#version: 0.2\n";
        for (const auto& merge : json["model"]["merges"])
            merges += (merge.is_string() ? merge.get<std::string>()
                                         : merge[0].get<std::string>() + " " + merge[1].get<std::string>()) +
                      "\n";
        write("merges.txt", merges);
        nlohmann::json added;
        for (const auto& token : json["added_tokens"]) added[std::to_string(token["id"].get<int>())] = token;
        std::ifstream config_file(source_path(kFolder / name / "tokenizer_config.json"), std::ios::binary);
        auto config = nlohmann::json::parse(config_file);
        config["tokenizer_class"] = tokenizer_class;
        config["added_tokens_decoder"] = added;
        write("tokenizer_config.json", config.dump());
    }

    std::filesystem::path folder_ = std::filesystem::temp_directory_path() / "sterna_vocab_and_merges";
};

TEST_F(VocabAndMerges, IdsEqual) {
    const std::pair<const char*, const char*> names[] = {{"gpt2", "GPT2TokenizerFast"}, {"qwen2", "Qwen2Tokenizer"}};
    for (const auto& [name, tokenizer_class] : names) {
        write_golden(name, tokenizer_class);
        auto converted = convert(folder_.string());
        ASSERT_TRUE(converted) << converted.error().message;
        for (const std::string& warning : converted->warnings) ADD_FAILURE() << warning;
        compare(*converted->tokenizer, read_lines(source_path(kFolder / name / "expected.txt")));
    }
}

TEST_F(VocabAndMerges, SaysWhatIsWrong) {
    auto error = [&] {
        auto converted = convert(folder_.string());
        return converted ? std::string() : converted.error().message;
    };
    write_golden("gpt2", "BartTokenizer");
    EXPECT_NE(error().find("BartTokenizer"), std::string::npos) << error();
    write_golden("gpt2", "GPT2Tokenizer");
    write("merges.txt", "#version: 0.2\na b\nabc\n");
    EXPECT_NE(error().find("merges.txt:3"), std::string::npos) << error();
    write("vocab.json", "[1, 2");
    EXPECT_NE(error().find("vocab.json"), std::string::npos) << error();
}

std::vector<std::string> folders() {
    std::vector<std::string> names;
    for (auto& entry : std::filesystem::directory_iterator(source_path(kFolder)))
        if (entry.is_directory()) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

INSTANTIATE_TEST_SUITE_P(Folders, TokenizerJsonGolden, testing::ValuesIn(folders()),
                         [](const testing::TestParamInfo<std::string>& folder) {
                             std::string name = folder.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

// Real vocabularies: as tokenizer.json and back, the ids are those of the models' own tokenizers.
class RealVocabulary : public testing::TestWithParam<const char*> {};

TEST_P(RealVocabulary, ThereAndBack) {
    auto path = shared_testdata(std::string("vocab/ggml-vocab-") + GetParam() + ".gguf");
    if (!path) GTEST_SKIP() << "no shared test data";
    auto file = GgufFile::open(path->string());
    ASSERT_TRUE(file) << file.error().message;
    auto json = tokenizer_json(**file);
    ASSERT_TRUE(json) << json.error().message;
    auto folder = std::filesystem::temp_directory_path() / (std::string("sterna_vocabulary_") + GetParam());
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "tokenizer.json", std::ios::binary) << *json;
    auto converted = convert(folder.string());
    std::filesystem::remove_all(folder);
    ASSERT_TRUE(converted) << converted.error().message;
    EXPECT_EQ(converted->file->get_string("tokenizer.ggml.model"), (*file)->get_string("tokenizer.ggml.model"));
    auto original = Tokenizer::from_metadata(**file);
    ASSERT_TRUE(original);
    for (const std::string& text : texts()) {
        auto a = (*original)->encode(text, {.add_special = false}),
             b = converted->tokenizer->encode(text, {.add_special = false});
        ASSERT_TRUE(a && b);
        EXPECT_EQ(join(*a), join(*b)) << text;
    }
}

INSTANTIATE_TEST_SUITE_P(Shared, RealVocabulary, testing::Values("llama-spm", "gpt-2", "starcoder", "falcon"),
                         [](const testing::TestParamInfo<const char*>& vocabulary) {
                             std::string name = vocabulary.param;
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name;
                         });

TEST(SplitRegexGolden, PiecesEqual) {
    auto inputs = texts();
    auto lines = read_lines(source_path(kFolder / "expressions.txt"));
    size_t n = 0;
    for (size_t at = 0; at < lines.size(); at += inputs.size() + 1, ++n) {
        ASSERT_TRUE(lines[at].starts_with("re ")) << lines[at];
        std::string step = "isolated " + unescape(lines[at].substr(3));
        auto program = SplitProgram::compile({}, {step});
        ASSERT_TRUE(program) << program.error().message;
        ASSERT_LE(at + 1 + inputs.size(), lines.size());
        for (size_t i = 0; i < inputs.size(); ++i) {
            std::vector<size_t> pieces;
            program->run(inputs[i], true, [&](std::string_view piece) { pieces.push_back(piece.size()); });
            EXPECT_EQ(join(pieces), lines[at + 1 + i]) << step << ": " << inputs[i];
        }
    }
    EXPECT_GE(n, 60u);
}

}  // namespace
}  // namespace sterna
