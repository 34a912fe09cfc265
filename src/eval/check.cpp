#include "eval/check.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace sterna::eval {

namespace {

// ASCII letters and Ä Ö Ü small (in UTF-8 they differ in one bit of the second byte, as ASCII letters do).
std::string small_letters(std::string_view text) {
    std::string out(text);
    for (size_t i = 0; i < out.size(); ++i) {
        const unsigned char byte = static_cast<unsigned char>(out[i]);
        if (byte >= 'A' && byte <= 'Z') out[i] = char(byte | 0x20);
        if (byte == 0xC3 && i + 1 < out.size()) {
            const unsigned char next = static_cast<unsigned char>(out[i + 1]);
            if (next == 0x84 || next == 0x96 || next == 0x9C) out[i + 1] = char(next | 0x20);
        }
    }
    return out;
}

std::string_view trimmed(std::string_view text) {
    const char* blanks = " \t\r\n";
    const size_t begin = text.find_first_not_of(blanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

Result<std::vector<std::string>> read_texts(const nlohmann::json& value, const std::string& key) {
    std::vector<std::string> out;
    if (value.is_string()) {
        out.push_back(value.get<std::string>());
        return out;
    }
    if (value.is_array())
        for (const auto& item : value)
            if (item.is_string()) out.push_back(item.get<std::string>());
    if (!value.is_array() || out.size() != value.size() || out.empty())
        return fail(ErrorCode::kBadArgument, "check.{}: expected a text or a list of texts", key);
    return out;
}

// Words that occur in one of the two languages only ("in", "am" or "was" would be no evidence).
constexpr std::string_view kEnglish[] = {
    "a",    "all",    "and",   "any",      "are",   "as",        "ask",   "at",   "back",  "be",    "because",
    "been", "behind", "by",    "call",     "can",   "cannot",    "close", "come", "costs", "do",    "each",
    "for",  "from",   "go",    "good",     "goods", "greetings", "has",   "have", "heard", "here",  "how",
    "i",    "if",     "is",    "it",       "its",   "know",      "left",  "like", "makes", "me",    "my",
    "name", "no",     "not",   "nothing",  "now",   "of",        "on",    "or",   "past",  "pay",   "right",
    "say",  "sell",   "sorry", "straight", "take",  "thank",     "that",  "the",  "then",  "there", "they",
    "this", "to",     "today", "total",    "watch", "welcome",   "well",  "what", "when",  "where", "who",
    "why",  "with",   "work",  "yes",      "you",   "your"};
constexpr std::string_view kGerman[] = {
    "aber",   "alt",   "als",     "auf",     "aus",   "bei",       "beim",       "bin",    "bis",   "bist", "bitte",
    "dann",   "danke", "darüber", "das",     "davon", "dein",      "deinen",     "dem",    "den",   "der",  "des",
    "dich",   "die",   "dir",     "du",      "ein",   "eine",      "einem",      "einen",  "einer", "er",   "es",
    "etwas",  "für",   "geh",     "gehst",   "gern",  "geradeaus", "gut",        "guten",  "habe",  "hast", "hat",
    "heute",  "hier",  "hinter",  "ich",     "ihr",   "im",        "ist",        "ja",     "kann",  "kein", "keine",
    "keinen", "kenne", "kommt",   "kostet",  "leid",  "leider",    "links",      "macht",  "man",   "mein", "meine",
    "meist",  "mich",  "mir",     "mit",     "nach",  "nein",      "nicht",      "nichts", "noch",  "oder", "rechts",
    "sagt",   "sei",   "sie",     "sind",    "sich",  "tut",       "über",       "um",     "und",   "uns",  "vom",
    "von",    "vor",   "waren",   "weil",    "weiß",  "wie",       "willkommen", "wir",    "wird",  "wo",   "wurde",
    "zu",     "zum",   "zur",     "zusammen"};

bool is_word_byte(char c) {
    const unsigned char byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || (byte >= 'a' && byte <= 'z');
}

template <size_t n>
bool contains_word(const std::string_view (&words)[n], std::string_view word) {
    return std::find(std::begin(words), std::end(words), word) != std::end(words);
}

std::optional<std::string> find_call_fault(const nlohmann::json& wanted, std::string_view answer) {
    const nlohmann::json found = nlohmann::json::parse(trimmed(answer), nullptr, false);
    if (found.is_discarded() || !found.is_object() || !found.contains("name") || !found.contains("arguments"))
        return "no call";
    if (found["name"] != wanted["name"]) return "another function";
    if (found["arguments"] != wanted["arguments"]) return "other arguments";
    return std::nullopt;
}

}  // namespace

Result<Check> parse_check(const nlohmann::json& json) {
    Check check;
    if (!json.is_object()) return fail(ErrorCode::kBadArgument, "check: expected an object");
    for (const auto& [key, value] : json.items()) {
        std::vector<std::string>* texts = key == "exact"           ? &check.exact
                                          : key == "contains_all"  ? &check.contains_all
                                          : key == "contains_any"  ? &check.contains_any
                                          : key == "contains_none" ? &check.contains_none
                                                                   : nullptr;
        if (texts) {
            if (value.is_array() && value.empty() && key != "exact") continue;
            STERNA_TRY(read, read_texts(value, key));
            *texts = std::move(read);
        } else if (key == "number") {
            if (!value.is_number_integer())
                return fail(ErrorCode::kBadArgument, "check.number: expected a whole number");
            check.number = value.get<int64_t>();
        } else if (key == "call") {
            if (!value.is_object() || !value.contains("name") || !value["name"].is_string() ||
                !value.contains("arguments") || !value["arguments"].is_object())
                return fail(ErrorCode::kBadArgument, "check.call: expected an object with name and arguments");
            check.call = value;
        } else if (key == "language") {
            if (value != "en" && value != "de")
                return fail(ErrorCode::kBadArgument, "check.language: expected en or de");
            check.language = value.get<std::string>();
        } else {
            return fail(
                ErrorCode::kBadArgument,
                "check.{}: no such condition; there are exact, contains_all, contains_any, contains_none, number, "
                "call and language",
                key);
        }
    }
    return check;
}

std::optional<std::string> find_fault(const Check& check, std::string_view answer) {
    const std::string small = small_letters(answer);
    auto contains = [&](const std::string& text) { return small.find(small_letters(text)) != std::string::npos; };
    if (!check.exact.empty()) {
        const std::string_view bare = trimmed(small);
        const bool found = std::any_of(check.exact.begin(), check.exact.end(),
                                       [&](const std::string& text) { return trimmed(small_letters(text)) == bare; });
        if (!found) return "another text";
    }
    for (const std::string& text : check.contains_all)
        if (!contains(text)) return "lacks \"" + text + "\"";
    if (!check.contains_any.empty() && std::none_of(check.contains_any.begin(), check.contains_any.end(), contains))
        return "lacks \"" + check.contains_any[0] + "\" or the like";
    for (const std::string& text : check.contains_none)
        if (contains(text)) return "contains \"" + text + "\"";
    if (check.number) {
        const auto found = last_number(answer);
        if (!found) return "no number";
        if (*found != *check.number) return "another number";
    }
    if (!check.call.is_null())
        if (auto fault = find_call_fault(check.call, answer)) return fault;
    if (!check.language.empty() && language_of(answer) != check.language) return "another language";
    return std::nullopt;
}

std::string_view language_of(std::string_view text) {
    const std::string small = small_letters(text);
    int english = 0, german = 0;
    for (size_t i = 0; i < small.size();) {
        if (!is_word_byte(small[i])) {
            ++i;
            continue;
        }
        size_t end = i;
        while (end < small.size() && is_word_byte(small[end])) ++end;
        const std::string_view word = std::string_view(small).substr(i, end - i);
        i = end;
        const bool has_umlaut = word.find("ä") != word.npos || word.find("ö") != word.npos ||
                                word.find("ü") != word.npos || word.find("ß") != word.npos;
        const bool is_german = has_umlaut || contains_word(kGerman, word), is_english = contains_word(kEnglish, word);
        german += is_german && !is_english;
        english += is_english && !is_german;
    }
    return german == english ? "" : german > english ? "de" : "en";
}

std::optional<int64_t> last_number(std::string_view text) {
    const char* digits = "0123456789";
    const size_t last = text.find_last_of(digits);
    if (last == std::string_view::npos) return std::nullopt;
    const size_t before = text.find_last_not_of(digits, last);
    const size_t first = before == std::string_view::npos ? 0 : before + 1;
    if (last - first + 1 > 18) return std::nullopt;
    int64_t value = 0;
    for (size_t i = first; i <= last; ++i) value = value * 10 + (text[i] - '0');
    return value;
}

Share wilson_share(int64_t right, int64_t n) {
    if (n <= 0) return {};
    const double z = 1.959963984540054, z2 = z * z, count = double(n), p = double(right) / count;
    const double centre = (p + z2 / (2 * count)) / (1 + z2 / count);
    const double half = z / (1 + z2 / count) * std::sqrt(p * (1 - p) / count + z2 / (4 * count * count));
    return {p, std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace sterna::eval
