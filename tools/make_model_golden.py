#!/usr/bin/env python3
"""Makes tests/golden/models/*.gguf: for each architecture a tiny model with random weights, and what transformers computes with it.

Each file is an F32 GGUF written by gguf-py in the conventions of llama.cpp's converter, with the reference beside the weights:
  golden.tokens        i32 [n]         the prompt
  golden.logits        f32 [vocab, n]  logits of every position (embedding models: hidden states [width, n]), eager float32 on CPU
  golden.short_logits  f32 [vocab, m]  phi3 only: the first m tokens, few enough for longrope's short factors
Sizes are small but odd on purpose: grouped heads, head size unlike width / heads, windows shorter than the prompt, scaled RoPE, biases.

Run:  python tools/make_model_golden.py [names...]      needs torch, transformers 5, gguf (versions are stored in each file)
"""
import math
import sys

import numpy as np
import torch
import transformers as tf

from golden_model_file import OUT, SEED, File, build, common_tensors, expert_tensors, interleave, numpy_of, prompt, run


def llama():
    rope = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64)
    c = tf.LlamaConfig(hidden_size=48, intermediate_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                       vocab_size=72, max_position_embeddings=256, rope_parameters=rope, tie_word_embeddings=False,
                       rms_norm_eps=1e-5)
    m = build(tf.LlamaForCausalLM, c, 1)
    f = File("llama", "llama", c)
    f.u32("rope.dimension_count", 8)
    f.f32("rope.freq_base", 10000.0)
    common_tensors(f, m.state_dict(), c, interleave)
    base = 1.0 / 10000.0 ** (np.arange(0, 8, 2) / 8)
    factors = []
    for frequency in base:
        wavelength = 2 * math.pi / frequency
        if wavelength < 64 / 4.0:
            factors.append(1.0)
        elif wavelength > 64 / 1.0:
            factors.append(8.0)
        else:
            smooth = (64 / wavelength - 1.0) / (4.0 - 1.0)
            factors.append(1.0 / ((1 - smooth) / 8.0 + smooth))
    f.tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    return m, f, c


def mixtral():
    c = tf.MixtralConfig(hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                         head_dim=16, vocab_size=80, max_position_embeddings=128, num_local_experts=4, num_experts_per_tok=2,
                         sliding_window=7, tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6))
    m = build(tf.MixtralForCausalLM, c, 2)
    f = File("llama-mixtral", "llama", c)
    f.u32("rope.dimension_count", 16)
    f.f32("rope.freq_base", 1e6)
    f.u32("attention.key_length", 16)
    f.u32("attention.value_length", 16)
    f.u32("attention.sliding_window", 7)
    f.u32("expert_count", 4)
    f.u32("expert_used_count", 2)
    common_tensors(f, m.state_dict(), c, interleave)
    expert_tensors(f, m.state_dict(), c, "mlp", 24)
    return m, f, c


def qwen():
    # The first Qwen is Qwen2 with as many KV heads as heads, its matrices fused and its feed-forward length counted twice.
    c = tf.Qwen2Config(hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4,
                       vocab_size=96, max_position_embeddings=128, tie_word_embeddings=False, rms_norm_eps=1e-6,
                       rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    m = build(tf.Qwen2ForCausalLM, c, 3)
    f = File("qwen", "qwen", None)
    for key, value in (("block_count", 3), ("context_length", 128), ("embedding_length", 32), ("feed_forward_length", 80),
                       ("attention.head_count", 4), ("rope.dimension_count", 8)):
        f.u32(key, value)
    f.f32("rope.freq_base", 10000.0)
    f.f32("attention.layer_norm_rms_epsilon", 1e-6)
    sd = m.state_dict()
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    f.tensor("output_norm.weight", sd["model.norm.weight"])
    f.tensor("output.weight", sd["lm_head.weight"])
    for i in range(3):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "attn_norm.weight", sd[p + "input_layernorm.weight"])
        f.tensor(b + "ffn_norm.weight", sd[p + "post_attention_layernorm.weight"])
        for kind in ("weight", "bias"):
            f.tensor(f"{b}attn_qkv.{kind}", torch.cat([sd[f"{p}self_attn.{x}_proj.{kind}"] for x in "qkv"]))
        f.tensor(b + "attn_output.weight", sd[p + "self_attn.o_proj.weight"])
        for x in ("gate", "up", "down"):
            f.tensor(f"{b}ffn_{x}.weight", sd[f"{p}mlp.{x}_proj.weight"])
    return m, f, c


def qwen2():
    rope = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16)
    c = tf.Qwen2Config(hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
                       vocab_size=96, max_position_embeddings=64, tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters=rope)
    m = build(tf.Qwen2ForCausalLM, c, 4)
    f = File("qwen2", "qwen2", c)
    f.f32("rope.freq_base", 10000.0)
    f.text("rope.scaling.type", "yarn")
    f.f32("rope.scaling.factor", 4.0)
    f.u32("rope.scaling.original_context_length", 16)
    common_tensors(f, m.state_dict(), c)
    return m, f, c


