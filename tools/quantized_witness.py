#!/usr/bin/env python3
"""Quantized inference against llama.cpp on the same trained model.

    quantized_witness.py libsterna.so MODEL.gguf [TYPE ...]

MODEL is a float GGUF of a trained model (for instance stories260K; its width of 64 leaves the 256-wide types out: for those
`make_model tiny F32` gives random weights, where the figures are larger but as comparable). For each type llama.cpp's own tool quantizes it; gguf-py decodes the
result to float32, and llama.cpp runs that as the reference: what the quantized weights mean, without any rounding of activations.
Then Sterna and llama.cpp run the quantized file, and the mean Kullback-Leibler divergence of their next-token distributions
from the reference's is printed, in nats. Fails when Sterna's exceeds llama.cpp's by 1e-4 or more.

Needs PyPI: llama-cpp-python 0.3.36, gguf 0.19.0, numpy. The text is a greedy continuation by the reference itself.
"""
import ctypes
import sys
import tempfile
from pathlib import Path

import gguf
import llama_cpp as llama
import numpy as np

LIMIT = 1e-4
N_TOKENS = 120
TYPES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17,
         "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37}  # llama.cpp's file types


def log_softmax(x):
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


class Peer:
    def __init__(self, path):
        params = llama.llama_model_default_params()
        params.n_gpu_layers = 0
        params.use_mmap = True
        self.model = llama.llama_model_load_from_file(str(path).encode(), params)
        context = llama.llama_context_default_params()
        context.n_ctx, context.n_threads, context.n_threads_batch = 128, 1, 1
        context.type_k = context.type_v = llama.GGML_TYPE_F32 if hasattr(llama, "GGML_TYPE_F32") else 0
        context.flash_attn_type = 0
        self.context = llama.llama_init_from_model(self.model, context)
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def logits(self, tokens):
        rows = []
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        for token in tokens:
            one = (llama.llama_token * 1)(token)
            assert llama.llama_decode(self.context, llama.llama_batch_get_one(one, 1)) == 0
            rows.append(np.ctypeslib.as_array(llama.llama_get_logits(self.context), (self.n_vocab,)).copy())
        return np.array(rows)

    def continue_greedily(self, first, n):
        tokens = [first]
        while len(tokens) < n:
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens


class Ours:
    def __init__(self, library, path):
        self.c = ctypes.CDLL(library)
        self.c.sterna_last_error.restype = ctypes.c_char_p
        self.c.sterna_session_logits.restype = ctypes.POINTER(ctypes.c_float)
        self.model, self.engine, self.session = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.c.sterna_model_load(str(path).encode(), 1, ctypes.byref(self.model)))
        self.check(self.c.sterna_engine_create(self.model, None, ctypes.byref(self.engine)))
        self.check(self.c.sterna_session_create(self.engine, None, ctypes.byref(self.session)))
        self.n_vocab = self.c.sterna_model_vocab_size(self.model)

    def check(self, status):
        if status:
            raise RuntimeError(self.c.sterna_last_error().decode())

    def logits(self, tokens):
        rows = []
        for token in tokens:
            one = ctypes.c_int32(token)
            self.check(self.c.sterna_session_append(self.session, ctypes.byref(one), ctypes.c_size_t(1)))
            self.check(self.c.sterna_engine_decode(self.engine, ctypes.byref(self.session), ctypes.c_size_t(1)))
            rows.append(np.ctypeslib.as_array(self.c.sterna_session_logits(self.session), (self.n_vocab,)).copy())
        return np.array(rows)


def quantize(source, target, file_type):
    params = llama.llama_model_quantize_default_params()
    params.ftype = file_type
    params.nthread = 1
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise RuntimeError(f"llama.cpp could not quantize to {target}")


def decode(source, target):
    """The same file with every tensor as float32."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in ("general.architecture", "general.quantization_version", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(field.name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    types = {}
    for tensor in reader.tensors:
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, np.ascontiguousarray(values, dtype=np.float32).reshape(tensor.shape[::-1]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return types


def divergence(reference, other):
    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def main():
    library, source = sys.argv[1:3]
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, ctypes.c_void_p(0))
    llama.llama_backend_init()
    failed = 0
    print(f"{'type':8} {'Sterna':>12} {'llama.cpp':>12} {'apart':>12}  tensors")
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[3:] or TYPES:
            quantized, plain = Path(folder) / f"{name}.gguf", Path(folder) / f"{name}-f32.gguf"
            quantize(source, quantized, TYPES[name])
            types = decode(quantized, plain)
            reference_model = Peer(plain)
            tokens = reference_model.continue_greedily(1, N_TOKENS)
            reference, theirs, ours = reference_model.logits(tokens), Peer(quantized).logits(tokens), Ours(library, quantized).logits(tokens)
            kld_ours, kld_theirs = divergence(reference, ours), divergence(reference, theirs)
            good = kld_ours < kld_theirs + LIMIT
            failed += not good
            print(f"{name:8} {kld_ours:12.3e} {kld_theirs:12.3e} {divergence(ours, theirs):12.3e}  {types}{'' if good else '  TOO FAR'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
