#include "text/split_regex.h"

#include <algorithm>

#include "text/utf8.h"

namespace sterna {

namespace {

constexpr size_t kMaxFrames = 1u << 20;  // 24 bytes each
constexpr CharSet kWord = kLetter | kMark | kDecimalDigit | kLetterNumber | kConnector;

// What Oniguruma counts to \w beside the categories: the circled letters, and in some places digits of Latin-1.
bool is_word_symbol(uint32_t cp) {
    return (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) || (cp >= 0x1F150 && cp <= 0x1F169) ||
           (cp >= 0x1F170 && cp <= 0x1F189);
}
bool is_latin_digit(uint32_t cp) {
    return cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || (cp >= 0xBC && cp <= 0xBE);
}

// Where the character that ends at `at` begins. Requires: at > 0.
size_t previous(std::string_view text, size_t at) {
    size_t lowest = at > 4 ? at - 4 : 0;
    for (size_t p = at; p-- > lowest;) {
        if ((uint8_t(text[p]) & 0xC0) == 0x80) continue;
        return p + decode_utf8(text, p).length == at ? p : at - 1;
    }
    return at - 1;
}

}  // namespace

bool SplitRegex::holds_slowly(const Class& c, uint32_t cp) const {
    bool in = (char_set(cp) & c.set) != 0 || (c.word_symbols && is_word_symbol(cp));
    for (size_t i = 0; !in && i < c.ranges.size(); ++i) in = cp >= c.ranges[i].first && cp <= c.ranges[i].last;
    for (size_t i = 0; !in && i < c.parts.size(); ++i) in = holds_slowly(classes_[c.parts[i]], cp);
    for (size_t i = 0; in && i < c.intersection.size(); ++i) in = holds_slowly(classes_[c.intersection[i]], cp);
    return in != c.negated;
}

class SplitRegexMatcher {
public:
    SplitRegexMatcher(const SplitRegex& regex, std::string_view text, SplitRegex::Budget& budget)
        : regex_(regex), text_(text), budget_(budget), slots_(regex.n_slots_) {}

    // The end of the match at `at` of the body that starts at `pc`.
    std::optional<size_t> run(uint32_t pc, size_t at) {
        const size_t base = frames_.size();
        bool ok = step(pc, at);
        for (;;) {
            if (ok && regex_.program_[pc].op == Op::kAccept) {
                unwind(base);
                return at;
            }
            if (--budget_.steps <= 0 || frames_.size() > kMaxFrames) {
                budget_.steps = 0;
                return std::nullopt;
            }
            if (!ok && !backtrack(base, pc, at)) return std::nullopt;
            ok = step(pc, at);
        }
    }

private:
    using Op = SplitRegex::Op;
    using Assertion = SplitRegex::Assertion;

    // kPlace: go on at pc and place. kRun: likewise, then one character before place, down to `low`. kSlot: slot `pc`
    // held `place`.
    enum class Kind : uint8_t { kPlace, kRun, kSlot };
    struct Frame {
        size_t place, low;
        uint32_t pc;
        Kind kind;
    };

    // Whatever the slots are changed to after an accepted body, no later step reads: marks precede their skips.
    void unwind(size_t base) { frames_.resize(base); }

    bool backtrack(size_t base, uint32_t& pc, size_t& at) {
        while (frames_.size() > base) {
            Frame& top = frames_.back();
            if (top.kind == Kind::kSlot) {
                slots_[top.pc] = top.place;
                frames_.pop_back();
                continue;
            }
            pc = top.pc;
            at = top.place;
            if (top.kind == Kind::kRun && top.place > top.low) {
                top.place = previous(text_, top.place);
            } else {
                frames_.pop_back();
            }
            return true;
        }
        return false;
    }

