#!/usr/bin/env python3
"""Writes tests/golden/gguf/encoder_errors.txt: how well llama.cpp's own encoders do on data that a test of ours makes again.

Each line: type, data set, "plain" or "weighted" (the encoder was given an importance per column, and the error is weighted by it), and the
root of the (weighted) mean square error after decoding. tests/unit/dtype holds our encoders to these numbers.

The data comes from integer arithmetic and + - * / of doubles only, so C++ makes the same (tests/unit/dtype/encode_test.cpp).

    npm pack @node-llama-cpp/linux-x64 && tar xzf node-llama-cpp-linux-x64-*.tgz
    python3 tools/compare_encoders.py package/bins/linux-x64          needs: numpy, gguf (made with @node-llama-cpp/linux-x64 3.22.1;
                                                                            llama-cpp-python 0.3.36 gives the same figures)
"""

import ctypes
import pathlib
import sys

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T

ROWS, COLUMNS = 16, 1024
TYPES = [T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.Q6_K, T.IQ4_NL, T.IQ4_XS, T.MXFP4, T.TQ1_0, T.TQ2_0]


def uniforms(seed, n):
    """splitmix64, the top 53 bits as a double in [0, 1)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.arange(1, n + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def bell(seed, n):
    """The sum of twelve uniforms minus six: mean 0, variance 1, nearly normal."""
    u = uniforms(seed, 12 * n).reshape(n, 12)
    total = u[:, 0].copy()
    for k in range(1, 12):
        total = total + u[:, k]
    return total - 6.0


def data_sets():
    n = ROWS * COLUMNS
    u = uniforms(3, n) + 0.05
    return {
        "bell": (bell(1, n) * 0.02).astype(np.float32),
        "heavy": (bell(2, n) * 0.005 / u).astype(np.float32),
        "shifted": (bell(4, n) * 0.02 + 0.03).astype(np.float32),
        "uniform": (uniforms(5, n) * 2.0 - 1.0).astype(np.float32),
    }


def importance():
    u = uniforms(6, COLUMNS) + 0.1
    return (u * u * u).astype(np.float32)


def load(folder):
    for name in ["libggml-base.so", "libggml-base.so.0"]:
        if (folder / name).exists():
            return ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
    sys.exit(f"{folder}: no libggml-base.so")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    library = load(pathlib.Path(sys.argv[1]))
    quantize = library.ggml_quantize_chunk
    pointer = ctypes.POINTER(ctypes.c_float)
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, pointer, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, pointer]
    weights = importance()
    lines = ["# type, data, plain or weighted, root mean square error of llama.cpp's encoder (tools/compare_encoders.py)"]
    for kind in TYPES:
        block, size = GGML_QUANT_SIZES[kind]
        for name, x in data_sets().items():
            for weighted in (False, True):
                out = np.zeros((ROWS, COLUMNS // block * size), np.uint8)
                imatrix = weights.ctypes.data_as(pointer) if weighted else None
                quantize(kind.value, x.ctypes.data_as(pointer), out.ctypes.data_as(ctypes.c_void_p), 0, ROWS, COLUMNS, imatrix)
                y = gguf.quants.dequantize(out, kind).astype(np.float64)
                e = (y - x.reshape(ROWS, COLUMNS).astype(np.float64)) ** 2
                w = np.broadcast_to(weights.astype(np.float64) if weighted else np.ones(COLUMNS), e.shape)
                lines.append(f"{kind.name} {name} {'weighted' if weighted else 'plain'} {np.sqrt((e * w).sum() / w.sum()):.9e}")
    target = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/gguf/encoder_errors.txt"
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
