#!/usr/bin/env python3
"""Makes tests/golden/hf/NAME for every tests/golden/models/NAME.gguf: what transformers' save_pretrained() writes for that model.

    config.json, generation_config.json   as written
    tensors.txt                            a line per tensor of model.safetensors: name, shape, SHA-256 of its float32 values
    logits, with --checkpoints FOLDER      also keeps the checkpoints themselves there, for tools/check_convert.py

The weights are those of make_model_golden.py (same seeds), so a converter that is right turns the checkpoint into that GGUF file.
`qwen` (the first one, which transformers has no class for) is written by hand from its published layout.

Run:  python tools/make_hf_golden.py [--checkpoints FOLDER] [names...]     needs what make_model_golden.py needs, and safetensors
"""
import argparse
import hashlib
import json
import pathlib
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import save_file

import make_model_golden as golden

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "hf"


def save_first_qwen(model, config, folder):
    names = {"model.embed_tokens": "transformer.wte", "model.norm": "transformer.ln_f", "lm_head": "lm_head"}
    layer = {"input_layernorm": "ln_1", "post_attention_layernorm": "ln_2", "self_attn.o_proj": "attn.c_proj",
             "mlp.gate_proj": "mlp.w2", "mlp.up_proj": "mlp.w1", "mlp.down_proj": "mlp.c_proj"}
    sd, out = model.state_dict(), {}
    for theirs, ours in names.items():
        out[f"{ours}.weight"] = sd[f"{theirs}.weight"]
    for i in range(config.num_hidden_layers):
        for theirs, ours in layer.items():
            out[f"transformer.h.{i}.{ours}.weight"] = sd[f"model.layers.{i}.{theirs}.weight"]
        for kind in ("weight", "bias"):
            out[f"transformer.h.{i}.attn.c_attn.{kind}"] = torch.cat(
                [sd[f"model.layers.{i}.self_attn.{x}_proj.{kind}"] for x in "qkv"])
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(dict(
        architectures=["QWenLMHeadModel"], model_type="qwen", hidden_size=config.hidden_size,
        intermediate_size=2 * config.intermediate_size, num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads, kv_channels=8, vocab_size=config.vocab_size, seq_length=2048,
        max_position_embeddings=config.max_position_embeddings, layer_norm_epsilon=config.rms_norm_eps, rotary_emb_base=10000,
        rotary_pct=1.0, no_bias=True, tie_word_embeddings=False), indent=2) + "\n")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--checkpoints", type=pathlib.Path)
    arguments.add_argument("names", nargs="*")
    arguments = arguments.parse_args()
    for case in golden.CASES:
        model, file, config = case()
        name = file.path.stem
        if arguments.names and name not in arguments.names:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.checkpoints or pathlib.Path(temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            save_first_qwen(model, config, folder) if name == "qwen" else model.save_pretrained(folder)
            to = OUT / name
            to.mkdir(parents=True, exist_ok=True)
            for text in ("config.json", "generation_config.json"):
                if (folder / text).exists():
                    (to / text).write_text((folder / text).read_text().rstrip("\n") + "\n")
            lines = []
            with safe_open(folder / "model.safetensors", "pt") as tensors:
                for key in sorted(tensors.keys()):
                    value = tensors.get_tensor(key).to(torch.float32).contiguous()
                    shape = "x".join(str(extent) for extent in value.shape)
                    lines.append(f"{key} {shape} {hashlib.sha256(value.numpy().tobytes()).hexdigest()}\n")
            (to / "tensors.txt").write_text("".join(lines))
            print(f"{name}: {len(lines)} tensors")


if __name__ == "__main__":
    sys.exit(main())
