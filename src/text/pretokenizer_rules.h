// The scanners behind pretokenizer.h. A scanner's match(p) says how many bytes its regular expression takes at p, or 0.
// The alternatives and the greedy and backtracking rules are those of the expressions quoted above each scanner.
#pragma once

#include <algorithm>
#include <span>

#include "text/pretokenizer.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace sterna::pretokenizer {

struct Char {
    uint32_t cp;
    uint32_t length;  // 0 at the end
    CharSet set;      // empty at the end
    bool is(CharSet wanted) const { return (set & wanted) != 0; }
    bool is_newline() const { return cp == '\n' || cp == '\r'; }
};

struct Range {
    uint32_t first, last;
};

// Requires: sorted ranges.
inline bool contains(std::span<const Range> ranges, uint32_t cp) {
    auto at = std::lower_bound(ranges.begin(), ranges.end(), cp, [](const Range& r, uint32_t c) { return r.last < c; });
    return at != ranges.end() && at->first <= cp;
}

inline bool is_ascii_letter(uint32_t cp) {
    return (cp | 32) - 'a' < 26;
}
// !-/ :-@ [-` {-~
inline bool is_ascii_punctuation(uint32_t cp) {
    return cp - '!' < 15 || cp - ':' < 7 || cp - '[' < 6 || cp - '{' < 4;
}

class Reader {
public:
    explicit Reader(std::string_view text) : text_(text) {}

    Char at(size_t p) const {
        if (p >= text_.size()) return {kInvalidCodePoint, 0, 0};
        Utf8Char c = decode_utf8(text_, p);
        return {c.code_point, c.length, char_set(c.code_point)};
    }
    size_t size() const { return text_.size(); }
    char byte(size_t p) const { return p < text_.size() ? text_[p] : '\0'; }
    bool starts_with(size_t p, std::string_view what) const {
        return text_.substr(std::min(p, size())).starts_with(what);
    }

    template <typename Predicate>
    size_t run_if(size_t p, Predicate wanted) const {
        for (Char c = at(p); c.length != 0 && wanted(c); c = at(p)) p += c.length;
        return p;
    }
    size_t run(size_t p, CharSet set) const {
        return run_if(p, [set](const Char& c) { return c.is(set); });
    }
    size_t run_not(size_t p, CharSet set) const {
        return run_if(p, [set](const Char& c) { return !c.is(set); });
    }
    size_t run_at_most(size_t p, CharSet set, int n) const {
        return run_if(p, [set, &n](const Char& c) { return c.is(set) && n-- > 0; });
    }

    // 's 't 're 've 'm 'll 'd; `fold`: in any case, where U+017F is an s too.
    size_t contraction(size_t p, bool fold) const {
        if (byte(p) != '\'') return p;
        auto letter = [&](size_t i) { return char(fold ? byte(i) | 32 : byte(i)); };
        char a = letter(p + 1), b = letter(p + 2);
        if (a == 's' || a == 't' || a == 'm' || a == 'd') return p + 2;
        if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return p + 3;
        if (fold && starts_with(p + 1, "\xC5\xBF")) return p + 3;
        return p;
    }

    // White space from p on: where it ends, where its last character starts, and the end of its last newline (p: none).
    struct Blanks {
        size_t begin, end, last, newline_end;
    };
    // Remembers the last answer, so that a rule that takes a long run piece by piece stays linear.
    Blanks blanks(size_t p) {
        if (p >= blanks_.begin && p < blanks_.end) {
            Blanks part = blanks_;
            if (part.newline_end <= p) part.newline_end = p;
            return part;
        }
        Blanks found{p, p, p, p};
        for (Char c = at(p); c.is(kWhiteSpace); c = at(found.end)) {
            found.last = found.end;
            found.end += c.length;
            if (c.is_newline()) found.newline_end = found.end;
        }
        blanks_ = found;
        return found;
    }

    // \s+(?!\S), then \s+ where `lone` says so.
    size_t match_blanks(size_t p, bool lone) {
        if (!at(p).is(kWhiteSpace)) return 0;
        Blanks run = blanks(p);
        if (run.end == size()) return run.end - p;
        if (run.last > p) return run.last - p;
        return lone ? run.end - p : 0;
    }

private:
    std::string_view text_;
    Blanks blanks_{0, 0, 0, 0};
};

