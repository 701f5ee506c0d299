"""Settings of the server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerSettings:
    """Settings of the server.

    Attributes:
        host, port: address to listen on; port 0 chooses a free port.
        api_keys: valid keys of the API; without keys, everyone who reaches the port has access.
        cors_origins: origins whose pages may call the API from a browser; ``*`` is all.
        max_body: maximum bytes of a request's body.
        max_queue: maximum number of waiting answers of one model.
        prompt_cache: bytes per model for prefixes of earlier prompts.
        request_timeout: maximum seconds for one request.
        shutdown_timeout: maximum seconds for running requests after SIGTERM.
        keep_alive: seconds after which an unused model is unloaded; models are then loaded at their first
            request. None loads all at the start and keeps them.
        tls_cert, tls_key: files of a certificate and its key, for HTTPS.
        log_prompts: write the bodies of requests into the log.
        silence: seconds without a token after which a stream receives a comment that keeps it open.
        page: serve the chat page.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    max_body: int = 10 * 2**20
    max_queue: int = 64
    prompt_cache: int = 512 * 2**20
    request_timeout: float = 600.0
    shutdown_timeout: float = 30.0
    keep_alive: float | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    log_prompts: bool = False
    silence: float = 15.0
    page: bool = True
