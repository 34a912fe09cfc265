#include "text/unicode.h"

#include <algorithm>

#include "text/utf8.h"

namespace sterna {

using namespace unicode_tables;

namespace {

// Hangul syllables decompose by arithmetic (Unicode 16, section 3.12).
constexpr uint32_t kHangulFirst = 0xAC00, kHangulL = 0x1100, kHangulV = 0x1161, kHangulT = 0x11A7;
constexpr uint32_t kHangulVCount = 21, kHangulTCount = 28, kHangulCount = 19 * kHangulVCount * kHangulTCount;

uint32_t combining_class(uint32_t cp) {
    if (cp < 0x300) return 0;
    const CombiningRange* end = kCombining + kCombiningCount;
    const CombiningRange* at =
        std::lower_bound(kCombining, end, cp, [](const CombiningRange& r, uint32_t c) { return r.last < c; });
    return at != end && at->first <= cp ? at->combining_class : 0;
}

void decompose(uint32_t cp, std::vector<uint32_t>& out) {
    if (cp < 0xC0) {
        out.push_back(cp);
        return;
    }
    if (cp - kHangulFirst < kHangulCount) {
        uint32_t s = cp - kHangulFirst;
        out.push_back(kHangulL + s / (kHangulVCount * kHangulTCount));
        out.push_back(kHangulV + s / kHangulTCount % kHangulVCount);
        if (s % kHangulTCount) out.push_back(kHangulT + s % kHangulTCount);
        return;
    }
    const Decomposition* end = kDecompositions + kDecompositionCount;
    const Decomposition* at =
        std::lower_bound(kDecompositions, end, cp, [](const Decomposition& d, uint32_t c) { return d.code_point < c; });
    if (at == end || at->code_point != cp) {
        out.push_back(cp);
        return;
    }
    for (uint32_t i = 0; i < (at->place & 7); ++i) out.push_back(kDecompositionPool[(at->place >> 3) + i]);
}

// Zero where the two do not compose.
uint32_t compose(uint32_t a, uint32_t b) {
    if (a - kHangulL < 19 && b - kHangulV < kHangulVCount)
        return kHangulFirst + ((a - kHangulL) * kHangulVCount + (b - kHangulV)) * kHangulTCount;
    if (a - kHangulFirst < kHangulCount && (a - kHangulFirst) % kHangulTCount == 0 && b > kHangulT &&
        b < kHangulT + kHangulTCount)
        return a + (b - kHangulT);
    const Composition* end = kCompositions + kCompositionCount;
    const Composition* at = std::lower_bound(kCompositions, end, a, [b](const Composition& c, uint32_t first) {
        return c.first != first ? c.first < first : c.second < b;
    });
    return at != end && at->first == a && at->second == b ? at->composed : 0;
}

}  // namespace

uint32_t to_lower(uint32_t cp) {
    if (cp < 0x80) return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    const LowerRange* end = kLowerRanges + kLowerCount;
    const LowerRange* at =
        std::lower_bound(kLowerRanges, end, cp, [](const LowerRange& r, uint32_t c) { return r.last < c; });
    if (at == end || cp < at->first || (cp - at->first) % at->step != 0) return cp;
    return uint32_t(int32_t(cp) + at->difference);
}

std::vector<uint32_t> normalize_nfd(const std::vector<uint32_t>& text) {
    std::vector<uint32_t> out;
    out.reserve(text.size() + text.size() / 8);
    for (uint32_t cp : text) decompose(cp, out);
    // Runs of marks go in the order of their combining classes, equal ones as they stood.
    for (size_t i = 0; i < out.size();) {
        if (combining_class(out[i]) == 0) {
            ++i;
            continue;
        }
        size_t end = i;
        while (end < out.size() && combining_class(out[end]) != 0) ++end;
        std::stable_sort(out.begin() + ptrdiff_t(i), out.begin() + ptrdiff_t(end),
                         [](uint32_t a, uint32_t b) { return combining_class(a) < combining_class(b); });
        i = end;
    }
    return out;
}

bool is_surely_nfc(std::string_view text) {
    // Nothing below U+0300 composes with its left neighbour, and lead bytes below 0xCC are below U+0300.
    return std::all_of(text.begin(), text.end(), [](char c) { return uint8_t(c) < 0xCC; });
}

std::string normalize_nfc(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    std::vector<uint32_t> run;
    auto flush = [&] {
        run = normalize_nfd(run);
        // Each character joins the last starter unless something of its own or a higher class stands between (UAX #15).
        size_t starter = run.size(), n = 0;
        uint32_t last_class = 0;
        for (uint32_t cp : run) {
            uint32_t k = combining_class(cp);
            if (starter < n && (starter + 1 == n || last_class < k)) {
                if (uint32_t joined = compose(run[starter], cp)) {
                    run[starter] = joined;
                    continue;
                }
            }
            if (k == 0) starter = n;
            last_class = k;
            run[n++] = cp;
        }
        for (size_t i = 0; i < n; ++i) append_utf8(out, run[i]);
        run.clear();
    };
    for (size_t at = 0; at < text.size();) {
        Utf8Char c = decode_utf8(text, at);
        if (c.code_point == kInvalidCodePoint) {
            flush();
            out += text[at];
        } else {
            run.push_back(c.code_point);
        }
        at += c.length;
    }
    flush();
    return out;
}

}  // namespace sterna
