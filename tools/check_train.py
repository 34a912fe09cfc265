#!/usr/bin/env python3
"""What `sterna train` makes, against Python packages: the merges that tokenizers learns from the same text, the ids that it
gives for tokenizer.json, and the held-out loss that transformers computes from the exported folder, for each kind of network;
the same of Qwen 2, Qwen 3 and Llama 3.1 models that were trained further; an adapter applied by llama.cpp.

    python3 tools/check_train.py [build/dev/bin/sterna]    (tokenizers 0.23.3, torch 2.15.0, transformers 5.23.0, accelerate 1.15.0,
    llama-cpp-python 0.3.36)"""
import json
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

STERNA = str(Path(sys.argv[1] if len(sys.argv) > 1 else "build/dev/bin/sterna").resolve())
ROOT = Path(__file__).resolve().parents[1]
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
VOCAB = 1500
HELD_OUT = "Eine Möwe fliegt über das Meer, 3 Inseln weit, and nobody knows where she sleeps at night."

RECIPE = """
name = "witness"
[model]
kind = "{kind}"
width = 64
layers = 2
heads = 4
kv_heads = 2
head_dim = {head_dim}
ffn = 96
context = 64
rope_base = 5000.0
norm_epsilon = 1e-6
tied_embedding = {tied}
[tokenizer]
vocab_size = {vocab}
[data]
files = ["text.txt"]
held_out = 0.0
held_out_files = ["held_out.txt"]
[training]
steps = 30
batch_tokens = 1024
warmup_steps = 5
[output]
folder = "{kind}"
gguf = ["f16"]
safetensors = "hf"
"""


def corpus():
    """The project's own pages, and made-up words in two languages: many different words, some with accents."""
    draw = random.Random(7)
    parts = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    syllables = ["schö", "ner", "see", "vo", "gel", "flie", "gen", "ter", "nü", "ba", "ch", "st", "ra", "ße", "un", "ing"]
    for _ in range(3000):
        parts.append(" ".join("".join(draw.choice(syllables) for _ in range(draw.randint(1, 4))) for _ in range(12)))
    return "\n\n".join(parts).replace("<|endoftext|>", "")  # special tokens are no text to learn from; tokenizers counts them


def documents(text):
    """As the plain text reader cuts them."""
    current = []
    for line in text.split("\n") + [""]:
        if line.strip(" \t\r"):
            current.append(line)
        elif current:
            yield "\n".join(current)
            current = []


def check_merges(folder, text):
    peer = Tokenizer(models.BPE())
    peer.normalizer = normalizers.NFC()
    peer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 1, min_frequency=2, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    peer.train_from_iterator(list(documents(text)), trainer)
    theirs = [tuple(pair) for pair in json.loads(peer.to_str())["model"]["merges"]]
    ours = [tuple(pair) for pair in json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]]
    same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    assert ours == theirs, f"{same} of {len(ours)} and {len(theirs)} merges agree, then {ours[same:same+3]}, {theirs[same:same+3]}"
    print(f"{len(ours)} merges as tokenizers learns them")


def check_ids(folder, model, text):
    ours = subprocess.run([STERNA, "tokenize", model, "--ids"], input=text, capture_output=True, text=True)
    assert ours.returncode == 0, ours.stderr
    ids = [int(word) for word in ours.stdout.split()]
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert ids == theirs, "ids differ"
    print(f"{len(ids)} ids as tokenizers gives them")


def check_loss(folder, loss, kind):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    ids = tokenizer(HELD_OUT, add_special_tokens=False)["input_ids"] + [tokenizer.convert_tokens_to_ids("<|endoftext|>")]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].double()
    theirs = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])).item()
    print(f"{kind}: held-out loss {loss:.6f}, transformers {theirs:.6f}")
    # Ternary: an activation that falls on the edge between two of 256 levels may fall to either side.
    assert math.isclose(loss, theirs, rel_tol=1e-4 if kind == "bitnet" else 1e-5)


