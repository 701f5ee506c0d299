"""The engine for vLLM: start its server in another Python, use it as an endpoint, and end it."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import time
import urllib.error
import urllib.request
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.engines.http.engine import HttpEngine
from llmkit.engines.worker.process import WorkerProcess, check_module
from llmkit.errors import InputError, LLMKitError

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec

ARGUMENTS_VARIABLE = "LLMKIT_VLLM_ARGS"
"""Environment variable with more arguments for `vllm serve`."""
_INSTALL = "install vLLM into a separate environment, and give its Python with `engine_python`"
_SECONDS = 900.0  # to load a model; a large one from a slow disk takes minutes


class VLLMEngine(HttpEngine):
    """A model in a vLLM server of this process; see `HttpEngine`.

    Args:
        url: base URL of the server.
        model: the model's name on the server.
        key: key of the server.
        concurrency: requests at once.
        process: the program that runs the server.
        about: identity of the model, as JSON.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str,
        concurrency: int,
        process: WorkerProcess,
        about: dict[str, Any],
    ) -> None:
        super().__init__(url, model, key=key, concurrency=concurrency)
        self._process, self._about = process, about
        self.notes = (*self.notes, f"vLLM {about['vllm']} runs in {about['python']}, and ends with this run")

    def identity(self) -> dict[str, Any]:
        """Return the engine, the model, and vLLM's version, without the port, which changes."""
        return {key: value for key, value in self._about.items() if key != "python"}

    def close(self) -> None:
        """End the server."""
        self._process.close()


def open_vllm(spec: ModelSpec, *, seconds: float = _SECONDS) -> VLLMEngine:
    """Start vLLM's server on a free port of this machine, wait until it is ready, and connect.

    Args:
        spec: the model; `engine_python` is the Python that has vLLM.
        seconds: longest time to wait.

    Raises:
        OptionError: `engine_python` is missing or has no vLLM.
        InputError: there is no such model, or it is a GGUF file.
        LLMKitError: the server ends, or is not ready in time; the message has its last line.
    """
    from llmkit.runtime.loaded_model import fingerprints
    from llmkit.runtime.locate import locate

    python = check_module(spec.engine_python, "vllm", _INSTALL)
    location = locate(spec.name, spec)
    if location.is_gguf:
        raise InputError(f"{spec.name} is a GGUF file, which vllm does not run well; use llamacpp")
    port, key = _free_port(), secrets.token_hex(16)
    job = _job(spec, location.folder, port, key)
    process = WorkerProcess(python, "vllm_server.py", job, "vLLM")
    try:
        process.receive()
        version = _wait(process, f"http://127.0.0.1:{port}", key, seconds)
        about = {
            "engine": "vllm",
            "vllm": version,
            "python": python,
            "model": spec.name,
            "revision": location.revision,
            "weights": fingerprints(location.folder) if location.revision == "local" else None,
            "dtype": spec.dtype,
            "arguments": os.environ.get(ARGUMENTS_VARIABLE, ""),
        }
        engine = VLLMEngine(
            f"http://127.0.0.1:{port}/v1",
            spec.name,
            key=key,
            concurrency=spec.concurrency,
            process=process,
            about=about,
        )
    except BaseException:
        process.close()
        raise
    weakref.finalize(engine, process.close)
    return engine


def _job(spec: ModelSpec, folder: Path, port: int, key: str) -> dict[str, Any]:
    """Return the settings of the server, and its environment."""
    settings: dict[str, Any] = {
        "model": str(folder.resolve()),
        "served_model_name": spec.name,
        "host": "127.0.0.1",
        "port": port,
        "dtype": spec.dtype,
    }
    if spec.trust_remote_code:
        settings["trust_remote_code"] = None
    return {
        "settings": settings,
        "more": shlex.split(os.environ.get(ARGUMENTS_VARIABLE, "")),
        # Pass the key by the environment, because other users can see a process's arguments.
        "environment": {"VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"},
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait(process: WorkerProcess, base: str, key: str, seconds: float) -> str:
    """Wait until the server answers; return vLLM's version.

    Raises:
        LLMKitError: it ends, or is not ready in time.
    """
    # A proxy in the environment cannot reach this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.has_ended():
            raise LLMKitError(f"vLLM's server ended at its start: {process.last_line()}")
        try:
            with opener.open(f"{base}/health", timeout=5):
                pass
            return _version(opener, base, key)
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
    raise LLMKitError(f"vLLM's server was not ready after {seconds:.0f} seconds: {process.last_line()}")


def _version(opener: urllib.request.OpenerDirector, base: str, key: str) -> str:
    import json

    asked = urllib.request.Request(f"{base}/version", headers={"Authorization": f"Bearer {key}"})
    try:
        with opener.open(asked, timeout=5) as found:
            return str(json.loads(found.read(1 << 16)).get("version", "unknown"))
    except (OSError, ValueError, AttributeError):
        return "unknown"
