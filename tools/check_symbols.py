#!/usr/bin/env python3
"""Checks what the objects of the instruction sets export: one table each, and nothing weak.

    check_symbols.py OBJECT...

isa_*.cpp, amx*.cpp and encode_avx2.cpp are compiled with flags that the machine may not have. A weak symbol there (an inline function of a
header) could be the copy that the linker keeps for the whole program, which then dies on an older machine.
"""
import re
import subprocess
import sys
from pathlib import Path


def check(path):
    lines = subprocess.run(["nm", "-g", "--defined-only", path], check=True, capture_output=True, text=True).stdout.splitlines()
    symbols = [line.split()[-2:] for line in lines if line.strip()]
    weak = [name for kind, name in symbols if kind in "WwVvu"]
    if weak:
        yield f"{path}: weak symbols {', '.join(weak)}"
    if len(symbols) != 1:
        yield f"{path}: exports {len(symbols)} symbols, wanted its table alone: {', '.join(name for _, name in symbols)}"


def main():
    objects = [Path(o) for o in sys.argv[1:] if re.match(r"(isa_|amx|encode_avx2)", Path(o).name)]
    problems = [problem for path in objects for problem in check(path)]
    print("\n".join(problems + [f"{len(objects)} objects, {len(problems)} problems"]))
    return 1 if problems or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
