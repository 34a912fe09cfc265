#!/usr/bin/env python3
"""Lets gguf-py, an implementation that is not ours, read a file that our writer made: metadata, shapes, and every quantized type decoded.

    python3 tools/check_gguf_writer.py build/bin/test_gguf          needs: numpy, gguf; exits with 77 (skipped) when they are not there
"""

import os
import pathlib
import subprocess
import sys
import tempfile

try:
    import gguf
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

EXPECTED = {
    "general.architecture": "llama", "t.u8": 200, "t.i8": -100, "t.u16": 60000, "t.i16": -30000, "t.u32": 4000000000,
    "t.i32": -2000000000, "t.u64": (1 << 63) + 5, "t.i64": -(1 << 62), "t.f32": 1.5, "t.f64": 0.1, "t.true": True,
    "t.false": False, "t.string": "grüße, 世界", "t.empty": "", "t.strings": ["a", "", "<0x0A>", "▁the"], "t.ints": [1, -2, 3],
    "t.floats": [0.5, -0.25], "t.bools": [True, False, True], "t.bytes": [1, 2, 255],
}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "ours.gguf"
        subprocess.run([sys.argv[1], "--gtest_filter=*WritesWhatGgufPyReads"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "STERNA_WRITE_GGUF": str(path)})
        reader = gguf.GGUFReader(path)
        for key, value in EXPECTED.items():
            found = reader.get_field(key).contents()
            assert found == value and type(found) is type(value), f"{key}: {found!r}, expected {value!r}"
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        n_types = 0
        for name, tensor in tensors.items():
            if not name.startswith("t."):
                continue
            assert tensor.tensor_type.name == name[2:], name
            assert list(tensor.shape) == [512, 2], (name, tensor.shape)
            theirs = np.ascontiguousarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
            ours = np.ascontiguousarray(tensors["values." + name[2:]].data)
            assert theirs.tobytes() == ours.tobytes(), f"{name}: gguf-py decodes other values"
            n_types += 1
        assert n_types == 18, n_types
        print(f"gguf-py reads {len(EXPECTED)} keys and {n_types} types of our file, all equal")


if __name__ == "__main__":
    main()
