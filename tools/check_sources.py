#!/usr/bin/env python3
"""The same tiny Llama from every kind of source: `sterna convert` makes a GGUF of each, and its logits are compared with those
of transformers, or of ONNX Runtime where the graph was quantized in blocks.

    python tools/check_sources.py [--bin build/dev/bin] [--auto-round FOLDER] [--only NAME]

A packed source is compared with transformers running the matrices that its packer says it stands for. Prints one line per source:
the largest difference of a logit, relative to the largest logit; above 1e-4 is a failure. Needs torch, transformers, safetensors,
compressed-tensors, onnx, onnxscript, onnxruntime; versions and FOLDER as in make_checkpoint_golden.py."""
import argparse
import json
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

import make_checkpoint_golden as golden

LIMIT = 1e-4
TOKENS = [1, 17, 5, 60, 33, 2, 9, 41, 41, 7, 12, 50]
CONFIG = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              vocab_size=64, max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)


def tiny():
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).eval().float()
    for name, parameter in model.named_parameters():
        parameter.data = torch.randn_like(parameter) * (0.2 if parameter.dim() > 1 else 0.1) + (1.0 if "norm" in name else 0.0)
    return model


def logits_of(model):
    with torch.no_grad():
        return model(torch.tensor([TOKENS])).logits[0].numpy()


def dequantized(values, scale, zero):
    """By onnxruntime's DequantizeLinear, along the second dimension."""
    import onnx
    import onnxruntime
    from onnx import helper

    node = helper.make_node("DequantizeLinear", ["values", "scale", "zero"], ["out"], axis=1)
    tensors = [onnx.numpy_helper.from_array(array, name) for array, name in ((values, "values"), (scale, "scale"), (zero, "zero"))]
    graph = helper.make_graph([node], "dequantize", [], [helper.make_tensor_value_info("out", 1, list(values.shape))], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {})[0]


class Wrapped(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        # A mask of its own: without one transformers looks for packed sequences, by an operator that ONNX lacks.
        return self.model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False).logits


