#!/usr/bin/env python3
"""Checks every #include under src/ and apps/ against layers.txt.

    check_layers.py [--root FOLDER]

A folder includes its own headers, those of lower layers, and those siblings of its layer that layers.txt lists. A line
"N folder : ..." gives a folder of src/ its layer; "N apps/NAME : ..." does the same for a program. The lines
"folder only: HEADER..." name all system headers that a folder, or one file of it, may use.
"""
import argparse
import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
SUFFIXES = {".h", ".hpp", ".inl", ".cpp", ".c"}


def read_rules(path):
    layers, siblings, system = {}, {}, {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        if match := re.fullmatch(r"(\S+) only: *(.*)", line):
            system[match[1]] = set(match[2].split())
        elif match := re.fullmatch(r"(\d+) +(\S+)(?: *: *(.*))?", line):
            layers[match[2]] = int(match[1])
            siblings[match[2]] = set((match[3] or "").split())
        else:
            sys.exit(f"{path}:{number}: not a rule: {line}")
    return layers, siblings, system


def folder_of(file, root, layers):
    parts = file.relative_to(root).parts
    name = parts[1] if parts[0] == "src" else "/".join(parts[:2])
    return name if name in layers else None


def check(root):
    layers, siblings, system = read_rules(root / "layers.txt")
    problems, n_files = [], 0
    for top in ("src", "apps"):
        for file in sorted(f for f in (root / top).rglob("*") if f.suffix in SUFFIXES):
            n_files += 1
            where = file.relative_to(root)
            own = folder_of(file, root, layers)
            if own is None:
                problems.append(f"{where}: its folder is not in layers.txt")
                continue
            for kind, header in INCLUDE.findall(file.read_text()):
                if kind == "<":
                    allowed = system.get(f"{own}/{file.name}", system.get(own))
                    if allowed is not None and header not in allowed:
                        problems.append(f"{where}: <{header}> is not among the system headers of {own}")
                    continue
                if header.startswith("sterna/") and (root / "include" / header).is_file():
                    if layers[own] < layers.get("api", 0):
                        problems.append(f'{where}: "{header}" is the API, which stands above {own}')
                    continue
                local = "/" not in header and (file.parent / header).is_file()
                target = own if local else header.split("/")[0]
                if target not in layers:
                    problems.append(f'{where}: "{header}" is not in src/')
                elif target != own and target not in siblings[own] and layers[target] >= layers[own]:
                    problems.append(
                        f'{where}: "{header}" is of layer {layers[target]}, {own} of layer {layers[own]} (see layers.txt)'
                    )
    return problems, n_files


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    problems, n_files = check(arguments.parse_args().root)
    print("\n".join(problems + [f"{n_files} files, {len(problems)} breaches"]))
    return 1 if problems or n_files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