def qwen3():
    rope = dict(rope_type="linear", rope_theta=1e6, factor=2.0)
    c = tf.Qwen3Config(hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                       head_dim=16, vocab_size=96, max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-6,
                       rope_parameters=rope)
    m = build(tf.Qwen3ForCausalLM, c, 5)
    f = File("qwen3", "qwen3", c)
    f.u32("attention.key_length", 16)
    f.u32("attention.value_length", 16)
    f.f32("rope.freq_base", 1e6)
    f.text("rope.scaling.type", "linear")
    f.f32("rope.scaling.factor", 2.0)
    common_tensors(f, m.state_dict(), c)
    return m, f, c


def qwen3moe():
    c = tf.Qwen3MoeConfig(hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=2,
                          num_attention_heads=4, num_key_value_heads=1, head_dim=16, vocab_size=96, max_position_embeddings=128,
                          num_experts=5, num_experts_per_tok=3, norm_topk_prob=True, decoder_sparse_step=1,
                          tie_word_embeddings=False, rms_norm_eps=1e-6,
                          rope_parameters=dict(rope_type="default", rope_theta=1e6))
    m = build(tf.Qwen3MoeForCausalLM, c, 6)
    f = File("qwen3moe", "qwen3moe", c)
    f.u32("attention.key_length", 16)
    f.u32("attention.value_length", 16)
    f.f32("rope.freq_base", 1e6)
    f.u32("expert_count", 5)
    f.u32("expert_used_count", 3)
    f.u32("expert_feed_forward_length", 16)
    common_tensors(f, m.state_dict(), c)
    expert_tensors(f, m.state_dict(), c, "mlp", 16)
    return m, f, c


def gemma3():
    rope = dict(full_attention=dict(rope_type="linear", rope_theta=1e6, factor=8.0),
                sliding_attention=dict(rope_type="default", rope_theta=10000.0))
    c = tf.Gemma3TextConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                            head_dim=12, vocab_size=96, max_position_embeddings=256, sliding_window=6,
                            layer_types=["sliding_attention", "full_attention", "sliding_attention"], query_pre_attn_scalar=12,
                            rope_parameters=rope, tie_word_embeddings=True, rms_norm_eps=1e-6, final_logit_softcapping=20.0)
    m = build(tf.Gemma3ForCausalLM, c, 7)
    with torch.no_grad():  # transformers adds 1 to these
        for name, p in m.named_parameters():
            if "norm" in name:
                p.sub_(1.0)
    f = File("gemma3", "gemma3", c)
    f.u32("attention.key_length", 12)
    f.u32("attention.value_length", 12)
    f.f32("rope.freq_base", 1e6)
    f.text("rope.scaling.type", "linear")
    f.f32("rope.scaling.factor", 8.0)
    f.u32("attention.sliding_window", 6)
    f.u32("attention.sliding_window_pattern", 2)
    f.f32("final_logit_softcapping", 20.0)
    sd = {k: (v + 1 if "norm" in k else v) for k, v in m.state_dict().items()}
    for i in range(3):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "post_attention_norm.weight", sd[p + "post_attention_layernorm.weight"])
        f.tensor(b + "post_ffw_norm.weight", sd[p + "post_feedforward_layernorm.weight"])
        sd[p + "post_attention_layernorm.weight"] = sd[p + "pre_feedforward_layernorm.weight"]
    common_tensors(f, sd, c)
    return m, f, c


def phi3():
    short, long = [1.0, 1.1, 1.3], [1.5, 3.0, 7.0]
    rope = dict(rope_type="longrope", rope_theta=10000.0, short_factor=short, long_factor=long, partial_rotary_factor=0.75,
                original_max_position_embeddings=16)
    c = tf.Phi3Config(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                      vocab_size=96, max_position_embeddings=64, original_max_position_embeddings=16, rope_parameters=rope,
                      sliding_window=9, tie_word_embeddings=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    m = build(tf.Phi3ForCausalLM, c, 8)
    f = File("phi3", "phi3", c)
    f.u32("rope.dimension_count", 6)
    f.f32("rope.freq_base", 10000.0)
    f.u32("rope.scaling.original_context_length", 16)
    f.f32("rope.scaling.attn_factor", math.sqrt(1 + math.log(64 / 16) / math.log(16)))
    f.u32("attention.sliding_window", 9)
    sd = m.state_dict()
    f.tensor("rope_factors_short.weight", np.array(short, dtype=np.float32))
    f.tensor("rope_factors_long.weight", np.array(long, dtype=np.float32))
    for i in range(2):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "attn_qkv.weight", sd[p + "self_attn.qkv_proj.weight"])
        f.tensor(b + "ffn_up.weight", sd[p + "mlp.gate_up_proj.weight"])
    common_tensors(f, sd, c)
    return m, f, c