    // Goes on until a body is accepted (true; pc is at its end) or this way fails.
    bool step(uint32_t& pc, size_t& at) {
        for (;;) {
            const SplitRegex::Instruction& i = regex_.program_[pc];
            if (--budget_.steps <= 0) return false;
            switch (i.op) {
                case Op::kAccept:
                    return true;
                case Op::kChar: {
                    Utf8Char c = decode_utf8(text_, at);
                    if (c.length == 0 || c.code_point != i.a) return false;
                    at += c.length;
                    break;
                }
                case Op::kClass: {
                    Utf8Char c = decode_utf8(text_, at);
                    if (c.length == 0 || !regex_.holds(i.a, c.code_point)) return false;
                    at += c.length;
                    break;
                }
                case Op::kRun:
                case Op::kKeepRun:
                    if (!take_run(i, pc + 1, at)) return false;
                    break;
                case Op::kSplit:
                    frames_.push_back({at, 0, i.b, Kind::kPlace});
                    pc = i.a;
                    continue;
                case Op::kJump:
                    pc = i.a;
                    continue;
                case Op::kPlace:
                    frames_.push_back({slots_[i.a], 0, i.a, Kind::kSlot});
                    slots_[i.a] = at;
                    break;
                case Op::kSkip:
                    if (slots_[i.a] == at) {
                        pc = i.b;
                        continue;
                    }
                    break;
                case Op::kLook: {
                    bool found = run(pc + 1, at).has_value();
                    if (budget_.spent() || found == (i.b != 0)) return false;
                    pc = i.a;
                    continue;
                }
                case Op::kAtomic: {
                    auto end = run(pc + 1, at);
                    if (!end) return false;
                    at = *end;
                    pc = i.a;
                    continue;
                }
                case Op::kBehind: {
                    bool in = at > 0 && regex_.holds(i.a, decode_utf8(text_, previous(text_, at)).code_point);
                    if (in == (i.b != 0)) return false;
                    break;
                }
                case Op::kAssert:
                    if (!asserts(Assertion(i.a), at)) return false;
                    break;
            }
            ++pc;
        }
    }

    bool take_run(const SplitRegex::Instruction& i, uint32_t next, size_t& at) {
        size_t low = at, p = at, n = 0;
        for (Utf8Char c = decode_utf8(text_, p); n < i.c && c.length != 0 && regex_.holds(i.a, c.code_point);
             c = decode_utf8(text_, p)) {
            p += c.length;
            if (++n <= i.b) low = p;
        }
        // A character costs less here than a step.
        budget_.steps -= int64_t(n / 8);
        if (n < i.b) return false;
        at = p;
        if (i.op == Op::kRun && p > low) frames_.push_back({previous(text_, p), low, next, Kind::kRun});
        return true;
    }

    bool is_word(size_t at) const {
        uint32_t cp = decode_utf8(text_, at).code_point;
        return cp != kInvalidCodePoint && ((char_set(cp) & kWord) != 0 || is_word_symbol(cp) || is_latin_digit(cp));
    }

    bool asserts(Assertion what, size_t at) const {
        size_t size = text_.size();
        switch (what) {
            case Assertion::kLineBegin:
                return at == 0 || (text_[at - 1] == '\n' && at < size);
            case Assertion::kLineEnd:
                return at == size || text_[at] == '\n';
            case Assertion::kTextBegin:
                return at == 0;
            case Assertion::kTextEnd:
                return at == size;
            case Assertion::kTextEndOrNewline:
                return at == size || (at + 1 == size && text_[at] == '\n');
            case Assertion::kWord:
            case Assertion::kNoWord: {
                bool before = at > 0 && is_word(previous(text_, at)), after = at < size && is_word(at);
                return (before != after) == (what == Assertion::kWord);
            }
        }
        return false;
    }

    const SplitRegex& regex_;
    std::string_view text_;
    SplitRegex::Budget& budget_;
    std::vector<Frame> frames_;
    std::vector<size_t> slots_;
};

std::optional<SplitRegex::Match> SplitRegex::find(std::string_view text, size_t from, Budget& budget) const {
    SplitRegexMatcher matcher(*this, text, budget);
    for (size_t begin = from; begin <= text.size() && !budget.spent();) {
        if (auto end = matcher.run(0, begin)) return Match{begin, *end};
        begin += std::max<size_t>(decode_utf8(text, begin).length, 1);
    }
    return std::nullopt;
}

}  // namespace sterna
