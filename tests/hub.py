"""A server that speaks as much of the Hub's API as a download needs, and can fail in the Hub's ways."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# The error codes that the Hub sends, by the name of a repository.
REFUSED = {
    "org/gated": (403, "GatedRepo"),
    "org/private": (401, "RepoNotFound"),
    "org/missing": (404, "RepoNotFound"),
}


@dataclass
class Hub:
    """The server's content, and what it was asked.

    Attributes:
        files: content of each file, by repository and path.
        cuts: for a file, how many answers break off in the middle.
        spoiled: files that arrive with another byte than the hash says.
        asked: the paths that were asked for, with the range.
        sent: bytes that were sent of each file.
        url: its address.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    spoiled: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    url: str = ""


def sha1(data: bytes) -> str:
    """The name that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(path: str, data: bytes) -> dict[str, Any]:
    """A file in a listing; weights are large files, which have a SHA-256."""
    about: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": sha1(data)}
    about |= {"rfilename": path, "blobId": about["oid"]}
    if path.endswith((".safetensors", ".gguf")):
        digest = hashlib.sha256(data).hexdigest()
        about["lfs"] = {"oid": digest, "sha256": digest, "size": len(data), "pointerSize": 134}
    return about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        self.hub.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            self._listing("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._answer(404)

    def _listing(self, repository: str, rest: list[str]) -> None:
        if not self._is_open(repository, rest[1] if len(rest) > 1 else "main"):
            return
        listing = [entry(path, data) for path, data in self.hub.files[repository].items()]
        if rest[:1] == ["tree"]:
            self._answer(200, json.dumps(listing).encode())
            return
        full = "blobs" in parse_qs(urlparse(self.path).query)
        siblings = [one if full else {"rfilename": one["path"]} for one in listing]
        about = {"id": repository, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}
        self._answer(200, json.dumps(about).encode())

    def _is_open(self, repository: str, revision: str) -> bool:
        status, code = REFUSED.get(repository, (0, ""))
        if not status and repository not in self.hub.files:
            status, code = 404, "RepoNotFound"
        if not status and revision not in ("main", COMMIT):
            status, code = 404, "RevisionNotFound"
        if status:
            self._answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "refused"})
        return not status

    def _file(self, repository: str, revision: str, path: str) -> None:
        if not self._is_open(repository, revision):
            return
        data = self.hub.files[repository].get(path)
        if data is None:
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        about = entry(path, data)
        tag = about["lfs"]["sha256"] if "lfs" in about else about["oid"]
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if path in self.hub.spoiled:
            data = data[:-1] + bytes([data[-1] ^ 1])
        first, whole, ranged = 0, len(data), self.headers.get("Range")
        if ranged:
            start, _, end = ranged.removeprefix("bytes=").partition("-")
            first = int(start)
            data = data[: int(end) + 1] if end else data
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{whole}"
        if self.command == "GET":
            self.hub.sent[path] = self.hub.sent.get(path, 0) + len(data) - first
        cut = self.command == "GET" and self.hub.cuts.get(path, 0) > 0
        if cut:
            self.hub.cuts[path] -= 1
        self._answer(206 if ranged else 200, data[first:], headers, cut=cut)

    def _answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True


@contextmanager
def serve() -> Iterator[Hub]:
    """Run a Hub on a free port."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
