#!/usr/bin/env python3
"""sterna train from outside: what is written, the same bytes whatever the threads and interruptions, and bad input."""
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

STERNA = str(Path(sys.argv[1]).resolve())
LIMIT_SECONDS = 120  # a guard against hanging, never a measure

RECIPE = """
name = "tiny"
[model]
kind = "llama"
width = 32
layers = 2
heads = 2
ffn = 64
context = 32
[tokenizer]
vocab_size = 300
special = ["<|im_start|>"]
end_of_turn = "<|im_end|>"
chat_template = "chat.jinja"
[data]
files = ["book.txt", { path = "chat.jsonl", weight = 1.5 }]
held_out = 0.1
[training]
steps = 24
batch_tokens = 256
accumulation = 2
warmup_steps = 4
[evaluation]
every = 12
rows = 8
samples = ["the", { user = "who are you?" }]
sample_tokens = 8
[checkpoint]
every = 5
[output]
folder = "out"
gguf = ["f16", "q8_0"]
"""

TEMPLATE = """{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""


def sterna(*args, **options):
    return subprocess.run([STERNA, *map(str, args)], capture_output=True, text=True, timeout=LIMIT_SECONDS, **options)


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Train(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        draw = random.Random(1)
        words = "the sea the land a bird flies over small grey waves and under clouds to its far home".split()
        (cls.folder / "book.txt").write_text(
            "\n\n".join(" ".join(draw.choice(words) for _ in range(draw.randint(3, 60))) for _ in range(120)))
        with open(cls.folder / "chat.jsonl", "w") as file:
            for _ in range(60):
                name = draw.choice(["Anna", "Jörg", "Uwe"])
                messages = [{"role": "user", "content": "who are you?"}, {"role": "assistant", "content": name}] * 2
                file.write(json.dumps({"messages": messages}) + "\n")
        (cls.folder / "chat.jinja").write_text(TEMPLATE)
        cls.recipe = cls.written("recipe.toml", RECIPE)
        cls.whole = cls.folder / "whole"
        cls.done = sterna("train", cls.recipe, "-o", cls.whole, "-t", 2, "--json")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @classmethod
    def written(cls, name, text):
        path = cls.folder / name
        path.write_text(text)
        return path

    def changed(self, name, old, new):
        self.assertIn(old, RECIPE)
        return self.written(name, RECIPE.replace(old, new))

    def same_models(self, folder):
        for name in ("tiny-f16.gguf", "tiny-q8_0.gguf"):
            self.assertEqual(digest(self.whole / name), digest(Path(folder) / name), name)

    def refused(self, recipe, *words, folder="refused"):
        done = sterna("train", recipe, "-o", self.folder / folder)
        self.assertEqual(done.returncode, 1, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertEqual(done.stderr.strip().split("\n")[-1].count("sterna: "), 1)

    def test_what_is_written(self):
        self.assertEqual(self.done.returncode, 0, self.done.stderr)
        report = json.loads(self.done.stdout)
        self.assertTrue(report["finished"])
        self.assertEqual(report["step"], 24)
        self.assertLess(report["loss"], 5.2)  # the logarithm of 300 is 5.7
        for file in report["files"]:
            self.assertEqual(digest(file["path"]), file["sha256"])
        log = (self.whole / "log.csv").read_text().split("\n")
        self.assertEqual(len(log), 1 + 24 + 1)
        column = log[0].split(",").index("held_out_loss")
        self.assertEqual([row.split(",")[0] for row in log[1:-1] if row.split(",")[column]], ["12", "24"])
        self.assertIn("</svg>", (self.whole / "loss.svg").read_text())
        self.assertIn("who are you?", (self.whole / "samples.txt").read_text())
        run = sterna("run", self.whole / "tiny-f16.gguf", "--raw", "-p", "the", "-n", "4")
        self.assertEqual(run.returncode, 0, run.stderr)
        chat = sterna("run", self.whole / "tiny-q8_0.gguf", "-p", "who are you?", "-n", "4")
        self.assertEqual(chat.returncode, 0, chat.stderr)

    def test_one_thread_gives_the_same_bytes(self):
        done = sterna("train", self.recipe, "-o", self.folder / "one", "-t", 1)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.same_models(self.folder / "one")

    def test_killed_again_and_again_gives_the_same_bytes(self):
        folder = self.folder / "killed"
        for _ in range(3):
            command = [STERNA, "train", str(self.recipe), "-o", str(folder), "-t", "1"]
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
                n_lines = 0
                for line in process.stderr:
                    n_lines += line.startswith("step ")
                    if n_lines == 7:
                        process.send_signal(signal.SIGKILL)
                        break
            self.assertEqual(process.returncode, -signal.SIGKILL)
        # What a kill in the middle of a checkpoint leaves behind.
        (folder / "checkpoint.gguf.part").write_bytes(b"GGUF half a file")
        done = sterna("train", self.recipe, "-o", folder, "-t", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("goes on after step", done.stderr)
        self.same_models(folder)
        self.assertEqual((folder / "log.csv").read_text().count("\n"), 25)
        self.assertEqual((folder / "samples.txt").read_bytes(), (self.whole / "samples.txt").read_bytes())

    def test_interrupted_writes_a_checkpoint(self):
        folder = self.folder / "interrupted"
        command = [STERNA, "train", str(self.recipe), "-o", str(folder), "-t", "1"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stderr:
                if line.startswith("step "):
                    process.send_signal(signal.SIGINT)
                    break
            _, rest = process.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(process.returncode, 130, rest)
        self.assertIn("the same command goes on", rest)
        self.assertTrue((folder / "checkpoint.gguf").exists())
        self.assertEqual(sterna("train", self.recipe, "-o", folder).returncode, 0)
        self.same_models(folder)

    def test_export_of_a_checkpoint(self):
        folder = self.folder / "exported"
        done = sterna("train", self.recipe, "-o", folder, "--export", self.whole / "checkpoint.gguf")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.same_models(folder)

    def test_a_changed_recipe_is_refused(self):
        folder = self.folder / "changed"
        self.assertEqual(sterna("train", self.recipe, "-o", folder, "--steps", 2).returncode, 0)
        seed = self.changed("seed.toml", "warmup_steps = 4", "warmup_steps = 4\nseed = 7")
        self.refused(seed, "training.seed", '"7"', '"1"', "--restart", folder="changed")
        self.assertEqual(sterna("train", seed, "-o", folder, "--steps", 2, "--restart").returncode, 0)
        path = folder / "checkpoint.gguf"
        whole = path.read_bytes()
        path.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
        self.refused(seed, "damaged", folder="changed")
        path.write_bytes(whole[:5000])
        self.refused(seed, "checkpoint.gguf", folder="changed")

    def test_recipes_that_are_wrong(self):
        self.refused(self.changed("a.toml", "warmup_steps", "warmup_step"), "a.toml:22:", "training.warmup_step",
                     "warmup_steps")
        self.refused(self.changed("b.toml", "[data]", "[date]"), "date", "nearest is data")
        self.refused(self.changed("c.toml", "width = 32", 'width = "wide"'), "model.width", "a text", "an integer")
        self.refused(self.changed("d.toml", "heads = 2", "heads = 3\nkv_heads = 2"), "cannot share")
        self.refused(self.changed("e.toml", "width = 32", "width = "), "e.toml:5:")
        self.refused(self.changed("f.toml", '"q8_0"', '"q8_9"'), "output.gguf", "q8_9")
        self.refused(self.changed("g.toml", "vocab_size = 300", "vocab_size = 258"), "vocab_size", "259")
        self.refused(self.folder / "none.toml", "none.toml")

    def test_data_that_are_wrong(self):
        self.written("empty.txt", "")
        self.refused(self.changed("h.toml", "book.txt", "empty.txt"), "empty.txt: is empty")
        self.written("blank.txt", "\n  \n\n")
        self.refused(self.changed("i.toml", "book.txt", "blank.txt"), "blank.txt: holds no text")
        (self.folder / "broken.txt").write_bytes(b"good\nbad \xff here\n")
        self.refused(self.changed("j.toml", "book.txt", "broken.txt"), "broken.txt:2:", "0xFF", "UTF-8")
        self.refused(self.changed("k.toml", "book.txt", "missing.txt"), "missing.txt: no such file")
        for name, line, word in (("l", '{"text": "a"', "no JSON"), ("m", '{"txt": "a"}', "expected"),
                                 ("n", '{"messages": [{"role": "user", "content": "a"}]}', "assistant"),
                                 ("o", '{"messages": 3}', "no list")):
            self.written(f"{name}.jsonl", '{"text": "fine"}\n\n' + line + "\n")
            self.refused(self.changed(f"{name}.toml", "chat.jsonl", f"{name}.jsonl"), f"{name}.jsonl:3:", word)

    def test_a_loss_that_is_no_number_stops(self):
        recipe = self.changed("nan.toml", "warmup_steps = 4",
                              "warmup_steps = 0\nlearning_rate = 1e9\nmuon_learning_rate = 1e9\nclip = 0.0")
        folder = self.folder / "nan"
        done = sterna("train", recipe, "-o", folder)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"step \d+: the (loss|norm of the gradients) is no finite number")

    def test_a_checkpoint_outlives_a_loss_that_is_no_number(self):
        recipe = self.written("late.toml", RECIPE.replace("warmup_steps = 4", "warmup_steps = 0\nlearning_rate = 1e9\nclip = 0.0")
                              .replace("every = 5", "every = 1"))
        folder = self.folder / "late"
        said = set()
        for _ in range(2):
            done = sterna("train", recipe, "-o", folder)
            self.assertEqual(done.returncode, 1, done.stderr)
            said.add(done.stderr.strip().split("\n")[-1])
            said.add(digest(folder / "checkpoint.gguf"))
        self.assertEqual(len(said), 2, said)  # the second run went on with the same file and came to the same end
        self.assertRegex(" ".join(sorted(said)), r"step (\d+): .* the checkpoint of step \d+ stays")

    def test_full_disk(self):
        def limited():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

        folder = self.folder / "full"
        done = sterna("train", self.recipe, "-o", folder, preexec_fn=limited)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr.strip().split("\n")[-1], r"^sterna: .*checkpoint.*: File too large$")
        self.assertFalse((folder / "checkpoint.gguf").exists())
        self.assertEqual(sterna("train", self.recipe, "-o", folder).returncode, 0)
        self.same_models(folder)

    def test_full_file_system(self):
        """A real one, in which the first checkpoint fits and the second does not fit beside it. Once there is room the training goes
        on from the first to the same weights."""
        small, folder = self.folder / "small", self.folder / "small/out"
        small.mkdir()
        checkpoint = (self.whole / "checkpoint.gguf").stat().st_size
        others = sum((self.whole / name).stat().st_size for name in ("tokenizer.json", "log.csv", "samples.txt"))
        train = f'"{STERNA}" train "{self.recipe}" -o "{folder}"'
        script = f"""
            mount -t tmpfs -o size={checkpoint * 3 // 2 + others + 65536} none "{small}" || exit 77
            {train} 2> "{self.folder}/full.txt" && exit 2
            [ -s "{folder}/checkpoint.gguf" ] || exit 3
            mount -o remount,size=8m "{small}" || exit 4
            {train} --json > "{self.folder}/full.json" || exit 5
            cp "{folder}"/tiny-*.gguf "{self.folder}"
        """
        if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
            self.skipTest("no file system can be mounted here")
        done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=LIMIT_SECONDS)
        if done.returncode == 77:
            self.skipTest("no file system can be mounted here")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex((self.folder / "full.txt").read_text().strip().split("\n")[-1], r"^sterna: .*checkpoint.*: No space left on device$")
        self.same_models(self.folder)

    def tensors(self, path):
        """Hash of each tensor's values."""
        done = sterna("convert", path, "-o", self.folder / "as-f32.gguf", "--type", "f32", "--json", "--afresh", "-q")
        self.assertEqual(done.returncode, 0, done.stderr)
        return {tensor["name"]: tensor["sha256"] for tensor in json.loads(done.stdout)["tensors"]}

    def test_lora(self):
        base = self.whole / "tiny-q8_0.gguf"
        recipe = self.written("lora.toml", f"""
            name = "bent"
            [lora]
            base = "{base}"
            rank = 3
            targets = ["attn_q", "ffn_down"]
            [data]
            files = ["book.txt"]
            held_out = 0.0
            [training]
            steps = 12
            batch_tokens = 256
            row_length = 32
            learning_rate = 0.1
            warmup_steps = 0
            [checkpoint]
            every = 4
            [output]
            gguf = ["f32"]
            """)
        folder = self.folder / "lora"
        done = sterna("train", recipe, "-o", folder, "-t", 2)
        self.assertEqual(done.returncode, 0, done.stderr)
        losses = [float(row.split(",")[2]) for row in (folder / "log.csv").read_text().split()[1:]]
        self.assertLess(sum(losses[-3:]), sum(losses[:3]) - 0.1)
        adapter = folder / "bent-lora.gguf"
        self.assertEqual(sterna("train", recipe, "-o", self.folder / "lora1", "-t", 1).returncode, 0)
        self.assertEqual(digest(adapter), digest(self.folder / "lora1/bent-lora.gguf"))
        exported = sterna("train", recipe, "-o", self.folder / "lora2", "--export", folder / "checkpoint.gguf")
        self.assertEqual(exported.returncode, 0, exported.stderr)
        self.assertEqual(digest(adapter), digest(self.folder / "lora2/bent-lora.gguf"))

        merged = self.folder / "merged.gguf"
        done = sterna("convert", base, "--lora", adapter, "-o", merged, "--type", "f32", "-q")
        self.assertEqual(done.returncode, 0, done.stderr)
        found, plain = self.tensors(merged), self.tensors(base)
        self.assertEqual(found, self.tensors(folder / "bent-f32.gguf"))
        changed = {name for name in found if found[name] != plain[name]}
        self.assertEqual(changed, {f"blk.{i}.{m}.weight" for i in (0, 1) for m in ("attn_q", "ffn_down")})

        prompt = ["--raw", "-p", "the sea", "-n", "12", "--temp", "0", "--logprobs", "0", "--json"]
        answer = lambda *model: json.loads(sterna("run", *model, *prompt).stdout)
        adapted = answer(base, "--lora", adapter)
        self.assertEqual(adapted["text"], answer(merged)["text"])
        self.assertNotEqual(adapted, answer(base))
        for wrong, word in ((self.whole / "tiny-f16.gguf", "not a LoRA adapter"), (self.folder / "none.gguf", "none.gguf")):
            done = sterna("run", base, "--lora", wrong, "-p", "a")
            self.assertEqual(done.returncode, 1)
            self.assertIn(word, done.stderr)

    def test_trains_further(self):
        recipe = self.written("further.toml", f"""
            name = "more"
            [model]
            base = "{self.whole}/tiny-f16.gguf"
            [data]
            files = ["book.txt"]
            [training]
            steps = 3
            batch_tokens = 128
            row_length = 16
            [output]
            gguf = ["f16"]
            """)
        done = sterna("train", recipe, "-o", self.folder / "further")
        self.assertEqual(done.returncode, 0, done.stderr)
        run = sterna("run", self.folder / "further/more-f16.gguf", "-p", "who are you?", "-n", "2")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.refused(self.written("wide.toml", recipe.read_text().replace("[data]", "width = 8\n[data]")), "model.width",
                     "the base says it")

    def test_trains_a_ternary_checkpoint_further(self):
        first, second = self.folder / "ternary", self.folder / "ternary-further"
        recipe = self.written("ternary.toml", RECIPE.replace('"llama"', '"bitnet"').replace("steps = 24", "steps = 2"))
        self.assertEqual(sterna("train", recipe, "-o", first).returncode, 0)
        text = f"""
            name = "tiny"
            [SECTION]
            base = "{first}/checkpoint.gguf"
            [data]
            files = ["book.txt"]
            [training]
            steps = 1
            batch_tokens = 128
            row_length = 16
            learning_rate = 1e-30
            [output]
            gguf = ["f16"]
            """
        done = sterna("train", self.written("further2.toml", text.replace("SECTION", "model")), "-o", second)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.tensors(first / "tiny-f16.gguf"), self.tensors(second / "tiny-f16.gguf"))
        adapter = text.replace("SECTION", "lora").replace("[data]", "rank = 4\n[data]")
        self.refused(self.written("adapter.toml", adapter), "adapters beside ternary matrices")

    def test_only_the_tokenizer(self):
        folder = self.folder / "tokenizer"
        done = sterna("train", self.recipe, "-o", folder, "--only-tokenizer")
        self.assertEqual(done.returncode, 0, done.stderr)
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        self.assertEqual(len(model["vocab"]), 300)
        self.assertEqual(model["vocab"]["<|im_end|>"], 299)
        self.assertEqual(os.listdir(folder), ["tokenizer.json"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
