#!/usr/bin/env python3
"""Writes tests/golden/checkpoints: small checkpoints of many kinds, made by the packages that define these kinds, and what
they stand for according to those packages.

    python3 tools/make_checkpoint_golden.py [--auto-round FOLDER] [--only KIND]

Each folder holds a checkpoint, its config.json where one is needed, and expected.txt: a line per tensor with its name,
the type that holds it exactly, its shape, the SHA-256 of its values as little-endian F32, and its first four values.
Made with torch 2.15.0, transformers 5.23.0, compressed-tensors 0.20.0, safetensors 0.8.0, onnx 1.23.2, numpy 2.4.6 and
auto-round 0.16.1 (its packers of GPTQ and AWQ; installed with --no-deps into FOLDER, as most of it is not needed)."""
import argparse
import hashlib
import importlib
import io
import json
import pickle
import shutil
import struct
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1] / "tests/golden/checkpoints"
IN, OUT = 64, 32


def values_of(tensor):
    return np.ascontiguousarray(tensor.detach().to(torch.float32).numpy()).astype("<f4")


class Golden:
    """One folder."""

    def __init__(self, kind):
        self.folder = ROOT / kind
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.lines = []

    def config(self, quantization, **more):
        text = json.dumps({"model_type": "llama", **more, "quantization_config": quantization}, indent=1)
        (self.folder / "config.json").write_text(text + "\n")

    def expect(self, name, exact, tensor):
        values = values_of(tensor)
        shape = ",".join(str(n) for n in tensor.shape)
        first = " ".join(f"{v:.9g}" for v in values.reshape(-1)[:4])
        self.lines.append(f"{name} {exact} {shape or '-'} {hashlib.sha256(values.tobytes()).hexdigest()} {first}")

    def finish(self, tensors=None):
        if tensors is not None:
            save_file({name: t.contiguous() for name, t in tensors.items()}, self.folder / "model.safetensors",
                      metadata={"format": "pt"})
        (self.folder / "expected.txt").write_text("\n".join(self.lines) + "\n")


def load_auto_round(folder):
    """The two modules with packers, without the package around them."""
    sys.path.insert(0, str(folder))
    for name in ("auto_round", "auto_round.export", "auto_round.export.export_to_awq", "auto_round_extension",
                 "auto_round_extension.torch", "auto_round.utils"):
        module = types.ModuleType(name)
        module.__path__ = [str(Path(folder) / name.replace(".", "/"))]
        sys.modules[name] = module
    sys.modules["auto_round.utils"].get_packing_device = lambda device=None: torch.device("cpu")
    sys.modules["auto_round.utils"].logger = None
    return (importlib.import_module("auto_round_extension.torch.qlinear_torch_zp"),
            importlib.import_module("auto_round.export.export_to_awq.utils"))


def grid(generator, groups, bits, symmetric):
    """Scales [OUT, groups] that halves hold, and zero points from 1 up."""
    scales = (torch.rand(OUT, groups, generator=generator) * 0.02 + 0.001).half().float()
    if symmetric:
        zeros = torch.full((OUT, groups), 2 ** (bits - 1))
    else:
        zeros = torch.randint(1, 2**bits, (OUT, groups), generator=generator)
    return scales, zeros


def on_grid(generator, scales, zeros, group, bits):
    q = torch.randint(0, 2**bits, (OUT, IN), generator=generator)
    return (q - zeros.repeat_interleave(group, 1)) * scales.repeat_interleave(group, 1)


