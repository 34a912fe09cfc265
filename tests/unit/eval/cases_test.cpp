#include "eval/cases.h"

#include <gtest/gtest.h>

#include "eval/runner.h"

namespace sterna::eval {
namespace {

constexpr const char* kTwoCases =
    R"({"id":"a","measure":"facts","messages":[{"role":"user","content":"x"}],"check":{"number":3},"reference":"3"}

{"id":"b","measure":"dialogues","messages":[{"role":"system","content":"s"}],"tools":[{"name":"f"}],"turns":[{"role":"user","content":"u1","check":null,"reference":"r"},{"role":"tool","content":"ok","check":{"exact":"y"},"reference":"n"}]}
)";

TEST(Cases, OneAnswerOrSeveral) {
    auto cases = parse_cases(kTwoCases, "f");
    ASSERT_TRUE(cases.has_value()) << cases.error().message;
    ASSERT_EQ(cases->size(), 2u);
    EXPECT_EQ((*cases)[0].turns.size(), 1u);
    EXPECT_TRUE((*cases)[0].tools.is_null());
    const Case& second = (*cases)[1];
    ASSERT_EQ(second.turns.size(), 2u);
    ASSERT_EQ(second.turns[0].messages.size(), 2u);  // the system prompt comes with the first turn
    EXPECT_EQ(second.turns[0].messages[1].content, "u1");
    ASSERT_EQ(second.turns[1].messages.size(), 1u);
    EXPECT_EQ(second.turns[1].messages[0].role, "tool");
    EXPECT_EQ(second.tools.size(), 1u);
}

TEST(Cases, ReferencesAreJudgedAndCounted) {
    auto cases = parse_cases(kTwoCases, "f");
    ASSERT_TRUE(cases.has_value());
    Tally tally;
    std::vector<std::string> faults;
    auto done = [&](const Outcome& outcome) {
        tally.add(outcome);
        for (const Answer& answer : outcome.answers) faults.push_back(answer.fault);
    };
    ASSERT_TRUE(judge_references(*cases, done).has_value());
    EXPECT_EQ(faults, (std::vector<std::string>{"", "", "another text"}));
    EXPECT_EQ(tally.right, 2);
    EXPECT_EQ(tally.n, 3);
    EXPECT_EQ(tally.right_whole, 0);
    EXPECT_EQ(tally.n_whole, 1);
}

TEST(Cases, ErrorsNameFileAndLine) {
    const std::string good = R"({"id":"a","measure":"m","messages":[{"role":"user","content":"x"}],"check":{}})";
    for (const auto& [line, message] : std::initializer_list<std::pair<std::string, const char*>>{
             {"{", "f:2: not JSON"},
             {std::string(70, '[') + std::string(70, ']'), "f:2: nested too deeply"},
             {"[]", "f:2: expected a JSON object"},
             {R"({"measure":"m"})", "f:2: id: expected a text"},
             {R"({"id":"a","measure":"m"})", "f:2: messages: expected a list"},
             {R"({"id":"a","measure":"m","messages":[],"check":{}})", "f:2: messages: none"},
             {R"({"id":"a","measure":"m","messages":[3],"check":{}})",
              "f:2: messages: expected objects with role and content"},
             {R"({"id":"a","measure":"m","messages":[{"role":"user","content":"x"}]})", "f:2: check: missing"},
             {R"({"id":"a","measure":"m","messages":[],"turns":[]})",
              "f:2: turns: expected a list with at least one turn"},
             {R"({"id":"a","measure":"m","messages":[{"role":"user","content":"x"}],"check":{"number":""}})",
              "f:2: check.number: expected a whole number"}}) {
        auto cases = parse_cases(good + "\n" + line, "f");
        ASSERT_FALSE(cases.has_value()) << line;
        EXPECT_EQ(cases.error().message, message);
    }
    EXPECT_EQ(parse_cases("\n \n", "f").error().message, "f: no cases");
    CaseLimits limits;
    limits.max_cases = 1;
    EXPECT_EQ(parse_cases(good + "\n" + good, "f", limits).error().message, "f:2: more than 1 cases");
    limits = {};
    limits.max_file_bytes = 5;
    EXPECT_FALSE(parse_cases(good, "f", limits).has_value());
}

}  // namespace
}  // namespace sterna::eval
