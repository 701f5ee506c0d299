"""Tokens per second of servers at 1, 4 and 16 clients, on the same float32 weights, by turns.

`LLMKIT_SERVE_MODEL` names a folder with a chat model, `LLMKIT_LLAMA_SERVER` llama.cpp's `llama-server`,
`LLMKIT_SERVE_GGUF` the model's GGUF file for it, and `LLMKIT_TF_SERVE_PATH` a folder with fastapi and uvicorn
for `transformers serve`. A server that is missing is left out. `LLMKIT_SERVE_ROUNDS` and
`LLMKIT_SERVE_TOKENS` make it shorter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from typing import Any

import aiohttp

from tests.benchmarks.serving import ServerProcess, Streamed, running, stream_chat

CLIENTS = (1, 4, 16)
TOPICS = (
    "rivers",
    "mountains",
    "cooking",
    "trains",
    "painting",
    "history",
    "music",
    "gardens",
    "ships",
    "cities",
)


def servers() -> dict[str, tuple[list[str], str, dict[str, str], str]]:
    """Command, path of health, variables and model name of each server that is there."""
    folder = os.environ.get("LLMKIT_SERVE_MODEL", "storyteller")
    threads = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
    ours = [
        sys.executable,
        "-m",
        "llmkit",
        "serve",
        "-m",
        folder,
        "--dtype",
        "float32",
        "--offline",
        "--port",
        "{port}",
    ]
    found = {"llmkit": (ours, "/health", {}, "")}
    if llama := os.environ.get("LLMKIT_LLAMA_SERVER"):
        gguf = os.environ["LLMKIT_SERVE_GGUF"]
        slots = str(max(CLIENTS))
        size = str(512 * max(CLIENTS))
        theirs = [
            llama,
            "-m",
            gguf,
            "--port",
            "{port}",
            "-np",
            slots,
            "-c",
            size,
            "-t",
            threads,
            "-ctk",
            "f32",
            "-ctv",
            "f32",
        ]
        found["llama.cpp"] = (theirs, "/health", {}, "model")
    if path := os.environ.get("LLMKIT_TF_SERVE_PATH"):
        start = [
            sys.executable,
            "-c",
            "from transformers.cli.transformers import main; main()",
            "serve",
            folder,
        ]
        start += ["--port", "{port}", "--dtype", "float32", "--device", "cpu"]
        variables = {"PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), path)))}
        found["transformers serve"] = (start, "/health", variables, folder)
        blocks = ["--cb-num-blocks", "512", "--cb-block-size", "32", "--cb-max-batch-tokens", "512"]
        found["transformers serve, continuous batching"] = (
            [*start, "--continuous-batching", *blocks],
            "/health",
            variables,
            folder,
        )
    return found


def question(number: int, model: str, tokens: int) -> dict[str, Any]:
    """A request for a long answer, with a prompt of its own."""
    first, second = TOPICS[number % len(TOPICS)], TOPICS[(number * 5 + 3) % len(TOPICS)]
    text = f"Question {number}. Write a long article about {first} and {second}, with many examples."
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    return body | ({"model": model} if model else {})


async def measure(
    server: ServerProcess, model: str, clients: int, tokens: int, start: int
) -> tuple[float, float]:
    """Return tokens per second of all clients together, and the median seconds to a first token."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        begun = time.perf_counter()
        asked = [stream_chat(session, server.url, question(start + i, model, tokens)) for i in range(clients)]
        answers: list[Streamed] = await asyncio.gather(*asked)
        seconds = time.perf_counter() - begun
    return sum(one.tokens for one in answers) / seconds, statistics.median(one.first for one in answers)


def main() -> None:
    """Print the table."""
    rounds, tokens = (
        int(os.environ.get("LLMKIT_SERVE_ROUNDS", "2")),
        int(os.environ.get("LLMKIT_SERVE_TOKENS", "32")),
    )
    results: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with contextlib.ExitStack() as stack:
        started = {}
        for name, (command, health, variables, model) in servers().items():
            server = stack.enter_context(running(command, health, variables))
            asyncio.run(measure(server, model, 1, 4, 1000))  # it warms up
            started[name] = server, model
        for number in range(rounds):
            for clients in CLIENTS:
                for name, (server, model) in started.items():
                    found = asyncio.run(measure(server, model, clients, tokens, 100 * number + clients))
                    results.setdefault((name, clients), []).append(found)
                    print(f"{name}, {clients}: {found[0]:.1f} tokens/s", file=sys.stderr)
        _print(list(started), results, tokens, rounds)


def _print(
    names: list[str], results: dict[tuple[str, int], list[tuple[float, float]]], tokens: int, rounds: int
) -> None:
    print(
        f"\nTokens/s (seconds to the first token); {tokens} tokens an answer, float32, median of {rounds}\n"
    )
    print(f"| server | {' | '.join(f'{one} clients' for one in CLIENTS)} |")
    print("|---|" + "---:|" * len(CLIENTS))
    for name in names:
        cells = []
        for clients in CLIENTS:
            found = results[name, clients]
            speed, first = (statistics.median(one[i] for one in found) for i in (0, 1))
            cells.append(f"{speed:.1f} ({first:.2f})")
        print(f"| {name} | {' | '.join(cells)} |")
