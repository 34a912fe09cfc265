// The regular expressions by which tokenizers cut text into words, in the dialect of Hugging Face's tokenizers
// (Oniguruma with Ruby's syntax, UTF-8): alternatives, groups, (?i:...), (?>...), look-ahead, look-behind of one
// character, greedy, lazy and possessive repeats, classes with \p{...}, nesting and &&. No references to groups.
//
// Matching is backtracking with a budget of steps for a whole text, so an expression that explodes ends early instead
// of hanging. Immutable after compile(); share freely.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/unicode.h"

namespace sterna {

struct SplitRegexLimits {
    size_t max_pattern_bytes = 1u << 14;  // the longest known one has some 2,000
    size_t max_instructions = 1u << 15;   // 16 bytes each; {n,m} is written out
    size_t max_classes = 1u << 12;        // some 100 bytes each
    int max_depth = 50;                   // of groups and classes
    int max_repeat = 1000;                // of {n,m}
};

class SplitRegex {
public:
    struct Match {
        size_t begin, end;
    };
    // What the matching of one text may cost. Ordinary expressions take some 10 steps a byte.
    struct Budget {
        explicit Budget(size_t text_bytes) : steps(4096) { steps += int64_t(text_bytes) * 512; }
        int64_t steps;
        bool spent() const { return steps <= 0; }
    };

    // Errors name what is not understood and where it stands.
    static Result<SplitRegex> compile(std::string_view pattern, const SplitRegexLimits& limits = {});

    // The first match that begins at `from` or later; may be empty. Nothing also when the budget is spent. Bytes that
    // are no UTF-8 are characters that belong to no class but negated ones.
    std::optional<Match> find(std::string_view text, size_t from, Budget& budget) const;

    struct Range {
        uint32_t first, last;
    };
    struct Class {
        CharSet set = 0;            // of categories
        bool word_symbols = false;  // what \w has beyond categories
        bool negated = false;
        std::vector<Range> ranges = {};
        std::vector<uint32_t> parts = {};         // classes whose union this is, with the above
        std::vector<uint32_t> intersection = {};  // if any: only what is in all of these, too
        uint64_t ascii[2] = {0, 0};               // the answer for U+0000..U+007F
    };
    enum class Op : uint8_t {
        kChar,     // a: code point
        kClass,    // a: class
        kRun,      // class a, at least b and at most c times, greedy
        kKeepRun,  // the same, possessive
        kSplit,    // go on at a; at b if that fails
        kJump,     // a
        kPlace,    // remember the place in slot a
        kSkip,     // at the place of slot a: go on at b, for a repeat that took nothing ends
        kLook,     // the body at pc + 1 must match here (b: must not); go on at a
        kAtomic,   // the body's first match counts; go on at a
        kBehind,   // class a must hold before this place (b: must not)
        kAssert,   // a: Assertion
        kAccept,
    };
    enum class Assertion : uint32_t { kLineBegin, kLineEnd, kTextBegin, kTextEnd, kTextEndOrNewline, kWord, kNoWord };
    struct Instruction {
        Op op;
        uint32_t a = 0, b = 0, c = 0;
    };

private:
    friend class SplitRegexCompiler;
    friend class SplitRegexMatcher;

    bool holds(uint32_t class_index, uint32_t code_point) const {
        const Class& c = classes_[class_index];
        if (code_point < 128) return c.ascii[code_point >> 6] >> (code_point & 63) & 1;
        return holds_slowly(c, code_point);
    }
    bool holds_slowly(const Class& c, uint32_t code_point) const;

    std::vector<Class> classes_;
    std::vector<Instruction> program_;
    uint32_t n_slots_ = 0;
};

}  // namespace sterna
