#!/usr/bin/env python3
"""sterna quantize and sterna imatrix from outside: what is written, going on after kill -9, a full disk, bad input."""
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

STERNA, MAKE_MODEL = (str(Path(p).resolve()) for p in sys.argv[1:3])
LIMIT_SECONDS = 120  # a guard against hanging, never a measure
TEXT = "The quick brown fox jumps over the lazy dog. " * 200


def sterna(*args, **options):
    return subprocess.run([STERNA, *map(str, args)], capture_output=True, text=True, timeout=LIMIT_SECONDS, **options)


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Quantize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name)
        cls.model = cls.folder / "model.gguf"
        subprocess.run([MAKE_MODEL, "tiny", "F16", cls.model], check=True, capture_output=True)
        cls.text = cls.folder / "text.txt"
        cls.text.write_text(TEXT)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def made(self, name, *args):
        path = self.folder / name
        done = sterna("quantize", self.model, path, *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def test_types_and_report(self):
        path = self.folder / "q4.gguf"
        done = sterna("quantize", self.model, path, "--type", "q4_k_m", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["file_bytes"], path.stat().st_size)
        types = {t["name"]: t["type"] for t in report["tensors"]}
        self.assertEqual(types["output.weight"], "Q6_K")
        self.assertEqual(types["blk.0.attn_q.weight"], "Q4_K")
        self.assertEqual(types["blk.0.attn_norm.weight"], "F32")
        self.assertTrue(all(len(t["sha256"]) == 64 for t in report["tensors"]))
        run = sterna("run", path, "--raw", "-p", "x", "-n", "2")
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_same_bytes_with_any_threads(self):
        one = self.made("one.gguf", "--type", "q3_k_m", "-t", 1)
        three = self.made("three.gguf", "--type", "q3_k_m", "-t", 3)
        self.assertEqual(digest(one), digest(three))

    def test_dry_run_writes_nothing(self):
        done = sterna("quantize", self.model, self.folder / "none.gguf", "--type", "q5_k_m", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("bits per weight", done.stdout)
        self.assertFalse((self.folder / "none.gguf").exists())

    def test_goes_on_after_being_killed(self):
        source = self.folder / "large.gguf"
        subprocess.run([MAKE_MODEL, "tiny-qwen2", "F32", source], check=True, capture_output=True)
        whole = self.folder / "whole.gguf"
        self.assertEqual(sterna("quantize", source, whole, "--type", "q2_k").returncode, 0)
        path = self.folder / "killed.gguf"
        journal = Path(f"{path}.partial.journal")
        command = [STERNA, "quantize", source, path, "--type", "q2_k", "-t", "1"]
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + LIMIT_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
                process.send_signal(signal.SIGKILL)
                process.wait()
        if process.returncode != -signal.SIGKILL:
            self.skipTest("it was done before it could be killed")
        self.assertFalse(path.exists())
        done = sterna("quantize", source, path, "--type", "q2_k", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreaterEqual(json.loads(done.stdout)["resumed_tensors"], 2)
        self.assertEqual(digest(path), digest(whole))
        self.assertFalse(journal.exists())

    def test_no_room(self):
        path = self.folder / "full.gguf"
        limit = 100_000  # bytes that any file may have

        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        done = sterna("quantize", self.model, path, "--type", "q8_0", preexec_fn=small_files)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot", done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertFalse(path.exists())
        self.assertEqual(digest(self.made("full.gguf", "--type", "q8_0")), digest(self.made("room.gguf", "--type", "q8_0")))

    def test_imatrix_both_formats(self):
        weighted = {}
        for name in ("imatrix.gguf", "imatrix.dat"):
            done = sterna("imatrix", self.model, "-f", self.text, "-o", self.folder / name, "-c", 64, "--chunks", 4)
            self.assertEqual(done.returncode, 0, done.stderr)
            weighted[name] = self.made(f"{name}.out", "--type", "q4_k_s", "--imatrix", self.folder / name)
        plain = self.made("plain.gguf", "--type", "q4_k_s")
        self.assertNotEqual(digest(weighted["imatrix.gguf"]), digest(plain))

    def test_calibrate(self):
        path = self.folder / "calibrated.gguf"
        done = sterna("quantize", self.model, path, "--type", "q4_0", "--calibrate", self.text, "-c", 64, "--chunks", 40, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        errors = [t["held_out_error"] for t in json.loads(done.stdout)["tensors"] if "held_out_error" in t]
        self.assertGreater(len(errors), 5)
        self.assertTrue(any(e["feedback"] < e["plain"] for e in errors))
        self.assertEqual(sterna("run", path, "--raw", "-p", "x", "-n", "2").returncode, 0)

    def test_size(self):
        for flag, value, limit in (("--bpw", "4.5", None), ("--size", "900KB", 900_000)):
            path = self.made("sized.gguf", flag, value)
            report = sterna("quantize", self.model, path, flag, value, "--afresh", "--json")
            bits = json.loads(report.stdout)["bits_per_weight"]
            if limit:
                self.assertLessEqual(path.stat().st_size, limit)
                self.assertGreater(path.stat().st_size, 0.9 * limit)
            else:
                self.assertLessEqual(bits, 4.5)
                self.assertGreater(bits, 4.2)
        done = sterna("quantize", self.model, self.folder / "tiny.gguf", "--size", "10KB")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the smallest types take", done.stderr)

    def test_bad_input(self):
        noise = self.folder / "noise.gguf"
        noise.write_bytes(os.urandom(1000))
        for args, said in (
            ([noise, "out.gguf"], "noise.gguf"),
            ([self.model, "out.gguf", "--type", "q9"], "no such type"),
            ([self.model, "out.gguf", "--imatrix", noise], "noise.gguf"),
            ([self.model, "out.gguf", "--size", "heavy"], "expected a size"),
            ([self.model, "out.gguf", "--tensor-type", "nothing=q8_0"], "no tensor has such a name"),
            ([self.model, self.folder / "no/such/folder/out.gguf"], "No such file"),
        ):
            done = sterna("quantize", *args, cwd=self.folder)
            self.assertEqual(done.returncode, 1, args)
            self.assertIn(said, done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertFalse((self.folder / "out.gguf").exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
