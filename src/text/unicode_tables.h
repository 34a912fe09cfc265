// The generated tables behind unicode.h (tools/make_unicode_tables.py writes unicode_tables.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace sterna::unicode_tables {

// Two-stage class table: kBlocks[kBlockIndex[cp >> 7] * 128 + (cp & 127)], low five bits the category's number
// (unicode.h), 32 white space, 64 Script=Han.
extern const uint16_t kBlockIndex[];
extern const uint8_t kBlocks[];

struct LowerRange {
    uint32_t first, last, step;  // code points first, first + step, ..., last
    int32_t difference;
};
extern const LowerRange kLowerRanges[];
extern const size_t kLowerCount;

struct Decomposition {
    uint32_t code_point;
    uint32_t place;  // index in kDecompositionPool << 3 | length
};
extern const Decomposition kDecompositions[];
extern const size_t kDecompositionCount;
extern const uint32_t kDecompositionPool[];

struct CombiningRange {
    uint32_t first, last, combining_class;
};
extern const CombiningRange kCombining[];
extern const size_t kCombiningCount;

struct Composition {
    uint32_t first, second, composed;
};
extern const Composition kCompositions[];
extern const size_t kCompositionCount;

}  // namespace sterna::unicode_tables
