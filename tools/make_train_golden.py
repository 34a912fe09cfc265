#!/usr/bin/env python3
"""Writes tests/golden/train/*.safetensors: loss, every gradient and a loss curve of tiny networks, by PyTorch (2.15.0, CPU).

    make_train_golden.py OUTPUT_FOLDER

Inputs are formulas (mix() below), which tests/unit/train repeats, so that a file holds results only. The gradients come from
float64, the curves (200 steps of AdamW, and of Muon beside AdamW) from float32 and float64: how far these two part says what may be asked of a third. A ternary network jumps where a value rounds the other way: its salt is
the first with which no value that is rounded to an integer lies within MARGIN of a half.
"""
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

MARGIN = 1e-4
ROWS, LENGTH, STEPS = 3, 20, 200
COMMON = dict(vocab=40, width=24, layers=2, heads=4, kv_heads=2, head_dim=6, ffn=36, base=10000.0, eps=1e-5)
NETS = {
    "llama": dict(COMMON, ternary=False, tied=False, bf16=False),
    "llama-bf16": dict(COMMON, ternary=False, tied=False, bf16=True),
    "ternary": dict(COMMON, bitnet=True, ternary=True, tied=True, bf16=False),
    "ternary-bf16": dict(COMMON, bitnet=True, ternary=True, tied=True, bf16=True),
    "bitnet-float": dict(COMMON, bitnet=True, ternary=False, tied=True, bf16=False),
    # What Qwen 2 (biases), Qwen 3 (norms of heads) and Llama 3.1 (divided frequencies) add, all at once.
    "qwen": dict(COMMON, ternary=False, tied=False, bf16=False, halves=True, bias=True, head_norm=True, divisors=[1.0, 2.5, 4.0]),
}


def mix(a, b, c):
    x = (a * 2654435761 + b * 40503 + c * 97 + 12345) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 2246822519) & 0xFFFFFFFF
    return x ^ (x >> 13)


def shapes(net):
    q, kv = net["heads"] * net["head_dim"], net["kv_heads"] * net["head_dim"]
    width, ffn = net["width"], net["ffn"]
    yield "token_embd.weight", (net["vocab"], width)
    for i in range(net["layers"]):
        yield f"blk.{i}.attn_norm.weight", (width,)
        yield f"blk.{i}.attn_q.weight", (q, width)
        yield f"blk.{i}.attn_k.weight", (kv, width)
        yield f"blk.{i}.attn_v.weight", (kv, width)
        if net.get("bias"):
            for part, n in (("q", q), ("k", kv), ("v", kv)):
                yield f"blk.{i}.attn_{part}.bias", (n,)
        if net.get("head_norm"):
            yield f"blk.{i}.attn_q_norm.weight", (net["head_dim"],)
            yield f"blk.{i}.attn_k_norm.weight", (net["head_dim"],)
        if net.get("bitnet"):
            yield f"blk.{i}.attn_sub_norm.weight", (q,)
        yield f"blk.{i}.attn_output.weight", (width, q)
        yield f"blk.{i}.ffn_norm.weight", (width,)
        yield f"blk.{i}.ffn_gate.weight", (ffn, width)
        yield f"blk.{i}.ffn_up.weight", (ffn, width)
        if net.get("bitnet"):
            yield f"blk.{i}.ffn_sub_norm.weight", (ffn,)
        yield f"blk.{i}.ffn_down.weight", (width, ffn)
    yield "output_norm.weight", (width,)
    if not net["tied"]:
        yield "output.weight", (net["vocab"], width)


def make_weights(net, salt, dtype):
    """Parameter p's element i is mix(salt, p, i) as a number in [-0.5, 0.5), times 0.5; a norm's is that plus 1."""
    weights = {}
    for p, (name, shape) in enumerate(shapes(net)):
        values = [((mix(salt, p, i) >> 8) / 2**24 - 0.5) * 0.5 for i in range(math.prod(shape))]
        tensor = torch.tensor(values, dtype=torch.float32).to(dtype) + (1 if "norm" in name else 0)
        weights[name] = tensor.reshape(shape).requires_grad_()
    return weights


