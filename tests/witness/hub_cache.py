#!/usr/bin/env python3
"""Sterna and the Python package huggingface_hub share one cache: each sees what the other has fetched, and fetches none of it again.

    hub_cache.py STERNA

Both talk to the same local hub (tests/cli/hub_server.py).
"""
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "cli"))
from hub_server import Hub  # noqa: E402

STERNA = str(Path(sys.argv[1]).resolve())


def noise(seed, n):
    return random.Random(seed).randbytes(n)


def main():
    home = tempfile.TemporaryDirectory()
    hub = Hub()
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "XDG_CACHE")) or "proxy" in name.lower():
            del os.environ[name]
    os.environ |= {"HF_HOME": f"{home.name}/hf", "HF_ENDPOINT": hub.url, "HOME": home.name, "HF_HUB_DISABLE_TELEMETRY": "1",
                   "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "STERNA_RETRY_SCALE": "0"}
    import huggingface_hub
    from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache

    files = {"m-Q4_K_M.gguf": noise(1, 100_000), "m-Q8_0.gguf": noise(2, 120_000), "README.md": b"# m\n"}
    checkpoint = {"config.json": b"{}", "tokenizer.json": b"{}" * 8000, "model.safetensors": noise(3, 50_000)}
    repo = hub.add("org/m", files)
    hub.add("org/c", checkpoint)
    checks = 0

    def check(fact, what):
        nonlocal checks
        checks += 1
        if not fact:
            sys.exit(f"hub_cache.py: {what}")

    def sterna(*args):
        done = subprocess.run([STERNA, *args], capture_output=True, text=True, timeout=60)
        check(done.returncode == 0, f"sterna {' '.join(args)}: {done.stderr}")
        return done.stdout.removesuffix("\n")

    def fetched():
        out = [entry[2] for entry in hub.asked(method="GET") if "/api/" not in entry[2]]
        hub.log.clear()
        return out

    def scan():
        info = scan_cache_dir()
        check(info.warnings == [], f"scan_cache_dir warns: {info.warnings}")
        return {r.repo_id: r for r in info.repos}

    # Fetched by Sterna, seen and used by Python.
    path = sterna("pull", "org/m")
    check(len(fetched()) == 2, "Sterna fetches once, over one redirect")
    seen = scan()["org/m"]
    (revision,) = seen.revisions
    check(seen.size_on_disk == 100_000 and revision.commit_hash == repo.refs["main"] and revision.refs == {"main"}, f"seen: {seen}")
    check([f.file_name for f in revision.files] == ["m-Q4_K_M.gguf"], f"files: {revision.files}")
    check(try_to_load_from_cache("org/m", "m-Q4_K_M.gguf") == path, "try_to_load_from_cache finds another path")
    check(hf_hub_download("org/m", "m-Q4_K_M.gguf") == path, "hf_hub_download gives another path")
    check(fetched() == [], "Python fetched what Sterna had")

    # Fetched by Python, seen and used by Sterna.
    other = hf_hub_download("org/m", "m-Q8_0.gguf")
    folder = snapshot_download("org/c")
    fetched()
    check(sterna("pull", "org/m:q8_0") == other, "another path for what Python fetched")
    check(sterna("pull", "org/c") == folder, "another folder for what Python fetched")
    check(sterna("pull", "org/c", "--offline") == folder, "offline finds another folder")
    check(fetched() == [], "Sterna fetched what Python had")
    listed = {entry["name"]: entry for entry in json.loads(sterna("list", "--json"))}
    for name, entry in scan().items():
        (revision,) = entry.revisions
        check({f["path"]: f["size"] for f in listed[name]["files"]} == {f.file_name: f.size_on_disk for f in revision.files},
              f"{name}: the lists differ")
        check((listed[name]["commit"], listed[name]["size"]) == (revision.commit_hash, entry.size_on_disk), f"{name}: the sums differ")

    # A new commit that leaves the file as it is: neither fetches it, whoever comes first.
    repo.commit(files | {"README.md": b"# new\n"})
    new = sterna("pull", "org/m")
    check(hf_hub_download("org/m", "m-Q4_K_M.gguf") == new and hf_hub_download("org/m", "m-Q8_0.gguf") == sterna("pull", "org/m:q8_0"),
          "the new snapshot differs")
    check(fetched() == [], "fetched again for a new commit")

    # What rm leaves is sound.
    sterna("rm", "org/m:q4_k_m")
    check({f.file_name for r in scan()["org/m"].revisions for f in r.files} == {"m-Q8_0.gguf"}, "rm of one type")
    sterna("rm", "org/m", "org/c")
    check(scan() == {}, "rm of all")
    hub.close()
    print(f"hub_cache.py: {checks} checks against huggingface_hub {huggingface_hub.__version__}")


if __name__ == "__main__":
    main()
