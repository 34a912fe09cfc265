#!/usr/bin/env python3
"""The sterna program from outside: what a person types, what comes out, and what bad input gets."""
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

STERNA, MAKE_MODEL, EXAMPLE = (str(Path(p).resolve()) for p in sys.argv[1:4])
ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("STERNA_TESTDATA", ROOT / "../shared/testdata"))
STORIES = SHARED / "models/llama2c/stories260Ktok512.gguf"
LIMIT_SECONDS = 120  # a guard against hanging, never a measure


def sterna(*args, stdin=b"", env=None):
    return subprocess.run([STERNA, *map(str, args)], input=stdin, capture_output=True, timeout=LIMIT_SECONDS,
                          env={**os.environ, **(env or {})})


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, *args):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(STERNA, [STERNA, *map(str, args)])
        self.seen = ""

    def wait_for(self, text, count=1):
        deadline = time.monotonic() + LIMIT_SECONDS
        while self.seen.count(text) < count:
            ready, _, _ = select.select([self.fd], [], [], deadline - time.monotonic())
            if not ready:
                raise AssertionError(f"no {text!r} in {self.seen!r}")
            try:
                data = os.read(self.fd, 4096)
            except OSError:
                data = b""
            if not data:
                raise AssertionError(f"ended without {text!r}: {self.seen!r}")
            self.seen += data.decode("utf-8", "replace")

    def type(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def interrupt(self):
        os.write(self.fd, b"\x03")

    def close(self):
        os.write(self.fd, b"\x04")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = Path(cls.folder.name)
        cls.model = cls.dir / "tiny.gguf"
        subprocess.run([MAKE_MODEL, "tiny", "Q4_K_M", cls.model], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def tokens(self, *args, env=None):
        done = sterna("run", self.model, "--raw", "-p", "hello big world", "-n", 24, "--json", *args, env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["tokens"]

    def fails(self, done, *words):
        """One sentence on standard error, nothing on standard output, a non-zero exit."""
        error = done.stderr.decode()
        self.assertNotEqual(done.returncode, 0)
        self.assertGreater(done.returncode, 0, error)  # not a signal
        self.assertEqual(done.stdout, b"")
        self.assertTrue(error.startswith("sterna: "), error)
        self.assertEqual(error.strip().count("\n"), 0, error)
        for word in words:
            self.assertIn(word, error)

    # ---- run

    def test_tokens_do_not_depend_on_how_they_are_computed(self):
        greedy = self.tokens("--temp", 0)
        sampled = self.tokens("--seed", 7)
        self.assertEqual(len(greedy), 24)
        self.assertGreater(len(set(sampled)), 4)
        self.assertNotEqual(sampled, self.tokens("--seed", 8))
        for args in (["-t", 1], ["-t", 5], ["--chunk", 1], ["--chunk", 3], ["--lookup"], ["--draft", self.model], ["-c", 64]):
            self.assertEqual(greedy, self.tokens("--temp", 0, *args), args)
            self.assertEqual(sampled, self.tokens("--seed", 7, *args), args)
        self.assertEqual(sampled, self.tokens("--seed", 7, env={"STERNA_ISA": "scalar"}))
        q8 = self.tokens("--temp", 0, "--kv", "q8_0")
        self.assertEqual(q8, self.tokens("--temp", 0, "--kv", "q8_0", "-t", 1, "--chunk", 5))

    def test_text_and_json_agree_and_limits_hold(self):
        args = ("--raw", "-p", "hello", "--temp", 0, "-n", 12)
        text = sterna("run", self.model, *args)
        out = json.loads(sterna("run", self.model, *args, "--json", "--logprobs", 3).stdout)
        self.assertEqual(text.stdout.decode("utf-8", "replace"), out["text"] + "\n")
        self.assertEqual(out["generated_tokens"], 12)
        self.assertEqual(out["finish_reason"], "length")
        self.assertGreater(out["peak_resident_bytes"], self.model.stat().st_size)
        for item in out["logprobs"]:
            self.assertEqual(len(item["top"]), 3)
            self.assertEqual(item["token"], item["top"][0]["token"])
            self.assertLessEqual(item["logprob"], 0)
        full = json.loads(sterna("run", self.model, "--raw", "-p", "hello", "-c", 16, "--json").stdout)
        self.assertEqual(full["finish_reason"], "context")
        shifted = json.loads(sterna("run", self.model, "--raw", "-p", "hello", "-c", 16, "-n", 40, "--ctx-shift", "--ignore-eos", "--json").stdout)
        self.assertEqual(shifted["generated_tokens"], 40)
        piped = sterna("run", self.model, "--raw", "--temp", 0, "-n", 12, stdin=b"hello")
        self.assertEqual(piped.stdout, text.stdout)
        verbose = sterna("run", self.model, *args, "-v")
        self.assertIn(b"tokens per second", verbose.stderr)
        self.assertEqual(verbose.stdout, text.stdout)

    def test_a_stop_text_ends_the_answer_before_it(self):
        whole = json.loads(sterna("run", self.model, "--raw", "-p", "hello", "--temp", 0, "-n", 40, "--json").stdout)["text"]
        stop = whole[len(whole) // 2:len(whole) // 2 + 3]
        cut = sterna("run", self.model, "--raw", "-p", "hello", "--temp", 0, "-n", 40, "--stop", stop)
        self.assertEqual(cut.stdout.decode(), whole[:whole.index(stop)] + "\n")

    def test_a_trained_model_tells_its_story(self):
        if not STORIES.exists():
            self.skipTest("no shared test data")
        done = sterna("run", STORIES, "--raw", "-p", "Once upon a time", "--temp", 0, "-n", 40)
        # As the model's own reference program prints it (llama2.c, doc/stories260K.md).
        self.assertTrue(done.stdout.decode().startswith(", there was a little girl named Lily. She loved to play outside in the park."),
                        done.stdout)

    def test_chat(self):
        kept = self.dir / "kept.chat"
        chat = Terminal("run", self.model, "--chat-template", "chatml", "-n", 8, "--seed", 3)
        chat.wait_for("> ")
        chat.type("hello")
        chat.wait_for("> ", 2)
        chat.type(f"/save {kept}")
        chat.wait_for("> ", 3)
        self.assertTrue(kept.exists())
        chat.type("/nonsense")
        chat.wait_for("no such command")
        chat.wait_for("> ", 4)
        chat.type("and again")
        chat.wait_for("> ", 5)
        answer = chat.seen.split("and again")[1].strip("\r\n> ")
        self.assertEqual(chat.close(), 0)

        again = Terminal("run", self.model, "--chat-template", "chatml", "-n", 8, "--seed", 3)
        again.wait_for("> ")
        again.type(f"/load {kept}")
        again.wait_for("> ", 3)  # the first prompt, the loaded "> hello", the prompt after it
        again.type("and again")
        again.wait_for("> ", 4)
        self.assertEqual(again.seen.split("and again")[1].strip("\r\n> "), answer)
        again.type(f"/load {self.model}")
        again.wait_for("not a saved chat")
        self.assertEqual(again.close(), 0)

    def test_a_chat_outlives_its_context(self):
        chat = Terminal("run", self.model, "--chat-template", "chatml", "-n", 4, "-c", 128)
        chat.wait_for("> ")
        for turn in range(20):
            chat.type("hello big world, hello big world")
            chat.wait_for("\n> ", turn + 2)
        self.assertIn("the oldest exchanges are forgotten", chat.seen)
        self.assertNotIn("/reset, or", chat.seen)
        self.assertEqual(chat.close(), 0)

    def test_without_a_model_the_one_in_the_program_answers(self):
        def answer(prompt, *more, env=None):
            done = sterna("run", "-p", prompt, *more, env=env)
            self.assertEqual(done.returncode, 0, done.stderr)
            return done.stdout.decode().strip()

        tools = ["--tools", ROOT / "recipes/tavern_tools.json"]
        english, german = answer("What does a beer cost?"), answer("Was kostet ein Bier?")
        self.assertRegex(english, "3 silver")
        self.assertRegex(german, "3 Silber")
        self.assertEqual(json.loads(answer("Open the cellar.", *tools)),
                         {"name": "open_door", "arguments": {"door": "cellar"}})
        self.assertEqual(answer("What does a beer cost?", "-t", 1, env={"STERNA_ISA": "scalar"}), english)
        # It says itself that it is not to be sampled from; a flag is stronger, and so is a file of its name.
        seeds = {answer("What does a beer cost?", "--seed", seed) for seed in range(5)}
        self.assertEqual(seeds, {english})
        hot = {answer("What does a beer cost?", "--temp", "5", "--min-p", "0", "-n", "8", "--seed", seed) for seed in range(5)}
        self.assertGreater(len(hot), 1)
        about = json.loads(sterna("inspect", "tavern", "--json").stdout)
        self.assertEqual(about["metadata"]["general.architecture"], "bitnet-b1.58")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "tavern").write_bytes(b"GGUF but not really")
            done = subprocess.run([STERNA, "run", "-p", "a"], cwd=folder, capture_output=True, timeout=LIMIT_SECONDS)
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"sterna: tavern", done.stderr)

    def test_tools_reach_the_template(self):
        template, tools = self.dir / "tools.jinja", self.dir / "tools.json"
        template.write_text("{{ messages[0].content }}{% for t in tools or [] %} {{ t.type }} {{ t.function.name }}{% endfor %}")
        tools.write_text(json.dumps([{"name": "give"}, {"type": "function", "function": {"name": "open_door"}}]))
        greedy = ("run", self.model, "-n", 8, "--temp", 0, "--json")
        offered = sterna(*greedy, "--chat-template", template, "--tools", tools, "-p", "hello")
        spelled = sterna(*greedy, "--raw", "-p", "hello function give function open_door")
        self.assertEqual(offered.returncode, 0, offered.stderr)
        self.assertEqual(json.loads(offered.stdout)["tokens"], json.loads(spelled.stdout)["tokens"])
        self.fails(sterna(*greedy, "--raw", "--tools", tools, "-p", "x"), "--tools", "--raw")
        for bad in ("{}", "[", "[3]", '[{"function": 3}]', '[{"parameters": {}}]'):
            tools.write_text(bad)
            self.fails(sterna(*greedy, "--chat-template", template, "--tools", tools, "-p", "x"), "tools.json")

    def test_interrupt_stops_the_answer_and_not_the_program(self):
        chat = Terminal("run", self.model, "--chat-template", "chatml", "--ignore-eos", "-c", 2048, "--stop", "impossible text")
        chat.wait_for("> ")
        chat.type("hello")
        seen = len(chat.seen)
        while len(chat.seen) < seen + 20:
            chat.seen += os.read(chat.fd, 64).decode("utf-8", "replace")
        chat.interrupt()
        chat.wait_for("> ", 2)
        self.assertEqual(chat.close(), 0)

        once = subprocess.Popen([STERNA, "run", str(self.model), "--raw", "-p", "hello", "--ignore-eos", "-c", "2048", "--ctx-shift"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        once.stdout.read(10)
        once.send_signal(signal.SIGINT)
        once.communicate(timeout=LIMIT_SECONDS)
        self.assertEqual(once.returncode, 130)

    # ---- the other commands

    def test_tokenize(self):
        text = "hello wörld \U0001f600\n".encode()
        ids = sterna("tokenize", self.model, "--ids", stdin=text).stdout.decode().split()
        plain = sterna("tokenize", self.model, "--ids", "--no-special", stdin=text).stdout.decode().split()
        self.assertEqual(ids[1:], plain)
        lines = sterna("tokenize", self.model, stdin=text).stdout.decode().splitlines()
        self.assertEqual([line.split()[0] for line in lines], ids)
        self.assertEqual(sterna("tokenize", self.model, "--decode", stdin=" ".join(plain).encode()).stdout, text)
        self.fails(sterna("tokenize", self.model, "--decode", stdin=b"1 99999999"), "99999999", "1024")
        self.fails(sterna("tokenize", self.model, "--decode", stdin=b"1 x"), "x")

    def test_inspect(self):
        out = json.loads(sterna("inspect", self.model, "--json", "--ctx", 512).stdout)
        self.assertEqual(out["metadata"]["general.architecture"], "llama")
        self.assertEqual(out["memory"]["context"], 512)
        self.assertEqual(sum(t["tensors"] for t in out["types"].values()), len(out["tensors"]))
        small = json.loads(sterna("inspect", self.model, "--json", "--ctx", 512, "--kv", "q8_0").stdout)
        self.assertLess(small["memory"]["cache"], out["memory"]["cache"])
        self.assertIn(b"token_embd.weight", sterna("inspect", self.model, "--tensors").stdout)

    def test_bench(self):
        out = json.loads(sterna("bench", self.model, "-p", 16, "-n", 4, "-r", 1, "-t", "1,2", "--json").stdout)
        self.assertEqual({(row["test"], row["threads"]) for row in out["results"]},
                         {(test, t) for test in ("prefill 16", "decode 4 @ 0") for t in (1, 2)})
        self.assertTrue(all(row["tokens_per_second"] > 0 for row in out["results"]))

    def test_perplexity(self):
        text = self.dir / "text.txt"
        text.write_text("the quick brown fox jumps over the lazy dog. " * 30)
        same = json.loads(sterna("perplexity", self.model, "-f", text, "--ctx", 64, "--kld-against", self.model, "--json").stdout)
        self.assertEqual(same["against"]["mean_kld"], 0)
        self.assertEqual(same["against"]["same_top"], 1)
        other = self.dir / "other.gguf"
        subprocess.run([MAKE_MODEL, "tiny", "Q2_K", other], check=True, capture_output=True)
        apart = json.loads(sterna("perplexity", self.model, "-f", text, "--ctx", 64, "--kld-against", other, "--json").stdout)
        self.assertGreater(apart["against"]["mean_kld"], 0)
        self.assertEqual(apart["perplexity"], same["perplexity"])
        self.fails(sterna("perplexity", self.model, "-f", self.dir / "nothing.txt", "--json"), "nothing.txt")

    def test_the_example_program(self):
        mine = subprocess.run([EXAMPLE, str(self.model), "hello", "12"], capture_output=True, timeout=LIMIT_SECONDS)
        self.assertEqual(mine.returncode, 0, mine.stderr)
        ours = json.loads(sterna("run", self.model, "--raw", "-p", "hello", "--temp", 0, "-n", 12, "--json").stdout)
        self.assertEqual(mine.stdout.decode("utf-8", "replace").rstrip("\n"), ours["text"].rstrip("\n"))

    # ---- bad input

    def test_bad_input_gets_one_sentence(self):
        content = self.model.read_bytes()
        broken = self.dir / "broken.gguf"

        def attempt(data, *words):
            broken.write_bytes(data)
            for command in (["run", broken, "--raw", "-p", "x", "-n", 1], ["inspect", broken], ["bench", broken, "-n", 1, "-p", 1]):
                self.fails(sterna(*command), "broken.gguf", *words)

        attempt(b"")
        attempt(b"hello, this is no model")
        attempt(content[:1000])
        attempt(content[:len(content) // 2])
        attempt(content[:-1])
        attempt(content[:8] + (1 << 60).to_bytes(8, "little") + content[16:], "tensor")
        attempt(content[:16] + (1 << 60).to_bytes(8, "little") + content[24:])
        attempt(content.replace(b"general.architecture", b"general.architecturf", 1)[:0] + content[:4] + b"\x63" + content[5:], "version")
        self.fails(sterna("run", self.dir / "none.gguf", "-p", "x"), "none.gguf", "No such file")
        self.fails(sterna("run", self.dir, "-p", "x"), "not a regular file")
        self.fails(sterna("run", self.model, "-p", "x"), "--chat-template", "--raw")
        self.fails(sterna("run", self.model, "--raw", "-p", "word " * 3000, "-c", 64), "64")
        self.fails(sterna("run", self.model, "--raw", "-p", "x", "--top-p", "nan"), "top")
        self.fails(sterna("run", self.model, "--raw", "-p", "x", "--logit-bias", "5*3"), "--logit-bias")
        self.fails(sterna("run", self.model, "--raw", "-p", "x", "-n", 1, env={"STERNA_ISA": "z80"}), "z80")
        self.assertEqual(sterna("run", self.model, "--raw", "-p", b"\xff\xfe\x80".decode("utf-8", "surrogateescape"), "-n", 1).returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