def granite():
    c = tf.GraniteConfig(hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                         vocab_size=96, max_position_embeddings=128, tie_word_embeddings=True, embedding_multiplier=12.0,
                         attention_multiplier=0.2, residual_multiplier=0.22, logits_scaling=8.0, rms_norm_eps=1e-5,
                         rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    m = build(tf.GraniteForCausalLM, c, 9)
    f = File("granite", "granite", c)
    f.u32("rope.dimension_count", 8)
    f.f32("rope.freq_base", 10000.0)
    f.f32("embedding_scale", 12.0)
    f.f32("attention.scale", 0.2)
    f.f32("residual_scale", 0.22)
    f.f32("logit_scale", 8.0)
    common_tensors(f, m.state_dict(), c, interleave)
    return m, f, c


def bitnet():
    c = tf.BitNetConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                        vocab_size=96, max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-5,
                        rope_parameters=dict(rope_type="default", rope_theta=500000.0), bos_token_id=1, eos_token_id=2)
    m = build(tf.BitNetForCausalLM, c, 10)
    scales = {}
    with torch.no_grad():  # weights become -s, 0, s, as the converter finds them
        for name, p in m.named_parameters():
            if name.endswith("_proj.weight"):
                s = p.abs().mean()
                p.copy_((p / s).round().clamp(-1, 1) * s)
                scales[name] = s
    f = File("bitnet", "bitnet-b1.58", c)
    f.u32("rope.dimension_count", 8)
    f.f32("rope.freq_base", 500000.0)
    sd = dict(m.state_dict())
    for name, s in scales.items():
        sd[name] = (sd[name] / s).round()
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate",
             "up_proj": "ffn_up", "down_proj": "ffn_down"}
    for name, s in scales.items():
        layer, part = name.split(".")[2], name.split(".")[-2]
        f.tensor(f"blk.{layer}.{names[part]}.scale", np.array([float(s)], dtype=np.float32))
    for i in range(3):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "attn_sub_norm.weight", sd[p + "self_attn.attn_sub_norm.weight"])
        f.tensor(b + "ffn_sub_norm.weight", sd[p + "mlp.ffn_sub_norm.weight"])
    common_tensors(f, sd, c)
    return m, f, c


def bert():
    c = tf.BertConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=96,
                      max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-12)
    m = build(lambda config: tf.BertModel(config, add_pooling_layer=False), c, 11)
    f = File("bert", "bert", c)
    f.f32("attention.layer_norm_epsilon", 1e-12)
    f.w.add_bool("bert.attention.causal", False)
    f.u32("pooling_type", 1)
    sd = m.state_dict()
    names = {"embeddings.word_embeddings.weight": "token_embd.weight", "embeddings.position_embeddings.weight": "position_embd.weight",
             "embeddings.token_type_embeddings.weight": "token_types.weight", "embeddings.LayerNorm": "token_embd_norm"}
    parts = {"attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
             "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
             "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
    for theirs, ours in names.items():
        for kind in [""] if theirs.endswith("weight") else [".weight", ".bias"]:
            f.tensor(ours + kind, sd[theirs + kind])
    for i in range(2):
        for theirs, ours in parts.items():
            for kind in ("weight", "bias"):
                f.tensor(f"blk.{i}.{ours}.{kind}", sd[f"encoder.layer.{i}.{theirs}.{kind}"])
    return m, f, c


def gemma2():
    c = tf.Gemma2Config(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                        head_dim=12, vocab_size=96, max_position_embeddings=128, sliding_window=6, query_pre_attn_scalar=12,
                        rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=True,
                        attn_logit_softcapping=5.0, final_logit_softcapping=20.0, rms_norm_eps=1e-6)
    m = build(tf.Gemma2ForCausalLM, c, 12)
    with torch.no_grad():  # transformers adds 1 to these
        for name, p in m.named_parameters():
            if "norm" in name:
                p.sub_(1.0)
    f = File("gemma2", "gemma2", c)
    f.u32("attention.key_length", 12)
    f.u32("attention.value_length", 12)
    f.u32("attention.sliding_window", 6)
    f.f32("attn_logit_softcapping", 5.0)
    f.f32("final_logit_softcapping", 20.0)
    sd = {k: (v + 1 if "norm" in k else v) for k, v in m.state_dict().items()}
    for i in range(3):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "post_attention_norm.weight", sd[p + "post_attention_layernorm.weight"])
        f.tensor(b + "post_ffw_norm.weight", sd[p + "post_feedforward_layernorm.weight"])
        sd[p + "post_attention_layernorm.weight"] = sd[p + "pre_feedforward_layernorm.weight"]
    common_tensors(f, sd, c)
    return m, f, c


