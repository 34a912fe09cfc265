#!/usr/bin/env python3
"""Writes tests/golden/gguf/{all.gguf,expected.txt} with gguf-py, an implementation of the format that is not ours.

all.gguf holds one metadata value of every type and one tensor of every storage type that Sterna reads, its blocks random bytes (scales
finite). expected.txt holds, for each tensor, the FNV-1a hash of the values that gguf.quants.dequantize gives, as float32 bytes, and
every 37th value in hexadecimal, to find the place of a difference.

    python3 tools/make_gguf_golden.py          needs: numpy, gguf (made with gguf 0.19.0, numpy 2.4.6)
"""

import pathlib

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T, GGUFValueType as V

SEED = 20260301
N_ROWS, N_COLUMNS = 2, 512
# Type, and where in a block its half floats lie.
QUANTIZED = [
    (T.Q4_0, [0]), (T.Q4_1, [0, 2]), (T.Q5_0, [0]), (T.Q5_1, [0, 2]), (T.Q8_0, [0]), (T.Q2_K, [80, 82]), (T.Q3_K, [108]),
    (T.Q4_K, [0, 2]), (T.Q5_K, [0, 2]), (T.Q6_K, [208]), (T.IQ4_NL, [0]), (T.IQ4_XS, [0]), (T.MXFP4, []), (T.TQ1_0, [52]),
    (T.TQ2_0, [64]),
]
CARRIED = [(T.I8, np.int8), (T.I16, np.int16), (T.I32, np.int32), (T.I64, np.int64), (T.F64, np.float64)]


def finite_halves(rng, n):
    bits = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    return np.where((bits & 0x7C00) == 0x7C00, bits & 0xBFFF, bits).astype("<u2")


def random_blocks(rng, kind, half_fields):
    block, size = GGML_QUANT_SIZES[kind]
    n_blocks = N_ROWS * N_COLUMNS // block
    data = rng.integers(0, 256, (n_blocks, size), dtype=np.uint8)
    for at in half_fields:
        data[:, at:at + 2] = finite_halves(rng, n_blocks).view(np.uint8).reshape(-1, 2)
    if kind == T.MXFP4:
        data[:6, 0] = [0, 1, 2, 127, 253, 254]
        data[:, 0] = np.minimum(data[:, 0], 254)  # 255 is NaN in the OCP format
    return data.reshape(N_ROWS, -1)


def fnv1a(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 % (1 << 64)
    return h


def metadata(writer):
    writer.add_name("golden")
    writer.add_key_value("t.u8", 200, V.UINT8)
    writer.add_key_value("t.i8", -100, V.INT8)
    writer.add_key_value("t.u16", 60000, V.UINT16)
    writer.add_key_value("t.i16", -30000, V.INT16)
    writer.add_key_value("t.u32", 4000000000, V.UINT32)
    writer.add_key_value("t.i32", -2000000000, V.INT32)
    writer.add_key_value("t.u64", (1 << 63) + 5, V.UINT64)
    writer.add_key_value("t.i64", -(1 << 62), V.INT64)
    writer.add_key_value("t.f32", 1.5, V.FLOAT32)
    writer.add_key_value("t.f64", 0.1, V.FLOAT64)
    writer.add_key_value("t.true", True, V.BOOL)
    writer.add_key_value("t.false", False, V.BOOL)
    writer.add_key_value("t.string", "grüße, 世界", V.STRING)
    writer.add_key_value("t.empty", "", V.STRING)
    writer.add_array("t.strings", ["a", "", "<0x0A>", "▁the"])
    writer.add_array("t.ints", [1, -2, 3])
    writer.add_array("t.floats", [0.5, -0.25])
    writer.add_array("t.bools", [True, False, True])
    writer.add_array("t.bytes", bytes([1, 2, 255]))


def main():
    rng = np.random.default_rng(SEED)
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/gguf"
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / "all.gguf", "llama")
    metadata(writer)
    lines = [f"# gguf-py {__import__('importlib.metadata').metadata.version('gguf')}, seed {SEED}: name type fnv1a of float32 values, every 37th"]

    def add(kind, data, values, raw):
        writer.add_tensor(f"t.{kind.name}", data, raw_dtype=kind if raw else None)
        values = np.ascontiguousarray(values, dtype="<f4")
        samples = " ".join(f"{v:08x}" for v in values.view("<u4").ravel()[::37])
        lines.append(f"t.{kind.name} {kind.name} {fnv1a(values.tobytes()):016x} {samples}")

    plain = (rng.standard_normal((N_ROWS, N_COLUMNS)) * 3).astype(np.float32)
    add(T.F32, plain, plain, False)
    halves = finite_halves(rng, N_ROWS * N_COLUMNS).reshape(N_ROWS, N_COLUMNS).view(np.float16)
    add(T.F16, halves, halves.astype(np.float32), False)
    brain = rng.integers(0, 1 << 16, (N_ROWS, N_COLUMNS), dtype=np.uint16)
    brain = np.where((brain & 0x7F80) == 0x7F80, 0x3F80, brain).astype("<u2").view(np.uint8)
    add(T.BF16, brain, gguf.quants.dequantize(brain, T.BF16), True)
    for kind, half_fields in QUANTIZED:
        data = random_blocks(rng, kind, half_fields)
        with np.errstate(over="ignore"):
            add(kind, data, gguf.quants.dequantize(data, kind), True)
    for kind, numpy_type in CARRIED:
        data = np.arange(-3, 5).astype(numpy_type).reshape(2, 4)
        writer.add_tensor(f"t.{kind.name}", data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "expected.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
