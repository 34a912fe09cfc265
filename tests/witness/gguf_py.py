#!/usr/bin/env python3
"""PyPI's gguf reads what Sterna writes, and Sterna what it writes; every type decodes to the same floats in both.

    gguf_py.py [--bin build/dev/bin]
"""
import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize

ROOT = Path(__file__).resolve().parents[2]
TYPES = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 TQ1_0 TQ2_0".split()
MIXES = "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K_M Q4_K_M Q5_K_M Q6_K IQ4_NL IQ4_XS MXFP4 TQ1_0 TQ2_0".split()


def ours(programs, path):
    return np.frombuffer(subprocess.run([programs / "dump_tensors", path], check=True, capture_output=True).stdout, dtype="<f4")


def theirs(path):
    with np.errstate(all="ignore"):
        return np.concatenate([dequantize(t.data, t.tensor_type).astype(np.float32).ravel() for t in GGUFReader(path).tensors])


def same(a, b):
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def random_blocks(name, rows, columns, random):
    """Random bytes: every bit pattern is a block, infinite and not-a-number scales among them."""
    kind = GGMLQuantizationType[name]
    per_block, block_bytes = GGML_QUANT_SIZES[kind]
    return kind, random.integers(0, 256, (rows, columns // per_block * block_bytes), dtype=np.uint8)


def write_by_gguf_py(path, random):
    writer = GGUFWriter(path, "llama")
    writer.add_string("general.name", "Zoë")
    writer.add_array("some.numbers", [1, -2, 3])
    for name in TYPES:
        kind, data = random_blocks(name, 64, 512, random)
        if name in ("F32", "F16"):
            writer.add_tensor(name, data.view({"F32": np.float32, "F16": np.float16}[name]))
        else:
            writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bin", type=Path, default=ROOT / "build/dev/bin")
    programs = arguments.parse_args().bin
    random = np.random.default_rng(1)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "theirs.gguf"
        write_by_gguf_py(path, random)
        a, b = ours(programs, path), theirs(path)
        for i, name in enumerate(TYPES):
            part = slice(i * 64 * 512, (i + 1) * 64 * 512)
            if not same(a[part], b[part]):
                failed.append(f"{name} written by gguf-py")
        for mix in MIXES:
            path = Path(folder) / f"{mix}.gguf"
            subprocess.run([programs / "make_model", "tiny", mix, path], check=True)
            a, b = ours(programs, path), theirs(path)
            if not same(a, b) or not np.all(np.isfinite(a)):
                failed.append(f"{mix} written by Sterna")
            path.unlink()
    total = len(TYPES) + len(MIXES)
    print("\n".join([f"FAILED: {f}" for f in failed] + [f"gguf_py: {total - len(failed)} passed, {len(failed)} failed, 0 skipped"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
