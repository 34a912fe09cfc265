// What makes an answer right: conditions on its text, read from a test case's "check" (docs/eval.md). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace sterna::eval {

// All conditions that are given must hold. Texts are compared without regard to the case of ASCII letters and umlauts.
struct Check {
    std::vector<std::string> exact;  // one of these, but for blanks around it
    std::vector<std::string> contains_all, contains_any, contains_none;
    std::optional<int64_t> number;  // the last whole number in the answer
    nlohmann::json call;            // {"name", "arguments"}: the answer is this JSON object; null: no condition
    std::string language;           // "en" or "de", by language_of
};

// Errors name the key: "check.exat: no such condition; there are exact, contains_all, ...".
Result<Check> parse_check(const nlohmann::json& json);

// Returns: nothing when the answer is right, else the first condition that does not hold, in a few words.
std::optional<std::string> find_fault(const Check& check, std::string_view answer);

// "en" or "de": the language of which the text has more common words; words with ä, ö, ü or ß count for German. Empty when
// neither has more.
std::string_view language_of(std::string_view text);

// The last run of decimal digits, at most 18 of them.
std::optional<int64_t> last_number(std::string_view text);

// A share of `right` in `n` with the interval of Wilson (1927) at 95 %. n = 0: all of [0, 1].
struct Share {
    double share = 0, low = 0, high = 1;
};
Share wilson_share(int64_t right, int64_t n);

}  // namespace sterna::eval
