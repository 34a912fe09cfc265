// Runs tests/cases/tokenizer*.case. Sections: "== vocabulary" (lines of a .vocab file; "from FILE" takes one of
// tests/golden/tokenizers; "short KEY" drops the last number of a list), then any of "== input FLAGS" with "== expect"
// and
// "== decoded", "== error", "== warning", "== note".
#include <gtest/gtest.h>

#include <sstream>

#include "support/testdata.h"
#include "text/tokenizer.h"
#include "text_metadata.h"

namespace sterna {
namespace {

class CaseRunner {
public:
    void line(const std::string& text, size_t number) {
        if (text.starts_with("== ")) {
            finish();
            std::istringstream words(text.substr(3));
            flags_.clear();
            words >> section_;
            for (std::string flag; words >> flag;) flags_ += flag + ' ';
            line_ = number;
        } else if (!text.starts_with('#') && (!text.empty() || body_.empty())) {
            if (!body_.empty()) body_ += '\n';
            body_ += text;
        }
    }

    void finish() {
        std::string section = std::exchange(section_, ""), body = std::exchange(body_, "");
        if (section == "vocabulary") {
            read_vocabulary(body);
        } else if (section == "error") {
            ASSERT_FALSE(tokenizer_) << "line " << line_;
            EXPECT_TRUE(tokenizer_.error().message.starts_with(body))
                << "line " << line_ << ": " << tokenizer_.error().message;
            ++n_checked;
        } else if (section == "input") {
            ASSERT_TRUE(tokenizer_) << "line " << line_ << ": " << tokenizer_.error().message;
            auto ids =
                (*tokenizer_)
                    ->encode(unescape(body), {.add_special = flags_.find("add_special") != std::string::npos,
                                              .parse_special = flags_.find("parse_special") != std::string::npos});
            ASSERT_TRUE(ids) << "line " << line_ << ": " << ids.error().message;
            ids_ = *ids;
        } else if (section == "expect") {
            std::string found;
            for (TokenId id : ids_) found += (found.empty() ? "" : " | ") + std::string((*tokenizer_)->token_text(id));
            EXPECT_EQ(found, unescape(body)) << "line " << line_;
            ++n_checked;
        } else if (section == "decoded") {
            EXPECT_EQ((*tokenizer_)->decode(ids_), unescape(body)) << "line " << line_;
            ++n_checked;
        } else if (section == "warning") {
            ASSERT_TRUE(tokenizer_) << "line " << line_ << ": " << tokenizer_.error().message;
            EXPECT_NE((*tokenizer_)->warning().find(body), std::string_view::npos)
                << "line " << line_ << ": " << (*tokenizer_)->warning();
            ++n_checked;
        } else if (!section.empty() && section != "note") {
            ADD_FAILURE() << "line " << line_ << ": unknown section " << section;
        }
    }

    size_t n_checked = 0;

private:
    void read_vocabulary(const std::string& body) {
        MapMetadata metadata;
        std::istringstream lines(body);
        for (std::string text; std::getline(lines, text);) {
            if (text.starts_with("from ")) {
                metadata = MapMetadata::load(source_path("tests/golden/tokenizers/" + text.substr(5)));
            } else if (text.starts_with("short ")) {
                metadata.numbers[text.substr(6)].pop_back();
            } else {
                metadata.add_line(text);
            }
        }
        tokenizer_ = Tokenizer::from_metadata(metadata);
    }

    std::string section_, flags_, body_;
    size_t line_ = 0;
    Result<std::unique_ptr<Tokenizer>> tokenizer_ =
        std::unexpected(Error{ErrorCode::kBadArgument, "no vocabulary yet"});
    std::vector<TokenId> ids_;
};

TEST(TokenizerCases, AllFiles) {
    size_t n_files = 0, n_checked = 0;
    for (const auto& entry : std::filesystem::directory_iterator(source_path("tests/cases"))) {
        std::string name = entry.path().filename().string();
        if (!name.starts_with("tokenizer") || entry.path().extension() != ".case") continue;
        SCOPED_TRACE(name);
        CaseRunner runner;
        size_t number = 0;
        for (const std::string& line : read_lines(entry.path())) runner.line(line, ++number);
        runner.finish();
        n_checked += runner.n_checked;
        ++n_files;
    }
    EXPECT_GE(n_files, 3u);
    EXPECT_GE(n_checked, 40u);
}

}  // namespace
}  // namespace sterna
