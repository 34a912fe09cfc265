// What the golden files do not show: limits, errors, expressions that explode.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/split_program.h"
#include "text/split_regex.h"

namespace sterna {
namespace {

std::vector<std::string> cut(std::string_view step, std::string_view text) {
    auto program = SplitProgram::compile({}, {step});
    EXPECT_TRUE(program) << program.error().message;
    std::vector<std::string> pieces;
    if (program) program->run(text, true, [&](std::string_view piece) { pieces.emplace_back(piece); });
    return pieces;
}

TEST(SplitRegex, RefusesByName) {
    for (const char* bad : {"(", ")", "[a", "a**{", "*", "(?<name>a)", "\\1", "\\p{Klingon}", "[b-a]", "\\", "(?<=ab)c",
                            "a{2,1}", "a{5000}", "\\x{110000}", "[[:alpha:]]"}) {
        auto regex = SplitRegex::compile(bad);
        if (std::string_view(bad) == "a**{") {
            EXPECT_TRUE(regex) << bad;
            continue;
        }
        ASSERT_FALSE(regex) << bad;
        EXPECT_NE(regex.error().message.find("expression"), std::string::npos) << regex.error().message;
    }
    EXPECT_FALSE(SplitRegex::compile(std::string(100000, 'a')));
    EXPECT_FALSE(SplitRegex::compile(std::string(1000, '(')));
    EXPECT_FALSE(SplitRegex::compile("(((a{1000}){1000}){1000}){1000}"));
}

TEST(SplitRegex, ExplosionEndsEarly) {
    std::string text(5000, 'a');
    for (const char* bad : {"(a+)+b", "(a|aa)+b", "(a*)*b", "(?:(?=(a+)+b)a)+c", "(?>(a|a)+)b"}) {
        auto regex = SplitRegex::compile(bad);
        ASSERT_TRUE(regex) << regex.error().message;
        SplitRegex::Budget budget(text.size());
        EXPECT_FALSE(regex->find(text, 0, budget)) << bad;
        auto pieces = cut(std::string("isolated ") + bad, text);
        ASSERT_EQ(pieces.size(), 1u);
        EXPECT_EQ(pieces[0], text);
    }
}

TEST(SplitRegex, BytesThatAreNoText) {
    EXPECT_EQ(cut("isolated \\p{L}+",
                  "a\xFF\xFE"
                  "b\xC3"),
              (std::vector<std::string>{"a", "\xFF\xFE", "b", "\xC3"}));
    EXPECT_EQ(cut("isolated [^a]",
                  "a\xFF"
                  "a"),
              (std::vector<std::string>{"a", "\xFF", "a"}));
    EXPECT_EQ(cut("isolated .+x", "\xE2\x96\xE2x"), (std::vector<std::string>{"\xE2\x96\xE2x"}));
}

TEST(SplitProgram, Behaviours) {
    using V = std::vector<std::string>;
    EXPECT_EQ(cut("isolated -", "a--b"), (V{"a", "-", "-", "b"}));
    EXPECT_EQ(cut("removed -", "a--b"), (V{"a", "b"}));
    EXPECT_EQ(cut("not_removed -", "a--b"), (V{"-", "-"}));
    EXPECT_EQ(cut("contiguous -", "a--b"), (V{"a", "--", "b"}));
    EXPECT_EQ(cut("merged_with_previous -", "-a--b"), (V{"-", "a-", "-", "b"}));
    EXPECT_EQ(cut("merged_with_next -", "a--b-"), (V{"a", "-", "-b", "-"}));
}

TEST(SplitProgram, RefusesByName) {
    for (const char* bad : {"", "cut x", "isolated (", "not_prefix x", "replace_text", "replace_text 9 ab",
                            "replace_text 0 ab", "replace_text 99999999999999999999 ab", "nfc"}) {
        auto program = SplitProgram::compile({}, {bad});
        ASSERT_FALSE(program) << bad;
        EXPECT_FALSE(program.error().message.empty());
    }
    EXPECT_FALSE(SplitProgram::compile(std::vector<std::string_view>(100, "nfc"), {}));
}

}  // namespace
}  // namespace sterna
