// What the files with the filters share.
#pragma once

#include "text/jinja_interpreter.h"

namespace sterna::jinja {

struct NamedFilter {
    std::string_view name;
    Filter apply;
};
Filter find_sequence_filter(std::string_view name);

bool is_none(const Value* value);                                                              // left out or None
bool to_int(Interpreter& in, std::string_view function, const Value& value, int64_t& result);  // fails when it is none
// Python's int(text, base) and float(text); false when the text is no number (or no int of 64 bits).
bool parse_int(std::string_view text, int64_t base, int64_t& result);
bool parse_float(std::string_view text, double& result);

}  // namespace sterna::jinja
