#!/usr/bin/env python3
"""sterna pull, list, rm and run of a model by name, against a local hub (hub_server.py) and through each of its faults."""
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

from hub_server import Hub, git_sha1, sha256

STERNA, MAKE_MODEL = (str(Path(p).resolve()) for p in sys.argv[1:3])
LIMIT_SECONDS = 60  # a guard against hanging, never a measure


def noise(seed, n):
    return random.Random(seed).randbytes(n)


Q4, Q8 = noise(1, 200_000), noise(2, 150_000)
PARTS = [noise(10 + i, 20_000) for i in range(3)]
GGUF_REPO = {
    "README.md": b"# a model\n",
    "m-Q4_K_M.gguf": Q4,
    "m-Q8_0.gguf": Q8,
    "mmproj-m-F16.gguf": noise(3, 20_000),
    "imatrix.gguf": noise(4, 20_000),
    **{f"BF16/m-BF16-{i + 1:05}-of-00003.gguf": part for i, part in enumerate(PARTS)},
}
CHECKPOINT = {
    "config.json": b'{"model_type": "none"}',
    "generation_config.json": b"{}",
    "tokenizer.json": b"{}" * 6000,
    "tokenizer_config.json": b"{}",
    "model.safetensors.index.json": b"{}",
    "model-00001-of-00002.safetensors": noise(20, 30_000),
    "model-00002-of-00002.safetensors": noise(21, 30_000),
    "pytorch_model.bin": noise(22, 30_000),
    "training_args.bin": b"x",
    "onnx/model.onnx": b"x",
    "README.md": b"x",
}


class PullTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hub = Hub()

    @classmethod
    def tearDownClass(cls):
        cls.hub.close()

    def setUp(self):
        self.hub.reset()
        self.hub.repos.clear()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.home = Path(self.folder.name)
        self.cache = self.home / "hf/hub"
        self.repo = self.hub.add("org/m", GGUF_REPO)
        self.commit = self.repo.refs["main"]
        self.store = self.cache / "models--org--m"

    def env(self, **env):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HUGGING", "STERNA_", "TRANSFORMERS"))
                and "proxy" not in k.lower()}
        return kept | {"HOME": str(self.home), "HF_HOME": str(self.home / "hf"), "HF_ENDPOINT": self.hub.url,
                       "STERNA_RETRY_SCALE": "0", **env}

    def sterna(self, *args, stdin=b"", env=None, **more):
        return subprocess.run([STERNA, *map(str, args)], input=stdin, capture_output=True, timeout=LIMIT_SECONDS,
                              env=self.env(**(env or {})), **more)

    def pull(self, *args, **more):
        done = self.sterna("pull", *args, **more)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done

    def path(self, done):
        return Path(done.stdout.decode().removesuffix("\n"))

    def fails(self, done, *words, files=True):
        """The last line is the one sentence; nothing on standard output; no signal; nothing under a final name."""
        error = done.stderr.decode()
        self.assertEqual(done.returncode, 1, error)
        self.assertEqual(done.stdout, b"")
        last = error.splitlines()[-1]
        self.assertTrue(last.startswith("sterna: "), error)
        for word in words:
            self.assertIn(word, last)
        if files:
            self.assertEqual([p for p in self.cache.rglob("snapshots/*/*") if not p.is_dir()], [])
            self.assertEqual([p.name for p in self.cache.rglob("blobs/*") if p.suffix != ".incomplete"], [])
        return error

    def fetched(self):
        """Files whose bytes were asked for."""
        return [entry for entry in self.hub.asked(method="GET") if "/api/" not in entry[2]]

    def incomplete(self, data):
        return self.store / "blobs" / f"{sha256(data)}.incomplete"

    # ---- what is chosen, and where it goes

    def test_the_usual_type_in_the_layout_of_the_python_packages(self):
        done = self.pull("org/m")
        path = self.path(done)
        self.assertEqual(path, self.store / "snapshots" / self.commit / "m-Q4_K_M.gguf")
        self.assertEqual(path.read_bytes(), Q4)
        self.assertEqual(os.readlink(path), f"../../blobs/{sha256(Q4)}")
        self.assertEqual((self.store / "refs/main").read_text(), self.commit)
        self.assertEqual([p.name for p in (self.store / "blobs").iterdir()], [sha256(Q4)])
        self.assertIn("100 %", done.stderr.decode())
        self.hub.log.clear()
        again = self.pull("org/m")
        self.assertEqual(again.stdout, done.stdout)
        self.assertIn("already here", again.stderr.decode())
        self.assertEqual([entry[2].split("?")[0] for entry in self.hub.log], ["/api/models/org/m/revision/main"])

    def test_types_files_and_split_models(self):
        self.assertEqual(self.path(self.pull("hf:org/m:q8_0")).read_bytes(), Q8)
        split = self.path(self.pull("org/m:bf16"))
        self.assertEqual(split.name, "m-BF16-00001-of-00003.gguf")
        self.assertEqual([p.read_bytes() for p in sorted(split.parent.iterdir())], PARTS)
        self.assertEqual(os.readlink(split), f"../../../blobs/{sha256(PARTS[0])}")
        self.assertEqual(self.path(self.pull("org/m", "--file", "mmproj*")).name, "mmproj-m-F16.gguf")
        self.pull("org/m", "--file", "*.md", "--file", "imatrix*")
        self.assertEqual(git_sha1(b"# a model\n"), os.path.basename(os.readlink(self.store / f"snapshots/{self.commit}/README.md")))
        self.assertEqual(self.fails(self.sterna("pull", "org/m:q2_k"), "Q2_K", "BF16, Q4_K_M, Q8_0", files=False).count("\n"), 1)
        self.fails(self.sterna("pull", "org/m", "--file", "nothing*"), "nothing*", files=False)
        self.hub.add("org/split", {"m-Q4_0-00001-of-00002.gguf": PARTS[0]})
        self.fails(self.sterna("pull", "org/split"), "part 2 of 2", files=False)

    def test_addresses_and_revisions(self):
        tag = self.repo.commit(GGUF_REPO | {"m-Q4_K_M.gguf": noise(7, 30_000)}, "v2")
        for name in ("org/m@v2", "org/m:q4_k_m@v2", f"{self.hub.url}/org/m/tree/v2", f"org/m@{tag}",
                     f"{self.hub.url}/org/m/blob/v2/m-Q4_K_M.gguf", f"https://huggingface.co/org/m/resolve/v2/m-Q4_K_M.gguf?download=true"):
            self.assertEqual(self.path(self.pull(name)), self.store / "snapshots" / tag / "m-Q4_K_M.gguf", name)
        self.assertEqual(self.path(self.pull("org/m", "--revision", "v2")).parent.name, tag)
        self.assertEqual((self.store / "refs/v2").read_text(), tag)
        self.assertEqual(len(self.fetched()), 2)  # the redirect and the file, once
        self.assertEqual(self.path(self.pull(f"{self.hub.url}/org/m/blob/main/BF16/m-BF16-00002-of-00003.gguf")).read_bytes(), PARTS[0])
        for bad in ("org/../m", "-/m", "a/b/c", "org/m:", "org/m@", "org/m@../x", "https://user:word@h/f", "ftp://h/f", "https://h/",
                    "https://huggingface.co/datasets/a/b"):
            self.fails(self.sterna("pull", "--", bad), files=False)

    def test_checkpoints(self):
        self.hub.add("org/c", CHECKPOINT)
        folder = self.path(self.pull("org/c"))
        self.assertEqual(sorted(p.name for p in folder.iterdir()),
                         ["config.json", "generation_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                          "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"])
        for path in folder.iterdir():
            self.assertEqual(path.read_bytes(), CHECKPOINT[path.name])
        self.hub.add("org/b", {k: v for k, v in CHECKPOINT.items() if "safetensors" not in k})
        self.assertEqual(sorted(p.name for p in self.path(self.pull("org/b")).iterdir()),
                         ["config.json", "generation_config.json", "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"])
        self.hub.add("org/lora", {"config.json": b"{}", "adapter_model.safetensors": b"x"})
        self.fails(self.sterna("pull", "org/lora"), "adapter", files=False)
        self.hub.add("org/none", {"README.md": b"x"})
        self.fails(self.sterna("pull", "org/none"), "holds no model", files=False)

    def test_dry_run_lists_and_fetches_nothing(self):
        done = self.pull("org/m", "--dry-run")
        lines = done.stdout.decode().splitlines()
        self.assertEqual(len(lines), 1 + len(GGUF_REPO) + 1)
        self.assertEqual([line.split()[-1] for line in lines[1:-1] if line.startswith("*")], ["m-Q4_K_M.gguf"])
        listed = json.loads(self.pull("org/m:q8_0", "--dry-run", "--json").stdout)
        self.assertEqual({f["path"]: f["size"] for f in listed["files"]}, {k: len(v) for k, v in GGUF_REPO.items()})
        self.assertEqual([f["path"] for f in listed["files"] if f["taken"]], ["m-Q8_0.gguf"])
        self.assertEqual(self.fetched(), [])
        self.assertFalse(self.cache.exists())

    def test_a_blob_of_another_revision_is_linked_not_fetched(self):
        self.pull("org/m")
        new = self.repo.commit(GGUF_REPO | {"README.md": b"changed"})
        self.hub.log.clear()
        path = self.path(self.pull("org/m"))
        self.assertEqual(path.parent.name, new)
        self.assertEqual(path.read_bytes(), Q4)
        self.assertEqual(self.fetched(), [])

    def test_other_addresses(self):
        self.hub.plain["x.gguf"] = Q4
        url = f"{self.hub.cdn_url}/plain/x.gguf"
        self.hub.fault("cut", "/plain/", method="GET", times=1, after=50_000)
        self.hub.fault("cut", "/plain/", method="GET", after=0)
        self.fails(self.sterna("pull", url, env={"HF_TOKEN": "hf_secret"}), "50000 bytes are here")
        self.hub.reset()
        path = self.path(self.pull(url))
        self.assertEqual(path.read_bytes(), Q4)
        self.assertEqual([entry[3]["Range"] for entry in self.fetched()], ["bytes=50000-"])
        self.hub.log.clear()
        self.assertEqual(self.path(self.pull(url)), path)
        self.assertEqual(self.fetched(), [])
        self.assertEqual([r for r in self.hub.log if "Authorization" in r[3]], [])
        self.hub.plain["x.gguf"] = Q8
        self.assertEqual(self.path(self.pull(url)).read_bytes(), Q8)
        self.assertEqual(self.path(self.pull(url, "--offline")), path)
        self.fails(self.sterna("pull", url, env={"HF_ENDPOINT": "https://huggingface.co"}), "plain http is refused")
        self.assertIn(url, self.sterna("list").stdout.decode())
        self.assertRegex(self.sterna("rm", url).stdout, rb"freed 150\.\d kB, 1 file")
        self.assertFalse(path.exists())
        self.fails(self.sterna("pull", url, "--offline"), "not here")
        # Changed between two pulls: the rest of the new file does not go behind the beginning of the old one.
        self.hub.plain["x.gguf"] = Q4
        self.hub.fault("cut", "/plain/", method="GET", times=1, after=40_000)
        self.hub.fault("cut", "/plain/", method="GET", after=0)
        self.fails(self.sterna("pull", url))
        self.hub.reset()
        self.hub.plain["x.gguf"] = Q8
        done = self.pull(url)
        self.assertIn("has changed on the server; starting it again", done.stderr.decode())
        self.assertEqual(self.path(done).read_bytes(), Q8)

    # ---- who may

    def test_tokens(self):
        self.repo.private = True
        self.fails(self.sterna("pull", "org/m"), "401", "set HF_TOKEN")
        self.fails(self.sterna("pull", "org/m", env={"HF_TOKEN": "wrong"}), "401", "the token from HF_TOKEN does not open it")
        self.fails(self.sterna("pull", "org/m", env={"HF_TOKEN": "a b"}), "not an access token")
        self.pull("org/m", env={"HF_TOKEN": " hf_secret\n"})
        self.assertTrue(all("Authorization" in entry[3] for entry in self.hub.asked("hub", "HEAD")))
        (self.home / "hf/token").write_text("hf_secret\n")
        self.pull("org/m:q8_0")
        (self.home / "t").write_text("hf_secret")
        self.pull("org/m:bf16", env={"HF_TOKEN_PATH": str(self.home / "t")})
        # The other host has never seen it.
        self.assertGreater(len(self.hub.asked("cdn")), 0)
        self.assertEqual([r for r in self.hub.asked("cdn") if "Authorization" in r[3]], [])
        (self.home / "hf/token").unlink()
        self.fails(self.sterna("pull", "org/m", "--revision", self.commit, "--file", "README.md"), "HF_TOKEN", files=False)

    def test_gated(self):
        self.repo.gated = True
        self.fails(self.sterna("pull", "org/m"), "401", f"{self.hub.url}/org/m", "HF_TOKEN")
        self.fails(self.sterna("pull", "org/m", env={"HF_TOKEN": "other"}), "403", "terms", "the token from HF_TOKEN")

    def test_what_is_not_there(self):
        self.fails(self.sterna("pull", "org/none"), "org/none", "401")
        self.fails(self.sterna("pull", "org/m@v9"), "org/m@v9", "404", "no such revision")
        self.fails(self.sterna("pull", "org/m:q9_9"), "Q9_9")
        self.hub.fault("status", "/api/", code=404)
        self.fails(self.sterna("pull", "org/m"), "org/m", "404 (not found)")
        self.assertEqual(len(self.hub.asked(match="/api/")), 4)  # none was tried twice

    # ---- servers that fail

    def test_busy_servers_are_asked_again(self):
        self.hub.fault("status", "/api/", times=2, code=500)
        self.hub.fault("status", "/resolve/", method="HEAD", times=1, code=429, headers={"Retry-After": "7"})
        self.hub.fault("status", "/blob/", times=1, code=503)
        done = self.pull("org/m")
        self.assertEqual(self.path(done).read_bytes(), Q4)
        notes = done.stderr.decode()
        self.assertIn("500 (internal error); trying again in 1 s (1 of 5)", notes)
        self.assertIn("trying again in 2 s (2 of 5)", notes)
        self.assertIn("429 (too many requests); trying again in 7 s", notes)
        self.assertIn("503 (service unavailable); trying again", notes)

    def test_attempts_end(self):
        for code in (429, 500, 503):
            self.hub.reset()
            fault = self.hub.fault("status", "/api/", code=code)
            self.fails(self.sterna("pull", "org/m"), str(code), "again and again")
            self.assertEqual(fault.used, 6)
        self.hub.reset()
        fault = self.hub.fault("status", "/api/", code=429, headers={"Retry-After": "86400"})
        self.fails(self.sterna("pull", "org/m"), "429")
        self.assertEqual(fault.used, 1)
        self.hub.reset()
        self.hub.fault("status", "/blob/", code=502)
        self.fails(self.sterna("pull", "org/m"), "m-Q4_K_M.gguf", "502")

    def test_no_server(self):
        with Hub() as gone:
            url = gone.url
        self.fails(self.sterna("pull", "org/m", env={"HF_ENDPOINT": url}), "org/m: 127.0.0.1: cannot connect")
        self.fails(self.sterna("pull", "org/m", env={"HF_ENDPOINT": "nonsense"}), "HF_ENDPOINT: nonsense")

    def test_a_cut_connection_is_gone_on_with(self):
        self.hub.fault("cut", "/blob/", times=3, after=45_000)
        done = self.pull("org/m")
        self.assertEqual(self.path(done).read_bytes(), Q4)
        ranges = [entry[3].get("Range") for entry in self.hub.asked("cdn")]
        self.assertEqual(ranges, [None, "bytes=45000-", "bytes=90000-", "bytes=135000-"])
        self.assertIn("the connection was cut; trying again in 1 s (1 of 5)", done.stderr.decode())

    def test_the_next_pull_goes_on_where_the_last_one_ended(self):
        self.hub.fault("cut", "/blob/", times=1, after=60_000)
        self.hub.fault("cut", "/blob/", after=0)
        self.fails(self.sterna("pull", "org/m"), "the connection was cut", "60000 bytes are here, the next pull goes on from there")
        self.assertEqual(self.incomplete(Q4).read_bytes(), Q4[:60_000])
        self.hub.reset()
        self.assertEqual(self.path(self.pull("org/m")).read_bytes(), Q4)
        self.assertEqual([entry[3].get("Range") for entry in self.hub.asked("cdn")], ["bytes=60000-"])
        self.assertFalse(self.incomplete(Q4).exists())

    def test_small_files_too(self):
        files = {"config.json": noise(5, 9_000), "model.safetensors": b"x"}
        self.hub.add("org/s", files)
        self.hub.fault("cut", "config.json", times=2, method="GET", after=4_000)
        folder = self.path(self.pull("org/s"))
        self.assertEqual((folder / "config.json").read_bytes(), files["config.json"])
        self.hub.add("org/w", {"config.json": b"right", "model.safetensors": b"x"})
        self.hub.fault("body", "config.json", data=b"wrong")
        self.fails(self.sterna("pull", "org/w"), "git SHA-1", git_sha1(b"right"), "thrown away", files=False)
        self.hub.add("org/e", {"config.json": b"", "model.safetensors": b"x"})
        self.hub.reset()
        self.assertEqual((self.path(self.pull("org/e")) / "config.json").read_bytes(), b"")

    def test_a_file_that_changes_on_the_way_is_started_again(self):
        # The first answer is of an older file; what follows the cut comes with another ETag.
        self.hub.fault("etag", "/blob/", times=1, to="older")
        self.hub.fault("body", "/blob/", times=1, data=noise(99, len(Q4)))
        self.hub.fault("cut", "/blob/", times=1, after=50_000)
        done = self.pull("org/m")
        self.assertIn("the file has changed on the server; starting it again", done.stderr.decode())
        self.assertEqual(self.path(done).read_bytes(), Q4)
        self.assertEqual(self.hub.asked("cdn")[1][3].get("If-Range"), '"older"')

    def test_a_wrong_beginning_is_started_again(self):
        self.pull("org/m:q8_0")  # makes the folders
        self.incomplete(Q4).write_bytes(b"x" * 1000)
        done = self.pull("org/m")
        self.assertIn("starting it again", done.stderr.decode())
        self.assertEqual(self.path(done).read_bytes(), Q4)
        path = self.path(done)
        os.remove(path.resolve())
        self.incomplete(Q4).write_bytes(Q4 + b"more")
        self.assertEqual(self.path(self.pull("org/m")).read_bytes(), Q4)
        os.remove(path.resolve())
        self.incomplete(Q4).write_bytes(Q4)  # whole, only the name is missing
        self.hub.log.clear()
        self.assertEqual(self.path(self.pull("org/m")).read_bytes(), Q4)
        self.assertEqual(self.hub.asked("cdn"), [])

    def test_wrong_bytes(self):
        self.hub.fault("body", "/blob/", data=noise(98, len(Q4)))
        self.fails(self.sterna("pull", "org/m"), "SHA-256", sha256(Q4), "thrown away")
        self.assertFalse(self.incomplete(Q4).exists())
        self.hub.reset()
        self.hub.fault("body", "/blob/", data=Q4 + b"more")
        self.fails(self.sterna("pull", "org/m"), "states 200004 bytes, the file has 200000")
        self.hub.reset()
        self.hub.fault("body", "/blob/", data=Q4 + b"more")
        self.hub.fault("no_length", "/blob/")
        self.fails(self.sterna("pull", "org/m"), "more than the 200000 bytes")

    def test_lying_lengths_and_ranges(self):
        self.hub.fault("length", "/blob/", more=10)
        self.fails(self.sterna("pull", "org/m"), "states 200010 bytes, the file has 200000")
        self.hub.reset()
        self.hub.fault("no_length", "/blob/")
        self.assertEqual(self.path(self.pull("org/m")).read_bytes(), Q4)
        self.hub.fault("cut", "/blob/", times=1, after=50_000)
        self.hub.fault("no_range", "/blob/")
        done = self.pull("org/m:q8_0")
        self.assertIn("the server sends it from the beginning; starting it again", done.stderr.decode())
        self.assertEqual(self.path(done).read_bytes(), Q8)
        self.hub.reset()
        self.hub.fault("cut", "/blob/", times=1, after=5_000)
        self.hub.fault("wrong_range", "/blob/")
        self.fails(self.sterna("pull", "org/m:bf16"), "another part than the one asked for", files=False)
        self.hub.reset()
        self.pull("org/m:bf16")

    def test_a_connection_that_stalls_counts_as_cut(self):
        hang = self.hub.fault("hang", "/blob/", times=1, after=70_000)
        done = self.pull("org/m", env={"HF_HUB_DOWNLOAD_TIMEOUT": "1"})
        self.assertIn("no answer in time; trying again", done.stderr.decode())
        self.assertEqual(self.path(done).read_bytes(), Q4)
        self.assertEqual(self.hub.asked("cdn")[1][3].get("Range"), "bytes=70000-")

    def test_redirects(self):
        self.hub.fault("redirect", "/api/", to="/api/models/org/m/revision/main")
        self.fails(self.sterna("pull", "org/m"), "more than 10 redirects")
        self.hub.reset()
        self.hub.fault("redirect", "/api/", times=1, to="file:///etc/passwd")
        self.fails(self.sterna("pull", "org/m"), "a redirect without a proper address")
        self.hub.reset()
        self.hub.add("org/new", GGUF_REPO)  # a renamed repository: relative redirects on the same host
        self.hub.fault("redirect", "/api/models/org/old", to="/api/models/org/new/revision/main?blobs=true")
        for method in ("HEAD", "GET"):
            self.hub.fault("redirect", "/org/old/resolve/", method=method,
                           to=f"/org/new/resolve/{self.hub.repos['org/new'].refs['main']}/m-Q4_K_M.gguf")
        self.assertEqual(self.path(self.pull("org/old", env={"HF_TOKEN": "hf_secret"})).read_bytes(), Q4)
        self.assertEqual([r for r in self.hub.asked("cdn") if "Authorization" in r[3]], [])
        # Nothing but https is followed from https, and to.
        self.fails(self.sterna("pull", "org/m", env={"HF_ENDPOINT": self.hub.url.replace("http", "https")}), files=False)

    def test_answers_that_are_none(self):
        commit = "0" * 40
        def listing(*names, **more):
            return json.dumps({"sha": commit, "siblings": [{"rfilename": name} | more for name in names]})
        for text, *words in (
                ("", "not the JSON"), ("[]", "not the JSON"), ("[" * 100_000, "not the JSON"), ('{"sha": "../x", "siblings": []}', "no commit"),
                ('{"sha": "%s"}' % commit, "lists no files"), (listing("../../evil.gguf"), "leaves the folder"),
                (listing("/etc/evil.gguf"), "leaves the folder"), (listing("a\0.gguf"), "leaves the folder"),
                (listing("a/../../b.gguf"), "leaves the folder"), (listing("a\x1b[2J.gguf"), "leaves the folder"),
                (listing("m.gguf", lfs={"sha256": "../../x"}), "no proper SHA-256"), (listing("m.gguf", "m.gguf"), "listed twice"),
                (" " * (33 << 20), "larger than")):
            self.hub.reset()
            self.hub.fault("json", "/api/", text=text)
            self.fails(self.sterna("pull", "org/m"), *words)
        self.assertEqual([p for p in self.home.rglob("*evil*")], [])
        self.hub.reset()
        self.hub.fault("etag", "/resolve/", to="../../../evil")
        self.fails(self.sterna("pull", "org/m"), "no proper ETag")

    # ---- this machine

    def test_a_full_disk(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))
        self.fails(self.sterna("pull", "org/m", preexec_fn=small_files), "the disk is full after 80000 bytes", "goes on from there")
        self.assertEqual(self.incomplete(Q4).read_bytes(), Q4[:80_000])
        self.hub.log.clear()
        self.assertEqual(self.path(self.pull("org/m")).read_bytes(), Q4)
        self.assertEqual([entry[3].get("Range") for entry in self.hub.asked("cdn")], ["bytes=80000-"])

    def test_a_cache_that_cannot_be_written(self):
        (self.home / "file").write_text("no folder")
        self.fails(self.sterna("pull", "org/m", env={"HF_HUB_CACHE": str(self.home / "file")}), "cannot make the folder")

    def test_two_at_once_fetch_once(self):
        hang = self.hub.fault("hang", "/blob/", times=1, after=1000)
        start = lambda: subprocess.Popen([STERNA, "pull", "org/m"], env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = start()
        self.assertTrue(hang.reached.wait(LIMIT_SECONDS))
        second = start()
        line = b""
        while b"another process is fetching it; waiting" not in line:
            line = second.stderr.readline()
            self.assertTrue(line, "the second did not wait")
        hang.release.set()
        for process in (first, second):
            out, _ = process.communicate(timeout=LIMIT_SECONDS)
            self.assertEqual(process.returncode, 0)
            self.assertEqual(Path(out.decode().strip()).read_bytes(), Q4)
        self.assertEqual(len(self.hub.asked("cdn")), 1)

    def test_an_interrupted_pull_leaves_what_it_has(self):
        hang = self.hub.fault("hang", "/blob/", times=1, after=64_000)
        process = subprocess.Popen([STERNA, "pull", "org/m"], env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertTrue(hang.reached.wait(LIMIT_SECONDS))
        for line in process.stderr:  # the progress line at three tenths: the bytes before are in the file
            if any(b"%d %%" % percent in line for percent in (30, 31, 32)):
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_SECONDS)
        hang.release.set()
        left = self.incomplete(Q4).read_bytes()
        self.assertGreater(len(left), 0)
        self.assertEqual(left, Q4[:len(left)])
        self.hub.reset()
        self.pull("org/m")
        self.assertEqual([entry[3].get("Range") for entry in self.hub.asked("cdn")], [f"bytes={len(left)}-"])

    def test_offline(self):
        self.fails(self.sterna("pull", "org/m", env={"HF_HUB_OFFLINE": "1"}), "org/m: not in the cache", "HF_HUB_OFFLINE")
        self.fails(self.sterna("run", "org/m", "--offline", "-p", "x"), "org/m: not in the cache", "--offline")
        self.assertEqual(self.hub.log, [])
        path = self.path(self.pull("org/m"))
        self.hub.log.clear()
        self.assertEqual(self.path(self.pull("org/m", "--offline")), path)
        self.assertEqual(self.path(self.pull("org/m:q4_k_m", env={"HF_HUB_OFFLINE": "TRUE"})), path)
        self.fails(self.sterna("pull", "org/m:q8_0", "--offline"), "Q8_0", files=False)
        # A newer snapshot without the model does not hide the one that has it.
        self.repo.commit(GGUF_REPO | {"README.md": b"changed"})
        self.pull("org/m", "--file", "README.md")
        self.hub.log.clear()
        self.assertEqual(self.path(self.pull("org/m", "--offline")), path)
        self.assertEqual(self.hub.log, [])

    # ---- list and rm

    def test_list_and_rm(self):
        self.assertEqual(self.sterna("list").stdout, b"")
        self.assertEqual(json.loads(self.sterna("list", "--json").stdout), [])
        for name in ("org/m", "org/m:q8_0"):
            self.pull(name)
        new = self.repo.commit(GGUF_REPO | {"m-Q8_0.gguf": noise(6, 12_345)})
        for name in ("org/m", "org/m:q8_0"):
            self.pull(name)
        self.hub.add("org/c", CHECKPOINT)
        self.pull("org/c")
        table = self.sterna("list").stdout.decode().splitlines()
        self.assertEqual([line.split()[0] for line in table], ["NAME", "org/c", "org/m", "org/m"])
        listed = {entry["commit"]: entry for entry in json.loads(self.sterna("list", "--json").stdout)}
        self.assertEqual(listed[new]["refs"], ["main"])
        self.assertEqual(listed[self.commit]["refs"], [])
        self.assertEqual(listed[new]["types"], ["Q4_K_M", "Q8_0"])
        self.assertEqual(listed[new]["size"], 200_000 + 12_345)
        self.assertEqual({f["path"]: f["size"] for f in listed[self.commit]["files"]}, {"m-Q4_K_M.gguf": 200_000, "m-Q8_0.gguf": 150_000})

        def blobs():
            return {p.name for p in (self.store / "blobs").iterdir()}
        before = blobs()
        self.assertIn(b"would free 150.0 kB, 2 files", self.sterna("rm", f"org/m@{self.commit[:7]}", "--dry-run").stdout)
        self.assertEqual(blobs(), before)
        # Of the old revision only what the new one has not; the other blob stays.
        self.assertIn(b"freed 150.0 kB, 2 files", self.sterna("rm", f"org/m@{self.commit[:7]}").stdout)
        self.assertEqual(blobs(), {sha256(Q4), sha256(noise(6, 12_345))})
        self.assertFalse((self.store / "snapshots" / self.commit).exists())
        self.assertIn(b"freed 200.0 kB, 1 file\n", self.sterna("rm", "org/m:q4_k_m").stdout)
        self.fails(self.sterna("rm", "org/m:q4_k_m"), "org/m: nothing of it", files=False)
        self.assertEqual((self.store / f"snapshots/{new}/m-Q8_0.gguf").read_bytes(), noise(6, 12_345))
        (self.store / "blobs/abc.incomplete").write_bytes(b"x" * 1000)
        self.assertIn(b"would free 13.3 kB", self.sterna("rm", "org/m", "--dry-run").stdout)
        self.assertIn(b"freed 13.3 kB", self.sterna("rm", "org/m", "org/c").stdout)
        self.assertEqual(list(self.cache.glob("models--*")), [])
        self.fails(self.sterna("rm", "org/m"), "nothing of it is in the cache")

    def test_rm_follows_no_link_out_of_the_cache(self):
        self.pull("org/m")
        precious = self.home / "precious"
        precious.mkdir()
        (precious / "file").write_text("keep")
        snapshot = self.store / "snapshots" / self.commit
        (snapshot / "folder").symlink_to(precious)
        (snapshot / "x.gguf").symlink_to(precious / "file")
        self.assertEqual(self.sterna("rm", "org/m").returncode, 0)
        self.assertFalse(self.store.exists())
        self.assertEqual((precious / "file").read_text(), "keep")

    # ---- models by name

    def test_run_pulls_and_the_others_find(self):
        model = self.home / "tiny.gguf"
        subprocess.run([MAKE_MODEL, "tiny", "Q4_K_M", model], check=True, capture_output=True)
        self.hub.add("org/tiny", {"tiny-Q4_K_M.gguf": model.read_bytes()})
        self.fails(self.sterna("inspect", "org/tiny"), "org/tiny: not in the cache", "sterna pull org/tiny")
        self.assertEqual(self.hub.log, [])
        args = ("--raw", "-p", "hello", "-n", 4, "--temp", 0)
        want = self.sterna("run", model, *args).stdout
        done = self.sterna("run", "org/tiny", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, want)
        self.assertIn("tiny-Q4_K_M.gguf", done.stderr.decode())
        self.hub.log.clear()
        again = self.sterna("run", "org/tiny:q4_k_m", *args, "--draft", "org/tiny")
        self.assertEqual((again.stdout, self.hub.log), (want, []))
        self.assertEqual(self.sterna("tokenize", "hf:org/tiny", stdin=b"hello").returncode, 0)
        self.assertEqual(self.sterna("inspect", "org/tiny").returncode, 0)
        # A file of the same spelling wins.
        (self.home / "org").mkdir()
        (self.home / "org/tiny").write_bytes(b"no model")
        self.fails(self.sterna("inspect", "org/tiny", cwd=self.home), "org/tiny", files=False)
        self.fails(self.sterna("inspect", "no/such/file.gguf"), "no/such/file.gguf", files=False)


    def test_run_converts_what_comes_as_a_checkpoint(self):
        model, folder, want = self.home / "tiny.gguf", self.home / "checkpoint", self.home / "want.gguf"
        subprocess.run([MAKE_MODEL, "tiny", "F16", model], check=True, capture_output=True)
        for args in ((model, "-o", folder, "--to", "safetensors"), (folder, "-o", want, "--type", "q8_0")):
            done = self.sterna("convert", *args, "-q")
            self.assertEqual(done.returncode, 0, done.stderr)
        self.hub.add("org/c", {p.name: p.read_bytes() for p in folder.iterdir()})
        args = ("--raw", "-p", "hello", "-n", 8, "--temp", 0, "--json")
        done = self.sterna("run", "org/c:q8_0", *args)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("org/c: a checkpoint; converting it to Q8_0, once", done.stderr.decode())
        tokens = json.loads(self.sterna("run", want, *args).stdout)["tokens"]
        self.assertEqual(json.loads(done.stdout)["tokens"], tokens)
        self.hub.log.clear()
        again = self.sterna("run", "org/c:q8_0", *args)
        self.assertEqual(json.loads(again.stdout)["tokens"], tokens)
        self.assertNotIn("converting", again.stderr.decode())
        self.assertEqual(self.fetched(), [])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=1)
