#!/usr/bin/env python3
"""A model hub on this machine: serves folders as the public hub serves repositories, and misbehaves on request.

    hub_server.py FOLDER          FOLDER/org/name/... ; prints the address for HF_ENDPOINT

Two servers on two ports: the hub, and the "CDN" that it redirects large files to. Only the standard library is used. The
tests switch faults on with Hub.fault() and read what was asked for from Hub.log.
"""
import hashlib
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_BYTES = 10 << 10  # from here on a file is stored by its SHA-256, as git-lfs does


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    """Commits of one repository: {commit: {path: bytes}}, and the branches and tags that name them."""

    def __init__(self, name, files=None):
        self.name, self.commits, self.refs = name, {}, {}
        self.gated = self.private = False
        self.large = lambda path, data: len(data) >= LARGE_BYTES or path.endswith((".gguf", ".safetensors"))
        if files is not None:
            self.commit(files)

    def commit(self, files, ref="main"):
        text = json.dumps([self.name, sorted((path, sha256(data)) for path, data in files.items())])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[ref] = commit
        return commit

    def find(self, revision):
        commit = self.refs.get(revision, revision)
        return commit if commit in self.commits else None


class Fault:
    """One way to misbehave, for requests whose path contains `match`, the first `times` of them.

    kind: status (code, headers) | cut (after N bytes of the body) | etag (another one) | body (other bytes) | length (states N more)
          | no_range (ignores Range) | wrong_range | hang (after N bytes, until `release` is set) | json (this text) | redirect (to)
    """

    def __init__(self, kind, match="", times=10**9, where=None, method=None, **values):
        self.kind, self.match, self.times, self.where, self.method = kind, match, times, where, method
        self.values = values
        self.release = threading.Event()
        self.reached = threading.Event()
        self.used = 0

    def fits(self, where, method, path):
        fits = (self.used < self.times and self.match in path and self.where in (None, where) and
                self.method in (None, method))
        self.used += fits
        return fits


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub, where = self.server.hub, self.server.where
        with hub.lock:
            hub.log.append((where, self.command, self.path, dict(self.headers.items())))
            self.faults = []
            for fault in hub.faults:  # of one kind, the first that fits
                if all(fault.kind != f.kind for f in self.faults) and fault.fits(where, self.command, self.path):
                    self.faults.append(fault)
        for fault in self.faults:
            if fault.kind == "status":
                return self.send(fault.values["code"], fault.values.get("headers", {}), b"an error, in many words\n")
            if fault.kind == "redirect":
                return self.send(302, {"Location": fault.values["to"]}, b"")
            if fault.kind == "json":
                return self.send(200, {"Content-Type": "application/json"}, fault.values["text"].encode())
        path = urlsplit(self.path).path
        if where == "hub" and path.startswith("/api/models/"):
            return self.api(unquote(path[len("/api/models/"):]))
        if match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path):
            return self.resolve(*(unquote(part) for part in match.groups()))
        if path.startswith("/blob/"):
            return self.blob(hub.blobs.get(path[6:]))
        if path.startswith("/plain/"):
            return self.blob(hub.plain.get(unquote(path[7:])))
        self.missing("RepoNotFound")

    def missing(self, code, status=404):
        self.send(status, {"X-Error-Code": code, "X-Error-Message": "no"}, b"")

    def allowed(self, repo):
        """None, or the answer to who may not see it."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repo is None or (repo.private and token != self.server.hub.token):
            return "RepoNotFound"
        return "GatedRepo" if repo.gated and token != self.server.hub.token else None

    def api(self, path):
        hub = self.server.hub
        match = re.fullmatch(r"([^/]+/[^/]+)(?:/(revision|tree)/(.+))?", path)
        repo = hub.repos.get(match[1]) if match else None
        if repo is None or (repo.private and self.allowed(repo)):
            return self.missing("RepoNotFound", 401)
        commit = repo.find(match[3] or "main")
        if commit is None:
            return self.missing("RevisionNotFound")
        files = repo.commits[commit]
        entries = []
        for name, data in sorted(files.items()):
            large = repo.large(name, data)
            if match[2] == "tree":
                entry = {"type": "file", "path": name, "size": len(data), "oid": git_sha1(data)}
                if large:
                    entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 134}
            else:
                entry = {"rfilename": name}
                if "blobs" in parse_qs(urlsplit(self.path).query):
                    entry |= {"size": len(data), "blobId": git_sha1(data)}
                    if large:
                        entry["lfs"] = {"sha256": sha256(data), "size": len(data), "pointerSize": 134}
            entries.append(entry)
        out = entries if match[2] == "tree" else {
            "id": repo.name, "modelId": repo.name, "sha": commit, "private": repo.private,
            "gated": "manual" if repo.gated else False, "tags": [], "downloads": 0, "likes": 0, "siblings": entries}
        self.send(200, {"Content-Type": "application/json", "X-Repo-Commit": commit}, json.dumps(out).encode())

    def resolve(self, name, revision, path):
        hub = self.server.hub
        repo = hub.repos.get(name)
        if code := self.allowed(repo):
            return self.missing(code, 403 if code == "GatedRepo" and "Authorization" in self.headers else 401)
        commit = repo.find(revision)
        if commit is None:
            return self.missing("RevisionNotFound")
        data = repo.commits[commit].get(path)
        if data is None:
            return self.missing("EntryNotFound")
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if not repo.large(path, data):
            return self.blob(data, headers, git_sha1(data))
        digest = sha256(data)
        hub.blobs[digest] = data
        etag = next((f.values["to"] for f in self.faults if f.kind == "etag"), digest)
        self.send(302, headers | {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data)), "ETag": f'"{etag}"',
                                  "Location": f"{hub.cdn_url}/blob/{digest}?signature=secret"}, b"Found")

    def blob(self, data, headers=None, etag=None):
        if data is None:
            return self.missing("EntryNotFound")
        headers = dict(headers or {})
        kinds = {fault.kind: fault for fault in self.faults}
        if "body" in kinds:
            data = kinds["body"].values["data"]
        etag = f'"{etag or hashlib.md5(data).hexdigest()}"'
        if "etag" in kinds:
            etag = f'"{kinds["etag"].values["to"]}"'
        if "no_etag" not in kinds:
            headers["ETag"] = etag
        headers["Accept-Ranges"] = "bytes"
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fresh = self.headers.get("If-Range", etag) == etag
        if wanted and fresh and "no_range" not in kinds:
            first = int(wanted[1])
            if first >= len(data):
                return self.send(416, headers | {"Content-Range": f"bytes */{len(data)}"}, b"")
            shown = first + 1 if "wrong_range" in kinds else first
            headers["Content-Range"] = f"bytes {shown}-{len(data) - 1}/{len(data)}"
            return self.send(206, headers, data[first:])
        self.send(200, headers, data)

    def send(self, status, headers, body):
        kinds = {fault.kind: fault for fault in self.faults}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        length = len(body) + (kinds["length"].values["more"] if "length" in kinds else 0)
        if "no_length" in kinds:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        if status >= 300:
            kinds = {}
        try:
            if "cut" in kinds:
                self.wfile.write(body[:kinds["cut"].values["after"]])
                self.close_connection = True
            elif "hang" in kinds:
                fault = kinds["hang"]
                after = fault.values["after"]
                self.wfile.write(body[:after])
                self.wfile.flush()
                fault.reached.set()
                fault.release.wait(60)
                self.wfile.write(body[after:])
            else:
                self.wfile.write(body)
                self.close_connection |= "length" in kinds
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that hung up


class Hub:
    """Both servers, running. Use as a context manager or call close()."""

    def __init__(self, port=0):
        self.repos, self.blobs, self.plain, self.faults, self.log = {}, {}, {}, [], []
        self.token = "hf_secret"
        self.lock = threading.Lock()
        self.servers = []
        for where in ("hub", "cdn"):
            server = Server(("127.0.0.1", port if where == "hub" else 0), Handler)
            server.hub, server.where = self, where
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self.servers.append(server)
        self.url, self.cdn_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self.servers)

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def add(self, name, files):
        self.repos[name] = Repo(name, files)
        return self.repos[name]

    def fault(self, kind, match="", **values):
        fault = Fault(kind, match, **values)
        self.faults.append(fault)
        return fault

    def reset(self):
        for fault in self.faults:
            fault.release.set()
        self.faults.clear()
        self.log.clear()

    def asked(self, where=None, method=None, match=""):
        with self.lock:
            return [entry for entry in self.log
                    if where in (None, entry[0]) and method in (None, entry[1]) and match in entry[2]]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with Hub() as hub:
        for folder in Path(sys.argv[1]).glob("*/*"):
            files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            hub.add(f"{folder.parent.name}/{folder.name}", files)
        print(hub.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