def make_gptq(gptq):
    for kind, bits, group, symmetric, exact in (("gptq-4bit-sym", 4, 32, True, "Q4_0"), ("gptq-4bit", 4, 16, False, "F32"),
                                                ("gptq-8bit-sym", 8, 32, True, "Q8_0"), ("gptq-3bit", 3, 32, False, "F32"),
                                                ("gptq-2bit", 2, 64, False, "F32")):
        generator = torch.Generator().manual_seed(7)
        golden = Golden(kind)
        scales, zeros = grid(generator, IN // group, bits, symmetric)
        linear = torch.nn.Linear(IN, OUT, bias=True)
        linear.weight.data = on_grid(generator, scales, zeros, group, bits)
        linear.bias.data = torch.arange(OUT) * 0.5
        layer = gptq.QuantLinear(bits, group, IN, OUT, True)
        layer.pack(linear, scales, zeros, None)
        tensors = {f"model.layers.0.mlp.up_proj.{key}": value for key, value in layer.state_dict().items()}
        tensors["model.layers.0.mlp.up_proj.g_idx"] = torch.arange(IN, dtype=torch.int32) // group
        tensors["model.norm.weight"] = torch.ones(IN, dtype=torch.float16)
        layer.scales = layer.scales.float()
        layer.bias = None
        weight = layer.forward(torch.eye(IN)).t()
        if bits != 8:
            assert torch.equal(weight, linear.weight.data), kind
        golden.config({"quant_method": "gptq", "bits": bits, "group_size": group, "desc_act": False, "sym": symmetric})
        golden.expect("model.layers.0.mlp.up_proj.weight", exact, weight)
        golden.expect("model.layers.0.mlp.up_proj.bias", "F16", linear.bias.half())
        golden.expect("model.norm.weight", "F16", torch.ones(IN))
        golden.finish(tensors)


def make_gptq_act_order():
    """desc_act, and the format without the zero points' minus one. No package of today packs it on a CPU: the formula of
    AutoGPTQ's documentation, weight[i, o] = scales[g_idx[i], o] * (q[i, o] - zeros[g_idx[i], o])."""
    rng = np.random.default_rng(11)
    bits, groups = 4, 4
    for kind, version in (("gptq-act-order", 1), ("gptq-v2", 2)):
        golden = Golden(kind)
        q = rng.integers(0, 16, (IN, OUT), dtype=np.uint32)
        zeros = rng.integers(0, 16, (groups, OUT), dtype=np.uint32)
        scales = (rng.random((groups, OUT)) * 0.02).astype(np.float16)
        g_idx = rng.permutation(np.repeat(np.arange(groups), IN // groups)).astype(np.int32)
        stored = (zeros - 1) & 15 if version == 1 else zeros
        qweight = np.zeros((IN // 8, OUT), np.uint32)
        qzeros = np.zeros((groups, OUT // 8), np.uint32)
        for k in range(8):
            qweight |= q[k::8] << np.uint32(bits * k)
            qzeros |= stored[:, k::8] << np.uint32(bits * k)
        weight = scales.astype(np.float32)[g_idx] * (q.astype(np.int64) - zeros.astype(np.int64)[g_idx]).astype(np.float32)
        base = "model.layers.0.self_attn.q_proj."
        tensors = {"qweight": qweight.view(np.int32), "qzeros": qzeros.view(np.int32), "scales": scales, "g_idx": g_idx}
        config = {"quant_method": "gptq", "bits": 4, "group_size": IN // groups, "desc_act": True}
        golden.config({**config, "checkpoint_format": "gptq_v2"} if version == 2 else config)
        golden.expect(base + "weight", "F32", torch.tensor(weight.T.copy()))
        golden.finish({base + name: torch.tensor(value) for name, value in tensors.items()})


def make_awq(awq):
    generator = torch.Generator().manual_seed(13)
    golden = Golden("awq")
    group = 32
    scales, zeros = grid(generator, IN // group, 4, False)
    linear = torch.nn.Linear(IN, OUT, bias=False)
    linear.weight.data = on_grid(generator, scales, zeros, group, 4)
    layer = awq.WQLinear_GEMM.from_linear(linear, 4, group, scales=scales.t().contiguous(), zeros=zeros.t().contiguous())
    weight = awq.dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.float(), 4, group).t()
    assert torch.equal(weight, linear.weight.data)
    golden.config({"quant_method": "awq", "bits": 4, "group_size": group, "version": "gemm", "zero_point": True})
    golden.expect("model.layers.0.mlp.up_proj.weight", "F32", weight)
    golden.finish({f"model.layers.0.mlp.up_proj.{k}": v for k, v in layer.state_dict().items()})


def make_compressed_tensors():
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    base = "model.layers.0.mlp.down_proj."
    cases = (
        ("compressed-int4", "pack-quantized", "Q4_0", dict(num_bits=4, type="int", strategy="group", group_size=32)),
        ("compressed-int4-asym", "pack-quantized", "F32",
         dict(num_bits=4, type="int", strategy="group", group_size=16, symmetric=False)),
        ("compressed-int8-channel", "pack-quantized", "Q8_0", dict(num_bits=8, type="int", strategy="channel")),
        ("compressed-w8a8", "int-quantized", "Q8_0", dict(num_bits=8, type="int", strategy="channel")),
        ("compressed-fp8", "float-quantized", "F32", dict(num_bits=8, type="float", strategy="channel")),
        ("compressed-nvfp4", "nvfp4-pack-quantized", "F32",
         dict(num_bits=4, type="float", strategy="tensor_group", group_size=16, scale_dtype=torch.float8_e4m3fn)),
    )
    for kind, form, exact, arguments in cases:
        generator = torch.Generator().manual_seed(17)
        golden = Golden(kind)
        args = QuantizationArgs(**arguments)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        group = arguments.get("group_size", IN)
        weight = torch.randn(OUT, IN, generator=generator) * 0.1
        largest = weight.abs().reshape(OUT, -1, group).amax(-1)
        top = {"int": 2.0 ** (args.num_bits - 1), "float": 448.0 if args.num_bits == 8 else 6.0}[args.type]
        state = {"weight": weight, "weight_scale": (largest / top).bfloat16().float()}
        if arguments.get("symmetric") is False:
            state["weight_zero_point"] = torch.randint(-8, 8, state["weight_scale"].shape, generator=generator).to(torch.int8)
        else:
            state["weight_zero_point"] = torch.zeros_like(state["weight_scale"]).to(torch.int8)
        if form.startswith("nvfp4"):
            state["weight_global_scale"] = torch.tensor([448.0 * 6.0 / weight.abs().max()])
            state["weight_scale"] = (largest / 6.0 * state["weight_global_scale"]).to(torch.float8_e4m3fn).float()
            del state["weight_zero_point"]
        compressor = BaseCompressor.get_value_from_registry(form)
        packed = compressor.compress(dict(state), scheme)
        plain = compressor.decompress(dict(packed), scheme)["weight"].float()
        if form.startswith("nvfp4"):
            # The same in float32: the package rounds on the way.
            table = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
            table = torch.cat([table, -table])
            pairs = packed["weight_packed"].int()
            codes = torch.stack([pairs & 15, pairs >> 4], -1).reshape(OUT, IN)
            scales = packed["weight_scale"].float() / packed["weight_global_scale"]
            exactly = table[codes] * scales.repeat_interleave(16, 1)
            assert torch.allclose(plain, exactly, rtol=2**-7), (plain - exactly).abs().max()
            plain = exactly
        golden.config({"quant_method": "compressed-tensors", "format": form,
                       "config_groups": {"group_0": {"weights": {k: str(v) for k, v in arguments.items()}}}})
        golden.expect(base + "weight", exact, plain)
        tensors = {base + name: value for name, value in packed.items()}
        tensors[base + "input_scale"] = torch.ones(1)
        golden.finish(tensors)


def make_fp8():
    """Block scales as DeepSeek and Qwen publish them; smaller blocks, with ragged ends, keep the file small."""
    generator = torch.Generator().manual_seed(19)
    for kind, exact in (("fp8-blocks", "F32"), ("fp8-ue8m0", "BF16")):
        golden = Golden(kind)
        weight = (torch.randn(40, 72, generator=generator) * 100).clamp(-448, 448).to(torch.float8_e4m3fn)
        scale = torch.rand(2, 3, generator=generator) * 0.01
        if exact == "BF16":
            scale = torch.exp2(torch.floor(torch.log2(scale)))
        big = scale.repeat_interleave(32, 0)[:40].repeat_interleave(32, 1)[:, :72]
        golden.config({"quant_method": "fp8", "weight_block_size": [32, 32], "fmt": "e4m3"})
        golden.expect("model.layers.0.mlp.up_proj.weight", exact, weight.float() * big)
        golden.expect("model.norm.weight", "BF16", torch.full((72,), 0.75))
        every = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).reshape(8, 32)
        every = torch.where(every.float().isnan(), torch.zeros(()), every.float()).to(torch.float8_e4m3fn)
        golden.expect("lm_head.weight", "F32", every.float() * 0.3)
        golden.finish({"model.layers.0.mlp.up_proj.weight": weight, "model.layers.0.mlp.up_proj.weight_scale_inv": scale,
                       "lm_head.weight": every, "lm_head.weight_scale": torch.tensor(0.3),
                       "lm_head.input_scale": torch.tensor(1.0),
                       "model.norm.weight": torch.full((72,), 0.75, dtype=torch.bfloat16)})


def make_mxfp4():
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    generator = torch.Generator().manual_seed(23)
    golden = Golden("mxfp4-experts")
    base = "model.layers.0.mlp.experts.gate_up_proj"
    blocks = torch.randint(0, 256, (2, 12, 2, 16), generator=generator).to(torch.uint8)
    scales = torch.randint(100, 130, (2, 12, 2), generator=generator).to(torch.uint8)
    golden.config({"quant_method": "mxfp4"})
    golden.expect(base, "MXFP4", convert_moe_packed_tensors(blocks, scales, dtype=torch.float32))
    golden.expect(base + "_bias", "BF16", torch.ones(2, 12))
    golden.finish({base + "_blocks": blocks, base + "_scales": scales,
                   base + "_bias": torch.ones(2, 12, dtype=torch.bfloat16)})


def make_bitnet():
    from transformers.integrations.bitnet import pack_weights, unpack_weights

    generator = torch.Generator().manual_seed(29)
    for kind, linear_class, exact in (("bitnet-auto", "autobitlinear", "TQ2_0"), ("bitnet", "bitlinear", "F32")):
        golden = Golden(kind)
        ternary = torch.randint(-1, 2, (16, 256), generator=generator)
        packed = pack_weights(ternary.clone())
        scale = torch.tensor([1.3], dtype=torch.bfloat16)
        plain = unpack_weights.__wrapped__(packed, torch.float32)
        assert torch.equal(plain, ternary.float())
        golden.config({"quant_method": "bitnet", "linear_class": linear_class, "quantization_mode": "offline"})
        factor = scale.float() if linear_class == "autobitlinear" else 1.0 / scale.float()
        golden.expect("model.layers.0.mlp.up_proj.weight", exact, plain * factor)
        golden.finish({"model.layers.0.mlp.up_proj.weight": packed, "model.layers.0.mlp.up_proj.weight_scale": scale})


def make_torch():
    generator = torch.Generator().manual_seed(31)
    weight = torch.randn(6, 8, generator=generator)
    state = OrderedDict()
    golden = Golden("torch")
    big = torch.randn(4, 6, 8, generator=generator)
    for name, tensor, exact in (
            ("f32", weight, "F32"), ("f16", weight.half(), "F16"), ("bf16", weight.bfloat16(), "BF16"),
            ("f64", weight.double(), "F32"), ("transposed", weight.t(), "F32"), ("slice", big[2, 1:4], "F32"),
            ("strided", big[:, ::2, 3], "F32"), ("parameter", torch.nn.Parameter(weight + 1), "F32"),
            ("i64", torch.arange(-3, 5), "I64"), ("i32", torch.arange(-3, 5, dtype=torch.int32), "I32"),
            ("i8", torch.arange(-3, 5, dtype=torch.int8), "I8"), ("u8", torch.arange(250, 256, dtype=torch.uint8), "F16"),
            ("flags", torch.tensor([True, False]), "F16"), ("scalar", torch.tensor(2.5), "F32"),
            ("empty", torch.zeros(0, 3), "F32"), ("f8", weight.to(torch.float8_e4m3fn), "F16")):
        state[name] = tensor
        golden.expect(name, exact, tensor)
    state["shared"] = state["f32"]
    golden.expect("shared", "F32", weight)
    state._metadata = OrderedDict(version=1)
    torch.save(state, golden.folder / "pytorch_model.bin")
    golden.finish()

    def variant(kind, names, save):
        other = Golden(kind)
        for name in names:
            other.expect(name, "F32", weight)
        save(other.folder)
        other.finish()

    plain = OrderedDict(a=weight, b=weight.clone())
    variant("torch-legacy", "ab", lambda at: torch.save(plain, at / "pytorch_model.bin",
                                                        _use_new_zipfile_serialization=False))
    variant("torch-nested", "ab", lambda at: torch.save(
        {"epoch": 3, "loss": 0.5, "args": {"lr": [1e-3, None], "shape": weight.shape},
         "model": {"module._orig_mod.a": weight, "module._orig_mod.b": weight}}, at / "pytorch_model.bin"))
    variant("torch-protocol4", "ab", lambda at: torch.save(plain, at / "pytorch_model.bin", pickle_protocol=4))

    def sharded(at):
        for i, name in enumerate("ab"):
            torch.save({name: weight}, at / f"pytorch_model-{i + 1:05}-of-00002.bin")
        files = {name: f"pytorch_model-{i + 1:05}-of-00002.bin" for i, name in enumerate("ab")}
        (at / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))

    variant("torch-sharded", "ab", sharded)

    class Evil:
        def __reduce__(self):
            return eval, ("__import__('os').system('touch /tmp/evil')",)

    evil = Golden("torch-evil")
    torch.save({"a": weight, "b": Evil()}, evil.folder / "pytorch_model.bin")


def make_llama2c():
    """The exporters of llama2.c, from their description: the shapes of a model of two layers, four heads and two key heads."""
    rng = np.random.default_rng(37)
    dim, hidden, layers, heads, kv_heads, vocab, seq_len = 16, 24, 2, 4, 2, 40, 8
    head, kv_dim = dim // heads, dim // heads * kv_heads
    shapes = dict(wq=(dim, dim), wk=(kv_dim, dim), wv=(kv_dim, dim), wo=(dim, dim), w1=(hidden, dim), w2=(dim, hidden),
                  w3=(hidden, dim))
    names = dict(wq="self_attn.q_proj", wk="self_attn.k_proj", wv="self_attn.v_proj", wo="self_attn.o_proj",
                 w1="mlp.gate_proj", w2="mlp.down_proj", w3="mlp.up_proj", attention="input_layernorm",
                 ffn="post_attention_layernorm")

    def random(*shape):
        return rng.standard_normal(shape).astype("<f4")

    def halves(matrix):  # pairs side by side become halves of a head
        rows, columns = matrix.shape
        return matrix.reshape(rows // head, head // 2, 2, columns).transpose(0, 2, 1, 3).reshape(rows, columns)

    for kind, version, shared in (("llama2c-v0", 0, False), ("llama2c-v1", 1, True), ("llama2c-v2", 2, False)):
        golden = Golden(kind)
        norms = dict(attention=random(layers, dim), ffn=random(layers, dim))
        final, embedding, output = random(dim), random(vocab, dim), random(vocab, dim)
        matrices = {key: random(layers, *shape) for key, shape in shapes.items()}
        sizes = struct.pack("<7i", dim, hidden, layers, heads, kv_heads, vocab if shared or version else -vocab, seq_len)
        plain = {}

        def packed(values):
            if version != 2:
                return values.tobytes()
            groups = values.reshape(-1, 8)
            scale = (np.abs(groups).max(1) / 127).astype("<f4")
            q = np.round(groups / scale[:, None]).astype(np.int8)
            plain[id(values)] = (q.astype("<f4") * scale[:, None]).reshape(values.shape)
            return q.tobytes() + scale.tobytes()

        if version == 0:
            data = embedding.tobytes() + norms["attention"].tobytes()
            data += b"".join(matrices[key].tobytes() for key in ("wq", "wk", "wv", "wo")) + norms["ffn"].tobytes()
            data += b"".join(matrices[key].tobytes() for key in ("w1", "w2", "w3")) + final.tobytes()
            data += random(seq_len, head // 2).tobytes() * 2 + output.tobytes()
            header = sizes
        else:
            data = norms["attention"].tobytes() + norms["ffn"].tobytes() + final.tobytes() + packed(embedding)
            rows = {key: [matrices[key][i] for i in range(layers)] for key in matrices}
            data += b"".join(packed(row) for key in shapes for row in rows[key])
            data += b"" if shared else packed(output)
            header = struct.pack("<Ii", 0x616B3432, version) + sizes + struct.pack("<B", shared)
            header = (header + (struct.pack("<i", 8) if version == 2 else b"")).ljust(256, b"\0")
        (golden.folder / "model.bin").write_bytes(header + data)
        shown = lambda values: torch.tensor(plain.get(id(values), values))
        golden.expect("model.embed_tokens.weight", "F32", shown(embedding))
        golden.expect("model.norm.weight", "F32", torch.tensor(final))
        if not shared:
            golden.expect("lm_head.weight", "F32", shown(output))
        for i in range(layers):
            for key, name in names.items():
                if key in norms:
                    values = torch.tensor(norms[key][i])
                elif version == 2:
                    values = shown(rows[key][i])
                else:
                    values = torch.tensor(matrices[key][i])
                if key in ("wq", "wk"):
                    values = torch.tensor(halves(values.numpy()).copy())
                golden.expect(f"model.layers.{i}.{name}.weight", "F32", values)
        golden.finish()


def make_onnx():
    """A graph in the structure of optimum's exports, with every way a weight may be stored. ONNX Runtime is the witness: a
    matrix is what comes out for the identity."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(41)
    width, out = 32, 12
    golden = Golden("onnx")
    nodes, tensors, outputs, shown = [], [], [], {}

    def tensor(name, values):
        tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def weights(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def matmul(module, value, op="MatMul", suffix="MatMul", **attributes):
        output = f"out{len(outputs)}"
        outputs.append((output, f"{module}.weight"))
        scope = "/" + module.replace(".", "/").replace("/layers/0", "/layers.0")
        inputs = value if isinstance(value, list) else [value]
        nodes.append(helper.make_node(op, ["x", *inputs], [output], f"{scope}/{suffix}", **attributes))

    layer = "model.layers.0."
    golden_embedding = weights(16, width)
    tensor("model.embed_tokens.weight", golden_embedding)
    nodes.append(helper.make_node("Gather", ["model.embed_tokens.weight", "ids"], ["embedded"], "/model/embed_tokens/Gather"))
    matmul(layer + "self_attn.q_proj", tensor("onnx::MatMul_10", weights(width, out)))
    tensor(layer + "self_attn.q_proj.bias", weights(out))
    nodes.append(helper.make_node("Transpose", [tensor(layer + "self_attn.k_proj.weight", weights(out, width))], ["kt"],
                                  perm=[1, 0]))
    matmul(layer + "self_attn.k_proj", "kt")
    q = rng.integers(-128, 128, (width, out), dtype=np.int8)
    nodes.append(helper.make_node("DequantizeLinear", [
        tensor("onnx::MatMul_11_quantized", q), tensor("v_scale", (rng.random(out) * 0.1).astype(np.float32)),
        tensor("v_zero", rng.integers(-5, 5, out, dtype=np.int8))], ["v"], axis=1))
    matmul(layer + "self_attn.v_proj", "v")
    q = rng.integers(0, 256, (width, out), dtype=np.uint8)
    nodes.append(helper.make_node("DequantizeLinear", [
        tensor("onnx::MatMul_12_quantized", q), tensor("o_scale", np.float32(0.03)), tensor("o_zero", np.uint8(121))], ["o"]))
    nodes.append(helper.make_node("Identity", ["o"], ["o_same"]))
    matmul(layer + "self_attn.o_proj", "o_same")
    blocked = rng.integers(-8, 8, (width, out)).astype(np.int8)
    tensors.append(helper.make_tensor("onnx::MatMul_13_quantized", TensorProto.INT4, blocked.shape, blocked.reshape(-1)))
    nodes.append(helper.make_node("DequantizeLinear", [
        "onnx::MatMul_13_quantized", tensor("gate_scale", (rng.random((2, out)) * 0.1).astype(np.float32))], ["gate"], axis=0,
        block_size=16))
    matmul(layer + "mlp.gate_proj", "gate")
    scales = (rng.random((out, 1)) * 0.1).astype(np.float16).astype(np.float32)
    blocks = tensor("up_blocks", rng.integers(0, 256, (out, 1, 16), dtype=np.uint8))
    matmul(layer + "mlp.up_proj", [blocks, tensor("up_scales", scales.reshape(-1))], "MatMulNBits", "MatMul_Q4",
           domain="com.microsoft", K=width, N=out, bits=4, block_size=32)
    blocks = tensor("down_blocks", rng.integers(0, 256, (out, 2, 8), dtype=np.uint8))
    zeros = tensor("down_zeros", rng.integers(0, 256, out, dtype=np.uint8))
    matmul(layer + "mlp.down_proj", [blocks, tensor("down_scales", np.repeat(scales, 2)), zeros], "MatMulNBits",
           "MatMul_Q4", domain="com.microsoft", K=width, N=out, bits=4, block_size=16)
    nodes.append(helper.make_node("Constant", [], ["head"], value=helper.make_tensor(
        "", TensorProto.FLOAT, (width, 16), weights(width, 16).reshape(-1))))
    matmul("lm_head", "head")
    norm = weights(width).astype(np.float16)
    tensor("model.norm.weight", norm)
    tensor("onnx::Concat_3", np.arange(4))
    tensor("model.rotary.inv_freq", weights(4))

    graph = helper.make_graph(
        nodes, "main", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [width, width]),
                        helper.make_tensor_value_info("ids", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name, _ in outputs], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)],
                              ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    results = session.run([name for name, _ in outputs],
                          {"x": np.eye(width, dtype=np.float32), "ids": np.zeros(1, np.int64)})
    for (_, name), result in zip(outputs, results):
        exact = "Q4_0" if "up_proj" in name else "F32"
        golden.expect(name, exact, torch.tensor(result.T.copy()))
    biases = {t.name: numpy_helper.to_array(t) for t in tensors if t.name.endswith(".bias")}
    for name, values in biases.items():
        golden.expect(name, "F32", torch.tensor(values))
    golden.expect("model.embed_tokens.weight", "F32", torch.tensor(golden_embedding))
    golden.expect("model.norm.weight", "F16", torch.tensor(norm))
    (golden.folder / "model.onnx").write_bytes(model.SerializeToString())
    golden.finish()

    # The same with the large tensors in another file.
    other = Golden("onnx-external")
    other.lines = golden.lines
    onnx.save_model(model, other.folder / "model.onnx", save_as_external_data=True, location="model.onnx_data",
                    size_threshold=256)
    other.finish()


def make_onnx_dynamo():
    """By the exporter that goes through torch.export: it folds transposed matrices into constants called val_7, and notes the
    modules around each node. Its stack traces are taken out: they hold the paths of the machine."""
    import onnx

    class Mlp(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up_proj, self.down_proj = torch.nn.Linear(8, 12), torch.nn.Linear(12, 8, bias=False)

        def forward(self, x):
            return x + self.down_proj(torch.nn.functional.silu(self.up_proj(x)))

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = Mlp()

        def forward(self, x):
            return self.mlp(x)

    class Stack(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed_tokens = torch.nn.Embedding(16, 8)
            self.layers = torch.nn.ModuleList([Layer(), Layer()])
            self.norm = torch.nn.RMSNorm(8, eps=1e-6)

        def forward(self, ids):
            x = self.embed_tokens(ids)
            for layer in self.layers:
                x = layer(x)
            return self.norm(x)

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model, self.lm_head = Stack(), torch.nn.Linear(8, 16, bias=False)

        def forward(self, ids):
            return self.lm_head(self.model(ids))

    torch.manual_seed(43)
    module = Model().eval()
    golden = Golden("onnx-dynamo")
    path = golden.folder / "model.onnx"
    torch.onnx.export(module, (torch.tensor([[1, 5, 2]]),), str(path), dynamo=True, external_data=False, verbose=False)
    model = onnx.load(path)
    for node in model.graph.node:
        for at in reversed(range(len(node.metadata_props))):
            if node.metadata_props[at].key == "pkg.torch.onnx.stack_trace":
                del node.metadata_props[at]
    onnx.save(model, path)
    for name, values in module.state_dict().items():
        golden.expect(name, "F32", values)
    golden.finish()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--auto-round", help="where auto-round was installed; without it, GPTQ and AWQ are left as they are")
    parser.add_argument("--only", help="make_X without make_")
    options = parser.parse_args()
    makers = {"gptq_act_order": make_gptq_act_order, "compressed_tensors": make_compressed_tensors, "fp8": make_fp8,
              "mxfp4": make_mxfp4, "bitnet": make_bitnet, "torch": make_torch, "llama2c": make_llama2c,
              "onnx": make_onnx, "onnx_dynamo": make_onnx_dynamo}
    if options.auto_round:
        gptq, awq = load_auto_round(options.auto_round)
        makers |= {"gptq": lambda: make_gptq(gptq), "awq": lambda: make_awq(awq)}
    for name, make in makers.items():
        if options.only in (None, name):
            make()
            print(name)


if __name__ == "__main__":
    main()