class Sources:
    def __init__(self, folder, auto_round):
        self.root, self.auto_round = Path(folder), auto_round
        self.model = tiny()
        self.reference = logits_of(self.model)

    def folder(self, quantization=None):
        config = json.loads(self.model.config.to_json_string(use_diff=False))
        config["architectures"] = ["LlamaForCausalLM"]
        if quantization:
            config["quantization_config"] = quantization
        (self.root / "config.json").write_text(json.dumps(config))
        return self.root

    # ---- Plain. Each returns the path to convert, and the logits to expect.

    def safetensors(self):
        save_file({k: v.contiguous() for k, v in self.model.state_dict().items()}, self.folder() / "model.safetensors")
        return self.root, self.reference

    def torch_zip(self):
        torch.save(self.model.state_dict(), self.folder() / "pytorch_model.bin")
        return self.root, self.reference

    def torch_legacy(self):
        torch.save(self.model.state_dict(), self.folder() / "pytorch_model.bin", _use_new_zipfile_serialization=False)
        return self.root, self.reference

    def torch_sharded(self):
        state, names = self.model.state_dict(), {}
        for i in range(3):
            part = {k: v for j, (k, v) in enumerate(state.items()) if j % 3 == i}
            torch.save(part, self.folder() / f"pytorch_model-{i + 1:05}-of-00003.bin")
            names |= {k: f"pytorch_model-{i + 1:05}-of-00003.bin" for k in part}
        (self.root / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": names}))
        return self.root, self.reference

    def torch_training(self):
        torch.save({"epoch": 2, "state_dict": {"module." + k: v for k, v in self.model.state_dict().items()}},
                   self.folder() / "last.pth")
        return self.root / "last.pth", self.reference

    def llama2c(self):
        state, c = self.model.state_dict(), CONFIG
        head = c["hidden_size"] // c["num_attention_heads"]
        layers = range(c["num_hidden_layers"])

        def rows(name, pairs=False):
            for i in layers:
                w = state[f"model.layers.{i}.{name}.weight"].numpy()
                if pairs:
                    w = w.reshape(w.shape[0] // head, 2, head // 2, -1).transpose(0, 2, 1, 3).reshape(w.shape)
                yield np.ascontiguousarray(w).tobytes()

        data = struct.pack("<7i", c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"], c["num_attention_heads"],
                           c["num_key_value_heads"], -c["vocab_size"], c["max_position_embeddings"])
        data += state["model.embed_tokens.weight"].numpy().tobytes() + b"".join(rows("input_layernorm"))
        data += b"".join(rows("self_attn.q_proj", True)) + b"".join(rows("self_attn.k_proj", True))
        data += b"".join(rows("self_attn.v_proj")) + b"".join(rows("self_attn.o_proj"))
        data += b"".join(rows("post_attention_layernorm"))
        for name in ("gate", "down", "up"):
            data += b"".join(rows(f"mlp.{name}_proj"))
        data += state["model.norm.weight"].numpy().tobytes() + bytes(4 * c["max_position_embeddings"] * head)
        (self.root / "model.bin").write_bytes(data + state["lm_head.weight"].numpy().tobytes())
        with torch.no_grad():  # its epsilon is fixed
            epsilon = 1e-5
            for module in self.model.modules():
                if hasattr(module, "variance_epsilon"):
                    module.variance_epsilon = epsilon
        return self.root / "model.bin", logits_of(self.model)

    # ---- Packed: every linear layer but the head becomes what pack() says, and stands for what it returns beside it.

    def packed(self, quantization, pack):
        tensors = {}
        for name, value in self.model.state_dict().items():
            if "_proj.weight" not in name:
                tensors[name] = value.contiguous()
                continue
            parts, plain = pack(value)
            tensors |= {name.removesuffix("weight") + key: part.contiguous() for key, part in parts.items()}
            self.model.get_parameter(name).data = plain.float().contiguous()
        save_file(tensors, self.folder(quantization) / "model.safetensors")
        return self.root, logits_of(self.model)

    @staticmethod
    def grid(weight, group):
        """Scales that halves hold, and zero points 1 to 15."""
        runs = weight.reshape(weight.shape[0], -1, group)
        low, high = runs.amin(-1), runs.amax(-1)
        scales = ((high - low) / 15).half().float()
        return scales, torch.clamp(torch.round(-low / scales), 1, 15).int()

    def gptq(self):
        layers, _ = golden.load_auto_round(self.auto_round)

        def pack(weight):
            scales, zeros = self.grid(weight, 32)
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight.data = weight
            layer = layers.QuantLinear(4, 32, weight.shape[1], weight.shape[0], False)
            layer.pack(linear, scales, zeros, None)
            parts = dict(layer.state_dict())
            layer.scales = layer.scales.float()
            return parts, layer.forward(torch.eye(weight.shape[1])).t()

        return self.packed({"quant_method": "gptq", "bits": 4, "group_size": 32}, pack)

    def awq(self):
        _, awq = golden.load_auto_round(self.auto_round)

        def pack(weight):
            scales, zeros = self.grid(weight, 32)
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight.data = weight
            layer = awq.WQLinear_GEMM.from_linear(linear, 4, 32, scales=scales.t().contiguous(), zeros=zeros.t().contiguous())
            return layer.state_dict(), awq.dequantize_gemm(layer.qweight, layer.qzeros, layer.scales.float(), 4, 32).t()

        return self.packed({"quant_method": "awq", "bits": 4, "group_size": 32, "version": "gemm"}, pack)

    def compressed(self, form, arguments):
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

        args = QuantizationArgs(**arguments)
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        compressor = BaseCompressor.get_value_from_registry(form)

        def pack(weight):
            top = 448.0 if args.type == "float" else 2.0 ** (args.num_bits - 1)
            runs = weight.reshape(weight.shape[0], -1, arguments.get("group_size", weight.shape[1]))
            scale = (runs.abs().amax(-1) / top).bfloat16().float()
            state = {"weight": weight, "weight_scale": scale, "weight_zero_point": torch.zeros_like(scale).to(torch.int8)}
            parts = compressor.compress(state, scheme)
            return parts, compressor.decompress(dict(parts), scheme)["weight"]

        return self.packed({"quant_method": "compressed-tensors", "format": form}, pack)

    def compressed_int4(self):
        return self.compressed("pack-quantized", dict(num_bits=4, type="int", strategy="group", group_size=32))

    def compressed_fp8(self):
        return self.compressed("float-quantized", dict(num_bits=8, type="float", strategy="channel"))

    def fp8_blocks(self):
        def pack(weight):
            rows, columns = weight.shape
            scale = torch.rand(-(-rows // 48), -(-columns // 48)) * 1e-3 + 5e-4
            big = scale.repeat_interleave(48, 0)[:rows].repeat_interleave(48, 1)[:, :columns]
            q = (weight / big).clamp(-448, 448).to(torch.float8_e4m3fn)
            return {"weight": q, "weight_scale_inv": scale}, q.float() * big

        return self.packed({"quant_method": "fp8", "weight_block_size": [48, 48]}, pack)

    # ---- ONNX.

    def export(self, dynamo, **options):
        path = self.folder() / "model.onnx"
        torch.onnx.export(Wrapped(self.model), (torch.tensor([TOKENS]),), str(path), input_names=["input_ids"],
                          output_names=["logits"], dynamo=dynamo, **options)
        return path

    def by_onnxruntime(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(str(path), options)
        return session.run(None, {"input_ids": np.array([TOKENS], np.int64)})[0][0]

    def onnx_dynamo(self):
        return self.export(True), self.reference

    def onnx_torchscript(self):
        return self.export(False), self.reference

    def onnx_int8(self):
        """Dynamic quantization rounds activations, too, which a conversion does not: the witness is transformers with the matrices
        that onnxruntime's DequantizeLinear makes of the file's."""
        import onnx
        from onnxruntime.quantization import quantize_dynamic

        path = self.root / "quantized.onnx"
        quantize_dynamic(self.export(False), path, op_types_to_quantize=["MatMul"], per_channel=True)
        graph = onnx.load(path).graph
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "MatMulInteger":
                module = self.model.get_submodule(node.name.split("/MatMul")[0].strip("/").replace("/", ".").removeprefix("model."))
                base = node.input[1].removesuffix("_quantized")
                matrix = dequantized(stored[node.input[1]], stored[base + "_scale"], stored[node.input[3]])
                module.weight.data = torch.from_numpy(matrix.T.copy())
        return path, logits_of(self.model)

    def onnx_int4(self):
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        quantizer = MatMulNBitsQuantizer(onnx.load(self.export(False)), block_size=32, is_symmetric=False)
        quantizer.process()
        onnx.save(quantizer.model.model, self.root / "int4.onnx")
        return self.root / "int4.onnx", self.by_onnxruntime(self.root / "int4.onnx")


NAMES = ("safetensors", "torch_zip", "torch_legacy", "torch_sharded", "torch_training", "llama2c", "gptq", "awq",
         "compressed_int4", "compressed_fp8", "fp8_blocks", "onnx_dynamo", "onnx_torchscript", "onnx_int8", "onnx_int4")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=Path, default=golden.ROOT.parents[2] / "build/dev/bin")
    parser.add_argument("--auto-round")
    parser.add_argument("--only")
    options = parser.parse_args()
    failed = 0
    for name in NAMES:
        if options.only not in (None, name) or (name in ("gptq", "awq") and not options.auto_round):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                path, expected = getattr(Sources(folder, options.auto_round), name)()
                result = Path(folder) / "result.gguf"
                done = subprocess.run([options.bin / "sterna", "convert", path, "-o", result, "--type", "f32", "-q"],
                                      capture_output=True, text=True)
                if done.returncode:
                    raise RuntimeError(done.stderr.strip())
                found = subprocess.run([options.bin / "dump_logits", result, *map(str, TOKENS)], check=True, capture_output=True)
                difference = np.abs(np.frombuffer(found.stdout, "<f4").reshape(expected.shape) - expected).max()
                relative = difference / np.abs(expected).max()
                good = relative <= LIMIT
                print(f"{name:18} {relative:.1e} {'' if good else 'TOO FAR'}", flush=True)
            except Exception as problem:
                good = False
                print(f"{name:18} FAILED: {str(problem)[:400]}", flush=True)
            failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
