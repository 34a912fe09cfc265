#!/usr/bin/env python3
"""Makes F16 GGUF files from the small trained model babyllama105, for measuring quantization (docs/quantization.md).

    python3 tools/make_wide_llama.py FOLDER_OF_LLAMA2C OUT.gguf [--wide]          needs: numpy, gguf, sentencepiece

Its widths (128 and 352) suit blocks of 32 only. With --wide they become 256 and 512 without changing what the model computes, so that
blocks of 256 can be measured on trained structure: the residual stream is rotated into a wider space (norm weights are folded into the
matrices behind them first), every value head is split into two, and some neurons are doubled, their outputs shared unevenly. The inputs
of the widened matrices have the rank of the original ones, which favours methods that know how inputs vary together.
"""

import argparse
import pathlib
import struct

import gguf
import numpy as np
import sentencepiece


def read(path):
    data = path.read_bytes()
    dim, hidden, layers, heads, kv_heads, vocab, context = struct.unpack("7i", data[:28])
    values, at = np.frombuffer(data, np.float32, offset=28), 0

    def take(*shape):
        nonlocal at
        n = int(np.prod(shape))
        at += n
        return values[at - n : at].reshape(shape).astype(np.float64)

    kv = dim * kv_heads // heads
    m = dict(dim=dim, hidden=hidden, layers=layers, heads=heads, kv_heads=kv_heads, vocab=abs(vocab), context=context, head=dim // heads)
    m["embed"] = take(abs(vocab), dim)
    m["attn_norm"] = take(layers, dim)
    m["q"], m["k"], m["v"] = take(layers, dim, dim), take(layers, kv, dim), take(layers, kv, dim)
    m["o"] = take(layers, dim, dim)
    m["ffn_norm"] = take(layers, dim)
    m["gate"], m["down"], m["up"] = take(layers, hidden, dim), take(layers, dim, hidden), take(layers, hidden, dim)
    m["norm"] = take(dim)
    at += 2 * context * (dim // heads // 2)  # old rotation tables
    m["output"] = m["embed"] if vocab > 0 else take(abs(vocab), dim)
    return m


def orthogonal(random, rows, columns):
    """rows x columns with orthonormal columns."""
    return np.linalg.qr(random.standard_normal((rows, columns)))[0]


def widen(m, random):
    dim, wide, head = m["dim"], 2 * m["dim"], m["head"]
    turn = orthogonal(random, wide, dim)
    w = dict(m, dim=wide, heads=2 * m["heads"], kv_heads=2 * m["kv_heads"], hidden=512)
    # The stream becomes sqrt(2) turn x: the same mean square, so the same epsilon; a norm weight of 1/sqrt(2) gives turn norm(x).
    w["embed"] = np.sqrt(2) * m["embed"] @ turn.T
    w["norm"] = np.full(wide, 1 / np.sqrt(2))
    w["attn_norm"] = w["ffn_norm"] = np.full((m["layers"], wide), 1 / np.sqrt(2))
    w["output"] = m["output"] * m["norm"] @ turn.T
    parts = {name: [] for name in ("q", "k", "v", "o", "gate", "up", "down")}
    group = m["heads"] // m["kv_heads"]
    for i in range(m["layers"]):
        behind = lambda name, norm: m[name][i] * m[norm][i] @ turn.T
        q, k, v = (behind(name, "attn_norm").reshape(-1, head, wide) for name in ("q", "k", "v"))
        o = m["o"][i].reshape(dim, m["heads"], head)
        new_q, new_k, new_v, new_o = [], [], [], []
        for kv in range(m["kv_heads"]):
            split = orthogonal(random, 2 * head, head)
            for copy in range(2):
                part = split[copy * head : (copy + 1) * head]
                new_k.append(k[kv])
                new_v.append(part @ v[kv])
                for h in range(kv * group, (kv + 1) * group):
                    new_q.append(q[h])
                    new_o.append(o[:, h] @ part.T)
        parts["q"].append(np.concatenate(new_q))
        parts["k"].append(np.concatenate(new_k))
        parts["v"].append(np.concatenate(new_v))
        parts["o"].append(np.sqrt(2) * turn @ np.concatenate(new_o, axis=1))
        order = np.concatenate([np.arange(m["hidden"]), random.choice(m["hidden"], 512 - m["hidden"], replace=False)])
        random.shuffle(order)
        doubled = np.bincount(order, minlength=m["hidden"]) > 1
        first_share = np.where(doubled, random.uniform(0.3, 0.7, m["hidden"]), 1.0)
        share, seen = np.empty(512), set()
        for at, neuron in enumerate(order):
            share[at] = 1 - first_share[neuron] if neuron in seen else first_share[neuron]
            seen.add(neuron)
        parts["gate"].append(behind("gate", "ffn_norm")[order])
        parts["up"].append(behind("up", "ffn_norm")[order])
        parts["down"].append(np.sqrt(2) * turn @ (m["down"][i][:, order] * share))
    w.update({name: np.stack(arrays) for name, arrays in parts.items()})
    return w


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("--wide", action="store_true")
    options = arguments.parse_args()
    m = read(options.folder / "babyllama105.bin")
    if options.wide:
        m = widen(m, np.random.default_rng(1))
    writer = gguf.GGUFWriter(options.out, "llama")
    writer.add_context_length(m["context"])
    writer.add_embedding_length(m["dim"])
    writer.add_block_count(m["layers"])
    writer.add_feed_forward_length(m["hidden"])
    writer.add_head_count(m["heads"])
    writer.add_head_count_kv(m["kv_heads"])
    writer.add_rope_dimension_count(m["head"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(m["vocab"])
    writer.add_file_type(1)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(options.folder / "tok105.model"))
    ids = range(m["vocab"])
    kinds = [2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1 for i in ids]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i).encode() for i in ids])
    writer.add_token_scores([pieces.get_score(i) for i in ids])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    half = lambda name, x: writer.add_tensor(name, x.astype(np.float16))
    single = lambda name, x: writer.add_tensor(name, x.astype(np.float32))
    half("token_embd.weight", m["embed"])
    single("output_norm.weight", m["norm"])
    half("output.weight", m["output"])
    names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
    for i in range(m["layers"]):
        single(f"blk.{i}.attn_norm.weight", m["attn_norm"][i])
        single(f"blk.{i}.ffn_norm.weight", m["ffn_norm"][i])
        for ours, theirs in names.items():
            half(f"blk.{i}.{theirs}.weight", m[ours][i])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
