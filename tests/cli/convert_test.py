#!/usr/bin/env python3
"""sterna convert from outside: checkpoints made on the spot in, files that the program runs out, and one sentence for what is wrong."""
import array
import hashlib
import json
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

STERNA, DUMP_LOGITS = (str(Path(p).resolve()) for p in sys.argv[1:3])
LIMIT_SECONDS = 120  # a guard against hanging, never a measure
WIDTH, FFN, VOCAB, HEADS, KV_HEADS = 256, 256, 48, 4, 2


def sterna(*args, file_limit=None):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    return subprocess.run([STERNA, *map(str, args)], capture_output=True, timeout=LIMIT_SECONDS, stdin=subprocess.DEVNULL,
                          preexec_fn=limit if file_limit else None)


CONFIG = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=WIDTH, intermediate_size=FFN, num_hidden_layers=2,
              num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, vocab_size=VOCAB, max_position_embeddings=64, rms_norm_eps=1e-5,
              rope_theta=10000.0, hidden_act="silu", tie_word_embeddings=False)


def shapes():
    kv = WIDTH // HEADS * KV_HEADS
    found = {"model.embed_tokens.weight": [VOCAB, WIDTH], "model.norm.weight": [WIDTH], "lm_head.weight": [VOCAB, WIDTH]}
    for i in range(2):
        p = f"model.layers.{i}."
        found |= {p + "input_layernorm.weight": [WIDTH], p + "post_attention_layernorm.weight": [WIDTH],
                  p + "self_attn.q_proj.weight": [WIDTH, WIDTH], p + "self_attn.k_proj.weight": [kv, WIDTH],
                  p + "self_attn.v_proj.weight": [kv, WIDTH], p + "self_attn.o_proj.weight": [WIDTH, WIDTH],
                  p + "mlp.gate_proj.weight": [FFN, WIDTH], p + "mlp.up_proj.weight": [FFN, WIDTH],
                  p + "mlp.down_proj.weight": [WIDTH, FFN]}
    return found


def count(shape):
    n = 1
    for extent in shape:
        n *= extent
    return n


