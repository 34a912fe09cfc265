#!/usr/bin/env python3
"""Writes src/text/unicode_tables.cpp: the Unicode facts that tokenizers need, as compact tables.

General categories and Script=Han are asked of the regular-expression engine inside PyPI's `tokenizers` (its Oniguruma knows
Unicode 16), because what a model's own tokenizer calls a letter is what counts. White space, lower case, decompositions,
combining classes and compositions come from Python's unicodedata; the first three cannot change for assigned characters.

Usage: tools/make_unicode_tables.py > src/text/unicode_tables.cpp     (tokenizers 0.23.3, Python 3.11)
"""
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

# The order is the bit number in unicode.h.
CATEGORIES = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co").split()
SPACE, HAN = 32, 64
BLOCK = 128
LAST = 0x110000


def members(pattern):
    """Code points that match `pattern`, a regular expression for one character."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found = []
    for base in range(0, LAST, 0x8000):
        points = [c for c in range(base, base + 0x8000) if not 0xD800 <= c < 0xE000]
        if points:
            for piece, _ in split.pre_tokenize_str("".join(map(chr, points))):
                found += map(ord, piece)
    return found


def ranges(points):
    out = []
    for p in sorted(points):
        if out and out[-1][1] == p - 1:
            out[-1][1] = p
        else:
            out.append([p, p])
    return out


def rows(numbers, per_line):
    for i in range(0, len(numbers), per_line):
        print("    " + " ".join(f"{n}," for n in numbers[i:i + per_line]))


def array(kind, name, numbers, per_line=24):
    print(f"const {kind} {name}[] = {{")
    rows(numbers, per_line)
    print("};")


def main():
    classes = [0] * LAST
    for number, category in enumerate(CATEGORIES):
        if category != "Cn":
            for c in members(r"\p{%s}" % category):
                classes[c] = number
    for c in members(r"\s"):
        classes[c] |= SPACE
    for c in members(r"\p{Han}"):
        classes[c] |= HAN

    blocks, index = {}, []
    for base in range(0, LAST, BLOCK):
        index.append(blocks.setdefault(tuple(classes[base:base + BLOCK]), len(blocks)))
    assert len(blocks) < 65536

    lower = []  # first, last, step, difference
    for c in range(LAST):
        low = chr(c).lower()
        # U+0130 lowers to two characters, the second a mark; the one-character mapping is "i".
        target = ord(low) if len(low) == 1 else ord("i") if c == 0x130 else c
        if target == c:
            continue
        diff = target - c
        if lower and lower[-1][3] == diff and c - lower[-1][1] in (1, 2):
            step = c - lower[-1][1]
            if lower[-1][0] == lower[-1][1] or lower[-1][2] == step:
                lower[-1][1], lower[-1][2] = c, step
                continue
        lower.append([c, c, 1, diff])

    pool, keys = [], []
    for c in range(LAST):
        if 0xAC00 <= c < 0xD7A4 or 0xD800 <= c < 0xE000:
            continue
        nfd = unicodedata.normalize("NFD", chr(c))
        if nfd != chr(c):
            keys += [c, len(pool) << 3 | len(nfd)]
            pool += map(ord, nfd)

    marks = [c for c in range(LAST) if unicodedata.combining(chr(c))]
    combining = []
    for c in marks:
        k = unicodedata.combining(chr(c))
        if combining and combining[-1][1] == c - 1 and combining[-1][2] == k:
            combining[-1][1] = c
        else:
            combining.append([c, c, k])

    pairs = []
    for c in range(LAST):
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            a, b = (int(p, 16) for p in parts)
            if unicodedata.normalize("NFC", chr(a) + chr(b)) == chr(c):
                pairs.append((a, b, c))

    print("// Made by tools/make_unicode_tables.py: categories of Unicode 16, mappings of Unicode "
          f"{unicodedata.unidata_version}. Do not edit.")
    print('#include "text/unicode_tables.h"\n')
    print("namespace sterna::unicode_tables {\n")
    array("uint16_t", "kBlockIndex", index)
    array("uint8_t", "kBlocks", [v for b in blocks for v in b], 32)
    print("const LowerRange kLowerRanges[] = {")
    rows([f"{{{a}, {b}, {s}, {d}}}" for a, b, s, d in lower], 6)
    print("};")
    print(f"const size_t kLowerCount = {len(lower)};")
    print("const Decomposition kDecompositions[] = {")
    rows([f"{{{keys[i]}, {keys[i + 1]}}}" for i in range(0, len(keys), 2)], 8)
    print("};")
    print(f"const size_t kDecompositionCount = {len(keys) // 2};")
    array("uint32_t", "kDecompositionPool", pool, 20)
    print("const CombiningRange kCombining[] = {")
    rows([f"{{{a}, {b}, {k}}}" for a, b, k in combining], 8)
    print("};")
    print(f"const size_t kCombiningCount = {len(combining)};")
    print("const Composition kCompositions[] = {")
    rows([f"{{{a}, {b}, {c}}}" for a, b, c in sorted(pairs)], 7)
    print("};")
    print(f"const size_t kCompositionCount = {len(pairs)};\n")
    print("}  // namespace sterna::unicode_tables")
    print(f"{len(blocks)} blocks, {len(lower)} lower, {len(keys) // 2} decompositions, {len(pairs)} pairs", file=sys.stderr)


if __name__ == "__main__":
    main()
