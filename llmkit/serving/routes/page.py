"""The chat page: three files of the package, open to everybody, which call the API as any client does."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

from llmkit.serving.guards import PAGE_FOLDER

_FILES = {
    "/": ("index.html", "text/html"),
    f"{PAGE_FOLDER}page.css": ("page.css", "text/css"),
    f"{PAGE_FOLDER}page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    for path in _FILES:
        app.router.add_get(path, show)


async def show(request: web.Request) -> web.Response:
    """Return a file of the page. Its name is looked up, and never joined to a folder."""
    name, kind = _FILES[request.path]
    text = files("llmkit.serving").joinpath("page", name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=kind, charset="utf-8", headers=_HEADERS)
