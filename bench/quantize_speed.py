#!/usr/bin/env python3
"""Measures `sterna quantize` and llama.cpp's quantizer side by side: the same F16 file, the same threads, wall time.

    python3 bench/quantize_speed.py STERNA MAKE_MODEL [--shape qwen2.5-0.5b] [--model FILE] [--types Q8_0,...] [--threads 2] [--imatrix]

The file has random weights in a real shape (bench/make_model). Both programs run once unmeasured per type in turn order that
alternates, page cache warm; both write to the same folder, and what each wrote is removed before the next. Needs llama-cpp-python, built
for this machine. "Copy" is what reading the source and writing as many bytes as the target has takes: plain read() and write() calls and, as sterna does and
llama.cpp does not, an fsync().
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time

TYPES = "F16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q6_K Q5_K_S Q4_K_S Q3_K_S Q2_K IQ4_NL IQ4_XS TQ1_0 TQ2_0".split()
PEER = """
import ctypes, sys, time, llama_cpp as llama
quiet = llama.llama_log_callback(lambda level, text, data: None)
llama.llama_log_set(quiet, ctypes.c_void_p(0))
p = llama.llama_model_quantize_default_params()
p.ftype = getattr(llama, "LLAMA_FTYPE_MOSTLY_" + sys.argv[3])
p.nthread = int(sys.argv[4])
start = time.perf_counter()
status = llama.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(p))
print(time.perf_counter() - start)
sys.exit(status)
"""


def timed(command):
    start = time.perf_counter()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr[-1000:]}")
    return time.perf_counter() - start, done.stdout


def copy_seconds(source, target, n_bytes):
    """Reading the source, and writing n_bytes."""
    buffer = bytearray(8 << 20)
    start = time.perf_counter()
    with open(source, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    with open(target, "wb", buffering=0) as file:
        left = n_bytes
        while left > 0:
            left -= file.write(memoryview(buffer)[: min(left, len(buffer))])
        os.fsync(file.fileno())
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sterna", type=pathlib.Path)
    arguments.add_argument("make_model", type=pathlib.Path)
    arguments.add_argument("--shape", default="qwen2.5-0.5b")
    arguments.add_argument("--model", type=pathlib.Path, help="a file instead")
    arguments.add_argument("--types", default=",".join(TYPES))
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--folder", type=pathlib.Path, help="where files are written")
    options = arguments.parse_args()
    python = os.environ.get("PEER_VENV", sys.prefix) + "/bin/python"
    print("| type | sterna s | llama.cpp s | llama.cpp / sterna | copy s | copy / sterna |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = pathlib.Path(name)
        source = options.model or folder / "source.gguf"
        if not options.model:
            timed([options.make_model, options.shape, "F16", source])
        for kind in options.types.split(","):
            ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
            seconds, _ = timed([options.sterna, "quantize", source, ours, "--type", kind, "-t", options.threads, "-q"])
            n_bytes = ours.stat().st_size
            ours.unlink()
            _, out = timed([python, "-c", PEER, source, theirs, kind, options.threads])
            theirs.unlink()
            copy = copy_seconds(source, folder / "copy", n_bytes)
            peer = float(out)
            print(f"| {kind} | {seconds:.2f} | {peer:.2f} | {peer / seconds:.2f} | {copy:.2f} | {copy / seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
