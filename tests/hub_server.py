"""A small server with the part of the Hugging Face Hub's API that is needed to push and download models."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

WRITE, READ = "hf_write", "hf_read"  # tokens


class Hub(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repository: str) -> str:
        """Returns a hash of the content, as the id of its commit."""
        return hashlib.sha1(repr(sorted(self.repositories[repository].items())).encode()).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def do_POST(self) -> None:
        content, hub = self.rfile.read(int(self.headers.get("Content-Length", 0))), self.server
        parts = urlsplit(self.path).path.strip("/").split("/")
        if self.token != WRITE:
            self.answer(403 if self.token == READ else 401, {"error": "Invalid credentials"})
        elif parts[:3] == ["api", "repos", "create"]:
            request = json.loads(content)
            repository = f"{request['organization']}/{request['name']}"
            exists = repository in hub.repositories
            hub.repositories.setdefault(repository, {})
            if request.get("private") or request.get("visibility") == "private":
                hub.private.add(repository)
            self.answer(409 if exists else 200, {"url": f"{hub.address}/{repository}"})
        elif parts == ["api", "validate-yaml"]:
            self.answer(200, {"errors": [], "warnings": []})
        elif parts[4] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(content)["files"]]
            self.answer(200, {"files": [{**file, "shouldIgnore": False, "oid": None} for file in files]})
        elif parts[4] == "commit":
            repository = "/".join(parts[2:4])
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    hub.repositories[repository][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del hub.repositories[repository][line["value"]["path"]]
            oid = hub.commit(repository)
            address = f"{hub.address}/{repository}/commit/{oid}"
            self.answer(200, {"commitUrl": address, "commitOid": oid, "success": True})
        else:
            self.answer(404, {"error": self.path})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, hub = unquote(urlsplit(self.path).path).strip("/"), self.server
        parts = path.split("/")
        repository = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if repository not in hub.repositories or (repository in hub.private and not self.token):
            self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files, oid = hub.repositories[repository], hub.commit(repository)
        if parts[0] == "api":
            entries = [
                {"type": "file", "path": name, "rfilename": name, "size": len(content), "oid": sha1(content)}
                for name, content in files.items()
            ]
            is_tree = len(parts) > 4 and parts[4] == "tree"
            self.answer(200, entries if is_tree else {"id": repository, "sha": oid, "siblings": entries})
        elif (name := "/".join(parts[4:])) in files:
            self.answer(200, files[name], {"X-Repo-Commit": oid, "ETag": f'"{sha1(files[name])}"'})
        else:
            self.answer(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})

    def answer(self, code: int, content: object, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
