"""Checks before every route: host, origin, key, size and shape of a request; and the access log."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from llmkit.records.strict_json import StrictDecoder
from llmkit.serving.errors import ApiError, as_api_error
from llmkit.serving.metrics import Metrics
from llmkit.serving.settings import ServerSettings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
OPEN_PATHS = frozenset({"/", "/health"})
"""Paths that need no key. The chat page's files need no key either."""
PAGE_FOLDER = "/page/"
BODY_KEY_PATHS = frozenset({"/translate", "/detect"})
"""Paths whose routes check the key themselves, because it may be in the body."""
LIBRE_PATHS = frozenset({"/translate", "/detect", "/languages"})
_MAX_DEPTH = 64
_BODY_SECONDS = 60.0
_SHOWN = 20_000  # maximum bytes of a body in the log
_BODY_KEY = re.compile(r"""(["']?api_key["']?\s*[:=]\s*["']?)[^"'&,}\s]*""")
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.S)


def middlewares(
    settings: ServerSettings,
    metrics: Metrics,
    log: Callable[[str], None],
    let_go: Callable[[web.Request], None],
) -> list[Any]:
    """Return the middlewares of the application, the outermost first.

    Args:
        settings: keys, hosts, origins.
        metrics: counts requests.
        log: receives a line for stderr.
        let_go: called after a request is answered.
    """

    @web.middleware
    async def report(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn errors into JSON, count requests, and write the access log, which contains no prompts."""
        begun = time.monotonic()
        status = 499  # the client disconnected
        try:
            response = await _answered(request, handler, log)
            status = response.status
            _allow_origin(request, response, settings)
            return response
        finally:
            let_go(request)
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "unknown"
            metrics.add("llmkit_requests_total", route=route, status=str(status))
            seconds = time.monotonic() - begun
            if settings.log_prompts and request.method == "POST":
                log(f"prompt of {_printable(request.path)}: {await _shown_body(request)}")
            log(
                f"{request.remote or '-'} {request.method} {_printable(request.path)} {status} {seconds:.3f}s"
            )

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Reject requests from pages of other sites, and requests without the key."""
        _check_host(request, settings)
        _check_origin(request, settings)
        if request.method == "OPTIONS":
            return _preflight(request, settings)
        open_path = request.path in OPEN_PATHS or request.path.startswith(PAGE_FOLDER)
        if not open_path and request.path not in BODY_KEY_PATHS:
            check_key(request, settings)
        return await handler(request)

    return [report, guard]


async def _answered(request: web.Request, handler: Handler, log: Callable[[str], None]) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        names = {404: "there is no such path", 405: "this path needs another method"}
        if error.status == 413:
            found = ApiError(413, "the body is larger than the server accepts", code="body_too_large")
        else:
            found = ApiError(error.status, names.get(error.status, error.reason))
    except ConnectionError:
        found = ApiError(499, "the client disconnected", code="cancelled")
    except Exception as error:
        found = as_api_error(error)
        if found.status == 500:
            import traceback

            log("".join(traceback.format_exception(error)).rstrip())
    return error_response(found, request.path)


def error_response(error: ApiError, path: str) -> web.Response:
    """Return an error as a response: OpenAI's object, or that of the path's API."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if path.startswith("/api/") or path in LIBRE_PATHS:  # ollama's and LibreTranslate's
        body: dict[str, Any] = {"error": error.message}
    elif path.startswith("/v1/messages"):
        body = anthropic_error(error)
    else:
        body = error.as_json()
    return web.json_response(body, status=error.status, headers=headers)


def anthropic_error(error: ApiError) -> dict[str, Any]:
    """Return an error as Anthropic's object."""
    kinds = {413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}
    kind = kinds.get(error.status, "api_error" if error.status >= 500 else error.as_json()["error"]["type"])
    return {"type": "error", "error": {"type": kind, "message": error.message}}


async def read_json(request: web.Request) -> Any:
    """Return the body of a request as JSON.

    Raises:
        ApiError: it is not JSON, is nested too deeply, or contains numbers that JSON does not have.
    """
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            raw = await request.read()
    except TimeoutError:
        raise ApiError(408, "the body was not received in time", code="timeout") from None
    if _too_deep(raw):
        raise ApiError(400, f"the body is nested more than {_MAX_DEPTH} levels deep", code="invalid_json")
    try:
        text = raw.decode("utf-8").strip()
        value, end, problem = StrictDecoder().decode(text)
    except json.JSONDecodeError as error:
        message = f"the body is not JSON: {error.msg} at character {error.pos}"
        raise ApiError(400, message, code="invalid_json") from None
    except ValueError as error:  # invalid UTF-8, and integers with thousands of digits
        raise ApiError(400, f"the body is not JSON: {error}", code="invalid_json") from None
    if problem is not None or end != len(text):
        reason = problem or "there is more text after the object"
        raise ApiError(400, f"the body is not JSON: {reason}", code="invalid_json")
    return value


def _too_deep(raw: bytes) -> bool:
    if raw.count(b"[") + raw.count(b"{") <= _MAX_DEPTH:
        return False
    depth = 0
    for match in _NESTING.finditer(raw):
        mark = match.group()
        if mark in (b"[", b"{"):
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif mark in (b"]", b"}"):
            depth -= 1
    return False


def check_key(request: web.Request, settings: ServerSettings, body_key: str | None = None) -> None:
    """Refuse a request without one of the keys, if there are any.

    Args:
        request: request with the key in its headers.
        settings: settings with the keys.
        body_key: key from the body, which some clients send there.

    Raises:
        ApiError: the key is missing or wrong.
    """
    if not settings.api_keys:
        return
    wanted = (_given_key(request) or body_key or "").encode("utf-8", errors="replace")
    # All keys are compared, so that the time does not reveal which one is similar.
    matches = [hmac.compare_digest(wanted, key.encode()) for key in settings.api_keys]
    if not any(matches):
        raise ApiError(401, "the API key is missing or wrong", code="invalid_api_key")


def scope_of(request: web.Request) -> str:
    """Return the scope of a client: clients with the same key share prompt prefixes."""
    key = _given_key(request)
    return hashlib.sha256(key.encode("utf-8", errors="replace")).hexdigest() if key else ""


def _given_key(request: web.Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return (given if scheme.lower() == "bearer" else request.headers.get("X-Api-Key", "")).strip()


def _check_host(request: web.Request, settings: ServerSettings) -> None:
    """Refuse host names that another site's DNS could point to this server; with a key this is not needed."""
    host = _host_of(request.headers.get("Host", ""))
    if settings.api_keys or host == settings.host.lower() or host == "localhost" or _is_address(host):
        return
    raise ApiError(403, "the Host header names another server", code="host_not_allowed")


def _check_origin(request: web.Request, settings: ServerSettings) -> None:
    """Refuse calls from pages of other sites: a browser sends some of them without a preflight request."""
    origin = request.headers.get("Origin")
    if origin is None or _allowed(origin, settings):
        return
    if urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower():
        raise ApiError(403, "pages of this origin may not call the server", code="origin_not_allowed")


def _host_of(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _allowed(origin: str, settings: ServerSettings) -> bool:
    return "*" in settings.cors_origins or origin in settings.cors_origins


def _allow_origin(request: web.Request, response: web.StreamResponse, settings: ServerSettings) -> None:
    if not response.prepared:
        response.headers.update(cors_headers(request, settings))


def cors_headers(request: web.Request, settings: ServerSettings) -> dict[str, str]:
    """Return the headers that allow pages of an allowed origin to read the response."""
    origin = request.headers.get("Origin")
    if origin is None or not _allowed(origin, settings):
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def _preflight(request: web.Request, settings: ServerSettings) -> web.Response:
    headers = cors_headers(request, settings)
    if headers:
        headers["Access-Control-Allow-Methods"] = "GET, POST"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Api-Key, X-Request-Timeout"
        headers["Access-Control-Max-Age"] = "600"
    return web.Response(status=204, headers=headers)


async def _shown_body(request: web.Request) -> str:
    """Return a body on one line, without the key that some clients put into it."""
    raw = request._read_bytes or b""
    text = raw[:_SHOWN].decode("utf-8", errors="replace")
    return _BODY_KEY.sub(r"\1...", text.encode("unicode_escape").decode("ascii"))


def _printable(path: str) -> str:
    return "".join(one if one.isprintable() and one != " " else "?" for one in path[:200])