def olmo2():
    c = tf.Olmo2Config(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                       vocab_size=96, max_position_embeddings=128, tie_word_embeddings=False, rms_norm_eps=1e-6, pad_token_id=0,
                       rope_parameters=dict(rope_type="default", rope_theta=500000.0))
    m = build(tf.Olmo2ForCausalLM, c, 13)
    f = File("olmo2", "olmo2", c)
    f.f32("rope.freq_base", 500000.0)
    sd = m.state_dict()
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    f.tensor("output_norm.weight", sd["model.norm.weight"])
    f.tensor("output.weight", sd["lm_head.weight"])
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
             "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    for i in range(2):
        for ours, theirs in names.items():
            f.tensor(f"blk.{i}.{ours}.weight", sd[f"model.layers.{i}.{theirs}.weight"])
    return m, f, c


def smollm3():
    c = tf.SmolLM3Config(hidden_size=32, intermediate_size=48, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
                         vocab_size=64, max_position_embeddings=128, tie_word_embeddings=True, rms_norm_eps=1e-6, pad_token_id=0,
                         bos_token_id=1, eos_token_id=2, rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    m = build(tf.SmolLM3ForCausalLM, c, 14)
    f = File("smollm3", "smollm3", c)
    f.u32("rope.dimension_count", 8)
    f.f32("rope.freq_base", 10000.0)
    common_tensors(f, m.state_dict(), c, interleave)
    return m, f, c


def qwen2moe():
    c = tf.Qwen2MoeConfig(hidden_size=32, intermediate_size=48, moe_intermediate_size=16, shared_expert_intermediate_size=40,
                          num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=96,
                          max_position_embeddings=128, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False,
                          decoder_sparse_step=1, tie_word_embeddings=False, rms_norm_eps=1e-6,
                          rope_parameters=dict(rope_type="default", rope_theta=1e6))
    m = build(tf.Qwen2MoeForCausalLM, c, 15)
    f = File("qwen2moe", "qwen2moe", c)
    f.f32("rope.freq_base", 1e6)
    f.u32("expert_count", 5)
    f.u32("expert_used_count", 2)
    f.u32("expert_feed_forward_length", 16)
    f.u32("expert_shared_feed_forward_length", 40)
    sd = m.state_dict()
    common_tensors(f, sd, c)
    expert_tensors(f, sd, c, "mlp", 16)
    for i in range(2):
        p, b = f"model.layers.{i}.mlp.", f"blk.{i}."
        f.tensor(b + "ffn_gate_inp_shexp.weight", sd[p + "shared_expert_gate.weight"][0])
        for x in ("gate", "up", "down"):
            f.tensor(f"{b}ffn_{x}_shexp.weight", sd[f"{p}shared_expert.{x}_proj.weight"])
    return m, f, c


def gpt2():
    c = tf.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=96, n_positions=128, layer_norm_epsilon=1e-5,
                      bos_token_id=0, eos_token_id=0)
    m = build(tf.GPT2LMHeadModel, c, 16)
    f = File("gpt2", "gpt2", None)
    for key, value in (("block_count", 2), ("context_length", 128), ("embedding_length", 32), ("feed_forward_length", 128),
                       ("attention.head_count", 4)):
        f.u32(key, value)
    f.f32("attention.layer_norm_epsilon", 1e-5)
    sd = m.state_dict()
    f.tensor("token_embd.weight", sd["transformer.wte.weight"])
    f.tensor("position_embd.weight", sd["transformer.wpe.weight"])
    names = {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc",
             "ffn_down": "mlp.c_proj"}
    for kind in ("weight", "bias"):
        f.tensor(f"output_norm.{kind}", sd[f"transformer.ln_f.{kind}"])
        for i in range(2):
            for ours, theirs in names.items():
                value = sd[f"transformer.h.{i}.{theirs}.{kind}"]
                f.tensor(f"blk.{i}.{ours}.{kind}", value.T.contiguous() if value.dim() == 2 else value)
    return m, f, c


def gptneox(name="gptneox", parallel=True, offset=17):
    c = tf.GPTNeoXConfig(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, vocab_size=96,
                         max_position_embeddings=64, use_parallel_residual=parallel, layer_norm_eps=1e-5, hidden_act="gelu",
                         rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25),
                         tie_word_embeddings=False)
    m = build(tf.GPTNeoXForCausalLM, c, offset)
    f = File(name, "gptneox", c)
    f.u32("rope.dimension_count", 4)
    f.f32("rope.freq_base", 10000.0)
    f.f32("attention.layer_norm_epsilon", 1e-5)
    f.w.add_bool("gptneox.use_parallel_residual", parallel)
    sd = m.state_dict()
    f.tensor("token_embd.weight", sd["gpt_neox.embed_in.weight"])
    f.tensor("output.weight", sd["lm_head.weight"])
    names = {"attn_norm": "input_layernorm", "attn_output": "attention.dense", "ffn_norm": "post_attention_layernorm",
             "ffn_up": "mlp.dense_h_to_4h", "ffn_down": "mlp.dense_4h_to_h"}
    for kind in ("weight", "bias"):
        f.tensor(f"output_norm.{kind}", sd[f"gpt_neox.final_layer_norm.{kind}"])
        for i in range(2):
            for ours, theirs in names.items():
                f.tensor(f"blk.{i}.{ours}.{kind}", sd[f"gpt_neox.layers.{i}.{theirs}.{kind}"])
            qkv = numpy_of(sd[f"gpt_neox.layers.{i}.attention.query_key_value.{kind}"])
            rest = qkv.shape[1:]
            qkv = qkv.reshape(3, 3, 16, *rest).swapaxes(0, 1).reshape(-1, *rest)  # heads of (q, k, v) to all q, all k, all v
            f.tensor(f"blk.{i}.attn_qkv.{kind}", qkv)
    return m, f, c


