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

    # Categories and lower case are in unicode_tables.cpp; here is what they do not tell.
    emit("CharRange", "kDigit", ranges(lambda c: chr(c).isdigit() and not chr(c).isdecimal()))
    emit("CharRange", "kNumeric", ranges(lambda c: chr(c).isnumeric() and unicodedata.category(chr(c))[0] != "N"))
    emit("CaseRange", "kUpper", case_ranges(str.upper))

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


def environment():
    """jinja2 set up as transformers 5 does for apply_chat_template."""
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

        @jinja2.pass_eval_context
        def _mark(self, context, caller):
            return caller()

    class Raised(jinja2.exceptions.TemplateError):
        pass

    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None).strftime(f)

    class Namespace(jinja2.utils.Namespace):  # transformers refuses names with a leading underscore
        def __setitem__(self, name, value):
            if name.startswith("_"):
                raise jinja2.exceptions.SecurityError(name)
            super().__setitem__(name, value)

    env.globals["namespace"] = Namespace
    env.raised = Raised
    return env


def render(env, source, variables):
    """("text", result), ("raised", message of raise_exception) or ("error", what Python says)."""
    try:
        return "text", env.from_string(source).render(**variables)
    except env.raised as e:
        return "raised", str(e)
    except Exception as e:
        return "error", f"{type(e).__name__}: {e}"


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def make_hashes(folder):
    """One word per rendering, in the order of conversations.json: hash of the text, "!" and the hash of raise_exception's
    message, or "error". `differs` lists where @huggingface/jinja gave another text; jinja2 wins there."""
    env = environment()
    folder = pathlib.Path(folder)
    data = json.loads((folder / "conversations.json").read_text())
    templates, differs = {}, []
    for path in sorted(folder.glob("*.jinja")):
        other = json.loads((folder / (path.stem + ".expected.json")).read_text())
        words = []
        for name, conversation in data["conversations"].items():
            for option, values in data["options"].items():
                variables = {"tools": None, "documents": None, **conversation, **values,
                             "bos_token": data["bos_token"], "eos_token": data["eos_token"]}
                kind, text = render(env, path.read_text(), variables)
                words.append(fnv(text) if kind == "text" else "!" + fnv(text) if kind == "raised" else "error")
                expected = other.get(f"{name}/{option}", {})
                if "text" in expected and (kind != "text" or text != expected["text"]):
                    differs.append(f"{path.stem} {name}/{option}")
        templates[path.stem] = " ".join(words)
    out = {"made_by": "tools/make_jinja_golden.py hashes, jinja2 3.1.6", "now": NOW, "templates": templates, "differs": differs}
    target = ROOT / "tests/golden/jinja/chat_templates.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(out, indent=0) + "\n")
    print(len(templates), "templates,", len(differs), "differ from @huggingface/jinja")


def make_cases():
    """Each paragraph of tests/cases/jinja_cases.txt ("== name", optional "-- variables" with JSON, "-- template") becomes a
    case with what jinja2 makes of it: "-- expect", "-- raised" (the exact message) or "-- error"."""
    env = environment()
    groups = {}
    source = (ROOT / "tests/cases/jinja_cases.txt").read_bytes().decode()
    for part in source.split("\n== ")[1:]:
        name, _, rest = part.partition("\n")
        variables, _, template = rest.partition("-- template\n")
        template = template.removesuffix("\n")
        values = json.loads(variables.replace("-- variables\n", "")) if variables.strip() else {}
        kind, text = render(env, template, values)
        block = [f"== {name}"]
        if values:
            block += ["-- variables", json.dumps(values, ensure_ascii=False)]
        block += ["-- template", template, "-- " + {"text": "expect"}.get(kind, kind), text if kind != "error" else text.split("\n")[0][:100]]
        groups.setdefault(name.split(".")[0], []).append("\n".join(block))
    for group, blocks in groups.items():
        text = "# Made by tools/make_jinja_golden.py cases; the witness is jinja2 3.1.6.\n" + "\n".join(blocks) + "\n"
        (ROOT / f"tests/cases/jinja_{group}.case").write_bytes(text.encode())
    print(sum(map(len, groups.values())), "cases")


if __name__ == "__main__":
    if sys.argv[1:2] == ["tables"]:
        make_tables()
    elif sys.argv[1:2] == ["cases"]:
        make_cases()
    elif sys.argv[1:2] == ["hashes"] and len(sys.argv) == 3:
        make_hashes(sys.argv[2])
    else:
        sys.exit(__doc__)
