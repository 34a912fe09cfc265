#!/usr/bin/env python3
"""sterna eval from outside, on a model that is trained here to give one answer; and the generator of the tavern's tests."""
import hashlib
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

STERNA = str(Path(sys.argv[1]).resolve())
ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 120  # a guard against hanging, never a measure
ANSWER = "The cat is here."

RECIPE = """
name = "one-answer"
[model]
kind = "llama"
width = 32
layers = 1
heads = 1
ffn = 64
context = 48
[tokenizer]
vocab_size = 290
special = ["<|user|>", "<|assistant|>"]
end_of_turn = "<|end|>"
chat_template = "chat.jinja"
[data]
files = ["chat.jsonl"]
held_out = 0.0
[training]
steps = 60
batch_tokens = 256
warmup_steps = 4
learning_rate = 0.01
[output]
folder = "out"
gguf = ["f16"]
"""
TEMPLATE = """{%- for m in messages -%}
{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""


def sterna(*args):
    return subprocess.run([STERNA, *map(str, args)], capture_output=True, text=True, timeout=LIMIT_SECONDS)


def case(number, measure, asked, check, **more):
    return {"id": f"{measure}-{number}", "measure": measure, "messages": [{"role": "user", "content": asked}], "check": check,
            **more}


class Eval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        (cls.folder / "recipe.toml").write_text(RECIPE)
        (cls.folder / "chat.jinja").write_text(TEMPLATE)
        with open(cls.folder / "chat.jsonl", "w") as file:
            for number in range(120):
                messages = [{"role": "user", "content": f"where {number % 7}"}, {"role": "assistant", "content": ANSWER}]
                file.write(json.dumps({"messages": messages * (1 + number % 2)}) + "\n")
        done = sterna("train", cls.folder / "recipe.toml", "-q")
        assert done.returncode == 0, done.stderr
        cls.model = next((cls.folder / "out").glob("*f16.gguf"))
        cls.cases = cls.folder / "cases.jsonl"
        cases = [case(n, "facts", f"where {n % 7}", {"exact": ANSWER, "language": "en"}) for n in range(9)]
        cases += [case(n, "sums", f"where {n % 7}", {"number": 3}) for n in range(4)]
        cases += [case(20, "sums", "where 1", {"contains_all": "cat", "contains_none": ["dog"]})]
        cases += [{"id": "d", "measure": "dialogues", "messages": [], "turns": [
            {"role": "user", "content": "where 1", "check": {"contains_any": ["cat", "dog"]}},
            {"role": "user", "content": "where 2", "check": {"exact": "Nowhere."}, "reference": "Nowhere."}]}]
        cases += [case(30, "long", "where " * 60, {})]
        cls.cases.write_text("".join(json.dumps(c) + "\n" for c in cases))

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_counts_and_failures(self):
        failures = self.folder / "failures.jsonl"
        done = sterna("eval", self.model, "--cases", self.cases, "--json", "--failures", failures)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        shares = {row["measure"]: (row["right"], row["of"]) for row in result["measures"]}
        self.assertEqual(shares, {"facts": (9, 9), "sums": (1, 5), "dialogues": (1, 2), "long": (0, 1)})
        self.assertEqual(result["measures"][2]["whole"]["right"], 0)
        self.assertAlmostEqual(result["measures"][0]["low"], 0.7008, places=3)  # Wilson: 9 of 9
        lines = [json.loads(line) for line in failures.read_text().splitlines()]
        self.assertEqual([line["fault"] for line in lines],
                         ["no number"] * 4 + ["another text", "the conversation is too long"])
        self.assertEqual(lines[4]["turn"], 2)
        self.assertEqual(lines[4]["answer"], ANSWER)
        self.assertEqual(lines[4]["reference"], "Nowhere.")

    def test_neither_threads_nor_batches_change_answers(self):
        found = set()
        for number, flags in enumerate((["-t", "1", "--together", "1"], ["-t", "2", "--together", "7"])):
            failures = self.folder / f"failures{number}.jsonl"
            done = sterna("eval", self.model, "--cases", self.cases, "--failures", failures, *flags)
            self.assertEqual(done.returncode, 0, done.stderr)
            found.add((done.stdout, failures.read_text()))
        self.assertEqual(len(found), 1)
        self.assertIn("facts                         9      9   100.0 %    70.1 to 100.0 %", found.pop()[0])

    def test_choice_of_cases(self):
        done = sterna("eval", self.model, "--cases", self.cases, "--json", "--limit", "3", "--measure", "facts")
        rows = json.loads(done.stdout)["measures"]
        self.assertEqual([(row["measure"], row["of"]) for row in rows], [("facts", 3)])

    def test_bad_input(self):
        bad = self.folder / "bad.jsonl"
        for text, message in (("", "no cases"), ("{", "bad.jsonl:1: not JSON"),
                              (json.dumps(case(1, "m", "x", {"exat": "y"})), "bad.jsonl:1: check.exat: no such condition")):
            bad.write_text(text)
            done = sterna("eval", self.model, "--cases", bad)
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)
        for flags, message in ((["--cases", self.cases], "no model"),
                               ([self.model, "--cases", self.folder / "absent"], "absent"),
                               ([self.model, "--cases", self.cases, "--measure", "joy"], "no case measures joy"),
                               ([self.model, "--cases", self.cases, "--references"], "needs no model"),
                               (["--cases", self.cases, "--references"], "facts-0: has no reference")):
            done = sterna("eval", *flags)
            self.assertEqual(done.returncode, 1)
            self.assertIn(message, done.stderr)


class Tavern(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.generate(cls.folder / "a", 600, 3)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    @staticmethod
    def generate(folder, dialogues, seed):
        subprocess.run([sys.executable, ROOT / "tools/tavern/generate.py", "--out", folder, "--dialogues", str(dialogues),
                        "--cases", "12", "--heldout", "20", "--seed", str(seed)], check=True, capture_output=True,
                       timeout=LIMIT_SECONDS, env={"PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"})

    def test_words_and_split(self):
        done = subprocess.run([sys.executable, "-B", ROOT / "tools/tavern/generate.py", "--check"], capture_output=True, text=True,
                              timeout=LIMIT_SECONDS)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_same_arguments_give_the_same_bytes(self):
        self.generate(self.folder / "b", 600, 3)
        self.generate(self.folder / "c", 600, 4)

        def digests(name):
            return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((self.folder / name).iterdir())]
        self.assertEqual(digests("a"), digests("b"))
        self.assertFalse(set(digests("a")) & set(digests("c")))

    def test_every_test_accepts_its_reference(self):
        done = sterna("eval", "--references", "--cases", self.folder / "a" / "cases.jsonl", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = json.loads(done.stdout)["measures"]
        self.assertEqual([row["measure"] for row in rows],
                         ["facts", "sums", "language", "refusals", "calls", "translations", "dialogues"])
        for row in rows:
            self.assertEqual(row["right"], row["of"], row["measure"])
            self.assertGreaterEqual(row["of"], 10)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
