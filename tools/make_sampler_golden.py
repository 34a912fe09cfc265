#!/usr/bin/env python3
"""Writes tests/cases/sampler_*.case: what the sampler must leave and draw, computed here by an independent numpy implementation.

    python3 tools/make_sampler_golden.py [--check-transformers] [--check-llama]

Float64 and plain sorting throughout, straight from the papers' definitions (sources: src/engine/sampler.h). With
--check-transformers every single-step case is also run through transformers' LogitsProcessors, which must leave the same tokens; with
--check-llama those of top-n-sigma, XTC and the other truncations through llama.cpp's samplers (llama-cpp-python 0.3.36).
Made with Python 3.11, numpy 2.4.6, transformers 5.23.0, torch 2.15.0; all randomness is the generators below.
"""
import argparse
import math
import pathlib

import numpy as np

CASES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "cases"


def philox(counter, key):
    """Philox4x32-10, after the paper's pseudocode."""
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]  # Random123's kat_vectors
assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]) == [
    0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def uniform(seed, position, stream=0):
    b = philox([position & 0xFFFFFFFF, position >> 32, stream, 0], [seed & 0xFFFFFFFF, seed >> 32])
    return ((b[0] << 21) ^ (b[1] >> 11)) * 2.0**-53


def lcg_logits(n, seed, scale):
    """n float32 logits in [-scale, scale); the C++ test makes the same ones."""
    x, out = seed & 0xFFFFFFFF, []
    for _ in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out.append(np.float32(np.float32((x >> 8) * 2.0**-23 - 1.0) * np.float32(scale)))
    return np.array(out, dtype=np.float32)


DEFAULTS = dict(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, penalty_last_n=64, repeat_penalty=1.0,
                presence_penalty=0.0, frequency_penalty=0.0, dry_multiplier=0.0, dry_base=1.75, dry_allowed_length=2,
                dry_last_n=-1, top_n_sigma=-1.0, xtc_probability=0.0, xtc_threshold=0.1, seed=0, position=0, draws=0)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def dry(logits, history, p):
    """By the definition, quadratic: for every token, the longest match that it would continue."""
    tail = history if p["dry_last_n"] < 0 else history[max(0, len(history) - p["dry_last_n"]):]
    reach = len(tail)
    for after in range(len(tail)):
        before = tail[:len(tail) - after]
        if any(len(b) <= len(before) and before[len(before) - len(b):] == b for b in p["breakers"]):
            reach = after
            break
    longest = {}
    for i in range(len(tail)):  # tail[i] is the token that followed
        n = 0
        while n < i and n < reach and tail[i - 1 - n] == tail[len(tail) - 1 - n]:
            n += 1
        if n >= max(1, p["dry_allowed_length"]):
            longest[tail[i]] = max(longest.get(tail[i], 0), n)
    for token, n in longest.items():
        logits[token] -= p["dry_multiplier"] * p["dry_base"] ** (n - p["dry_allowed_length"])


def run(p):
    logits = np.array(p["logits"], dtype=np.float64)
    logits[np.isnan(logits)] = -np.inf
    logits = np.minimum(logits, np.finfo(np.float32).max)
    history = p["history"]
    if p["allowed"] is not None:
        blocked = np.ones(len(logits), bool)
        blocked[p["allowed"]] = False
        logits[blocked] = -np.inf
    for token, bias in p["bias"]:
        logits[token] += bias
    tail = history if p["penalty_last_n"] < 0 else history[max(0, len(history) - p["penalty_last_n"]):]
    for token in set(tail):
        x = logits[token]
        x = x / p["repeat_penalty"] if x > 0 else x * p["repeat_penalty"]
        logits[token] = x - tail.count(token) * p["frequency_penalty"] - p["presence_penalty"]
    if p["dry_multiplier"] > 0:
        dry(logits, history, p)
    if p["temperature"] <= 0:
        return {int(np.argmax(logits)): 1.0}
    if p["top_n_sigma"] > 0:
        possible = logits[logits > -np.inf]
        logits[logits < possible.max() - p["top_n_sigma"] * possible.std()] = -np.inf
    left = [int(i) for i in np.argsort(-logits, kind="stable") if logits[i] > -np.inf]  # ties by id
    if p["top_k"] > 0:
        left = left[:p["top_k"]]
    if p["typical_p"] < 1:
        prob = softmax(logits[left])
        surprise = -np.log(prob)
        order = np.lexsort((left, np.abs(surprise - (prob * surprise).sum())))
        n = int((np.cumsum(prob[order]) < p["typical_p"]).sum()) + 1
        chosen = {left[i] for i in order[:n]}
        left = [i for i in left if i in chosen]
    if p["top_p"] < 1:
        mass = np.cumsum(softmax(logits[left]))
        left = left[:int((mass < p["top_p"]).sum()) + 1]
    if p["min_p"] > 0:
        prob = softmax(logits[left])
        left = [t for t, q in zip(left, prob) if q >= p["min_p"] * prob.max()]
    if p["xtc_threshold"] <= 0.5 and uniform(p["seed"], p["position"], 1) < p["xtc_probability"]:
        above = [t for t, q in zip(left, softmax(logits[left])) if q >= p["xtc_threshold"]]  # likeliest first, ties by id
        left = [t for t in left if t not in above[:-1]]
    left.sort()
    prob = softmax(logits[left] / p["temperature"]) if math.isfinite(p["temperature"]) else np.full(len(left), 1 / len(left))
    return dict(zip(left, prob.tolist()))


def draw(dist, p):
    tokens = []
    for k in range(p["draws"]):
        if 0 < p["xtc_probability"] < 1:  # decided anew at each position
            dist = run({**p, "position": p["position"] + k})
        ids, mass = list(dist), np.cumsum(list(dist.values()))
        u = uniform(p["seed"], p["position"] + k)
        i = int((mass <= u).sum())
        assert np.abs(mass - u).min() > 1e-6 or len(ids) == 1, "a draw too close to a boundary: choose another seed"
        tokens.append(ids[min(i, len(ids) - 1)])
    return tokens


def make(**given):
    p = dict(DEFAULTS, history=[], allowed=None, bias=[], breakers=[], text=None)
    p.update(given)
    if "random" in p:
        p["logits"] = lcg_logits(*p["random"])
    return p


def number(x):
    return repr(float(x)) if math.isfinite(x) else str(float(x))


def write(name, comment, cases, check):
    lines = [f"# {comment}", "# Made by tools/make_sampler_golden.py."]
    for p in cases:
        dist = run(p)
        for witness in check:
            witness(p, dist)
        lines.append("== input")
        lines.append("random {} {} {}".format(*p["random"]) if "random" in p else "logits " + " ".join(map(number, p["logits"])))
        for key in DEFAULTS:
            if p[key] != DEFAULTS[key]:
                lines.append(f"{key} {p[key]}")
        if p["history"]:
            lines.append("history " + " ".join(map(str, p["history"])))
        if p["allowed"] is not None:
            lines.append("allowed " + " ".join(map(str, p["allowed"])))
        lines += [f"bias {t} {number(b)}" for t, b in p["bias"]]
        lines += ["breaker " + " ".join(map(str, b)) for b in p["breakers"]]
        lines.append("== expect")
        if len(dist) > 100:
            lines.append(f"count {len(dist)}\nid_sum {sum(dist)}")
        else:
            lines.append("left " + " ".join(f"{t}:{q:.7g}" for t, q in dist.items()))
        if p["draws"]:
            lines.append("tokens " + " ".join(map(str, draw(dist, p))))
    (CASES / f"sampler_{name}.case").write_text("\n".join(lines) + "\n")


def check_transformers(p, dist):
    import torch
    from transformers import generation as g
    single = {k for k in ("top_k", "top_p", "min_p", "typical_p", "repeat_penalty") if p[k] != DEFAULTS[k]}
    others = p["top_n_sigma"] > 0 or p["xtc_probability"] > 0 or p["bias"] or p["allowed"] is not None or p["presence_penalty"] or p["frequency_penalty"] or p["dry_multiplier"]
    if len(single) != 1 or others or p["temperature"] != 1.0 or not np.isfinite(p["logits"]).all():
        return
    if p["penalty_last_n"] == 0 or p["top_k"] > len(p["logits"]) or (p["top_k"] and len(set(p["logits"])) < len(p["logits"])):
        return  # not expressible there; and it keeps all ties at the border
    key = single.pop()
    scores = torch.tensor(np.array(p["logits"], dtype=np.float64))[None]
    ids = torch.tensor([p["history"][-p["penalty_last_n"]:] or [0]])
    warper = {"top_k": lambda: g.TopKLogitsWarper(p["top_k"]), "top_p": lambda: g.TopPLogitsWarper(p["top_p"]),
              "min_p": lambda: g.MinPLogitsWarper(p["min_p"]), "typical_p": lambda: g.TypicalLogitsWarper(p["typical_p"]),
              "repeat_penalty": lambda: g.RepetitionPenaltyLogitsProcessor(p["repeat_penalty"])}[key]()
    got = torch.softmax(warper(ids, scores)[0], -1).numpy()
    want = np.zeros(len(got))
    want[list(dist)] = list(dist.values())
    assert np.allclose(got, want, rtol=1e-9, atol=1e-12), (key, p[key], got, want)
    check_transformers.count = getattr(check_transformers, "count", 0) + 1


def check_llama(p, dist):
    """What a single sampler of llama.cpp leaves, for cases that use one of these and nothing else."""
    import llama_cpp
    keys = {"top_n_sigma", "xtc_probability", "top_k", "top_p", "min_p", "typical_p"}
    used = {k for k in DEFAULTS if p[k] != DEFAULTS[k]} - {"seed", "position", "draws", "xtc_threshold"}
    if len(used) != 1 or not used <= keys or p["bias"] or p["allowed"] is not None or not np.isfinite(p["logits"]).all():
        return
    if 0 < p["xtc_probability"] < 1 or len(set(map(float, p["logits"]))) < len(p["logits"]):
        return  # its random numbers and its order of ties are not ours
    key = used.pop()
    sampler = {"top_n_sigma": lambda: llama_cpp.llama_sampler_init_top_n_sigma(p["top_n_sigma"]),
               "xtc_probability": lambda: llama_cpp.llama_sampler_init_xtc(p["xtc_probability"], p["xtc_threshold"], 1, 1),
               "top_k": lambda: llama_cpp.llama_sampler_init_top_k(p["top_k"]),
               "top_p": lambda: llama_cpp.llama_sampler_init_top_p(p["top_p"], 1),
               "min_p": lambda: llama_cpp.llama_sampler_init_min_p(p["min_p"], 1),
               "typical_p": lambda: llama_cpp.llama_sampler_init_typical(p["typical_p"], 1)}[key]()
    data = (llama_cpp.llama_token_data * len(p["logits"]))()
    for i, logit in enumerate(p["logits"]):
        data[i].id, data[i].logit = i, float(logit)
    array = llama_cpp.llama_token_data_array(data=data, size=len(data), selected=-1, sorted=False)
    llama_cpp.llama_sampler_apply(sampler, array)
    left = {array.data[i].id for i in range(array.size) if array.data[i].logit > -math.inf}
    assert left == set(dist), (key, p[key], sorted(left), sorted(dist))
    check_llama.count[key] = check_llama.count.get(key, 0) + 1


check_llama.count = {}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check-transformers", action="store_true")
    parser.add_argument("--check-llama", action="store_true")
    options = parser.parse_args()
    check = [f for wanted, f in ((options.check_transformers, check_transformers), (options.check_llama, check_llama)) if wanted]
    CASES.mkdir(parents=True, exist_ok=True)
    r24, r200, big = (24, 11, 4.0), (200, 12, 6.0), (5000, 13, 9.0)
    nan, inf = float("nan"), float("inf")
    loop = [5, 6, 7, 8, 5, 6, 7, 9, 1, 5, 6, 7]

    write("greedy", "Temperature 0 takes the largest logit; ties go to the smallest id.", [
        make(logits=[0.5, 2.0, -1.0, 2.0], temperature=0), make(logits=[-3.0, -2.0, -2.0], temperature=-1.0),
        make(random=big, temperature=0), make(random=r24, temperature=0, top_k=3, typical_p=0.1, min_p=0.9),
        make(logits=[nan, 1.0, 0.5], temperature=0), make(logits=[1.0, inf, inf], temperature=0),
        make(logits=[1.0, 3.0, 2.0], temperature=0, allowed=[0, 2]), make(logits=[1.0, 3.0, 2.0], temperature=0, bias=[(1, -inf)]),
        make(logits=[1.0, 3.0, 2.9], temperature=0, history=[1], repeat_penalty=1.2)], check)
    write("temperature", "The temperature divides the logits before the draw; infinity makes everything equally likely.", [
        make(random=r24, temperature=t, draws=24, seed=s) for t, s in ((1.0, 1), (0.3, 2), (2.5, 3), (inf, 4), (1e-40, 5))] + [
        make(logits=[1.0, nan, -inf, 2.0], draws=8, seed=6), make(logits=[3e38, -3e38, 3e38], draws=8, seed=7),
        make(random=r24, draws=16, seed=2**63 + 12345, position=2**40 + 17)], check)
    write("top_k", "The k largest logits stay; ties at the border go to the smaller id.", [
        make(random=r24, top_k=5, draws=16), make(random=r200, top_k=40, draws=32, seed=8), make(random=big, top_k=1500),
        make(random=r24, top_k=1, draws=2), make(random=r24, top_k=1000), make(logits=[1.0, 2.0, 1.0, 1.0, 0.0], top_k=3)], check)
    write("top_p", "The fewest likeliest tokens whose probability reaches p stay.", [
        make(random=r24, top_p=p, draws=8, seed=9) for p in (0.0, 0.3, 0.8, 0.95, 0.9999)] + [
        make(random=big, top_p=0.9), make(random=(3000, 14, 0.1), top_p=0.5)], check)
    write("min_p", "Tokens at least min_p times as likely as the likeliest stay.", [
        make(random=r24, min_p=p, draws=8, seed=10) for p in (0.01, 0.1, 0.5, 1.0)] + [make(random=big, min_p=0.05)], check)
    write("typical", "The tokens whose surprise is nearest to the entropy stay, until their probability reaches p.", [
        make(random=r24, typical_p=p, draws=8, seed=11) for p in (0.1, 0.5, 0.9, 0.99)] + [make(random=r200, typical_p=0.3)], check)
    write("top_n_sigma", "Logits more than n standard deviations below the largest go.", [
        make(random=r24, top_n_sigma=n, draws=8, seed=17) for n in (0.1, 1.0, 2.5, 100.0)] + [
        make(random=big, top_n_sigma=1.0), make(logits=[1.0, nan, -inf, 2.0, 5.0], top_n_sigma=1.5, draws=4),
        make(logits=[2.0, 2.0, 2.0], top_n_sigma=1.0, draws=4), make(random=r200, top_n_sigma=1.0, top_k=20, draws=8),
        make(random=r24, allowed=[1, 2, 3, 23], top_n_sigma=0.5, draws=8)], check)
    write("xtc", "With the given probability, of the tokens above the threshold only the least likely stays.", [
        make(random=r24, xtc_probability=1.0, xtc_threshold=t, draws=8, seed=18) for t in (0.01, 0.1, 0.2, 0.5, 0.51)] + [
        make(random=r24, xtc_probability=0.5, draws=8, seed=s) for s in (1, 2, 3, 4)] + [
        make(random=r24, xtc_probability=0.5, draws=1, seed=1, position=s) for s in (5, 6, 2**33)] + [
        make(logits=[1.0, 2.0, 2.0, 2.0, 0.0], xtc_probability=1.0, xtc_threshold=0.2, draws=8),
        make(random=r200, top_k=5, min_p=0.2, xtc_probability=1.0, draws=8, seed=19),
        make(logits=[9.0, 0.0, 0.0], xtc_probability=1.0, draws=4)], check)
    write("penalties", "Repeat divides positive logits and multiplies the others; presence and frequency subtract.", [
        make(logits=[2.0, -2.0, 1.0, 0.0, 0.5], history=[0, 1, 0, 3], repeat_penalty=1.3, draws=8, seed=12),
        make(logits=[2.0, -2.0, 1.0, 0.0, 0.5], history=[0, 1, 0, 3], presence_penalty=0.7, draws=8, seed=13),
        make(logits=[2.0, -2.0, 1.0, 0.0, 0.5], history=[0, 1, 0, 3], frequency_penalty=0.4, draws=8, seed=14),
        make(random=r24, history=loop, repeat_penalty=1.1, presence_penalty=0.2, frequency_penalty=-0.3, penalty_last_n=-1),
        make(random=r24, history=loop, repeat_penalty=1.5, penalty_last_n=3), make(random=r24, history=loop, repeat_penalty=0.8),
        make(random=r24, history=loop, repeat_penalty=1.5, penalty_last_n=0)], check)
    write("dry", "A token that would lengthen a repetition loses multiplier * base^(length - allowed).", [
        make(random=r24, history=loop, dry_multiplier=0.8), make(random=r24, history=loop, dry_multiplier=0.8, dry_allowed_length=3),
        make(random=r24, history=loop, dry_multiplier=0.8, dry_allowed_length=4), make(random=r24, history=[3] * 20, dry_multiplier=0.5),
        make(random=r24, history=loop, dry_multiplier=0.8, breakers=[[6]]), make(random=r24, history=loop, dry_multiplier=0.8, breakers=[[5, 6]]),
        make(random=r24, history=loop, dry_multiplier=0.8, breakers=[[6, 7]]), make(random=r24, history=loop, dry_multiplier=0.8, breakers=[[9]]),
        make(random=r24, history=loop, dry_multiplier=0.8, dry_last_n=6), make(random=r24, history=loop * 3, dry_multiplier=1.0, dry_base=1.2),
        make(random=r24, history=loop, dry_multiplier=0.8, dry_allowed_length=0)], check)
    write("bias_mask", "A bias is added; a mask forbids; a forbidden token stays so whatever its bias.", [
        make(random=r24, bias=[(3, 2.5), (4, -inf), (5, -1.0)], draws=8, seed=15), make(random=r24, allowed=[1, 2, 3, 23], draws=8, seed=16),
        make(random=r200, allowed=list(range(64, 96)) + [199], top_k=4, draws=8), make(random=r24, allowed=[7], bias=[(7, -5.0)], draws=2)], check)
    write("chain", "All steps together, in the documented order.", [
        make(random=r200, history=loop, temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, draws=32, seed=42),
        make(random=r200, history=loop, temperature=1.5, top_k=100, typical_p=0.8, top_p=0.9, min_p=0.02, repeat_penalty=1.1, draws=32, seed=43),
        make(random=big, history=loop, temperature=0.7, top_k=64, top_p=0.8, typical_p=0.95, dry_multiplier=0.8, frequency_penalty=0.1,
             bias=[(100, 3.0)], draws=32, seed=44)], check)
    if options.check_transformers:
        print(f"{check_transformers.count} cases agree with transformers")
    if options.check_llama:
        print("cases that agree with llama.cpp:", ", ".join(f"{n} {key}" for key, n in check_llama.count.items()))


if __name__ == "__main__":
    main()
