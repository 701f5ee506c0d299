"""The chat page: files of the package, public, which use the API like any client."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from llmkit.serving.guards import PAGE_FOLDER

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDERS = ("", "vendor/")
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _PageFile:
    """A file of the page, in memory.

    Args:
        kind: its media type.
        body: its bytes.
    """

    def __init__(self, kind: str, body: bytes) -> None:
        self.kind, self.body = kind, body
        self.tag = hashlib.sha256(body).hexdigest()[:16]


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    for path, found in _page_files().items():
        app.router.add_get(path, _shower(found))


def _page_files() -> dict[str, _PageFile]:
    """Return files by their path on the server. No path of a request is joined to a folder, for security."""
    found = {}
    for folder in _FOLDERS:
        for one in files("llmkit.serving").joinpath("page", folder).iterdir():
            kind = _KINDS.get(f".{one.name.rpartition('.')[2]}")
            if kind is not None and one.is_file():
                path = "/" if one.name == "index.html" else PAGE_FOLDER + folder + one.name
                found[path] = _PageFile(kind, one.read_bytes())
    return found


def _shower(file: _PageFile) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(request: web.Request) -> web.Response:
        headers = {**_HEADERS, "ETag": f'"{file.tag}"'}
        if any(tag.value == file.tag for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, content_type=file.kind, charset="utf-8", headers=headers)

    return show
