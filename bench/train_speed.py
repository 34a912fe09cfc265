#!/usr/bin/env python3
"""Training speed beside PyTorch's CPU build: the same network, batch and number type, alternating in one run.

    train_speed.py PATH_OF_train_speed [--shapes shipped,5m,15m] [--kinds llama,ternary] [--threads 1,2] [--rounds 3] [--seconds 3] [--compile]

Prints a Markdown table: medians of tokens per second, their ratio, the share of the peak (float32; AMX-bf16 with --type bf16 where the CPU has it) that was measured in the same run, and
what the second core brings. PyTorch runs each measurement in a process of its own, with scaled_dot_product_attention, fused
AdamW and a warm-up step; --compile adds torch.compile.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time

# vocab, width, layers, heads, kv heads, head size, ffn, rows, length
SHAPES = {
    "shipped": (2048, 256, 6, 4, 2, 64, 768, 8, 512),
    "5m": (4096, 256, 6, 4, 4, 64, 704, 8, 256),
    "15m": (8192, 384, 8, 6, 6, 64, 1024, 8, 256),
}


def peer(kind, shape, threads, seconds, compiled, bf16):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    vocab, width, layers, heads, kv_heads, dim, ffn, rows, length = shape
    ternary = kind == "ternary"

    class Linear(nn.Linear):
        def __init__(self, n_in, n_out):
            super().__init__(n_in, n_out, bias=False)

        def forward(self, x):
            if not ternary:
                return F.linear(x, self.weight)
            w = self.weight
            scale = w.abs().mean().clamp(min=1e-5)
            w = w + ((w / scale).round().clamp(-1, 1) * scale - w).detach()
            top = x.abs().amax(-1, keepdim=True).clamp(min=1e-5) / 127
            x = x + ((x / top).round() * top - x).detach()
            return F.linear(x, w)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.ffn_norm = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
            self.q, self.k, self.v = Linear(width, heads * dim), Linear(width, kv_heads * dim), Linear(width, kv_heads * dim)
            self.o = Linear(heads * dim, width)
            self.gate, self.up, self.down = Linear(width, ffn), Linear(width, ffn), Linear(ffn, width)
            self.sub = nn.RMSNorm(heads * dim, 1e-5) if ternary else nn.Identity()
            self.ffn_sub = nn.RMSNorm(ffn, 1e-5) if ternary else nn.Identity()

        def forward(self, x, cos, sin):
            def rotate(h, n):
                h = h.view(rows, length, n, dim).transpose(1, 2)
                a, b = h.chunk(2, -1)
                return h * cos + torch.cat([-b, a], -1) * sin

            h = self.norm(x)
            q, k = rotate(self.q(h), heads), rotate(self.k(h), kv_heads)
            v = self.v(h).view(rows, length, kv_heads, dim).transpose(1, 2)
            h = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
            x = x + self.o(self.sub(h.transpose(1, 2).reshape(rows, length, heads * dim)))
            h = self.ffn_norm(x)
            gate, up = self.gate(h), self.up(h)
            h = F.relu(gate).square() * up if ternary else F.silu(gate) * up
            return x + self.down(self.ffn_sub(h))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocab, width)
            nn.init.normal_(self.embedding.weight, std=0.02)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm = nn.RMSNorm(width, 1e-5)
            angle = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(dim // 2) * 2 / dim)
            self.register_buffer("cos", torch.cat([angle.cos()] * 2, -1))
            self.register_buffer("sin", torch.cat([angle.sin()] * 2, -1))

        def forward(self, tokens, targets):
            x = self.embedding(tokens)
            for block in self.blocks:
                x = block(x, self.cos, self.sin)
            logits = F.linear(self.norm(x), self.embedding.weight)
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    model = Model()
    loss_of = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    tokens, targets = torch.randint(vocab, (2, rows, length))

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    step()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 3:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    print(json.dumps({"tokens_per_second": rows * length / statistics.median(times)}))


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--shapes", default="shipped,5m,15m")
    parser.add_argument("--kinds", default="llama,ternary")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--type", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)  # kind, shape, threads
    args = parser.parse_args()
    if args.peer:
        kind, shape, threads = args.peer
        return peer(kind, SHAPES[shape], int(threads), args.seconds, args.compile, args.type == "bf16")

    print(f"{args.type}; tokens per second, medians of {args.rounds} alternating runs\n")
    print("| network | threads | Sterna | PyTorch | ratio | GFLOP/s | of the peak | 1 to n cores |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in args.shapes.split(","):
        for kind in args.kinds.split(","):
            single = None
            for threads in args.threads.split(","):
                ours, theirs = [], []
                for _ in range(args.rounds):
                    ours.append(run([args.program, kind, *map(str, SHAPES[shape]), threads, str(args.seconds), args.type]))
                    command = [sys.executable, __file__, "-", "--peer", kind, shape, threads, "--seconds", str(args.seconds), "--type", args.type]
                    theirs.append(run(command + ["--compile"] * args.compile)["tokens_per_second"])
                speed = statistics.median(r["tokens_per_second"] for r in ours)
                peer_speed = statistics.median(theirs)
                single = single or speed
                flops = statistics.median(r["gflops"] for r in ours)
                share = statistics.median(r["gflops"] / r["peak_gflops"] for r in ours)
                size = ours[0]["parameters"] / 1e6
                print(f"| {kind} {shape} ({size:.1f} M) | {threads} | {speed:.0f} | {peer_speed:.0f} | {speed / peer_speed:.2f} | "
                      f"{flops:.0f} | {share:.2f} | {speed / single:.2f} |", flush=True)


if __name__ == "__main__":
    main()
