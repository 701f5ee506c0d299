"""A connection to a server with OpenAI's HTTP API: many requests at once, with retries.

Public: `Endpoint`, `checked_url`, `KEY_VARIABLE`.
"""

from __future__ import annotations

import asyncio
import atexit
import email.utils
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from llmkit.errors import InputError, LLMKitError, OptionError, RequestRefused, one_line

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

T = TypeVar("T")
KEY_VARIABLE = "LLMKIT_API_KEY"
_TRIES = 6
_LONGEST_WAIT = 60.0  # maximum seconds between two attempts; if a server asks for more, the run ends
_LONGEST_ANSWER = 64 << 20  # bytes
_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}


def checked_url(url: str) -> str:
    """Return the base URL of an endpoint, with `/v1` if it has no path.

    Raises:
        OptionError: it is not an http or https URL, or it contains a password or a query.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OptionError("engine", f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError("engine", f"{url!r} is not known; give a URL such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        raise OptionError("engine", f"contains a password; put the key into the variable {KEY_VARIABLE}")
    if parts.query or parts.fragment:
        raise OptionError("engine", "must be the base URL, without a query")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}"


class Endpoint:
    """Sends requests from a separate thread, `concurrency` at a time.

    Statuses 408, 409, 425, 429 and 5xx, broken connections and answers that are not JSON are retried up to
    five times, after the time in `Retry-After`, or after a time that doubles, with jitter.

    Args:
        url: base URL, from `checked_url`.
        key: API key, sent as a bearer token; None sends none.
        concurrency: requests at once.
        timeout: maximum number of seconds for one attempt.

    Attributes:
        url: as given.
    """

    def __init__(self, url: str, *, key: str | None, concurrency: int, timeout: float) -> None:
        if concurrency < 1:
            raise OptionError("concurrency", "must be 1 or more")
        self.url = url
        self._key = key
        self._concurrency = concurrency
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: ClientSession | None = None
        self._slots: asyncio.Semaphore | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the endpoint's thread and wait; an exception such as Ctrl-C cancels it."""
        future = self._submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, Any]) -> Callable[[], Any]:
        """Start a coroutine in the endpoint's thread; return a function that cancels it if it still runs."""
        return self._submit(work).cancel

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="llmkit-endpoint", daemon=True).start()
            atexit.register(self._close)
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _close(self) -> None:
        """Close the connections at the end of the process; otherwise aiohttp prints a warning."""
        if self._session is not None and self._loop is not None:
            with suppress(Exception):
                asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result(1)

    async def get(self, path: str) -> Any:
        """Return the JSON response of a GET, with up to two attempts; raises as `post`."""
        return await self._tried("GET", path, None, tries=2)

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send JSON and return the JSON of the answer.

        Raises:
            RequestRefused: the server cannot answer this request (4xx), or all attempts failed (5xx).
            InputError: the key is refused, or there is no such route.
            LLMKitError: the server cannot be reached, or is too busy.
        """
        return await self._tried("POST", path, body, tries=_TRIES)

    async def events(self, path: str, body: dict[str, Any]) -> AsyncIterator[Any]:
        """Send JSON and yield the JSON of each server-sent event, up to ``[DONE]``.

        An attempt that has yielded nothing is repeated. Raises as `post`, and LLMKitError for a stream that
        ends too early.
        """
        begun = False
        for attempt in range(_TRIES):
            try:
                async with self._slot(), self._answer("POST", path, body) as response:
                    async for event in _server_sent(response):
                        begun = True
                        yield event
                return
            except _TryAgainError as error:
                if begun or attempt == _TRIES - 1:
                    raise error.final(self.url, _TRIES, begun=begun) from None
                await self._wait(error, attempt)

    async def _tried(self, method: str, path: str, body: dict[str, Any] | None, *, tries: int) -> Any:
        for attempt in range(tries):
            try:
                async with self._slot(), self._answer(method, path, body) as response:
                    return _parsed(await _whole(response))
            except _TryAgainError as error:
                if attempt == tries - 1:
                    raise error.final(self.url, tries) from None
                await self._wait(error, attempt)
        raise AssertionError

    async def _wait(self, error: _TryAgainError, attempt: int) -> None:
        pause = error.retry_after
        if pause is None:
            pause = min(_LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.5, 1)
        elif pause > _LONGEST_WAIT:
            raise LLMKitError(f"{self.url} is busy and asks to wait {pause:.0f} seconds; try again then")
        await asyncio.sleep(pause)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        if self._slots is None:
            self._slots = asyncio.Semaphore(self._concurrency)
        async with self._slots:
            yield

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, body: dict[str, Any] | None
    ) -> AsyncIterator[ClientResponse]:
        """Yield a good response; turn all failures into llmkit's errors."""
        import aiohttp

        if self._session is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            loopback = urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1")
            self._session = aiohttp.ClientSession(
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=self._timeout, connect=min(30, self._timeout)),
                connector=aiohttp.TCPConnector(limit=0),
                trust_env=not loopback,  # a proxy in the environment cannot reach this machine
            )
        try:
            # A redirect would send the key to another host.
            async with self._session.request(
                method, self.url + path, json=body, allow_redirects=False
            ) as response:
                if response.status != 200:
                    raise _failure(self.url, response, await _whole(response))
                yield response
        except TimeoutError:
            raise _TryAgainError(f"sent no response within {self._timeout:g} seconds") from None
        except aiohttp.ClientConnectorError as error:
            raise _TryAgainError(f"cannot be reached ({one_line(error.os_error)})", reached=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _TryAgainError(f"was interrupted ({one_line(error) or type(error).__name__})") from None


class _TryAgainError(Exception):
    """An attempt failed, but another one may succeed.

    Attributes:
        reason: predicate of a sentence whose subject is the server.
        retry_after: seconds that the server asks to wait; None if it names none.
        status: the HTTP status; None without an answer.
        reached: False if no connection was made.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after: float | None = None,
        status: int | None = None,
        reached: bool = True,
    ) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.status, self.reached = reason, retry_after, status, reached

    def final(self, url: str, tries: int, *, begun: bool = False) -> LLMKitError:
        """Return the error after the last attempt."""
        message = f"{url} {self.reason}" + ("" if begun else f", {tries} times")
        if not self.reached:
            return InputError(f"{message}; is the server running?")
        # A single request may cause the failure, so others can continue; a busy server accepts none.
        return LLMKitError(message) if self.status == 429 or begun else RequestRefused(message)


def _failure(url: str, response: ClientResponse, content: bytes) -> Exception:
    status, reason = response.status, _reason(content)
    said = f"answered {status}{': ' if reason else ''}{reason}"
    if status in _AGAIN:
        return _TryAgainError(said, retry_after=_retry_after(response), status=status)
    if status in (401, 403):
        return InputError(f"{url} rejects the key ({status}); put the right one into {KEY_VARIABLE}")
    if status == 404 or 300 <= status < 400:
        return InputError(f"{url} {said}; check the URL and the model's name")
    return RequestRefused(f"{url} {said}")


def _retry_after(response: ClientResponse) -> float | None:
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _reason(content: bytes) -> str:
    """Return the message in an error's body (OpenAI's form and others), at most 300 characters."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = content.decode(errors="replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
    return one_line(found if isinstance(found, str) else json.dumps(found))[:300]


async def _whole(response: ClientResponse) -> bytes:
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > _LONGEST_ANSWER:
            raise RequestRefused(f"the answer is longer than {_LONGEST_ANSWER >> 20} MB")
    return bytes(content)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _TryAgainError("sent a response that is not JSON") from None


async def _server_sent(response: ClientResponse) -> AsyncIterator[Any]:
    """Yield the JSON of each ``data:`` line; a stream without ``[DONE]`` is incomplete."""
    held, size = b"", 0
    async for piece in response.content.iter_any():
        *lines, held = (held + piece).split(b"\n")
        size += len(piece)
        if size > _LONGEST_ANSWER:
            raise RequestRefused(f"the answer is longer than {_LONGEST_ANSWER >> 20} MB")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            event = _parsed(data)
            if isinstance(event, dict) and "error" in event:
                raise RequestRefused(f"the server ended the answer: {_reason(data)}")
            yield event
    raise _TryAgainError("ended the stream before it was complete")