// Cuts at every match; what lies between matches is a piece too.
template <typename Scanner>
void split_isolated(std::string_view text, SplitSink sink) {
    Scanner scanner{Reader(text)};
    size_t gap = 0;
    for (size_t p = 0; p < text.size();) {
        size_t n = scanner.match(p);
        if (n == 0) {
            p += decode_utf8(text, p).length;
            continue;
        }
        if (gap < p) sink(gap, p);
        sink(p, p + n);
        gap = p += n;
    }
    if (gap < text.size()) sink(gap, text.size());
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)
struct Gpt2Scanner {
    Reader text;
    size_t match(size_t p) {
        if (size_t end = text.contraction(p, false); end > p) return end - p;
        size_t q = p + (text.byte(p) == ' ');
        Char c = text.at(q);
        if (c.is(kLetter)) return text.run(q, kLetter) - p;
        if (c.is(kNumber)) return text.run(q, kNumber) - p;
        if (c.length != 0 && !c.is(kWhiteSpace)) return text.run_not(q, kWhiteSpace | kLetter | kNumber) - p;
        return text.match_blanks(p, false);
    }
};

enum class Tail { kNone, kNewlines, kNewlinesAndSlashes, kOneNewlineOrSlash };

//  ?[^\s...]+ with its tail; `first` is the place after the optional blank.
inline size_t match_symbols(const Reader& text, size_t p, CharSet others, Tail tail) {
    size_t q = p + (text.byte(p) == ' ');
    size_t end = text.run_not(q, others | kWhiteSpace);
    if (end == q) return 0;
    auto newline = [](const Char& c) { return c.is_newline(); };
    auto newline_or_slash = [](const Char& c) { return c.is_newline() || c.cp == '/'; };
    switch (tail) {
        case Tail::kNone:
            break;
        case Tail::kNewlines:
            end = text.run_if(end, newline);
            break;
        case Tail::kNewlinesAndSlashes:
            end = text.run_if(end, newline_or_slash);
            break;
        case Tail::kOneNewlineOrSlash:
            end += newline_or_slash(text.at(end));
            break;
    }
    return end - p;
}

struct WordRules {
    bool contractions = true;
    CharSet word = kLetter;
    CharSet not_symbol = kLetter | kNumber;
    int digits = 1;  // longest run; 0: any
    Tail tail = Tail::kNewlines;
    bool spaced_words = false;  // words joined by single blanks are one
    bool cascade = false;       // blanks in powers of two
};

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// of Llama 3, with its relatives' differences as rules.
template <WordRules kRules>
struct WordScanner {
    Reader text;

    size_t match(size_t p) {
        if constexpr (kRules.contractions) {
            if (size_t end = text.contraction(p, true); end > p) return end - p;
        }
        if (size_t n = match_word(p)) return n;
        if (text.at(p).is(kNumber))
            return (kRules.digits ? text.run_at_most(p, kNumber, kRules.digits) : text.run(p, kNumber)) - p;
        if (size_t n = match_symbols(text, p, kRules.not_symbol, kRules.tail)) return n;
        if (!text.at(p).is(kWhiteSpace)) return 0;
        // \s*[\r\n]+ gives back down to the run's last newline.
        if (size_t end = text.blanks(p).newline_end; end > p) return end - p;
        if constexpr (kRules.cascade) return match_cascade(p);
        return text.match_blanks(p, true);
    }

private:
    size_t match_word(size_t p) const {
        Char c = text.at(p);
        size_t q = p;
        if (!c.is(kRules.word)) {
            if (c.is_newline() || c.is(kNumber)) return 0;
            q += c.length;
        }
        size_t end = kRules.spaced_words ? spaced_words_end(q) : text.run(q, kRules.word);
        return end == q ? 0 : end - p;
    }

    // (?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+
    size_t spaced_words_end(size_t q) const {
        if (!text.at(q).is(kLetter)) return q;
        for (;;) {
            q = text.run(q, kLetter | kMark);
            if (text.byte(q) != ' ' || !text.at(q + 1).is(kLetter)) return q;
            ++q;
        }
    }

    // \s{512}(?!\S)|\s{256}(?!\S)|...|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}
    size_t match_cascade(size_t p) const {
        // Bytes after which k blanks end, for the k wanted; 513 blanks answer every question.
        size_t ends[514];
        size_t n = 0, q = p;
        ends[0] = p;
        for (Char c = text.at(q); n < 513 && c.is(kWhiteSpace); c = text.at(q)) ends[++n] = q += c.length;
        size_t free = q == text.size() ? n : n - 1;  // so many can be taken with no other character right after
        for (size_t k : {512u, 256u, 128u, 64u, 32u, 16u, 8u, 4u, 2u, 1u})
            if (k <= free) return ends[k] - p;
        return ends[1] - p;
    }
};

