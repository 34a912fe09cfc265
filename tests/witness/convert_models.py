#!/usr/bin/env python3
"""PyPI's safetensors and gguf read what sterna convert writes, for every architecture: the tiny models of tests/golden/models go to
safetensors, which must hold what transformers wrote for them (tests/golden/hf), and from there to GGUF files of several types.

    convert_models.py [--bin build/dev/bin]

That the logits agree with transformers' is for tools/check_convert.py, which needs torch.
"""
import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q5_1", "mxfp4", "q4_k_m")  # the last falls back: rows are short


def comparable(lines):
    """GGUF holds the exponential of A_log, whose logarithm need not be the same number to the last bit."""
    return {line.rsplit(" ", 1)[0] if "A_log " in line else line for line in lines}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bin", type=Path, default=ROOT / "build/dev/bin")
    programs = arguments.parse_args().bin
    failed, total = [], 0
    for golden in sorted((ROOT / "tests/golden/hf").iterdir()):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "hf"
            done = subprocess.run([programs / "sterna", "convert", ROOT / f"tests/golden/models/{golden.name}.gguf", "-o", source,
                                   "--to", "safetensors", "--type", "f32", "-q"], capture_output=True)
            done.check_returncode()
            wanted = set((golden / "tensors.txt").read_text().splitlines())
            with safe_open(source / "model.safetensors", "np") as tensors:
                found = set()
                for name in tensors.keys():
                    value = tensors.get_tensor(name)
                    found.add(f"{name} {'x'.join(map(str, value.shape))} {hashlib.sha256(value.tobytes()).hexdigest()}")
            total += 1
            if comparable(found) != comparable(wanted):
                failed.append(f"{golden.name} to safetensors: {sorted(found ^ wanted)[:2]}")
            (source / "config.json").write_bytes((golden / "config.json").read_bytes())
            for kind in TYPES:
                total += 1
                path = Path(folder) / f"{kind}.gguf"
                done = subprocess.run([programs / "sterna", "convert", source, "-o", path, "--type", kind, "-q"], capture_output=True)
                if done.returncode:
                    failed.append(f"{golden.name} {kind}: {done.stderr.decode().strip()}")
                    continue
                theirs = np.concatenate([dequantize(t.data, t.tensor_type).astype(np.float32).ravel() for t in GGUFReader(path).tensors])
                ours = np.frombuffer(subprocess.run([programs / "dump_tensors", path], check=True, capture_output=True).stdout, "<f4")
                if not np.array_equal(ours, theirs):
                    failed.append(f"{golden.name} {kind}: gguf reads other values")
    print("\n".join([f"FAILED: {f}" for f in failed] + [f"convert_models: {total - len(failed)} passed, {len(failed)} failed"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
