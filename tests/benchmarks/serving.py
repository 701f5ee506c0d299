"""A server process to measure, and clients that ask it; used by the benchmarks of `llmkit serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import psutil


@dataclass
class ServerProcess:
    """A server that runs.

    Attributes:
        url: its address.
        process: its main process.
        log: file with its output.
    """

    url: str
    process: psutil.Process
    log: Path

    def memory(self) -> float:
        """MiB that the server and its children hold."""
        found = 0
        for one in [self.process, *self.process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += one.memory_info().rss
        return found / 2**20


@contextlib.contextmanager
def running(
    command: Sequence[str], health: str, variables: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Run a server until the block ends; ``{port}`` in the command becomes a free port.

    Args:
        command: program and arguments.
        health: path that answers 200 once the server is ready.
        variables: environment variables in addition to this process's.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    with TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [one.replace("{port}", port) for one in command],
                stdout=stream,
                stderr=stream,
                env={**os.environ, **(variables or {})},
            )
        url = f"http://127.0.0.1:{port}"
        try:
            asyncio.run(_wait(url + health, process, log))
            yield ServerProcess(url, psutil.Process(process.pid), log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    async with aiohttp.ClientSession() as session:
        end = time.monotonic() + 300
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(log.read_text(errors="replace")[-2000:])
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(address) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.2)
    raise RuntimeError(f"{address} does not answer")


@dataclass
class Streamed:
    """One streamed answer.

    Attributes:
        first: seconds to its first piece of text.
        seconds: seconds to its end.
        tokens: tokens by the server's count, or pieces where it gives none.
        text: the text.
        finish: reason of its end; None if none came.
    """

    first: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    text: str = ""
    finish: str | None = None
    pieces: int = field(default=0, repr=False)


async def stream_chat(session: aiohttp.ClientSession, url: str, body: Mapping[str, Any]) -> Streamed:
    """Ask for a streamed chat completion and read it to its end.

    Raises:
        RuntimeError: the server answered with an error.
    """
    found, begun = Streamed(), time.perf_counter()
    asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
    async with session.post(f"{url}/v1/chat/completions", json=asked) as response:
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {(await response.text())[:300]}")
        async for line in response.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise RuntimeError(str(event["error"]))
            if event.get("usage"):
                found.tokens = event["usage"]["completion_tokens"]
            for choice in event.get("choices", ()):
                text = choice["delta"].get("content")
                if text:
                    found.first = found.first or time.perf_counter() - begun
                    found.text += text
                    found.pieces += 1
                found.finish = choice.get("finish_reason") or found.finish
    found.seconds = time.perf_counter() - begun
    found.tokens = found.tokens or found.pieces
    return found