def gptneox_serial():
    return gptneox("gptneox-serial", False, 18)


def phi2():
    c = tf.PhiConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=96,
                     max_position_embeddings=64, layer_norm_eps=1e-5, hidden_act="gelu_new", tie_word_embeddings=False,
                     rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5))
    m = build(tf.PhiForCausalLM, c, 19)
    f = File("phi2", "phi2", c)
    f.u32("rope.dimension_count", 4)
    f.f32("rope.freq_base", 10000.0)
    f.f32("attention.layer_norm_epsilon", 1e-5)
    sd = m.state_dict()
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.dense", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}
    for kind in ("weight", "bias"):
        f.tensor(f"output_norm.{kind}", sd[f"model.final_layernorm.{kind}"])
        f.tensor(f"output.{kind}", sd[f"lm_head.{kind}"])
        for i in range(2):
            for ours, theirs in names.items():
                f.tensor(f"blk.{i}.{ours}.{kind}", sd[f"model.layers.{i}.{theirs}.{kind}"])
    return m, f, c


def gpt_oss():
    rope = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                original_max_position_embeddings=16)
    c = tf.GptOssConfig(hidden_size=32, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                        head_dim=16, vocab_size=96, max_position_embeddings=64, num_local_experts=4, num_experts_per_tok=2,
                        sliding_window=6, tie_word_embeddings=False, rms_norm_eps=1e-5, rope_parameters=rope)
    m = build(tf.GptOssForCausalLM, c, 20)
    f = File("gpt-oss", "gpt-oss", c)
    f.u32("attention.key_length", 16)
    f.u32("attention.value_length", 16)
    f.f32("rope.freq_base", 10000.0)
    f.text("rope.scaling.type", "yarn")
    f.f32("rope.scaling.factor", 4.0)
    f.u32("rope.scaling.original_context_length", 16)
    f.u32("attention.sliding_window", 6)
    f.u32("expert_count", 4)
    f.u32("expert_used_count", 2)
    f.u32("expert_feed_forward_length", 24)
    sd = m.state_dict()
    for i in range(3):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        f.tensor(b + "post_attention_norm.weight", sd.pop(p + "post_attention_layernorm.weight"))
        f.tensor(b + "attn_sinks.weight", sd[p + "self_attn.sinks"])
        f.tensor(b + "attn_output.bias", sd[p + "self_attn.o_proj.bias"])
        f.tensor(b + "ffn_gate_inp.weight", sd[p + "mlp.router.weight"])
        f.tensor(b + "ffn_gate_inp.bias", sd[p + "mlp.router.bias"])
        both, bias = numpy_of(sd[p + "mlp.experts.gate_up_proj"]), numpy_of(sd[p + "mlp.experts.gate_up_proj_bias"])
        for x, at in (("gate", 0), ("up", 1)):
            f.tensor(f"{b}ffn_{x}_exps.weight", both[:, :, at::2].swapaxes(1, 2))
            f.tensor(f"{b}ffn_{x}_exps.bias", bias[:, at::2])
        f.tensor(b + "ffn_down_exps.weight", numpy_of(sd[p + "mlp.experts.down_proj"]).swapaxes(1, 2))
        f.tensor(b + "ffn_down_exps.bias", sd[p + "mlp.experts.down_proj_bias"])
    common_tensors(f, sd, c)
    return m, f, c