def make_batch(net, salt, step):
    """Rows that one coin per token decides; two documents in some rows; some tokens do not count."""
    tokens, weights, documents = [], [], []
    for row in range(ROWS):
        x = mix(salt + step, row, 1000) % net["vocab"]
        line = [x]
        for t in range(LENGTH):
            x = (5 * x + 3 + (mix(salt + step, row, t) & 1) * 7) % net["vocab"]
            line.append(x)
        tokens.append(line)
        weights.append([(0, 1, 0.5, 1)[mix(salt + step, row, 2000 + t) & 3] for t in range(LENGTH)])
        cut = mix(salt + step, row, 3000) % LENGTH
        documents.append([int(t >= cut) for t in range(LENGTH)])
    tokens = torch.tensor(tokens)
    return tokens[:, :-1], tokens[:, 1:], torch.tensor(weights), torch.tensor(documents)


class Rounding:
    """The rounding of activations and weights, and how near to a half any value came."""

    margin = math.inf

    @classmethod
    def round(cls, x, top):
        x = x.clamp(-top, top)  # what is clipped away does not matter
        away = ((x.detach() - x.detach().floor()) - 0.5).abs().min().item()
        cls.margin = min(cls.margin, away)
        return x.round()

    @classmethod
    def weight(cls, w):
        scale = 1 / w.abs().mean().clamp(min=1e-5)
        return w + (cls.round(w * scale, 1.0) / scale - w).detach()

    @classmethod
    def activation(cls, x):
        scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
        return x + (cls.round(x * scale, 127.0) / scale - x).detach()


class RoundedProduct(torch.autograd.Function):
    """a @ b with both, and the gradient of the result, rounded to bfloat16; sums are not."""

    @staticmethod
    def forward(ctx, a, b):
        a, b = a.bfloat16().to(a.dtype), b.bfloat16().to(b.dtype)
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        gradient = gradient.bfloat16().to(gradient.dtype)
        da, db = gradient @ b.mT, a.mT @ gradient
        return da, db.sum_to_size(b.shape)


