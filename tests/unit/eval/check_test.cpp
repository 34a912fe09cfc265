#include "eval/check.h"

#include <gtest/gtest.h>

namespace sterna::eval {
namespace {

Check check_of(const char* json) {
    auto check = parse_check(nlohmann::json::parse(json));
    EXPECT_TRUE(check.has_value()) << (check ? "" : check.error().message);
    return check ? *check : Check{};
}

std::string fault(const char* check, const char* answer) {
    return find_fault(check_of(check), answer).value_or("");
}

TEST(Check, ExactIsTheWholeTextButForBlanks) {
    EXPECT_EQ(fault(R"({"exact":"Das Bier ist gut."})", " Das Bier ist gut.\n"), "");
    EXPECT_EQ(fault(R"({"exact":["a b","c"]})", "c"), "");
    EXPECT_EQ(fault(R"({"exact":"Das Bier ist gut."})", "Das Bier ist gut. Ja."), "another text");
    EXPECT_EQ(fault(R"({"exact":"a"})", ""), "another text");
}

TEST(Check, ContainsDoesNotMindTheCaseOfLettersAndUmlauts) {
    EXPECT_EQ(fault(R"({"contains_all":["äpfel","3 SILBER"]})", "ÄPFEL? Das macht 3 Silber."), "");
    EXPECT_EQ(fault(R"({"contains_all":["öl","3 Gold"]})", "Öl kostet 3 Silber."), "lacks \"3 Gold\"");
    EXPECT_EQ(fault(R"({"contains_any":["I do not","I have no"]})", "Beer? i have no beer."), "");
    EXPECT_EQ(fault(R"({"contains_any":["I do not","I have no"]})", "Beer? 3 silver."),
              "lacks \"I do not\" or the like");
    EXPECT_EQ(fault(R"({"contains_none":["silver"]})", "That is 3 Silver."), "contains \"silver\"");
    EXPECT_EQ(fault(R"({"contains_none":[]})", "x"), "");
}

TEST(Check, NumberIsTheLastOne) {
    EXPECT_EQ(fault(R"({"number":12})", "2 x 6 = 12. That makes 12 silver."), "");
    EXPECT_EQ(fault(R"({"number":12})", "12 = 2 x 6"), "another number");
    EXPECT_EQ(fault(R"({"number":12})", "112"), "another number");
    EXPECT_EQ(fault(R"({"number":0})", "none"), "no number");
    EXPECT_EQ(last_number("a007b"), 7);
    EXPECT_EQ(last_number("5"), 5);
    EXPECT_EQ(last_number("1234567890123456789"), std::nullopt);  // 19 digits
    EXPECT_EQ(last_number("999999999999999999."), 999999999999999999);
}

TEST(Check, CallIsComparedAsJson) {
    const char* check = R"({"call":{"name":"give_item","arguments":{"item":"beer","count":2}}})";
    EXPECT_EQ(fault(check, R"({"arguments":{"count":2,"item":"beer"},"name":"give_item"})"), "");
    EXPECT_EQ(fault(check, " {\"name\": \"give_item\", \"arguments\": {\"item\": \"beer\", \"count\": 2}}\n"), "");
    EXPECT_EQ(fault(check, R"({"name":"give_item","arguments":{"item":"beer","count":"2"}})"), "other arguments");
    EXPECT_EQ(fault(check, R"({"name":"give_item","arguments":{"item":"beer"}})"), "other arguments");
    EXPECT_EQ(fault(check, R"({"name":"take_item","arguments":{"item":"beer","count":2}})"), "another function");
    EXPECT_EQ(fault(check, "Here are 2 beers."), "no call");
    EXPECT_EQ(fault(check, R"({"name":"give_item")"), "no call");
    EXPECT_EQ(fault(check, R"(Sure: {"name":"give_item","arguments":{"item":"beer","count":2}})"), "no call");
    EXPECT_EQ(fault(check, "[]"), "no call");
    EXPECT_EQ(fault(check, ""), "no call");
}

TEST(Check, AllConditionsMustHold) {
    const char* check = R"({"contains_all":"silver","number":3,"language":"en"})";
    EXPECT_EQ(fault(check, "The beer costs 3 silver."), "");
    EXPECT_EQ(fault(check, "The beer costs 4 silver."), "another number");
    EXPECT_EQ(fault(check, "Das Bier kostet 3 silver."), "another language");
}

TEST(Check, ErrorsNameTheKey) {
    for (const auto& [json, message] : std::initializer_list<std::pair<const char*, const char*>>{
             {R"([])", "check: expected an object"},
             {R"({"number":"3"})", "check.number: expected a whole number"},
             {R"({"number":3.5})", "check.number: expected a whole number"},
             {R"({"exact":[]})", "check.exact: expected a text or a list of texts"},
             {R"({"contains_all":[1]})", "check.contains_all: expected a text or a list of texts"},
             {R"({"language":"fr"})", "check.language: expected en or de"},
             {R"({"call":{"name":"x"}})", "check.call: expected an object with name and arguments"}}) {
        auto check = parse_check(nlohmann::json::parse(json));
        ASSERT_FALSE(check.has_value()) << json;
        EXPECT_EQ(check.error().message, message);
    }
    auto unknown = parse_check(nlohmann::json::parse(R"({"exat":"x"})"));
    ASSERT_FALSE(unknown.has_value());
    EXPECT_TRUE(unknown.error().message.starts_with("check.exat: no such condition")) << unknown.error().message;
}

TEST(Language, GoesByCommonWords) {
    EXPECT_EQ(language_of("To the mill? Go left at the well."), "en");
    EXPECT_EQ(language_of("Zur Mühle? Geh links am Brunnen."), "de");
    EXPECT_EQ(language_of("I work as hunter in Birkenau."), "en");
    EXPECT_EQ(language_of("Ich arbeite als Jäger in Ashford."), "de");
    EXPECT_EQ(language_of("DAS WEISS ICH NICHT"), "de");
    EXPECT_EQ(language_of("2 + 2 = 4."), "");
    EXPECT_EQ(language_of("the der"), "");
    EXPECT_EQ(language_of(""), "");
    EXPECT_EQ(language_of("theory icht"), "");  // whole words only
}

// Values by the formula in Python.
TEST(Wilson, AgreesWithTheTextbook) {
    const Share most = wilson_share(97, 100), all = wilson_share(10, 10), none = wilson_share(0, 10),
                empty = wilson_share(0, 0);
    EXPECT_NEAR(most.low, 0.91548, 1e-5);
    EXPECT_NEAR(most.high, 0.98974, 1e-5);
    EXPECT_DOUBLE_EQ(most.share, 0.97);
    EXPECT_NEAR(all.low, 0.722467, 1e-6);
    EXPECT_DOUBLE_EQ(all.high, 1.0);
    EXPECT_DOUBLE_EQ(none.low, 0.0);
    EXPECT_NEAR(none.high, 0.277533, 1e-6);
    EXPECT_EQ(empty.low, 0.0);
    EXPECT_EQ(empty.high, 1.0);
}

}  // namespace
}  // namespace sterna::eval
