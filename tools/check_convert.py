#!/usr/bin/env python3
"""sterna convert against transformers: tiny random models of every architecture are saved by transformers, converted, and run by both.

    python tools/check_convert.py [--bin build/dev/bin] [--keep FOLDER] [names...]

For each model of make_model_golden.py, and for each of f32, f16, bf16, q8_0, q4_0:
  * `sterna convert` turns the checkpoint, stored as float32, float16 and bfloat16, into GGUF;
  * PyPI's gguf reads the result;
  * the logits of a 24-token prompt are compared with transformers' own for the weights in that type (f32: 1e-4 of the largest logit; f16
    and bf16 to the same limit, for the reference runs on the rounded weights);
  * `--to safetensors` writes it back, transformers loads that, and its logits are compared once more.
Quantized types are only run, and their distance printed. Needs torch, transformers, safetensors, gguf.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers as tf
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

import make_hf_golden
import make_model_golden as golden

LIMIT = 1e-4
QUANTIZED = ("q8_0", "q4_0")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:2]))}: {done.stderr.decode().strip()}")
    return done.stdout


def ours(programs, path, tokens, width):
    values = np.frombuffer(run(programs / "dump_logits", path, *tokens), dtype="<f4")
    return values.reshape(-1, width)


def theirs(model, tokens):
    found = golden.run(model, tokens)
    return found.mean(0, keepdims=True) if isinstance(model, tf.BertModel) else found


def distance(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def round_weights(model, dtype):
    """What is saved; RoPE's frequencies, which are not, stay as they are."""
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.copy_(value.to(dtype).to(torch.float32))


def save(model, config, name, folder, dtype):
    folder.mkdir(parents=True, exist_ok=True)
    make_hf_golden.save_first_qwen(model, config, folder) if name == "qwen" else model.save_pretrained(folder)
    path = folder / "model.safetensors"
    save_file({k: v.to(dtype) for k, v in load_file(path).items()}, path, metadata={"format": "pt"})


def check(case, programs, folder, failures):
    model, file, config = case()
    name, tokens = file.path.stem, golden.prompt(config.vocab_size)
    line = [f"{name:15}"]
    for kind, dtype in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16)):
        source, output = folder / name / f"hf-{kind}", folder / name / f"{kind}.gguf"
        round_weights(model, dtype)
        save(model, config, name, source, dtype)
        run(programs / "sterna", "convert", source, "-o", output, "-q")
        GGUFReader(output)
        reference = theirs(model, tokens)
        found = distance(ours(programs, output, tokens, reference.shape[1]), reference)
        line.append(f"{kind} {found:.1e}")
        if not found <= LIMIT:
            failures.append(f"{name} {kind}: {found:.2e}")
        if kind == "f32":
            back = folder / name / "back"
            run(programs / "sterna", "convert", output, "-o", back, "--to", "safetensors", "--type", "f32")
            if name == "qwen":
                continue  # transformers has no class for it
            loaded = type(model).from_pretrained(back, dtype=torch.float32, attn_implementation="eager")
            found = distance(theirs(loaded, tokens), reference)
            line.append(f"back {found:.1e}")
            if not found <= LIMIT:
                failures.append(f"{name} and back: {found:.2e}")
    for kind in QUANTIZED:
        output = folder / name / f"{kind}.gguf"
        run(programs / "sterna", "convert", folder / name / "hf-f32", "-o", output, "-q", "--type", kind)
        GGUFReader(output)
        line.append(f"{kind} {distance(ours(programs, output, tokens, reference.shape[1]), reference):.2f}")
    print("  ".join(line), flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/dev/bin")
    arguments.add_argument("--keep", type=pathlib.Path)
    arguments.add_argument("names", nargs="*")
    arguments = arguments.parse_args()
    failures = []
    with tempfile.TemporaryDirectory() as temporary:
        for case in golden.CASES:
            if arguments.names and case.__name__ not in arguments.names:
                continue
            try:
                check(case, arguments.bin, arguments.keep or pathlib.Path(temporary), failures)
            except Exception as problem:  # one broken model must not hide the others
                failures.append(f"{case.__name__}: {problem}")
    print("\n".join([f"FAILED: {failure}" for failure in failures] or ["all agree"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
