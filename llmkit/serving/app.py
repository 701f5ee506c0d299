"""The application: routes, guards, start and shutdown of the server."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from llmkit.errors import LLMKitError, OptionError, one_line
from llmkit.serving.guards import middlewares
from llmkit.serving.metrics import Metrics
from llmkit.serving.routes import (
    embeddings,
    libretranslate,
    messages,
    ollama,
    openai,
    openapi,
    page,
    responses,
    scores,
    server,
    tasks,
)
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.settings import ServerSettings
from llmkit.serving.state import STATE, ServerState

Opener = Callable[[], Any]
"""Function that opens a model: an `Engine`, or the `LoadedModel` of a model that does not write text."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def make_app(
    openers: Mapping[str, Opener], settings: ServerSettings, log: Callable[[str], None]
) -> web.Application:
    """Return the application, and begin to open its models.

    Args:
        openers: functions that open the models, by name; each is called in a separate thread.
        settings: see `ServerSettings`.
        log: receives a line for stderr.
    """
    metrics = Metrics()
    models = {
        name: ServedModel(name, opener, settings, metrics=metrics, log=log)
        for name, opener in openers.items()
    }
    state = ServerState(settings, models, metrics, log)
    app = web.Application(
        middlewares=middlewares(settings, metrics, log, state.let_go), client_max_size=settings.max_body
    )
    app[STATE] = state
    server.add_routes(app)
    openai.add_routes(app)
    tasks.add_routes(app)
    ollama.add_routes(app)
    messages.add_routes(app)
    responses.add_routes(app)
    embeddings.add_routes(app)
    scores.add_routes(app)
    libretranslate.add_routes(app)
    openapi.add_routes(app)
    if settings.page:
        page.add_routes(app)

    async def start(_: web.Application) -> None:
        for model in models.values():
            model.worker.start()

    async def stop(_: web.Application) -> None:
        for model in models.values():
            model.worker.stop("the server has shut down")
        for model in models.values():
            await asyncio.to_thread(model.worker.join, 5.0)

    app.on_startup.append(start)
    app.on_cleanup.append(stop)
    return app


def check_settings(settings: ServerSettings, *, no_api_key: bool) -> None:
    """Refuse to open a server to the network by accident.

    Raises:
        OptionError: other machines can reach the host, and there is no key.
    """
    if settings.host not in _LOOPBACK and not settings.api_keys and not no_api_key:
        raise OptionError(
            "host",
            f"is {settings.host}, which others can reach; set `api_key`, or no_api_key=True for open access",
        )


def serve(openers: Mapping[str, Opener], settings: ServerSettings, log: Callable[[str], None]) -> int:
    """Serve models until a signal arrives; then finish running requests within `shutdown_timeout`.

    Returns:
        The number of the signal.

    Raises:
        LLMKitError: the port is not available.
    """
    return asyncio.run(_serve(openers, settings, log))


async def _serve(openers: Mapping[str, Opener], settings: ServerSettings, log: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    received: asyncio.Future[int] = loop.create_future()
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if one == signal.SIGHUP and signal.getsignal(one) is signal.SIG_IGN:
            continue  # of `nohup`
        loop.add_signal_handler(one, _receive, received, int(one))
    app = make_app(openers, settings, log)
    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, shutdown_timeout=2.0, logger=_protocol_log(log)
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, ssl_context=tls_context(settings))
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise LLMKitError(f"cannot listen on {settings.host}:{settings.port}: {reason}") from error
        for host, port in [address[:2] for address in runner.addresses]:
            scheme = "http" if settings.tls_cert is None else "https"
            log(f"listening on {scheme}://{f'[{host}]' if ':' in host else host}:{port}")
        number = await received
        await _drain(app, settings, log)
    finally:
        await runner.cleanup()
    return number


class _LineHandler(logging.Handler):
    """Handler that writes aiohttp's records about malformed HTTP as one line each, without a traceback."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log(one_line(record.getMessage() if error is None else f"{record.getMessage()}: {error}"))


def _protocol_log(log: Callable[[str], None]) -> logging.Logger:
    logger = logging.Logger("llmkit.serving")
    logger.addHandler(_LineHandler(log))
    return logger


def tls_context(settings: ServerSettings) -> ssl.SSLContext | None:
    """Return the context for HTTPS; None without a certificate.

    Raises:
        OptionError: the files are not a certificate and its key.
    """
    if settings.tls_cert is None:
        return None
    for option in ("tls_cert", "tls_key"):
        path = getattr(settings, option)
        if path is not None and not Path(path).is_file():
            raise OptionError(option, f"{path}: no such file")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (OSError, ssl.SSLError, ValueError) as error:
        reason = one_line(error)
        raise OptionError("tls_cert", f"and `tls_key` are not a certificate and its key: {reason}") from error
    return context


def _receive(received: asyncio.Future[int], number: int) -> None:
    if not received.done():
        received.set_result(number)


async def _drain(app: web.Application, settings: ServerSettings, log: Callable[[str], None]) -> None:
    """Refuse new requests, and wait for running requests."""
    state = app[STATE]
    state.draining = True
    log(f"shutting down: waiting up to {settings.shutdown_timeout:g} s for running requests")
    end = time.monotonic() + settings.shutdown_timeout
    workers = [model.worker for model in state.models.values()]
    while time.monotonic() < end and not all(worker.idle for worker in workers):
        await asyncio.sleep(0.05)
    for worker in workers:
        worker.stop("the server is shutting down")
    await asyncio.sleep(0.1)  # so that the failures reach their clients
