#!/usr/bin/env python3
"""Compares the files of `sterna quantize` with those of llama.cpp's quantizer: KL divergence from the F16 model (docs/quantization.md).

    python3 tools/quantization_quality.py STERNA MODEL-F16.gguf CALIBRATION.txt EVALUATION.txt [--types Q4_K_M,...] [--peer-perplexity]

Both quantizers get the same source and the same importance matrix, measured on the calibration text. Divergences are of the weights
alone: quantized files are decoded to F32 before the comparison, so that no engine's rounding of activations comes in. Needs: gguf,
llama-cpp-python. Prints a Markdown table.

One model is one throw of the dice: two quantizers of equal error differ by chance. --copies N takes N copies of the model, each with every
matrix changed by one percent of noise (seeds 1 to N), and prints the geometric mean of the ratios with its standard error.
"""

import argparse
import ctypes
import json
import math
import pathlib
import shutil
import subprocess
import sys
import tempfile

import gguf
import llama_cpp as llama
import numpy as np

TYPES = "Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S".split()


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr[-1000:]}")
    return done.stdout


def importance(path):
    """The array that llama_model_quantize_params.imatrix wants, and what must stay alive with it."""
    tensors = {t.name: t.data for t in gguf.GGUFReader(path).tensors}
    entries, keep = [], []
    for name, sums in tensors.items():
        if not name.endswith(".in_sum2"):
            continue
        counts = np.asarray(tensors[name.replace(".in_sum2", ".counts")]).reshape(-1, 1)
        mean = (np.asarray(sums).reshape(len(counts), -1) / np.maximum(counts, 1)).astype(np.float32).ravel()
        data = (ctypes.c_float * len(mean)).from_buffer_copy(mean.tobytes())
        keep.append(data)
        entries.append(llama.llama_model_imatrix_data(name=name.removesuffix(".in_sum2").encode(), data=data, size=len(mean)))
    entries.append(llama.llama_model_imatrix_data(name=None, data=None, size=0))
    array = (llama.llama_model_imatrix_data * len(entries))(*entries)
    return array, keep


def peer_quantize(source, target, kind, imatrix):
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = 2
    parameters.imatrix = imatrix
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) != 0:
        sys.exit(f"llama.cpp does not quantize {source} to {kind}")


def peer_perplexity(path, text, context=256):
    model = llama.Llama(str(path), n_ctx=context, logits_all=True, verbose=False, n_threads=2)
    tokens = model.tokenize(pathlib.Path(text).read_bytes())
    total = count = 0
    for at in range(0, len(tokens) - context + 1, context):
        window = tokens[at : at + context]
        window[0] = model.token_bos()
        model.reset()
        model.eval(window)
        logits = np.array(model.scores[:context], np.float64)[context // 2 : -1]
        top = logits.max(1, keepdims=True)
        log_z = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
        total += (log_z - logits[np.arange(len(logits)), window[context // 2 + 1 :]]).sum()
        count += len(logits)
    return float(np.exp(total / count))


def jitter(source, target, seed):
    """A copy with every F16 matrix times 1 + 0.01 * normal noise."""
    shutil.copy(source, target)
    chance = np.random.default_rng(seed)
    for tensor in gguf.GGUFReader(target, "r+").tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.F16:
            tensor.data[:] = tensor.data * (1 + 0.01 * chance.standard_normal(tensor.data.shape))


class Comparison:
    """One F16 model with its importance matrix."""

    def __init__(self, options, model, folder):
        self.options, self.model, self.folder = options, model, folder
        run(options.sterna, "imatrix", model, "-f", options.calibration, "-c", options.context, "-o", folder / "importance.gguf")
        self.imatrix, self.alive = importance(folder / "importance.gguf")

    def divergence(self, path):
        run(self.options.sterna, "quantize", path, self.folder / "f32.gguf", "--type", "f32", "-q", "--afresh")
        out = run(self.options.sterna, "perplexity", self.folder / "f32.gguf", "-f", self.options.evaluation, "-c", self.options.context,
                  "--kld-against", self.model, "--json")  # fmt: skip
        return json.loads(out)["against"]["mean_kld"]

    def files(self, kind):
        files = {who: self.folder / f"{who}.gguf" for who in ("peer", "imatrix", "calibrated")}
        peer_quantize(self.model, files["peer"], kind, self.imatrix)
        quantize = [self.options.sterna, "quantize", self.model]
        run(*quantize, files["imatrix"], "--type", kind, "--imatrix", self.folder / "importance.gguf", "-q", "--afresh")
        run(*quantize, files["calibrated"], "--type", kind, "--calibrate", self.options.calibration, "-c", self.options.context, "-q",
            "--afresh")  # fmt: skip
        return files


def mean_and_error(ratios):
    logs = np.log(ratios)
    return f"{math.exp(logs.mean()):.3f} ± {math.exp(logs.mean()) * logs.std(ddof=1) / math.sqrt(len(logs)):.3f}"


def compare_copies(options):
    print("| type | llama.cpp KLD | Sterna, same imatrix / llama.cpp | Sterna, calibrated / llama.cpp |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        copies = []
        for seed in range(1, options.copies + 1):
            folder = pathlib.Path(name) / str(seed)
            folder.mkdir()
            jitter(options.model, folder / "model.gguf", seed)
            copies.append(Comparison(options, folder / "model.gguf", folder))
        for kind in options.types.split(","):
            klds = [{who: copy.divergence(path) for who, path in copy.files(kind).items()} for copy in copies]
            ratios = {who: mean_and_error([kld[who] / kld["peer"] for kld in klds]) for who in ("imatrix", "calibrated")}
            print(f"| {kind} | {np.mean([kld['peer'] for kld in klds]):.6f} | {ratios['imatrix']} | {ratios['calibrated']} |", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("sterna", "model", "calibration", "evaluation"):
        arguments.add_argument(name, type=pathlib.Path)
    arguments.add_argument("--types", default=",".join(TYPES))
    arguments.add_argument("--context", default=256)
    arguments.add_argument("--peer-perplexity", action="store_true", help="also: both files' perplexity, as llama.cpp runs them")
    arguments.add_argument("--copies", type=int, default=0)
    options = arguments.parse_args()
    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    if options.copies:
        return compare_copies(options)
    print("| type | bytes | llama.cpp KLD | Sterna, same imatrix | ratio | Sterna, calibrated | ratio |" + (" PPL llama.cpp's file | PPL ours |" if options.peer_perplexity else ""))
    print("|---|---|---|---|---|---|---|" + ("---|---|" if options.peer_perplexity else ""))
    with tempfile.TemporaryDirectory() as name:
        comparison = Comparison(options, options.model, pathlib.Path(name))
        for kind in options.types.split(","):
            files = comparison.files(kind)
            sizes = {who: path.stat().st_size for who, path in files.items()}
            kld = {who: comparison.divergence(path) for who, path in files.items()}
            row = f"| {kind} | {sizes['calibrated']} | {kld['peer']:.6f} | {kld['imatrix']:.6f} | {kld['imatrix'] / kld['peer']:.3f} "
            row += f"| {kld['calibrated']:.6f} | {kld['calibrated'] / kld['peer']:.3f} |"
            if options.peer_perplexity:
                row += f" {peer_perplexity(files['peer'], options.evaluation):.4f} | {peer_perplexity(files['calibrated'], options.evaluation):.4f} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