def lfm2():
    c = tf.Lfm2Config(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                      vocab_size=96, max_position_embeddings=128, conv_L_cache=3, conv_bias=False, block_auto_adjust_ff_dim=False,
                      layer_types=["conv", "full_attention", "conv", "conv"], norm_eps=1e-5, tie_word_embeddings=True,
                      rope_parameters=dict(rope_type="default", rope_theta=1e6))
    m = build(tf.Lfm2ForCausalLM, c, 21)
    f = File("lfm2", "lfm2", None)
    for key, value in (("block_count", 4), ("context_length", 128), ("embedding_length", 32), ("feed_forward_length", 48),
                       ("attention.head_count", 4), ("shortconv.l_cache", 3)):
        f.u32(key, value)
    f.w.add_array("lfm2.attention.head_count_kv", [0, 2, 0, 0])
    f.f32("attention.layer_norm_rms_epsilon", 1e-5)
    f.f32("rope.freq_base", 1e6)
    sd = m.state_dict()
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    f.tensor("token_embd_norm.weight", sd["model.embedding_norm.weight"])
    names = {"attn_norm": "operator_norm", "ffn_norm": "ffn_norm", "ffn_gate": "feed_forward.w1", "ffn_up": "feed_forward.w3",
             "ffn_down": "feed_forward.w2", "shortconv.in_proj": "conv.in_proj", "shortconv.conv": "conv.conv",
             "shortconv.out_proj": "conv.out_proj", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.out_proj", "attn_q_norm": "self_attn.q_layernorm",
             "attn_k_norm": "self_attn.k_layernorm"}
    for i in range(4):
        for ours, theirs in names.items():
            value = sd.get(f"model.layers.{i}.{theirs}.weight")
            if value is not None:
                f.tensor(f"blk.{i}.{ours}.weight", value[:, 0] if value.dim() == 3 else value)
    return m, f, c


def tile_heads(value, n_keys, per_key, width, rows=slice(None)):
    """Value heads that share a key head stand together in checkpoints; in files head h belongs to key head h mod n_keys."""
    value = value.copy()
    part = value[rows]
    rest = part.shape[1:]
    value[rows] = part.reshape(n_keys, per_key, width, *rest).swapaxes(0, 1).reshape(part.shape)
    return value


def qwen35():
    c = tf.Qwen3_5TextConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1,
                             head_dim=16, vocab_size=96, max_position_embeddings=128, linear_conv_kernel_dim=4,
                             linear_key_head_dim=8, linear_value_head_dim=12, linear_num_key_heads=2, linear_num_value_heads=4,
                             layer_types=["linear_attention", "full_attention"] * 2, tie_word_embeddings=False, rms_norm_eps=1e-6,
                             rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25,
                                                  mrope_section=[1, 1, 0], mrope_interleaved=True))
    m = build(tf.Qwen3_5ForCausalLM, c, 22)
    with torch.no_grad():  # transformers adds 1 to these
        for name, p in m.named_parameters():
            if "norm" in name and "linear_attn" not in name:
                p.sub_(1.0)
            if name.endswith("A_log"):
                p.abs_()
    f = File("qwen35", "qwen35", c)
    for key, value in (("attention.key_length", 16), ("attention.value_length", 16), ("rope.dimension_count", 4),
                       ("ssm.conv_kernel", 4), ("ssm.state_size", 8), ("ssm.group_count", 2), ("ssm.time_step_rank", 4),
                       ("ssm.inner_size", 48), ("full_attention_interval", 2)):
        f.u32(key, value)
    f.f32("rope.freq_base", 10000.0)
    sd = {k: (v + 1 if "norm" in k and "linear_attn" not in k else v) for k, v in m.state_dict().items()}
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    f.tensor("output_norm.weight", sd["model.norm.weight"])
    f.tensor("output.weight", sd["lm_head.weight"])
    names = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
             "attn_k_norm": "self_attn.k_norm", "ssm_norm": "linear_attn.norm"}
    for i in range(4):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        for ours, theirs in names.items():
            if f"{p}{theirs}.weight" in sd:
                f.tensor(f"{b}{ours}.weight", sd[f"{p}{theirs}.weight"])
        p += "linear_attn."
        if p + "A_log" not in sd:
            continue
        get = lambda name: numpy_of(sd[p + name])
        values = slice(2 * 2 * 8, None)
        f.tensor(b + "attn_qkv.weight", tile_heads(get("in_proj_qkv.weight"), 2, 2, 12, values))
        f.tensor(b + "ssm_conv1d.weight", tile_heads(get("conv1d.weight")[:, 0], 2, 2, 12, values))
        f.tensor(b + "attn_gate.weight", tile_heads(get("in_proj_z.weight"), 2, 2, 12))
        f.tensor(b + "ssm_beta.weight", tile_heads(get("in_proj_b.weight"), 2, 2, 1))
        f.tensor(b + "ssm_alpha.weight", tile_heads(get("in_proj_a.weight"), 2, 2, 1))
        f.tensor(b + "ssm_dt.bias", tile_heads(get("dt_bias"), 2, 2, 1))
        f.tensor(b + "ssm_a", tile_heads(-np.exp(get("A_log")), 2, 2, 1))
        f.tensor(b + "ssm_out.weight", np.ascontiguousarray(tile_heads(np.ascontiguousarray(get("out_proj.weight").T), 2, 2, 12).T))
    return m, f, c


