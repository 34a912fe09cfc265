#!/usr/bin/env python3
"""Makes what the Jinja engine is tested against, with Python's jinja2 set up as transformers' apply_chat_template does.

  make_jinja_golden.py tables                 -> src/text/jinja_text_tables.cpp (Python's Unicode database)
  make_jinja_golden.py cases                  -> tests/cases/jinja_*.case from tests/cases/jinja_cases.txt
  make_jinja_golden.py hashes CHAT_TEMPLATES  -> tests/golden/jinja/chat_templates.json

Made with Python 3.11 and jinja2 3.1.6. There is no randomness; the clock is fixed at kNow.
"""
import datetime
import json
import pathlib
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOW = 1795305600  # 2026-11-22 00:00:00 UTC


def ranges(predicate):
    found, start = [], None
    for c in range(0x110001):
        hit = c < 0x110000 and predicate(c)
        if hit and start is None:
            start = c
        elif not hit and start is not None:
            found.append((start, c - 1))
            start = None
    return found


def case_ranges(function):
    pairs = []
    for c in range(0x110000):
        to = function(chr(c))
        if len(to) == 1 and ord(to) != c:
            pairs.append((c, ord(to) - c))
    result = []
    for c, delta in pairs:
        if result:
            first, last, d, stride = result[-1]
            step = c - last
            if d == delta and (step == stride or (first == last and step in (1, 2))):
                result[-1] = (first, c, d, step)
                continue
        result.append((c, c, delta, 1))
    return result


def make_tables():
    out = ["// Made by tools/make_jinja_golden.py tables; Unicode %s." % unicodedata.unidata_version,
           '#include "text/jinja_text.h"', "", "namespace sterna::jinja {", "namespace {", "// clang-format off"]
    exported = []

    def emit(kind, name, rows):
        out.append(f"const {kind} {name}Rows[] = {{")
        line = ""
        for row in rows:
            item = "{" + ",".join(str(x) if not isinstance(x, tuple) else "{" + ",".join(map(str, x)) + "}" for x in row) + "},"
            if len(line) + len(item) > 116:
                out.append(line)
                line = ""
            line += item
        out.append(line)
        out.append("};")
        exported.append(f"const Table<{kind}> {name} = {{{name}Rows, std::size({name}Rows)}};")

    emit("CharRange", "kNotPrintable", ranges(lambda c: not chr(c).isprintable()))
    emit("CharRange", "kAlpha", ranges(lambda c: chr(c).isalpha()))
    emit("CharRange", "kDecimal", ranges(lambda c: chr(c).isdecimal()))
    emit("CharRange", "kDigit", ranges(lambda c: chr(c).isdigit()))
    emit("CharRange", "kNumeric", ranges(lambda c: chr(c).isnumeric()))
    emit("CaseRange", "kUpper", case_ranges(str.upper))
    emit("CaseRange", "kLower", case_ranges(str.lower))

    def expansions(function, other):
        rows = []
        for c in range(0x110000):
            to = function(chr(c))
            if to != other(chr(c)) or (len(to) > 1 and other is str):
                rows.append((c, tuple([ord(x) for x in to] + [0] * (3 - len(to)))))
        return rows

    emit("CaseExpansion", "kUpperExpansions",
         [r for r in expansions(str.upper, lambda x: x) if r[1][1] != 0])
    emit("CaseExpansion", "kTitleExpansions", expansions(str.title, str.upper))
    out += ["// clang-format on", "}  // namespace", ""] + exported + ["", "}  // namespace sterna::jinja", ""]
    out.insert(1, "#include <iterator>\n")
    (ROOT / "src/text/jinja_text_tables.cpp").write_text("\n".join(out))


if __name__ == "__main__":
    if sys.argv[1:2] == ["tables"]:
        make_tables()
    else:
        sys.exit(__doc__)
