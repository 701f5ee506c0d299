"""A server of llmkit in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def serving(folder: Path, *options: str | Path, key: str | None = None) -> Iterator[str]:
    """Run `llmkit serve` until the block ends; yield its address.

    Args:
        folder: for the server's messages.
        options: of the command line.
        key: that clients must send; None is none.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "llmkit", "serve", *map(str, options), "--port", str(port)]
    log = folder / "log"
    with log.open("w") as stream:
        variables = {**os.environ, "HF_HUB_OFFLINE": "1"} | ({} if key is None else {"LLMKIT_API_KEY": key})
        process = subprocess.Popen(command, stderr=stream, env=variables)
        try:
            _wait(address, process, log)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def post(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a request and return the answer."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def events(address: str, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Send a request for a stream and return its events."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps({**body, "stream": True}).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as reply:
        lines = [line.decode().strip().removeprefix("data: ") for line in reply]
    return [json.loads(line) for line in lines if line.startswith("{")]


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{address}/health").close()
            return
        except OSError:
            time.sleep(0.25)
    raise AssertionError("the server did not start")