def latent_tensors(f, sd, c, heads, nope, value):
    f.tensor("token_embd.weight", sd["model.embed_tokens.weight"])
    f.tensor("output_norm.weight", sd["model.norm.weight"])
    f.tensor("output.weight", sd["lm_head.weight"])
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
             "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_q": "self_attn.q_proj", "attn_q_a": "self_attn.q_a_proj",
             "attn_q_a_norm": "self_attn.q_a_layernorm", "attn_q_b": "self_attn.q_b_proj",
             "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa", "attn_kv_a_norm": "self_attn.kv_a_layernorm",
             "attn_output": "self_attn.o_proj", "ffn_gate_inp": "mlp.gate", "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
             "ffn_up_shexp": "mlp.shared_experts.up_proj", "ffn_down_shexp": "mlp.shared_experts.down_proj"}
    for i in range(c.num_hidden_layers):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        for ours, theirs in names.items():
            if f"{p}{theirs}.weight" in sd:
                f.tensor(f"{b}{ours}.weight", sd[f"{p}{theirs}.weight"])
        both = numpy_of(sd[p + "self_attn.kv_b_proj.weight"]).reshape(heads, nope + value, -1)
        f.tensor(b + "attn_k_b.weight", both[:, :nope].swapaxes(1, 2))
        f.tensor(b + "attn_v_b.weight", both[:, nope:])
        if p + "mlp.gate.e_score_correction_bias" in sd:
            f.tensor(b + "exp_probs_b.bias", sd[p + "mlp.gate.e_score_correction_bias"])
        if p + "mlp.experts.gate_up_proj" in sd:
            gate_up, width = numpy_of(sd[p + "mlp.experts.gate_up_proj"]), c.moe_intermediate_size
            f.tensor(b + "ffn_gate_exps.weight", gate_up[:, :width])
            f.tensor(b + "ffn_up_exps.weight", gate_up[:, width:])
            f.tensor(b + "ffn_down_exps.weight", sd[p + "mlp.experts.down_proj"])


def deepseek2():
    """The pattern of V2-Lite: queries in one step, softmax, experts without groups; YaRN whose factor stands in the scores."""
    rope = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16, mscale=0.707,
                mscale_all_dim=0.707, beta_fast=32, beta_slow=1)
    c = tf.DeepseekV2Config(hidden_size=48, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=3,
                            num_attention_heads=3, num_key_value_heads=3, vocab_size=96, max_position_embeddings=64, q_lora_rank=None,
                            kv_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=10, n_routed_experts=6,
                            num_experts_per_tok=2, n_shared_experts=2, first_k_dense_replace=1, topk_method="greedy", n_group=1,
                            topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.5, tie_word_embeddings=False,
                            rms_norm_eps=1e-6, rope_parameters=rope, head_dim=8)
    m = build(tf.DeepseekV2ForCausalLM, c, 23)
    f = File("deepseek2", "deepseek2", None)
    for key, value in (("block_count", 3), ("context_length", 64), ("embedding_length", 48), ("feed_forward_length", 48),
                       ("attention.head_count", 3), ("attention.head_count_kv", 1), ("attention.kv_lora_rank", 20),
                       ("attention.key_length", 28), ("attention.value_length", 20), ("attention.key_length_mla", 20),
                       ("attention.value_length_mla", 10), ("rope.dimension_count", 8), ("expert_count", 6), ("expert_used_count", 2),
                       ("expert_feed_forward_length", 16), ("expert_shared_count", 2), ("leading_dense_block_count", 1),
                       ("rope.scaling.original_context_length", 16)):
        f.u32(key, value)
    f.f32("attention.layer_norm_rms_epsilon", 1e-6)
    f.f32("expert_weights_scale", 1.5)
    f.w.add_bool("deepseek2.expert_weights_norm", False)
    f.f32("rope.freq_base", 10000.0)
    f.text("rope.scaling.type", "yarn")
    f.f32("rope.scaling.factor", 4.0)
    f.f32("rope.scaling.yarn_log_multiplier", 0.0707)
    latent_tensors(f, m.state_dict(), c, 3, 12, 10)
    return m, f, c


