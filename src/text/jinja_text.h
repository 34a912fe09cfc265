// Text helpers with Python's meaning of characters, blanks and cases, for the Jinja engine. Bytes that are not valid
// UTF-8 count as one character each and pass through unchanged. Stateless.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sterna::jinja {

// The character that starts at `at`, which is moved behind it. An invalid byte b gives kInvalidByte + b.
constexpr uint32_t kInvalidByte = 0x110000;
uint32_t next_char(std::string_view text, size_t& at);
void append_char(std::string& out, uint32_t c);
size_t count_chars(std::string_view text);
size_t char_offset(std::string_view text, size_t index);  // byte offset of a character

bool is_space(uint32_t c);      // str.isspace
bool is_printable(uint32_t c);  // not escaped by repr
bool is_alpha(uint32_t c);
bool is_decimal(uint32_t c);
bool is_digit(uint32_t c);
bool is_numeric(uint32_t c);
bool is_upper(uint32_t c);
bool is_lower(uint32_t c);
void append_upper(std::string& out, uint32_t c);  // may append several characters
void append_lower(std::string& out, uint32_t c);
void append_title(std::string& out, uint32_t c);
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);

// str.strip: `chars` empty means blanks when `blanks` is true.
std::string_view strip(std::string_view text, std::string_view chars, bool blanks, bool left, bool right);
// Linear in the length of both, whatever the texts are. npos when absent.
size_t find_text(std::string_view text, std::string_view needle, size_t from = 0);
size_t rfind_text(std::string_view text, std::string_view needle);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);
bool is_line_break(uint32_t c);

struct CharRange {
    uint32_t first, last;
};
struct CaseRange {
    uint32_t first, last;
    int32_t delta;
    uint32_t stride;
};
struct CaseExpansion {
    uint32_t from;
    uint32_t to[3];
};
template <typename T>
struct Table {
    const T* begin;
    size_t size;
};
// What unicode.h does not tell, made by tools/make_jinja_golden.py from Python's Unicode database (jinja_text_tables.cpp): digits that
// are no decimal digits, numbers of other categories than N, upper case.
extern const Table<CharRange> kDigit, kNumeric;
extern const Table<CaseRange> kUpper;
extern const Table<CaseExpansion> kUpperExpansions, kTitleExpansions;

}  // namespace sterna::jinja
