#!/usr/bin/env python3
"""Measures llama.cpp as `sterna bench --json` measures Sterna; run by bench/compare with the Python that has llama-cpp-python.

    peer_llama.py MODEL.gguf THREADS PROMPT DECODE DEPTH

Prints {"prefill": tokens/s, "decode": tokens/s, "load_seconds": s, "version": ...}. One warm-up, then one measured run.
"""
import ctypes
import json
import sys
import time

import llama_cpp as llama


def tokens_for(count, vocab_size):
    state, tokens = 1, []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        tokens.append((state >> 33) % vocab_size)
    return (llama.llama_token * max(count, 1))(*tokens)


def main():
    path = sys.argv[1]
    threads, n_prompt, n_decode, depth = map(int, sys.argv[2:6])
    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    start = time.perf_counter()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    if not model:
        sys.exit(f"{path}: llama.cpp does not load it")
    load_seconds = time.perf_counter() - start
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = (max(n_prompt, depth + n_decode) + 256) // 256 * 256
    parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_threads = parameters.n_threads_batch = threads
    context = llama.llama_init_from_model(model, parameters)
    vocab_size = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    tokens = tokens_for(max(n_prompt, depth + n_decode), vocab_size)
    memory = llama.llama_get_memory(context)

    def decode(first, count):
        at = ctypes.cast(ctypes.byref(tokens, first * ctypes.sizeof(llama.llama_token)), ctypes.POINTER(llama.llama_token))
        if llama.llama_decode(context, llama.llama_batch_get_one(at, count)) != 0:
            sys.exit(f"{path}: llama_decode failed")

    def prefill(count):
        for first in range(0, count, 512):
            decode(first, min(512, count - first))
        llama.llama_synchronize(context)

    def timed_prefill():
        llama.llama_memory_clear(memory, True)
        start = time.perf_counter()
        prefill(n_prompt)
        return n_prompt / (time.perf_counter() - start)

    def timed_decode():
        llama.llama_memory_clear(memory, True)
        prefill(depth)
        start = time.perf_counter()
        for i in range(n_decode):
            decode(depth + i, 1)
            llama.llama_synchronize(context)
        return n_decode / (time.perf_counter() - start)

    def second(run):
        run()
        return run()

    result = {
        "prefill": second(timed_prefill) if n_prompt else None,
        "decode": second(timed_decode) if n_decode else None,
        "load_seconds": load_seconds,
        "version": llama.__version__,
        "system": llama.llama_print_system_info().decode(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
