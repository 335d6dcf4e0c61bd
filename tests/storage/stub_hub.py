"""A hub on loopback: the few routes that huggingface_hub's client asks when a file is pushed and fetched."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
import yaml


class StubHub:
    """Repositories in memory, each a list of commits ``(oid, {path: bytes})``.

    `token` is what a request must bring to write (and to see what is private), `asked` every request in order.
    """

    def __init__(self):
        self.repositories, self.private, self.gated = {}, set(), set()
        self.objects, self.asked, self.token = {}, [], "stub"
        self.endpoint = ""

    def commit(self, repo_id, files):
        """Add a commit with these files over those before it; its oid."""
        commits = self.repositories.setdefault(repo_id, [])
        before = commits[-1][1] if commits else {}
        oid = hashlib.sha1(f"{repo_id} {len(commits)}".encode()).hexdigest()
        commits.append((oid, before | files))
        return oid

    def files(self, repo_id, revision="main"):
        """The files of a revision; None where there is none."""
        commits = self.repositories[repo_id]
        if revision == "main":
            return commits[-1] if commits else ("0" * 40, {})
        return next((commit for commit in commits if commit[0] == revision), None)


class Handler(BaseHTTPRequestHandler):
    """The routes; what is not there is answered as the real hub answers it."""

    hub: StubHub

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, status, body=b"", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content_Type", "application/json")
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=f"stub says {code}")

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def allowed(self):
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def do_POST(self):
        path, hub = unquote(urlsplit(self.path).path), self.hub
        hub.asked.append((self.command, path))
        if path == "/api/validate-yaml":
            front = json.loads(self.body())["content"].split("---")[1]
            found = yaml.safe_load(front)
            errors = [] if found.get("license") else [{"message": "no license"}]
            return self.answer(200, {"errors": errors, "warnings": []})
        if not self.allowed():
            return self.refuse(401, "Unauthorized")
        if path == "/api/repos/create":
            asked = json.loads(self.body())
            repo_id = f"{asked['organization']}/{asked['name']}"
            if repo_id in hub.repositories:
                return self.answer(
                    409, {"error": "You already created this model repo", "url": f"{hub.endpoint}/{repo_id}"}
                )
            hub.repositories[repo_id] = []
            if asked.get("private") or asked.get("visibility") == "private":
                hub.private.add(repo_id)
            return self.answer(200, {"url": f"{hub.endpoint}/{repo_id}"})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.endpoint}/objects/{one['oid']}", "header": {}}}}
                for one in json.loads(self.body())["objects"]
            ]
            return self.answer(
                200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json"
            )
        parts = path.removeprefix("/api/models/").split("/")
        repo_id, action = "/".join(parts[:2]), parts[2]
        if repo_id not in hub.repositories:
            return self.refuse(404, "RepoNotFound")
        if action == "preupload":
            files = json.loads(self.body())["files"]
            modes = [
                {"path": f["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular"}
                for f in files
            ]  # fmt: skip
            return self.answer(200, {"files": modes})
        files = {}
        for line in self.body().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                files[entry["value"]["path"]] = hub.objects[entry["value"]["oid"]]
        oid = hub.commit(repo_id, files)
        return self.answer(
            200, {"success": True, "commitOid": oid, "commitUrl": f"{hub.endpoint}/{repo_id}/commit/{oid}"}
        )

    def do_PUT(self):
        self.hub.asked.append((self.command, self.path))
        self.hub.objects[self.path.rpartition("/")[2]] = self.body()
        self.answer(200)

    def do_GET(self):
        path, hub = unquote(urlsplit(self.path).path), self.hub
        hub.asked.append((self.command, path))
        if path.startswith("/api/models/"):
            return self.describe(path.removeprefix("/api/models/").split("/"))
        parts = path.strip("/").split("/", 4)
        repo_id = "/".join(parts[:2])
        if repo_id in hub.gated:
            return self.refuse(403, "GatedRepo")
        if repo_id not in hub.repositories or (repo_id in hub.private and not self.allowed()):
            return self.refuse(401, "RepoNotFound")
        found = hub.files(repo_id, parts[3])
        if found is None:
            return self.refuse(404, "RevisionNotFound")
        oid, files = found
        if parts[4] not in files:
            return self.answer(404, {}, X_Error_Code="EntryNotFound", X_Repo_Commit=oid)
        content = files[parts[4]]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.answer(200, content, ETag=etag, X_Repo_Commit=oid, Content_Type="application/octet-stream")

    def describe(self, parts):
        """What a repository holds: all about it, or the list of its files."""
        hub, repo_id = self.hub, "/".join(parts[:2])
        if repo_id not in hub.repositories or (repo_id in hub.private and not self.allowed()):
            return self.refuse(401, "RepoNotFound")
        oid, files = hub.files(repo_id)
        if "tree" in parts:
            return self.answer(200, [{"type": "file", "path": p, "size": len(c), "oid": oid} for p, c in files.items()])
        siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
        return self.answer(200, {"id": repo_id, "sha": oid, "siblings": siblings, "private": False, "tags": []})

    do_HEAD = do_GET  # noqa: N815 (as the base class calls it)


@contextmanager
def running_hub():
    """A hub that answers at `endpoint` for the length of the block."""
    hub = StubHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisHub", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment_of(hub, folder):
    """What a process of its own needs to meet the stub hub, with a cache in `folder`."""
    return {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(folder / "hf"),
        "HF_TOKEN": hub.token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }


def meet(monkeypatch, endpoint):
    """Have huggingface_hub in this process ask at `endpoint`: it reads its environment once, when it is imported."""
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template.replace(constants.ENDPOINT, endpoint))
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stub hub that huggingface_hub meets in this process, with an empty cache."""
    from huggingface_hub import constants

    with running_hub() as stub:
        for name, value in environment_of(stub, tmp_path).items():
            monkeypatch.setenv(name, value)
        meet(monkeypatch, stub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        yield stub
