#!/usr/bin/env python3
"""Lines of code by folder, and the longest files and functions; with --check the limits of the house.

    size.py [--check] [--root FOLDER]

Limits: a hand-written file under 800 lines, a function under 120, and under 160 for a forward pass or a table. Generated
files (a first line that says "Made by tools/...") are counted and not limited. Functions are found by their braces, which
is right for formatted code; it is a ruler, not a parser.
"""
import argparse
import re
import sys
from pathlib import Path

MAX_FILE, MAX_FUNCTION, MAX_LONG_FUNCTION = 800, 120, 160
LONG_FUNCTION = re.compile(r"\b(forward\w*|\w*_table)\s*\(")
GENERATED = re.compile(r"\W*(Made|Generated) by \w+/")
CODE = {".h", ".hpp", ".inl", ".cpp", ".c", ".py", ".mjs", ".js", ".ts", ".sh"}
BRACED = {".h", ".hpp", ".inl", ".cpp", ".c"}
TOPS = ["src", "include", "apps", "tests", "bench", "tools", "web", "canister", "python", "examples"]

TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<delimiter>[^(\s]*)\(.*?\)(?P=delimiter)"|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'""", re.S
)


def blank(text):
    """The text with comments and literals emptied and preprocessor lines removed, line numbers kept."""
    # A digit separator (1'000) is no literal.
    text = re.sub(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])", "", text)
    text = TOKEN.sub(lambda match: re.sub(r"[^\n]", "", match[0]) or " ", text)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda match: "\n" * match[0].count("\n"), text, flags=re.M)


def functions(text):
    """Yields (name, first line, lines) of the outermost functions."""
    text = blank(text)
    stack = []  # (kind, line where the head begins, head)
    head_start, line = 0, 1
    last_function = None
    for match in re.finditer(r"[{};\n]", text):
        at, mark = match.start(), match[0]
        if mark == "\n":
            line += 1
            continue
        head = text[head_start:at]
        parent = stack[-1][0] if stack else "scope"
        if mark == "{":
            stripped = head.strip()
            start = line - head.lstrip().count("\n") if stripped else line
            if parent != "scope":
                kind = "inner"
            elif re.search(r'\bnamespace\b|\bextern\s*$', head) or re.match(r"extern\b[^(]*$", stripped):
                kind = "scope"
            elif re.search(r"\b(class|struct|union|enum)\b[^()]*$", head) and "(" not in re.sub(r"alignas\([^)]*\)", "", head):
                kind = "scope" if not re.search(r"\benum\b", head) else "inner"
            elif "(" in head:
                kind = "function"
            elif last_function and (not stripped or stripped.startswith(",")):
                kind, start, head = "function", last_function[0], last_function[1]  # after a member initialiser's braces
            else:
                kind = "inner"
            stack.append((kind, start, head))
            head_start = at + 1
        elif mark == "}":
            last_function = None
            if stack:
                kind, start, opened = stack.pop()
                if kind == "function":
                    last_function = (start, opened)
                    if not (stack and stack[-1][0] == "function"):
                        yield " ".join(opened.split())[-100:], start, line - start + 1
            head_start = at + 1
        elif not stack or stack[-1][0] == "scope":
            last_function = None
            head_start = at + 1
        else:
            head_start = at + 1


def survey(root):
    files, longest = [], []
    for top in TOPS:
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in CODE or "__pycache__" in path.parts or "node_modules" in path.parts or not path.is_file():
                continue
            text = path.read_text(errors="replace")
            generated = bool(GENERATED.match(text))
            name = path.relative_to(root)
            files.append((name, text.count("\n"), generated))
            if path.suffix in BRACED and not generated:
                # A constructor with brace initialisers is seen once per brace; its last piece is the whole.
                whole = {start: (lines, f"{name}:{start}", head) for head, start, lines in functions(text)}
                longest += whole.values()
    return files, sorted(longest, reverse=True)


def breaches(files, longest):
    for name, lines, generated in files:
        if lines >= MAX_FILE and not generated:
            yield f"{name}: {lines} lines, the limit is {MAX_FILE}"
    for lines, where, head in longest:
        limit = MAX_LONG_FUNCTION if LONG_FUNCTION.search(head) else MAX_FUNCTION
        if lines >= limit:
            yield f"{where}: a function of {lines} lines, the limit is {limit}: {head}"


def report(files, longest):
    totals = {}
    for name, lines, generated in files:
        key = "/".join(name.parts[:2]) if len(name.parts) > 2 else name.parts[0]
        total = totals.setdefault(key, [0, 0, 0])
        total[0] += 1
        total[1] += 0 if generated else lines
        total[2] += lines if generated else 0
    print(f"{'folder':24}{'files':>8}{'lines':>10}{'generated':>12}")
    for key, (n, lines, generated) in totals.items():
        print(f"{key:24}{n:8}{lines:10}{generated or '':>12}")
    src = sum(lines for name, lines, generated in files if name.parts[0] in ("src", "include") and not generated)
    tests = sum(lines for name, lines, _ in files if name.parts[0] == "tests")
    print(f"{'src and include':24}{'':8}{src:10}\n{'tests':24}{'':8}{tests:10}")
    print("\nlongest files")
    for name, lines, _ in sorted((f for f in files if not f[2]), key=lambda f: -f[1])[:8]:
        print(f"{lines:8}  {name}")
    lengths = sorted(lines for lines, _, _ in longest)
    if lengths:
        print(f"\n{len(lengths)} functions: median {lengths[len(lengths) // 2]}, p99 {lengths[int(len(lengths) * 0.99)]} lines; longest")
    for lines, where, head in longest[:8]:
        print(f"{lines:8}  {where}  {head[-60:]}")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    options = arguments.parse_args()
    files, longest = survey(options.root)
    if not options.check:
        report(files, longest)
    problems = list(breaches(files, longest))
    print("\n".join([""] * (not options.check) + problems + [f"{len(files)} files, {len(longest)} functions, {len(problems)} over a limit"]))
    return 1 if options.check and (problems or not files) else 0


if __name__ == "__main__":
    sys.exit(main())
