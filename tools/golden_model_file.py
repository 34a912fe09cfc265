"""What tools/make_model_golden.py makes its models and files with: seeded weights, the GGUF file, the tensors most share."""
import math
import pathlib

import gguf
import numpy as np
import torch
import transformers as tf

SEED = 20261122
OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "models"
N_TOKENS = 24


def randomize(model, seed):
    """Every parameter gets a value that matters: matrices keep the size of what they multiply, norms and biases are not trivial."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            r = torch.randn(p.shape, generator=generator)
            if "embed" in name and p.dim() == 2:
                p.copy_(r)
            elif p.dim() == 1 and name.endswith("weight"):
                p.copy_(1 + 0.2 * r)
            elif p.dim() == 1:
                p.copy_(0.3 * r)
            else:
                p.copy_(r * 1.2 / math.sqrt(p.shape[-1]))


def numpy_of(tensor):
    return np.ascontiguousarray(tensor.detach().to(torch.float32).numpy())


def interleave(w, n_heads):
    """Rows of each head from half-split to adjacent pairs, as the converter does for Llama."""
    rows = w.shape[0]
    return np.ascontiguousarray(
        w.reshape(n_heads, 2, rows // n_heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape))


class File:
    def __init__(self, name, arch, config):
        self.path = OUT / f"{name}.gguf"
        self.arch = arch
        self.w = gguf.GGUFWriter(str(self.path), arch)
        self.w.add_name(f"{name}, random weights")
        self.w.add_string("golden.made_by", f"seed {SEED}, torch {torch.__version__.split('+')[0]}, "
                                            f"transformers {tf.__version__}, gguf {gguf_version()}")
        if config is None:
            return
        self.u32("block_count", config.num_hidden_layers)
        self.u32("context_length", config.max_position_embeddings)
        self.u32("embedding_length", config.hidden_size)
        self.u32("attention.head_count", config.num_attention_heads)
        kv = getattr(config, "num_key_value_heads", None)
        if kv is not None:
            self.u32("attention.head_count_kv", kv)
        self.u32("feed_forward_length", config.intermediate_size)
        if hasattr(config, "rms_norm_eps"):
            self.f32("attention.layer_norm_rms_epsilon", config.rms_norm_eps)

    def u32(self, key, value):
        self.w.add_uint32(f"{self.arch}.{key}", int(value))

    def f32(self, key, value):
        self.w.add_float32(f"{self.arch}.{key}", float(value))

    def text(self, key, value):
        self.w.add_string(f"{self.arch}.{key}", value)

    def tensor(self, name, value):
        if isinstance(value, torch.Tensor):
            value = numpy_of(value)
        self.w.add_tensor(name, np.ascontiguousarray(value))

    def finish(self, tokens, logits, short_logits=None):
        self.tensor("golden.tokens", np.array(tokens, dtype=np.int32))
        self.tensor("golden.logits", logits)
        if short_logits is not None:
            self.tensor("golden.short_logits", short_logits)
        self.w.write_header_to_file()
        self.w.write_kv_data_to_file()
        self.w.write_tensors_to_file()
        self.w.close()
        print(f"{self.path.name}: {self.path.stat().st_size} bytes, max |logit| {np.abs(logits).max():.3f}")


def gguf_version():
    from importlib.metadata import version
    return version("gguf")


def prompt(vocab, n=N_TOKENS):
    rng = np.random.default_rng(SEED)
    tokens = rng.integers(0, vocab, n)
    tokens[n // 2:n // 2 + 4] = tokens[2:6]  # repeats, so that attention has something to find
    return [int(t) for t in tokens]


def run(model, tokens):
    model.eval()
    with torch.no_grad():
        out = model(torch.tensor([tokens]))
    return numpy_of((out.logits if hasattr(out, "logits") else out.last_hidden_state)[0])


def build(cls, config, seed_offset):
    config._attn_implementation = "eager"
    torch.manual_seed(SEED + seed_offset)
    model = cls(config).to(torch.float32)
    randomize(model, SEED + seed_offset)
    if getattr(config, "tie_word_embeddings", False):
        model.tie_weights()
    return model


def common_tensors(f, sd, config, qk=lambda w, n: w):
    """Tensors of the Llama pattern, with gate, up and down as they are named in most checkpoints."""
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    f.tensor("output_norm.weight", sd["model.norm.weight"])
    if not config.tie_word_embeddings:
        f.tensor("output.weight", sd["lm_head.weight"])
    kv = getattr(config, "num_key_value_heads", config.num_attention_heads)
    for i in range(config.num_hidden_layers):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "attn_norm.weight", sd[p + "input_layernorm.weight"])
        if p + "post_attention_layernorm.weight" in sd:
            f.tensor(b + "ffn_norm.weight", sd[p + "post_attention_layernorm.weight"])
        for part, heads in (("q", config.num_attention_heads), ("k", kv), ("v", 0)):
            for kind in ("weight", "bias"):
                key = f"{p}self_attn.{part}_proj.{kind}"
                if key in sd:
                    value = numpy_of(sd[key])
                    f.tensor(f"{b}attn_{part}.{kind}", qk(value, heads) if heads else value)
        f.tensor(b + "attn_output.weight", sd[p + "self_attn.o_proj.weight"])
        for ours, theirs in (("gate", "gate"), ("up", "up"), ("down", "down")):
            key = f"{p}mlp.{theirs}_proj.weight"
            if key in sd:
                f.tensor(f"{b}ffn_{ours}.weight", sd[key])
        for ours, theirs in (("q", "q"), ("k", "k")):
            key = f"{p}self_attn.{theirs}_norm.weight"
            if key in sd:
                f.tensor(f"{b}attn_{ours}_norm.weight", sd[key])


def expert_tensors(f, sd, config, prefix, width):
    for i in range(config.num_hidden_layers):
        p, b = f"model.layers.{i}.{prefix}.", f"blk.{i}."
        f.tensor(b + "ffn_gate_inp.weight", sd[p + "gate.weight"])
        both = numpy_of(sd[p + "experts.gate_up_proj"])
        f.tensor(b + "ffn_gate_exps.weight", both[:, :width])
        f.tensor(b + "ffn_up_exps.weight", both[:, width:])
        f.tensor(b + "ffn_down_exps.weight", sd[p + "experts.down_proj"])
