"""Flags of `llmkit serve`: address, access, limits, and models."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from llmkit.cli.common import options
from llmkit.cli.common.flags import flag
from llmkit.errors import InputError, OptionError
from llmkit.option_file import option_text

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec
    from llmkit.serving.settings import ServerSettings

KEY_VARIABLE = "LLMKIT_API_KEY"
_DEFAULT = "storyteller"


@dataclass
class ServerFlags:
    """The address, the access, and the limits."""

    GROUP = "Server"

    host: Annotated[str, flag("--host", metavar="NAME", help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, flag("--port", help="Port to listen on; 0 selects a free port.")] = 8000
    api_key: Annotated[
        Path | None,
        flag(
            "--api-key",
            metavar="FILE",
            help="File with the API keys, one per line.",
            default=f"the variable {KEY_VARIABLE}, or none",
        ),
    ] = None
    no_api_key: Annotated[
        bool, flag("--no-api-key", help="Accept requests from other machines without a key.")
    ] = False
    cors_origin: Annotated[
        list[str] | None,
        flag(
            "--cors-origin",
            metavar="ORIGIN",
            help="Site whose pages may call the API, such as https://example.org; may be repeated.",
            default="none",
        ),
    ] = None
    max_queue: Annotated[
        int,
        flag(
            "--max-queue", help="Maximum number of waiting requests per model; further ones get status 429."
        ),
    ] = 64
    max_body: Annotated[int, flag("--max-body", metavar="MIB", help="Size limit of a request's body.")] = 10
    prompt_cache: Annotated[
        int,
        flag(
            "--prompt-cache",
            metavar="MIB",
            help="Size of the prompt cache per model; 0 disables it.",
        ),
    ] = 512
    keep_alive: Annotated[
        float | None,
        flag(
            "--keep-alive",
            metavar="SECONDS",
            help="Load a model at its first request, and unload it after this time without a request.",
            default="load all models at the start and keep them",
        ),
    ] = None
    request_timeout: Annotated[
        float, flag("--request-timeout", metavar="SECONDS", help="Time limit of one request.")
    ] = 600.0
    shutdown_timeout: Annotated[
        float,
        flag(
            "--shutdown-timeout",
            metavar="SECONDS",
            help="Time limit for running requests after SIGTERM or Ctrl-C.",
        ),
    ] = 30.0
    tls_cert: Annotated[
        Path | None,
        flag("--tls-cert", metavar="FILE", help="Certificate for HTTPS, in PEM.", default="none"),
    ] = None
    tls_key: Annotated[
        Path | None,
        flag(
            "--tls-key",
            metavar="FILE",
            help="Key of the certificate, without a password.",
            default="the certificate's file",
        ),
    ] = None
    log_prompts: Annotated[bool, flag("--log-prompts", help="Write the bodies of requests into the log.")] = (
        False
    )
    no_page: Annotated[bool, flag("--no-page", help="Do not serve the chat page.")] = False

    def settings(self) -> ServerSettings:
        """Return the settings of the server.

        Raises:
            InputError: a value is out of range, or a key file cannot be used.
        """
        from llmkit.serving.settings import ServerSettings

        checks = [
            ("port", 0 <= self.port <= 65535, "must be from 0 to 65535"),
            ("max_queue", self.max_queue >= 0, "must be 0 or more"),
            ("max_body", 1 <= self.max_body <= 1024, "must be from 1 to 1024"),
            ("prompt_cache", 0 <= self.prompt_cache <= 2**20, "must be from 0 to 1048576"),
            ("keep_alive", self.keep_alive is None or self.keep_alive > 0, "must be above 0"),
            ("tls_key", self.tls_key is None or self.tls_cert is not None, "needs `tls_cert`"),
            ("request_timeout", self.request_timeout > 0, "must be above 0"),
            ("shutdown_timeout", self.shutdown_timeout >= 0, "must be 0 or more"),
        ]
        for option, holds, reason in checks:
            if not holds:
                raise OptionError(option, reason)
        return ServerSettings(
            host=self.host,
            port=self.port,
            api_keys=self._keys(),
            cors_origins=tuple(self.cors_origin or ()),
            max_body=self.max_body * 2**20,
            max_queue=self.max_queue,
            prompt_cache=self.prompt_cache * 2**20,
            keep_alive=self.keep_alive,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key or self.tls_cert,
            log_prompts=self.log_prompts,
            request_timeout=self.request_timeout,
            shutdown_timeout=self.shutdown_timeout,
            page=not self.no_page,
        )

    def _keys(self) -> tuple[str, ...]:
        if self.api_key is None:
            key = os.environ.get(KEY_VARIABLE, "").strip()
            return (key,) if key else ()
        lines = [line.strip() for line in option_text(self.api_key, "api_key").splitlines()]
        keys = tuple(line for line in lines if line)
        if not keys:
            raise InputError(f"{self.api_key}: the file contains no key")
        return keys


@dataclass
class ServedModelFlags:
    """The models and how they run."""

    GROUP = "Model"

    model: Annotated[
        list[str] | None,
        flag(
            "-m",
            "--model",
            metavar="NAME|PATH",
            help="Hub id, local folder, or embedded model; may be repeated.",
            default=_DEFAULT,
        ),
    ] = None
    adapter: Annotated[
        list[str] | None,
        flag(
            "--adapter",
            metavar="NAME=PATH",
            help="LoRA adapter on the first model, served as the model NAME; may be repeated.",
            default="none",
        ),
    ] = None
    draft: options.Draft = None
    device: Annotated[str, flag("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    dtype: Annotated[str, flag("--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.")] = (
        "auto"
    )
    trust_remote_code: Annotated[
        bool, flag("--trust-remote-code", help="Run Python code that comes with a model.")
    ] = False
    offline: options.Offline = False
    cache_dir: options.CacheDir = None

    def specs(self) -> dict[str, ModelSpec]:
        """Return the models by the names under which they are served; a folder is served by its own name.

        Raises:
            InputError: two models have one name, an adapter is not NAME=PATH, or there is a draft for several
                models.
        """
        names = self.model or [_DEFAULT]
        if self.draft is not None and len(names) > 1:
            raise OptionError("draft", "needs exactly one `model`, with the same vocabulary")
        found: dict[str, ModelSpec] = {}
        for name in names:
            shown = Path(name).resolve().name if Path(name).is_dir() else name
            self._add(found, "model", shown, name, None)
        for text in self.adapter or ():
            shown, equals, path = text.partition("=")
            if not (shown and equals and path):
                raise OptionError("adapter", f"must be NAME=PATH, not {text!r}")
            self._add(found, "adapter", shown, names[0], path)
        return found

    def _add(
        self, found: dict[str, ModelSpec], option: str, shown: str, name: str, adapter: str | None
    ) -> None:
        from llmkit.runtime.spec import ModelSpec

        if shown in found:
            raise OptionError(option, f"gives two models the name {shown}; each needs its own")
        found[shown] = ModelSpec(
            name=name,
            adapter=adapter,
            draft=self.draft,
            device=self.device,
            dtype=self.dtype,
            trust_remote_code=self.trust_remote_code,
            offline=self.offline,
            cache_dir=self.cache_dir,
            bundled=self.model is None,
        )