LORA = """
name = "adapter"
[lora]
base = "llama/witness-f16.gguf"
rank = 4
targets = ["attn_q", "attn_k", "attn_v", "ffn_down"]
[data]
files = ["text.txt"]
held_out = 0.0
[training]
steps = 10
batch_tokens = 256
row_length = 64
learning_rate = 0.05
warmup_steps = 0
"""


def logits_of(path, ids, adapter=None):
    from llama_cpp import Llama
    model = Llama(model_path=str(path), lora_path=adapter and str(adapter), n_ctx=64, logits_all=True, verbose=False)
    model.eval(ids)
    return np.array(model.scores[:len(ids)])


def check_adapter(folder):
    """llama.cpp with base and adapter, and with what `sterna convert --lora` merges."""
    (folder / "lora.toml").write_text(LORA)
    base, adapter, merged = folder / "llama/witness-f16.gguf", folder / "adapter/adapter-lora.gguf", folder / "merged.gguf"
    subprocess.run([STERNA, "train", folder / "lora.toml", "-q"], check=True, capture_output=True)
    subprocess.run([STERNA, "convert", base, "--lora", adapter, "-o", merged, "--type", "f32", "-q"], check=True, capture_output=True)
    ids = list(range(5, 45))
    plain, adapted, wanted = logits_of(base, ids), logits_of(base, ids, adapter), logits_of(merged, ids)
    effect, error = np.abs(adapted - plain).max(), np.abs(adapted - wanted).max()
    print(f"adapter: changes logits by up to {effect:.3f}; merged and applied by llama.cpp differ by {error:.5f}")
    assert effect > 0.1 and error < 0.01 * effect


FURTHER = """
name = "further"
[model]
base = "{base}"
[data]
files = ["text.txt"]
held_out = 0.0
held_out_files = ["held_out.txt"]
[training]
steps = 6
batch_tokens = 512
row_length = 64
learning_rate = 0.002
warmup_steps = 0
[output]
gguf = []
safetensors = "hf"
"""


def check_bases(folder):
    """Random models of transformers, trained further here: what transformers then computes from the result."""
    vocab = len(json.loads((folder / "llama/hf/tokenizer.json").read_text())["model"]["vocab"]) + 8
    sizes = dict(vocab_size=vocab, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                 max_position_embeddings=256, rms_norm_eps=1e-6)
    llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=64)
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)
    bases = {"qwen2": transformers.Qwen2Config(**sizes, tie_word_embeddings=True),
             "qwen2-yarn": transformers.Qwen2Config(**sizes, rope_parameters=yarn),
             "qwen3": transformers.Qwen3Config(**sizes, head_dim=24),
             "llama3": transformers.LlamaConfig(**sizes, rope_parameters=llama3)}
    for name, config in bases.items():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)  # biases and norms, too
        model.save_pretrained(folder / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name / file).write_bytes((folder / "llama/hf" / file).read_bytes())
        recipe = folder / f"{name}.toml"
        recipe.write_text(FURTHER.format(base=name))
        done = subprocess.run([STERNA, "train", recipe, "-o", folder / f"{name}-out", "--json", "-q"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        check_loss(folder / f"{name}-out/hf", report["held_out_loss"], name)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = corpus()
        (folder / "text.txt").write_text(text)
        (folder / "held_out.txt").write_text(HELD_OUT)
        for kind, tied in (("llama", "true"), ("bitnet", "true"), ("bitnet-float", "true"), ("llama", "false")):
            recipe = folder / f"{kind}.toml"
            recipe.write_text(RECIPE.format(kind=kind, tied=tied, vocab=VOCAB, head_dim=16 if kind.startswith("bitnet") else 32))
            done = subprocess.run([STERNA, "train", recipe, "--json", "-q", "--restart"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            report = json.loads(done.stdout)
            if kind == "llama" and tied == "true":
                check_merges(folder / kind, text)
                check_ids(folder / kind, folder / kind / "witness-f16.gguf", text[:200_000])
                check_adapter(folder)
                check_bases(folder)
            check_loss(folder / kind / "hf", report["held_out_loss"], kind)


main()
