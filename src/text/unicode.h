// What tokenizers ask about characters: category, white space, lower case, normal forms. The same bytes come out on
// every platform, because the tables are our own. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode_tables.h"

namespace sterna {

// A character's classes as a set of bits: one for its general category, one for white space, one for Han.
using CharSet = uint32_t;

constexpr CharSet category_bit(int number) {
    return CharSet(1) << number;
}

// The order is that of tools/make_unicode_tables.py.
constexpr CharSet kUnassigned = category_bit(0);  // also every byte that is no UTF-8
constexpr CharSet kUpper = category_bit(1), kLower = category_bit(2), kTitle = category_bit(3);
constexpr CharSet kModifierLetter = category_bit(4), kOtherLetter = category_bit(5);
constexpr CharSet kNonspacingMark = category_bit(6);
constexpr CharSet kConnector = category_bit(12);
constexpr CharSet kDecimalDigit = category_bit(9), kLetterNumber = category_bit(10);
constexpr CharSet kControlChar = category_bit(26), kFormatChar = category_bit(27), kPrivateUse = category_bit(28);

constexpr CharSet kLetter = kUpper | kLower | kTitle | kModifierLetter | kOtherLetter;                  // \p{L}
constexpr CharSet kMark = kNonspacingMark | category_bit(7) | category_bit(8);                          // \p{M}
constexpr CharSet kNumber = kDecimalDigit | kLetterNumber | category_bit(11);                           // \p{N}
constexpr CharSet kPunctuation = kConnector | category_bit(13) | category_bit(14) | category_bit(15) |  // \p{P}
                                 category_bit(16) | category_bit(17) | category_bit(18);
constexpr CharSet kSymbol = category_bit(19) | category_bit(20) | category_bit(21) | category_bit(22);  // \p{S}
constexpr CharSet kWhiteSpace = CharSet(1) << 30;                                                       // \s
constexpr CharSet kHan = CharSet(1) << 31;                                                              // \p{Han}

inline CharSet char_set(uint32_t code_point) {
    if (code_point >= 0x110000) return kUnassigned;
    uint8_t row = unicode_tables::kBlocks[unicode_tables::kBlockIndex[code_point >> 7] * 128u + (code_point & 127)];
    return CharSet(1) << (row & 31) | CharSet(row & 32) << 25 | CharSet(row & 64) << 25;
}

uint32_t to_lower(uint32_t code_point);

// Canonical decomposition (NFD) and composition (NFC). Code points only: no invalid ones.
std::vector<uint32_t> normalize_nfd(const std::vector<uint32_t>& text);
// Invalid bytes stay as they are.
std::string normalize_nfc(std::string_view text);
// True if NFC would certainly change nothing; cheap.
bool is_surely_nfc(std::string_view text);

}  // namespace sterna
