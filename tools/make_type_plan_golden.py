#!/usr/bin/env python3
"""Writes tests/golden/quantize/type_plans.txt: the type that llama.cpp's quantizer gives every tensor of some small models.

Small random models in the layouts that the rules look at (tied or not, shared key-value heads, experts, fused q/k/v, widths that no
block of 256 divides) go through llama_model_quantize() once per file type, with and without an importance matrix.

    python3 tools/make_type_plan_golden.py          needs: numpy, gguf, llama-cpp-python (made with 0.19.0 and 0.3.36); seed 1
"""

import ctypes
import itertools
import pathlib
import re
import sys
import tempfile

import gguf
import llama_cpp as llama
import numpy as np

TARGETS = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K_S", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S",
           "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4_MOE"]  # fmt: skip


LOG = []


def shapes(arch, layers, width, ff, heads, kv_heads, vocab=64, tied=False, experts=0, fused=False, shared=0, bias=False):
    """(name, shape slowest first) of a model's tensors."""
    head = width // heads
    yield "token_embd.weight", (vocab, width)
    for i in range(layers):
        b = f"blk.{i}."
        yield b + "attn_norm.weight", (width,)
        if fused:
            yield b + "attn_qkv.weight", (width + 2 * kv_heads * head, width)
        else:
            for part, n in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
                yield b + f"attn_{part}.weight", (n * head, width)
                if bias:
                    yield b + f"attn_{part}.bias", (n * head,)
        yield b + "attn_output.weight", (width, width)
        yield b + "ffn_norm.weight", (width,)
        if experts:
            yield b + "ffn_gate_inp.weight", (experts, width)
            for part in ("gate", "up"):
                yield b + f"ffn_{part}_exps.weight", (experts, ff, width)
            yield b + "ffn_down_exps.weight", (experts, width, ff)
        if not experts or shared:
            tail = "_shexp.weight" if shared else ".weight"
            for part in ("gate", "up"):
                yield b + f"ffn_{part}{tail}", (ff, width)
            yield b + f"ffn_down{tail}", (width, ff)
    yield "output_norm.weight", (width,)
    if not tied:
        yield "output.weight", (vocab, width)


MODELS = {
    "llama": dict(arch="llama", layers=18, width=256, ff=512, heads=8, kv_heads=8),
    "llama-gqa4": dict(arch="llama", layers=18, width=256, ff=512, heads=8, kv_heads=2),
    "llama-tied": dict(arch="llama", layers=17, width=256, ff=256, heads=8, kv_heads=4, tied=True),
    "llama-70b": dict(arch="llama", layers=80, width=256, ff=256, heads=8, kv_heads=1, vocab=8),
    "llama-narrow": dict(arch="llama", layers=9, width=160, ff=256, heads=5, kv_heads=1),
    "llama-odd": dict(arch="llama", layers=3, width=48, ff=96, heads=4, kv_heads=4),
    "llama-moe8": dict(arch="llama", layers=9, width=256, ff=256, heads=8, kv_heads=2, experts=8),
    "qwen2-tied": dict(arch="qwen2", layers=18, width=256, ff=512, heads=8, kv_heads=2, tied=True, bias=True),
    "qwen2-narrow": dict(arch="qwen2", layers=24, width=224, ff=608, heads=7, kv_heads=1, tied=True, bias=True),
    "qwen3moe": dict(arch="qwen3moe", layers=9, width=256, ff=256, heads=8, kv_heads=2, experts=4),
    "qwen2moe": dict(arch="qwen2moe", layers=9, width=256, ff=256, heads=8, kv_heads=8, experts=4, shared=1),
    "phi3": dict(arch="phi3", layers=17, width=256, ff=256, heads=8, kv_heads=8, fused=True),
}


def write_model(path, arch, layers, width, ff, heads, kv_heads, experts=0, **rest):
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ff)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(rest.get("vocab", 64))
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
        writer.add_expert_feed_forward_length(ff)
        writer.add_expert_shared_feed_forward_length(ff)
    if arch == "phi3":
        writer.add_sliding_window(0)
        writer.add_rope_scaling_orig_ctx_len(128)
    tensors = dict(shapes(arch, layers, width, ff, heads, kv_heads, experts=experts, **rest))
    for name, shape in tensors.items():
        writer.add_tensor(name, (random.standard_normal(shape) * 0.05).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def importance_data(tensors):
    """The array that llama_model_quantize_params.imatrix wants, and what must stay alive with it."""
    entries, keep = [], []
    for name, shape in tensors.items():
        if len(shape) < 2:
            continue
        n = shape[-1] * (shape[0] if len(shape) == 3 else 1)
        data = (ctypes.c_float * n)(*([1.0] * n))
        keep.append(data)
        entries.append(llama.llama_model_imatrix_data(name=name.encode(), data=data, size=n))
    entries.append(llama.llama_model_imatrix_data(name=None, data=None, size=0))
    array = (llama.llama_model_imatrix_data * len(entries))(*entries)
    return array, (array, keep)


def quantize(source, name, tensors, weighted):
    """Returns: {tensor: type}, as a dry run says; None when the quantizer refuses."""
    parameters = llama.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama, "LLAMA_FTYPE_ALL_F32" if name == "F32" else f"LLAMA_FTYPE_MOSTLY_{name}")
    parameters.dry_run = True
    alive = None
    if weighted:
        array, alive = importance_data(tensors)
        parameters.imatrix = array
    LOG.clear()
    status = llama.llama_model_quantize(str(source).encode(), b"/dev/null", ctypes.byref(parameters))
    del alive
    if status != 0:
        return None
    line = re.compile(r"^\[ *\d+/ *\d+\] (\S+) +- \[.*?\], type = +(\S+), size = +\S+ MiB(?:.*\((\S+)\))?$")
    found = (line.match(text) for text in "".join(LOG).splitlines())
    return {m[1]: (m[3] or m[2]).upper() for m in found if m}


def main():
    listen = llama.llama_log_callback(lambda level, text, data: LOG.append(text.decode()))
    llama.llama_log_set(listen, ctypes.c_void_p(0))
    lines = ["# What llama.cpp's quantizer chose, by tools/make_type_plan_golden.py (llama-cpp-python 0.3.36)."]
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "source.gguf"
        for model, facts in MODELS.items():
            tensors = write_model(source, **facts)
            lines.append(f"model {model}")
            matrices = {name: shape for name, shape in tensors.items() if len(shape) > 1}
            for name, shape in matrices.items():
                if not name.startswith("blk.") or name.startswith("blk.0."):  # the reader repeats layer 0
                    lines.append(f"tensor {name} {' '.join(str(n) for n in reversed(shape))}")
            lines.append(f"layers {facts['layers']}")
            for kind in TARGETS:
                plans = []
                for weighted in (False, True):
                    types = quantize(source, kind, tensors, weighted)
                    if types is None:
                        sys.exit(f"{model} {kind}: refused")
                    groups = itertools.groupby(types[name] for name in matrices)
                    plans.append(" ".join(f"{key}*{len(list(group))}" for key, group in groups))
                if plans[0] == plans[1]:
                    lines.append(f"plan {kind} both {plans[0]}")
                else:
                    lines += [f"plan {kind} plain {plans[0]}", f"plan {kind} imatrix {plans[1]}"]
    out = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/quantize/type_plans.txt"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