def deepseek3():
    """The pattern of V3: queries in two steps, sigmoid with a bias for the choice, groups of experts."""
    c = tf.DeepseekV3Config(hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=2,
                            num_attention_heads=4, num_key_value_heads=4, vocab_size=96, max_position_embeddings=128, q_lora_rank=24,
                            kv_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=16, n_routed_experts=8,
                            num_experts_per_tok=3, n_shared_experts=1, first_k_dense_replace=1, n_group=4, topk_group=2,
                            norm_topk_prob=True, routed_scaling_factor=2.5, tie_word_embeddings=False, rms_norm_eps=1e-6,
                            rope_interleave=True, rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    m = build(tf.DeepseekV3ForCausalLM, c, 24)
    with torch.no_grad():
        for name, buffer in m.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(0.3 * torch.randn(buffer.shape, generator=torch.Generator().manual_seed(SEED)))
    f = File("deepseek3", "deepseek2", None)
    for key, value in (("block_count", 2), ("context_length", 128), ("embedding_length", 32), ("feed_forward_length", 48),
                       ("attention.head_count", 4), ("attention.head_count_kv", 1), ("attention.q_lora_rank", 24),
                       ("attention.kv_lora_rank", 20), ("attention.key_length", 28), ("attention.value_length", 20),
                       ("attention.key_length_mla", 20), ("attention.value_length_mla", 16), ("rope.dimension_count", 8),
                       ("expert_count", 8), ("expert_used_count", 3), ("expert_feed_forward_length", 16), ("expert_shared_count", 1),
                       ("leading_dense_block_count", 1), ("expert_gating_func", 2), ("expert_group_count", 4),
                       ("expert_group_used_count", 2)):
        f.u32(key, value)
    f.f32("attention.layer_norm_rms_epsilon", 1e-6)
    f.f32("expert_weights_scale", 2.5)
    f.w.add_bool("deepseek2.expert_weights_norm", True)
    f.f32("rope.freq_base", 10000.0)
    latent_tensors(f, m.state_dict(), c, 4, 12, 16)
    return m, f, c


def gemma4():
    kinds = ["sliding_attention", "full_attention", "sliding_attention", "full_attention", "sliding_attention", "full_attention"]
    rope = dict(full_attention=dict(rope_type="proportional", rope_theta=1e6, partial_rotary_factor=0.5),
                sliding_attention=dict(rope_type="default", rope_theta=10000.0))
    c = tf.Gemma4TextConfig(hidden_size=32, intermediate_size=24, num_hidden_layers=6, num_attention_heads=2, num_key_value_heads=1,
                            head_dim=8, global_head_dim=16, vocab_size=96, vocab_size_per_layer_input=96,
                            hidden_size_per_layer_input=4, max_position_embeddings=256, sliding_window=6, layer_types=kinds,
                            rope_parameters=rope, tie_word_embeddings=True, rms_norm_eps=1e-6, final_logit_softcapping=20.0,
                            num_kv_shared_layers=2, use_double_wide_mlp=True, pad_token_id=0)
    m = build(tf.Gemma4ForCausalLM, c, 25)
    with torch.no_grad():
        for name, buffer in m.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.fill_(0.9)
    f = File("gemma4", "gemma4", None)
    for key, value in (("block_count", 6), ("context_length", 256), ("embedding_length", 32), ("attention.head_count", 2),
                       ("attention.head_count_kv", 1), ("attention.key_length", 16), ("attention.value_length", 16),
                       ("attention.key_length_swa", 8), ("attention.value_length_swa", 8), ("attention.sliding_window", 6),
                       ("attention.shared_kv_layers", 2), ("embedding_length_per_layer_input", 4)):
        f.u32(key, value)
    f.w.add_array("gemma4.feed_forward_length", [24, 24, 24, 24, 48, 48])
    f.w.add_array("gemma4.attention.sliding_window_pattern", [kind == "sliding_attention" for kind in kinds])
    f.f32("attention.layer_norm_rms_epsilon", 1e-6)
    f.f32("rope.freq_base", 1e6)
    f.f32("rope.freq_base_swa", 10000.0)
    f.f32("final_logit_softcapping", 20.0)
    f.tensor("rope_freqs.weight", np.array([1.0] * 4 + [1e30] * 4, dtype=np.float32))
    sd = m.state_dict()
    for ours, theirs in {"token_embd": "embed_tokens", "output_norm": "norm", "per_layer_token_embd": "embed_tokens_per_layer",
                         "per_layer_model_proj": "per_layer_model_projection",
                         "per_layer_proj_norm": "per_layer_projection_norm"}.items():
        f.tensor(ours + ".weight", sd[f"model.{theirs}.weight"])
    names = {"attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
             "post_ffw_norm": "post_feedforward_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
             "attn_k_norm": "self_attn.k_norm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "inp_gate": "per_layer_input_gate", "proj": "per_layer_projection", "post_norm": "post_per_layer_input_norm"}
    for i in range(6):
        f.tensor(f"blk.{i}.layer_output_scale.weight", sd[f"model.layers.{i}.layer_scalar"])
        for ours, theirs in names.items():
            if f"model.layers.{i}.{theirs}.weight" in sd:
                f.tensor(f"blk.{i}.{ours}.weight", sd[f"model.layers.{i}.{theirs}.weight"])
    return m, f, c


CASES = [llama, mixtral, qwen, qwen2, qwen3, qwen3moe, gemma3, phi3, granite, bitnet, bert, gemma2, olmo2, smollm3, qwen2moe, gpt2,
         gptneox, gptneox_serial, phi2, gpt_oss, lfm2, qwen35, deepseek2, deepseek3, gemma4]


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        if len(sys.argv) > 1 and case.__name__ not in sys.argv[1:]:
            continue
        model, file, config = case()
        tokens = prompt(config.vocab_size)
        short = run(model, tokens[:12]) if case is phi3 else None
        file.finish(tokens, run(model, tokens), short)


if __name__ == "__main__":
    main()
