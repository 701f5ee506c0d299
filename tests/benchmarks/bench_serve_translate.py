"""Translations per second of `llmkit serve` at 1, 4 and 16 clients, and the server's processor time for one.

The model is the embedded translator, or `LLMKIT_SERVE_TRANSLATOR`. Each client sends one sentence at a time,
for `LLMKIT_SERVE_SECONDS` seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import aiohttp

from tests.benchmarks.serving import ServerProcess, running

CLIENTS = (1, 4, 16)
PLACES = ("garden", "kitchen", "harbor", "school", "forest", "village", "station")
ANIMALS = ("dog", "cat", "horse", "bird", "fox", "cow", "mouse", "bear")


async def measure(server: ServerProcess, clients: int, seconds: float) -> tuple[float, float]:
    """Return translations per second of all clients together, and milliseconds of processor time for one."""
    done, end = 0, time.perf_counter() + seconds
    timeout = aiohttp.ClientTimeout(total=None)

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            animal, place = ANIMALS[number % len(ANIMALS)], PLACES[number % len(PLACES)]
            body = {
                "input": f"The old {animal} is sleeping in the {place}.",
                "source": "en",
                "target": "de",
            }
            async with session.post(f"{server.url}/v1/translations", json=body) as response:
                assert response.status == 200, await response.text()
            done, number = done + 1, number + clients

    before, begun = sum(server.process.cpu_times()[:2]), time.perf_counter()
    async with aiohttp.ClientSession(timeout=timeout) as session:
        await asyncio.gather(*(ask(session, i) for i in range(clients)))
    used = sum(server.process.cpu_times()[:2]) - before
    return done / (time.perf_counter() - begun), 1000 * used / done


def main() -> None:
    """Print the table."""
    model = os.environ.get("LLMKIT_SERVE_TRANSLATOR", "translator")
    seconds = float(os.environ.get("LLMKIT_SERVE_SECONDS", "10"))
    command = [sys.executable, "-m", "llmkit", "serve", "-m", model, "--offline", "--port", "{port}"]
    with running(command, "/health") as server:
        asyncio.run(measure(server, 1, 1.0))  # it warms up
        print("\n| clients | translations/s | processor time of one |\n|---:|---:|---:|")
        for clients in CLIENTS:
            speed, each = asyncio.run(measure(server, clients, seconds))
            print(f"| {clients} | {speed:.1f} | {each:.1f} ms |", flush=True)