struct CasedRules {
    bool contractions = true;  // after a word
    int digits = 3;
    Tail tail = Tail::kNewlinesAndSlashes;
    bool han = false;  // runs of Han are words of their own, and no other word holds any
};

// [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?
// |[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?
// |\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+                    of GPT-4o, and its relatives
template <CasedRules kRules>
struct CasedScanner {
    Reader text;

    size_t match(size_t p) {
        if (kRules.han) {
            if (size_t end = text.run(p, kHan); end > p) return end - p;
        }
        if (size_t end = word_end(p)) return (kRules.contractions ? text.contraction(end, true) : end) - p;
        if (text.at(p).is(kNumber)) return text.run_at_most(p, kNumber, kRules.digits) - p;
        if (size_t n = match_symbols(text, p, kLetter | kNumber, kRules.tail)) return n;
        if (!text.at(p).is(kWhiteSpace)) return 0;
        if (size_t end = text.blanks(p).newline_end; end > p) return end - p;
        return text.match_blanks(p, true);
    }

private:
    static constexpr CharSet kBoth = kModifierLetter | kOtherLetter | kMark;
    static constexpr CharSet kHigh = kUpper | kTitle | kBoth, kLow = kLower | kBoth;

    static bool in(const Char& c, CharSet set) { return c.is(set) && !(kRules.han && c.is(kHan)); }
    size_t run(size_t p, CharSet set) const {
        return text.run_if(p, [set](const Char& c) { return in(c, set); });
    }

    size_t word_end(size_t p) const {
        Char c = text.at(p);
        size_t after = p;  // a word starts here if the optional first character is taken
        if (!c.is_newline() && !c.is(kLetter | kNumber)) after += c.length;
        if (size_t end = high_low(after)) return end;
        if (size_t end = after > p ? high_low(p) : 0) return end;
        for (size_t start : {after, p})
            if (size_t end = run(start, kHigh); end > start) return run(end, kLow);
        return 0;
    }

    // HIGH*LOW+: the end, 0 for none. Where nothing low follows the high run, the run gives back down to the last
    // character that is both.
    size_t high_low(size_t p) const {
        size_t both_end = 0, q = p;
        for (Char c = text.at(q); in(c, kHigh); c = text.at(q)) {
            q += c.length;
            if (c.is(kBoth)) both_end = q;
        }
        size_t end = run(q, kLow);
        return end > q ? end : both_end;
    }
};

// [!-/:-@[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// (DeepSeek 3) kLoneNewlines: ...| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+
template <bool kLoneNewlines>
struct DeepseekScanner {
    Reader text;

    size_t match(size_t p) {
        Char c = text.at(p);
        if (c.is(kWhiteSpace) && c.is_newline()) {
            if (kLoneNewlines) return 1;
            return text.blanks(p).newline_end - p;
        }
        if (is_ascii_punctuation(c.cp)) {
            size_t end = text.run_if(p + 1, [](const Char& x) { return is_ascii_letter(x.cp); });
            if (end > p + 1) return end - p;
        }
        size_t q = p + (c.is(kLetter | kPunctuation | kSymbol) ? 0 : c.length);
        if (size_t end = text.run(q, kLetter | kMark); end > q) return end - p;
        if (size_t end = text.run(p, kLetter | kMark); end > p) return end - p;
        q = p + (c.cp == ' ');
        if (size_t end = text.run(q, kPunctuation | kSymbol); end > q) {
            if (!kLoneNewlines) end = text.run_if(end, [](const Char& x) { return x.is_newline(); });
            return end - p;
        }
        if (!c.is(kWhiteSpace)) return 0;
        if (size_t end = text.blanks(p).newline_end; !kLoneNewlines && end > p) return end - p;
        return text.match_blanks(p, true);
    }
};

// [set]+, with what the set means
template <auto kIn>
struct RunScanner {
    Reader text;
    size_t match(size_t p) { return text.run_if(p, kIn) - p; }
};

// One character of the set
template <auto kIn>
struct OneScanner {
    Reader text;
    size_t match(size_t p) {
        Char c = text.at(p);
        return c.length != 0 && kIn(c) ? c.length : 0;
    }
};

// \s?[set]+
template <auto kIn>
struct BlankRunScanner {
    Reader text;
    size_t match(size_t p) {
        Char c = text.at(p);
        size_t q = p + (c.is(kWhiteSpace) ? c.length : 0);
        if (size_t end = text.run_if(q, kIn); end > q) return end - p;
        size_t end = text.run_if(p, kIn);
        return end - p;
    }
};

}  // namespace sterna::pretokenizer
