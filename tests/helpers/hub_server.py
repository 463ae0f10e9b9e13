"""A small Hugging Face Hub on this machine: what the client calls to commit and to download."""

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_only_a_test"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class HubServer:
    """Repositories by id, data sets with `datasets/` before it, and every path that was called.

    Attributes:
        refuse: a path's end that is answered with 403.
        cut: after so many bytes of a file the connection breaks, once.
        sent: bytes of files that were downloaded.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.calls: list[str] = []
        self.refuse: str | None = None
        self.cut: int | None = None
        self.sent = 0
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self._body()
        path = self.path.split("?")[0]
        self.hub.calls.append(path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._answer(401, {"error": "Invalid username or password."})
        if self.hub.refuse and path.endswith(self.hub.refuse):
            return self._answer(403, {"error": "You have no write rights."})
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if path.endswith("/preupload/main"):
            return self._preupload(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return self._batch(json.loads(body))
        if path.endswith("/commit/main"):
            return self._commit(path.split("/api/models/")[1].removesuffix("/commit/main"), body)
        return self._answer(404, {"error": f"no {path}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """Public repositories: no token is asked for."""
        path = self.path.split("?")[0]
        self.hub.calls.append(f"{self.command} {path}")
        if path.startswith(("/api/models/", "/api/datasets/")):
            name = path.removeprefix("/api/models/").removeprefix("/api/")
            name = name.removesuffix("/revision/main")
            repository = self.hub.repositories.get(name)
            return self._not_found() if repository is None else self._info(name, repository)
        name, found, file = path.lstrip("/").partition("/resolve/main/")
        repository = self.hub.repositories.get(name)
        if not found or repository is None or file not in repository.files:
            return self._not_found()
        return self._file(repository.files[file])

    def _info(self, name: str, repository: Repository) -> None:
        siblings = [{"rfilename": n, "size": len(f)} for n, f in repository.files.items()]
        self._answer(200, {"id": name, "sha": COMMIT, "private": False, "siblings": siblings})

    def _file(self, content: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        part = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cut is not None and len(part) > self.hub.cut:
            part, self.hub.cut = part[: self.hub.cut], None
            self.close_connection = True
        self.wfile.write(part)
        self.hub.sent += len(part)

    def _not_found(self) -> None:
        self._answer(404, {"error": "Repository not found"})

    def do_PUT(self) -> None:
        self.hub.stored[self.path.rsplit("/", 1)[1]] = self._body()
        self._answer(200, {})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            return self._answer(409, {"error": "You already created this model repo", "url": url})
        private = wanted.get("private") is True or wanted.get("visibility") == "private"
        self.hub.repositories[name] = Repository(private)
        return self._answer(200, {"url": url, "name": name})

    def _preupload(self, wanted: dict[str, Any]) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs"
                if file["path"].endswith((".safetensors", ".webp"))
                else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in wanted["files"]
        ]
        self._answer(200, {"files": files})

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = [
            {
                **one,
                "authenticated": True,
                "actions": {"upload": {"href": f"{self.hub.url}/storage/{one['oid']}"}},
            }
            for one in wanted["objects"]
        ]
        self._answer(200, {"transfer": "basic", "objects": objects})

    def _commit(self, name: str, body: bytes) -> None:
        repository = self.hub.repositories[name]
        for line in body.decode("utf-8").splitlines():
            part = json.loads(line)
            value = part["value"]
            if part["key"] == "header":
                repository.commits.append(value["summary"])
            elif part["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif part["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.stored[value["oid"]]
        oid = f"{len(repository.commits):040x}"
        url = f"{self.hub.url}/{name}/commit/{oid}"
        self._answer(200, {"success": True, "commitUrl": url, "commitOid": oid})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
