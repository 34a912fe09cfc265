// Reading and writing UTF-8 that may be broken. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sterna {

constexpr uint32_t kInvalidCodePoint = 0xFFFFFFFF;
constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Char {
    uint32_t code_point;  // kInvalidCodePoint where the bytes are no UTF-8
    uint32_t length;      // bytes; 1 for an invalid one, 0 at the end of the text
};

// How many bytes of a well-formed character start at text[at]: up to `length` (the full length is in *wanted). Zero
// where no character can start. Overlong forms, surrogates and values above U+10FFFF are refused at their first
// impossible byte (Unicode 16, table 3-7).
inline size_t utf8_prefix(std::string_view text, size_t at, size_t* wanted) {
    auto byte = [&](size_t i) { return uint8_t(text[at + i]); };
    size_t left = text.size() - at;
    uint8_t lead = byte(0);
    *wanted = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (*wanted < 2) return *wanted;
    uint8_t low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    uint8_t high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < *wanted; ++i) {
        if (i >= left || byte(i) < low || byte(i) > high) return i;
        low = 0x80;
        high = 0xBF;
    }
    return *wanted;
}

// Requires: at <= text.size().
inline Utf8Char decode_utf8(std::string_view text, size_t at) {
    if (at >= text.size()) return {kInvalidCodePoint, 0};
    uint8_t lead = uint8_t(text[at]);
    if (lead < 0x80) return {lead, 1};
    size_t wanted;
    if (utf8_prefix(text, at, &wanted) != wanted || wanted == 0) return {kInvalidCodePoint, 1};
    uint32_t value = lead & (0x7F >> wanted);
    for (size_t i = 1; i < wanted; ++i) value = value << 6 | (uint8_t(text[at + i]) & 0x3F);
    return {value, uint32_t(wanted)};
}

inline void append_utf8(std::string& out, uint32_t code_point) {
    if (code_point < 0x80) {
        out += char(code_point);
    } else if (code_point < 0x800) {
        out += char(0xC0 | code_point >> 6);
        out += char(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        out += char(0xE0 | code_point >> 12);
        out += char(0x80 | (code_point >> 6 & 0x3F));
        out += char(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x110000) {
        out += char(0xF0 | code_point >> 18);
        out += char(0x80 | (code_point >> 12 & 0x3F));
        out += char(0x80 | (code_point >> 6 & 0x3F));
        out += char(0x80 | (code_point & 0x3F));
    } else {
        out += kReplacementCharacter;
    }
}

}  // namespace sterna