class ExactProduct(RoundedProduct):
    """The same, but a @ b itself of what is not rounded: ternary matrices and int8 rows are exact in bfloat16 but for their scales."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a.bfloat16().to(a.dtype), b.bfloat16().to(b.dtype))
        return a @ b


def norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rotate(x, positions, net):
    """x [rows, length, heads, dim]"""
    pairs = x.shape[-1] // 2
    halves = net.get("bitnet") or net.get("halves", False)
    frequency = net["base"] ** (-torch.arange(pairs, dtype=torch.float64) * 2 / x.shape[-1])
    frequency = frequency / torch.tensor(net.get("divisors", [1.0] * pairs), dtype=torch.float64)
    angle = positions[..., None].double() * frequency
    cos, sin = angle.cos().to(x.dtype)[:, :, None], angle.sin().to(x.dtype)[:, :, None]
    if halves:
        a, b = x[..., :pairs], x[..., pairs:]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


def loss_sum(net, w, tokens, targets, weights, documents):
    rows, length = tokens.shape
    positions = torch.zeros_like(tokens)
    for t in range(1, length):
        positions[:, t] = torch.where(documents[:, t] == documents[:, t - 1], positions[:, t - 1] + 1, 0)
    visible = (documents[:, :, None] == documents[:, None, :]) & torch.ones(length, length, dtype=torch.bool).tril()
    eps, ternary, bitnet = net["eps"], net["ternary"], net.get("bitnet")
    multiply = RoundedProduct.apply if net["bf16"] else torch.matmul

    def linear(x, name):
        if ternary:
            product = ExactProduct.apply if net["bf16"] else torch.matmul
            return product(Rounding.activation(x), Rounding.weight(w[name]).T)
        return multiply(x, w[name].T)

    def heads(x, n):
        return x.reshape(rows, length, n, net["head_dim"])

    x = w["token_embd.weight"][tokens]
    for i in range(net["layers"]):
        p = f"blk.{i}."
        h = norm(x, w[p + "attn_norm.weight"], eps)
        q, k, v = (linear(h, f"{p}attn_{part}.weight") + w.get(f"{p}attn_{part}.bias", 0) for part in "qkv")
        q, k, v = heads(q, net["heads"]), heads(k, net["kv_heads"]), heads(v, net["kv_heads"])
        if net.get("head_norm"):
            q, k = norm(q, w[p + "attn_q_norm.weight"], eps), norm(k, w[p + "attn_k_norm.weight"], eps)
        q, k = rotate(q, positions, net), rotate(k, positions, net)
        group = net["heads"] // net["kv_heads"]
        k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        scores = multiply(q, k.mT) / math.sqrt(net["head_dim"])
        scores = scores.masked_fill(~visible[:, None], -math.inf)
        h = multiply(scores.softmax(-1), v).transpose(1, 2).reshape(rows, length, -1)
        if bitnet:
            h = norm(h, w[p + "attn_sub_norm.weight"], eps)
        x = x + linear(h, p + "attn_output.weight")
        h = norm(x, w[p + "ffn_norm.weight"], eps)
        gate, up = linear(h, p + "ffn_gate.weight"), linear(h, p + "ffn_up.weight")
        if bitnet:
            h = norm(gate.relu().pow(2) * up, w[p + "ffn_sub_norm.weight"], eps)
        else:
            h = F.silu(gate) * up
        x = x + linear(h, p + "ffn_down.weight")
    logits = multiply(norm(x, w["output_norm.weight"], eps), w["token_embd.weight" if net["tied"] else "output.weight"].T)
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten().to(losses.dtype)).sum()


def find_salt(net):
    for salt in range(1000):
        Rounding.margin = math.inf
        loss_sum(net, make_weights(net, salt, torch.float64), *make_batch(net, salt, 0))
        if not net["ternary"] or Rounding.margin > MARGIN:
            return salt
    raise SystemExit("no salt keeps away from halves")


def curve(net, salt, dtype):
    w = make_weights(net, salt, dtype)
    decayed = [t for t in w.values() if t.dim() == 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": [t for t in w.values() if t.dim() == 1], "weight_decay": 0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(STEPS):
        batch = make_batch(net, salt, step)
        loss = loss_sum(net, w, *batch) / batch[2].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def muon_curve(net, salt, dtype):
    """The same with torch.optim.Muon for the matrices of the layers. It orthogonalises in bfloat16, which is given another meaning while
    it does, so that its own code runs in `dtype`."""
    w = make_weights(net, salt, dtype)
    matrices = [t for n, t in w.items() if t.dim() == 2 and n.startswith("blk.")]
    others = [{"params": [t for n, t in w.items() if t.dim() == 2 and not n.startswith("blk.")], "weight_decay": 0.1},
              {"params": [t for t in w.values() if t.dim() == 1], "weight_decay": 0}]
    muon = torch.optim.Muon(matrices, lr=1e-2, weight_decay=0.1, momentum=0.95)
    adam = torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
    losses, bfloat16 = [], torch.bfloat16
    for step in range(STEPS):
        batch = make_batch(net, salt, step)
        loss = loss_sum(net, w, *batch) / batch[2].sum()
        muon.zero_grad()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        torch.bfloat16 = dtype
        muon.step()
        torch.bfloat16 = bfloat16
        adam.step()
        losses.append(loss.item())
    return losses


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, net in NETS.items():
        salt = find_salt(net)
        w = make_weights(net, salt, torch.float64)
        batch = make_batch(net, salt, 0)
        loss = loss_sum(net, w, *batch)
        loss.backward()
        margin = Rounding.margin
        losses, exact = curve(net, salt, torch.float32), curve(net, salt, torch.float64)
        tensors = {n: t.grad.float() for n, t in w.items()}
        tensors["salt"] = torch.tensor([salt], dtype=torch.int32)
        tensors["loss"] = torch.tensor([loss.item(), batch[2].sum().item()], dtype=torch.float32)
        tensors["curve"] = torch.tensor(losses, dtype=torch.float32)
        tensors["curve64"] = torch.tensor(exact, dtype=torch.float32)
        if name in ("llama", "qwen"):
            tensors["muon_curve"] = torch.tensor(muon_curve(net, salt, torch.float32), dtype=torch.float32)
            tensors["muon_curve64"] = torch.tensor(muon_curve(net, salt, torch.float64), dtype=torch.float32)
        save_file(tensors, folder / f"{name}.safetensors")
        print(f"{name}: salt {salt}, loss {loss.item():.6f} over {batch[2].sum().item()}, margin {margin:.1e}, "
              f"curve {losses[0]:.4f} ... {losses[-1]:.4f}")


if __name__ == "__main__":
    main()