def weights():
    """float32 bytes by name; exact in bfloat16, so that every source type holds the same model."""
    chooser, tensors = random.Random(1), {}
    pool = array.array("f", (chooser.gauss(0, 1 / 16) for _ in range(8192)))
    words = array.array("I", pool.tobytes())
    pool = array.array("f", array.array("I", (w & 0xFFFF0000 for w in words)).tobytes())
    for name, shape in shapes().items():
        at, n = chooser.randrange(4096), count(shape)
        values = (pool[at:] + pool * (n // len(pool) + 1))[:n]
        tensors[name] = array.array("f", (1 + v for v in values)).tobytes() if len(shape) == 1 else values.tobytes()
    return tensors


WEIGHTS = weights()


def safetensors(tensors, dtype="F32", shape_of=None):
    header, data = {}, b""
    for name, values in tensors.items():
        if dtype == "BF16":
            values = b"".join(values[i + 2:i + 4] for i in range(0, len(values), 4))
        header[name] = dict(dtype=dtype, shape=(shape_of or shapes())[name], data_offsets=[len(data), len(data) + len(values)])
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


class ConvertTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.dir = Path(self.folder.name)
        self.source = self.dir / "tiny"
        self.source.mkdir()
        self.output = self.dir / "out.gguf"
        self.write_config()

    def write_config(self, **changes):
        (self.source / "config.json").write_text(json.dumps(CONFIG | changes))

    def write_weights(self, tensors=None, **arguments):
        (self.source / "model.safetensors").write_bytes(safetensors(WEIGHTS if tensors is None else tensors, **arguments))

    def works(self, *args):
        done = sterna(*args)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def convert(self, *args, output=None):
        return self.works("convert", self.source, "-o", output or self.output, "-q", *args)

    def fails(self, *words, args=(), source=None, file_limit=None):
        done = sterna("convert", source or self.source, "-o", self.output, "-q", *args, file_limit=file_limit)
        self.assertEqual(done.returncode, 1, done.stdout)
        lines = [line for line in done.stderr.decode().strip().split("\n") if "no tokenizer" not in line]
        self.assertEqual(len(lines), 1, lines)
        for word in words:
            self.assertIn(str(word), lines[0])

    def checks(self, path):
        return self.works("inspect", "--check", path)

    def test_every_type_loads(self):
        self.write_weights()
        sizes = {}
        for kind in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_k_m", "tq2_0"):
            path = self.dir / f"{kind}.gguf"
            self.assertEqual(self.convert("--type", kind, output=path).strip(), str(path))
            sizes[kind] = path.stat().st_size
            self.assertIn("all there", self.checks(path))
            done = subprocess.run([DUMP_LOGITS, path, "1", "7", "3"], capture_output=True, timeout=LIMIT_SECONDS)
            self.assertEqual((done.returncode, len(done.stdout)), (0, 3 * VOCAB * 4), done.stderr)
            logits = array.array("f", done.stdout)
            self.assertTrue(all(abs(value) < 1e4 for value in logits) and max(logits) > min(logits))
        self.assertGreater(sizes["f32"], sizes["f16"])
        self.assertGreater(sizes["f16"], sizes["q8_0"])
        self.assertGreater(sizes["q8_0"], sizes["q4_k_m"])
        self.assertGreater(sizes["q4_0"], sizes["tq2_0"])

    def test_a_file_named_without_a_folder_has_its_tokenizer_beside_it(self):
        self.write_weights()
        lines = [f"{i} {chr(0x4e00 + i)!r} 3" for i in range(1, VOCAB)]
        (self.source / "rwkv_vocab_v20230424.txt").write_text("\n".join(lines) + "\n")
        done = subprocess.run([STERNA, "convert", "model.safetensors", "-o", "out.gguf", "-q"], cwd=self.source,
                              capture_output=True, timeout=LIMIT_SECONDS)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(f"rwkv, {VOCAB} tokens", self.checks(self.source / "out.gguf"))

    def test_the_sources_type_shards_and_back(self):
        self.write_weights(dtype="BF16")
        self.convert()
        self.assertEqual(set(json.loads(self.works("inspect", "--json", self.output))["types"]), {"BF16", "F32"})
        # The same tensors in two shards give the same bytes.
        (self.source / "model.safetensors").unlink()
        names = list(WEIGHTS)
        parts = {"model-00001-of-00002.safetensors": names[:7], "model-00002-of-00002.safetensors": names[7:]}
        for file, part in parts.items():
            (self.source / file).write_bytes(safetensors({n: WEIGHTS[n] for n in part}, "BF16"))
        index = {n: file for file, part in parts.items() for n in part}
        (self.source / "model.safetensors.index.json").write_text(json.dumps(dict(weight_map=index)))
        report = self.dir / "report.json"
        self.convert("--report", report, output=self.dir / "sharded.gguf")
        reported = {t["name"]: t for t in json.loads(report.read_text())["tensors"]}
        self.assertEqual(len(reported), len(WEIGHTS))
        self.assertEqual(reported["token_embd.weight"]["rmse"], 0)
        self.assertEqual(len(reported["token_embd.weight"]["sha256"]), 64)
        whole, sharded = self.output.read_bytes(), (self.dir / "sharded.gguf").read_bytes()
        self.assertEqual(hashlib.sha256(whole).digest(), hashlib.sha256(sharded).digest())
        # And back: every value as it was.
        back = self.dir / "back"
        self.works("convert", self.output, "-o", back, "--to", "safetensors", "--type", "f32")
        data = (back / "model.safetensors").read_bytes()
        n = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + n])
        header.pop("__metadata__")
        self.assertEqual(set(header), set(WEIGHTS))
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if len(entry["shape"]) > 1:  # vectors were rounded to bfloat16 in the source
                self.assertEqual(data[8 + n + begin:8 + n + end], WEIGHTS[name], name)
        self.assertEqual(json.loads((back / "config.json").read_text())["num_key_value_heads"], KV_HEADS)
        again = self.dir / "again.gguf"
        self.works("convert", back, "-o", again, "--type", "bf16", "--name", "tiny", "-q")
        self.assertEqual(hashlib.sha256(again.read_bytes()).digest(), hashlib.sha256(whole).digest())

    def tensor_hashes(self, source, name):
        report = self.works("convert", source, "-o", self.dir / name, "--type", "f32", "--json", "-q")
        return {t["name"]: t["sha256"] for t in json.loads(report)["tensors"] if not t["name"].startswith("golden.")}

    def test_there_and_back_in_every_architecture(self):
        models = sorted((Path(__file__).resolve().parents[1] / "golden/models").glob("*.gguf"))
        self.assertGreater(len(models), 20)
        for model in models:
            with self.subTest(model=model.stem):
                folder = self.dir / model.stem
                self.works("convert", model, "-o", folder, "--to", "safetensors", "--type", "f32", "-q")
                self.assertEqual(self.tensor_hashes(folder, f"{model.stem}-back.gguf"),
                                 self.tensor_hashes(model, f"{model.stem}.gguf"))

    def test_gguf_to_gguf(self):
        self.write_weights()
        self.convert("--type", "f32")
        small = self.dir / "small.gguf"
        self.works("convert", self.output, "-o", small, "--type", "q8_0", "-q")
        direct = self.dir / "direct.gguf"
        self.convert("--type", "q8_0", output=direct)
        self.assertEqual(hashlib.sha256(small.read_bytes()).digest(), hashlib.sha256(direct.read_bytes()).digest())

    def test_bad_checkpoints(self):
        self.fails("tiny", "no checkpoint")
        self.fails("nowhere", "no such file", source=self.dir / "nowhere")
        self.write_weights()
        good = (self.source / "model.safetensors").read_bytes()
        (self.source / "model.safetensors").write_bytes(good[:len(good) // 2])
        self.fails("model.safetensors", "lies at", "bytes of data")
        (self.source / "model.safetensors").write_bytes(good[:100])
        self.fails("model.safetensors", "ends within its header")
        (self.source / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 63) + good[8:])
        self.fails("model.safetensors", "a header of 9223372036854775808 bytes")
        self.write_weights({n: v for n, v in WEIGHTS.items() if "layers.1.mlp" not in n})
        self.fails("3 tensors are missing", "model.layers.1.mlp.gate_proj.weight")
        extra = shapes() | {"model.layers.0.self_attn.surprise.weight": [4]}
        self.write_weights(WEIGHTS | {"model.layers.0.self_attn.surprise.weight": bytes(16)}, shape_of=extra)
        self.fails("1 tensors that LlamaForCausalLM does not know", "surprise")
        self.convert("--type", "f16", "--allow-extra")
        self.output.unlink()
        wrong = shapes() | {"model.layers.0.mlp.up_proj.weight": [WIDTH * 2, FFN // 2]}
        self.write_weights(shape_of=wrong)
        self.fails("model.layers.0.mlp.up_proj.weight", "shape [512, 128], expected [256, 256]")
        self.write_weights({n: v for n, v in WEIGHTS.items() if n != "lm_head.weight"})
        self.fails("lm_head.weight", "not tied")
        self.assertFalse(self.output.exists())

    def test_bad_configs(self):
        self.write_weights()
        (self.source / "config.json").unlink()
        self.fails("config.json", "missing")
        (self.source / "config.json").write_text("{")
        self.fails("config.json", "not a JSON object")
        self.write_config(architectures=["Llama9ForCausalLM"])
        self.fails("Llama9ForCausalLM", "not known", "LlamaForCausalLM")
        self.write_config(architectures=None)
        self.fails("names no architecture")
        self.write_config(hidden_act="tanh")
        self.fails("hidden_act", "tanh", "expected silu")
        self.write_config(num_hidden_layers="two")
        self.fails("num_hidden_layers", "expected an integer")
        self.write_config(num_attention_heads=3)
        self.fails("config.json", "heads")
        self.write_config(rope_scaling=dict(rope_type="spiral", factor=2.0))
        self.fails("spiral", "expected linear, yarn, longrope or llama3")
        (self.source / "model.safetensors").unlink()
        (self.source / "model-00001-of-00002.safetensors").write_bytes(safetensors(WEIGHTS))
        self.fails("model-00002-of-00002.safetensors", "missing, expected 2 shards")
        self.assertFalse(self.output.exists())

    def test_a_full_disk_leaves_the_old_file_and_can_be_resumed(self):
        self.write_weights()
        self.output.write_bytes(b"what was there")
        self.fails("out.gguf", "File too large", args=["--type", "f32"], file_limit=1 << 20)
        self.assertEqual(self.output.read_bytes(), b"what was there")
        self.convert("--type", "f32")
        whole = self.output.read_bytes()
        self.convert("--type", "f32", "--afresh", output=self.dir / "afresh.gguf")
        self.assertEqual(hashlib.sha256(whole).digest(), hashlib.sha256((self.dir / "afresh.gguf").read_bytes()).digest())
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["afresh.gguf", "out.gguf", "tiny"])

    def test_check_finds_what_is_wrong(self):
        self.write_weights()
        self.convert("--type", "f32")
        good = self.output.read_bytes()
        broken = self.dir / "broken.gguf"

        def attempt(data, *words):
            broken.write_bytes(data)
            done = sterna("inspect", "--check", broken)
            self.assertEqual(done.returncode, 1, done.stdout)
            for word in words:
                self.assertIn(word, done.stdout.decode())

        values = WEIGHTS["model.layers.1.mlp.down_proj.weight"]
        nan = struct.pack("<f", float("nan"))
        at = good.rindex(values[:400])
        attempt(good[:at] + nan + good[at + 4:], "infinite or not a number", "blk.1.ffn_down.weight: 1 of 65536")
        attempt(good.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_ux.weight"), "blk.1.ffn_up.weight: missing")
        attempt(good.replace(b"llama.feed_forward_length\x04\0\0\0\0\1\0\0", b"llama.feed_forward_length\x04\0\0\0\0\2\0\0"),
                "blk.0.ffn_gate.weight: shape [256, 256], expected [256, 512]", "and 3 more")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
