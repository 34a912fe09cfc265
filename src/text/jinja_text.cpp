#include "text/jinja_text.h"

#include <algorithm>

#include "text/unicode.h"

namespace sterna::jinja {

uint32_t next_char(std::string_view text, size_t& at) {
    auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t lead = byte(at);
    if (lead < 0x80) {
        ++at;
        return lead;
    }
    const int extra = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
    if (lead < 0xC2 || lead > 0xF4 || at + extra >= text.size()) {
        ++at;
        return kInvalidByte + lead;
    }
    uint32_t c = lead & (0x3F >> extra);
    for (int i = 1; i <= extra; ++i) {
        if ((byte(at + i) & 0xC0) != 0x80) {
            ++at;
            return kInvalidByte + lead;
        }
        c = (c << 6) | (byte(at + i) & 0x3F);
    }
    constexpr uint32_t kSmallest[4] = {0, 0x80, 0x800, 0x10000};
    if (c < kSmallest[extra] || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
        ++at;
        return kInvalidByte + lead;
    }
    at += extra + 1;
    return c;
}

void append_char(std::string& out, uint32_t c) {
    auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c >= kInvalidByte) {
        put(c - kInvalidByte);
    } else if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | (c >> 6));
        put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        put(0xE0 | (c >> 12));
        put(0x80 | ((c >> 6) & 0x3F));
        put(0x80 | (c & 0x3F));
    } else {
        put(0xF0 | (c >> 18));
        put(0x80 | ((c >> 12) & 0x3F));
        put(0x80 | ((c >> 6) & 0x3F));
        put(0x80 | (c & 0x3F));
    }
}

size_t count_chars(std::string_view text) {
    size_t count = 0;
    for (size_t at = 0; at < text.size(); ++count) next_char(text, at);
    return count;
}

size_t char_offset(std::string_view text, size_t index) {
    size_t at = 0;
    while (index > 0 && at < text.size()) {
        next_char(text, at);
        --index;
    }
    return at;
}

namespace {

bool contains(const Table<CharRange>& table, uint32_t c) {
    const CharRange* end = table.begin + table.size;
    const CharRange* it =
        std::upper_bound(table.begin, end, c, [](uint32_t x, const CharRange& r) { return x < r.first; });
    return it != table.begin && c <= it[-1].last;
}

uint32_t map_case(const Table<CaseRange>& table, uint32_t c) {
    const CaseRange* end = table.begin + table.size;
    const CaseRange* it =
        std::upper_bound(table.begin, end, c, [](uint32_t x, const CaseRange& r) { return x < r.first; });
    if (it == table.begin || c > it[-1].last || (c - it[-1].first) % it[-1].stride != 0) return c;
    return c + static_cast<uint32_t>(it[-1].delta);
}

bool append_expansion(const Table<CaseExpansion>& table, std::string& out, uint32_t c) {
    const CaseExpansion* end = table.begin + table.size;
    const CaseExpansion* it =
        std::lower_bound(table.begin, end, c, [](const CaseExpansion& e, uint32_t x) { return e.from < x; });
    if (it == end || it->from != c) return false;
    for (uint32_t to : it->to)
        if (to) append_char(out, to);
    return true;
}

}  // namespace

bool is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}
bool is_line_break(uint32_t c) {
    return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}
bool is_printable(uint32_t c) {
    constexpr CharSet kSeparator = category_bit(23) | category_bit(24) | category_bit(25);
    constexpr CharSet kHidden = kUnassigned | kControlChar | kFormatChar | kPrivateUse | kSeparator;
    return c == ' ' || (char_set(c) & kHidden) == 0;
}
bool is_alpha(uint32_t c) {
    return (char_set(c) & kLetter) != 0;
}
bool is_decimal(uint32_t c) {
    return (char_set(c) & kDecimalDigit) != 0;
}
bool is_digit(uint32_t c) {
    return is_decimal(c) || contains(kDigit, c);
}
bool is_numeric(uint32_t c) {
    return (char_set(c) & kNumber) != 0 || contains(kNumeric, c);
}
bool is_upper(uint32_t c) {
    return sterna::to_lower(c) != c;
}
bool is_lower(uint32_t c) {
    std::string scratch;
    return map_case(kUpper, c) != c || append_expansion(kUpperExpansions, scratch, c);
}

void append_upper(std::string& out, uint32_t c) {
    if (c < 0x80) {
        out.push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c));
    } else if (!append_expansion(kUpperExpansions, out, c)) {
        append_char(out, map_case(kUpper, c));
    }
}
void append_lower(std::string& out, uint32_t c) {
    if (c == 0x130) {  // the only lower case of two characters
        out += "i\xCC\x87";
    } else {
        append_char(out, sterna::to_lower(c));
    }
}
void append_title(std::string& out, uint32_t c) {
    if (!append_expansion(kTitleExpansions, out, c)) append_upper(out, c);
}
std::string to_upper(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) append_upper(out, next_char(text, at));
    return out;
}
std::string to_lower(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (size_t at = 0; at < text.size();) append_lower(out, next_char(text, at));
    return out;
}

std::string_view strip(std::string_view text, std::string_view chars, bool blanks, bool left, bool right) {
    std::vector<uint32_t> set;
    for (size_t at = 0; at < chars.size();) set.push_back(next_char(chars, at));
    std::sort(set.begin(), set.end());
    auto drop = [&](uint32_t c) { return blanks ? is_space(c) : std::binary_search(set.begin(), set.end(), c); };
    while (left && !text.empty()) {
        size_t at = 0;
        if (!drop(next_char(text, at))) break;
        text.remove_prefix(at);
    }
    while (right && !text.empty()) {
        size_t start = text.size() - 1;
        while (start > 0 && text.size() - start < 4 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
        size_t at = start;
        uint32_t c = next_char(text, at);
        if (at != text.size()) {
            start = text.size() - 1;
            c = kInvalidByte + static_cast<uint8_t>(text.back());
        }
        if (!drop(c)) break;
        text.remove_suffix(text.size() - start);
    }
    return text;
}

// Knuth-Morris-Pratt for long needles, because a hostile template could make the simple search quadratic.
size_t find_text(std::string_view text, std::string_view needle, size_t from) {
    constexpr size_t kShort = 32;
    if (needle.size() <= kShort || from > text.size()) return text.find(needle, from);
    std::vector<uint32_t> border(needle.size(), 0);
    for (size_t i = 1, k = 0; i < needle.size(); ++i) {
        while (k > 0 && needle[i] != needle[k]) k = border[k - 1];
        if (needle[i] == needle[k]) ++k;
        border[i] = static_cast<uint32_t>(k);
    }
    for (size_t i = from, k = 0; i < text.size(); ++i) {
        while (k > 0 && text[i] != needle[k]) k = border[k - 1];
        if (text[i] == needle[k]) ++k;
        if (k == needle.size()) return i + 1 - k;
    }
    return std::string_view::npos;
}

size_t rfind_text(std::string_view text, std::string_view needle) {
    const std::string reversed_text(text.rbegin(), text.rend()), reversed_needle(needle.rbegin(), needle.rend());
    const size_t at = find_text(reversed_text, reversed_needle);
    return at == std::string_view::npos ? at : text.size() - at - needle.size();
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
    std::vector<std::string_view> lines;
    size_t start = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t here = at;
        const uint32_t c = next_char(text, at);
        if (!is_line_break(c)) continue;
        if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
        lines.push_back(text.substr(start, (keep_ends ? at : here) - start));
        start = at;
    }
    if (start < text.size()) lines.push_back(text.substr(start));
    return lines;
}

}  // namespace sterna::jinja
