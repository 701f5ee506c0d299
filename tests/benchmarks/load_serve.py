"""Load on `llmkit serve`: many clients at once, some of which leave early or send rubbish.

``python -m tests.benchmarks.load_serve [SECONDS] [CLIENTS]`` serves the embedded model and prints a table.
It ends with status 1 if an answer was wrong, if memory grew, or if the queue held more than it may.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import statistics
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from llmkit.engines.transformers.step_decoder import MAX_ROWS
from tests.benchmarks.serving import ServerProcess, running

QUEUE = 64
LEAVING, RUBBISH = 1 / 3, 1 / 10
WORDS = ("dog", "cat", "boat", "tree", "king", "storm", "garden", "letter", "friend", "river")
GROWTH = 0.05  # of the memory in the first third, after which the last third counts as more
# Body, and the status that it must get.
BAD: list[tuple[str, bytes, int]] = [
    ("/v1/chat/completions", b"{", 400),
    ("/v1/chat/completions", b"[" * 100_000, 400),
    ("/v1/chat/completions", b'{"messages": []}', 400),
    ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "a"}], "temperature": -1}', 400),
    ("/v1/chat/completions", b'{"messages": [{"role": "user", "content": "a"}], "nothing": 1}', 400),
    ("/v1/chat/completions", b'{"model": "none", "messages": [{"role": "user", "content": "a"}]}', 404),
    ("/v1/completions", b'{"prompt": [99999999]}', 400),
    ("/v1/completions", json.dumps({"prompt": "word " * 5000}).encode(), 400),
    ("/v1/completions", b"\xff\xfe\x00", 400),
    ("/v1/nothing", b"{}", 404),
]


class Load:
    """Clients of one server, and what happened to them.

    Args:
        server: the server.
        seconds: time after which no new request is sent.
    """

    def __init__(self, server: ServerProcess, seconds: float) -> None:
        self.server = server
        self.end = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.first: list[float] = []
        self.tokens = 0
        self.memory: list[float] = []
        self.waiting: list[float] = []
        self.running: list[float] = []

    async def client(self, session: aiohttp.ClientSession, number: int) -> None:
        """Ask again and again until the time is over."""
        chance = random.Random(number)
        while time.monotonic() < self.end:
            try:
                kind = chance.random()
                if kind < RUBBISH:
                    await self._rubbish(session, chance)
                else:
                    await self._ask(session, chance, leaves=kind < RUBBISH + LEAVING)
            except Exception as error:  # a fault of the server's, whatever it is
                self.faults.append(f"{type(error).__name__}: {error}")

    async def _rubbish(self, session: aiohttp.ClientSession, chance: random.Random) -> None:
        path, body, wanted = chance.choice(BAD)
        async with session.post(self.server.url + path, data=body) as response:
            answer = await response.json()
            self.counts["rubbish"] += 1
            if response.status != wanted or "message" not in answer["error"]:
                self.faults.append(f"{path} {body[:60]!r}: {response.status}, not {wanted}")

    async def _ask(self, session: aiohttp.ClientSession, chance: random.Random, *, leaves: bool) -> None:
        limit = chance.randint(8, 120)
        body: dict[str, Any] = {
            "messages": [
                {
                    "role": "user",
                    "content": f"Write a story about a {' and a '.join(chance.sample(WORDS, 3))}.",
                }
            ],
            "max_tokens": limit,
            "stream": chance.random() < 0.7,
            "temperature": chance.choice((0, 0.8)),
            "seed": chance.randint(0, 1000),
        }
        begun = time.perf_counter()
        patience = chance.uniform(0, 2)
        try:
            async with asyncio.timeout(patience if leaves else None):
                async with session.post(f"{self.server.url}/v1/chat/completions", json=body) as response:
                    if response.status == 429:
                        self.counts["refused with 429"] += 1
                        await response.read()
                        after = float(response.headers["Retry-After"])
                    elif body["stream"]:
                        self._check(await self._stream(response, begun), limit)
                        return
                    else:
                        answer = await response.json()
                        (choice,) = answer["choices"]
                        usage = answer["usage"]["completion_tokens"]
                        self._check(
                            (response.status, choice["message"]["content"], choice["finish_reason"], usage),
                            limit,
                        )
                        return
        except TimeoutError:
            self.counts["left early"] += 1
            return
        await asyncio.sleep(after * chance.uniform(1, 2))

    async def _stream(
        self, response: aiohttp.ClientResponse, begun: float
    ) -> tuple[int, str, str | None, int]:
        text, finish, done, tokens = "", None, False, 0
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            if line == b"data: [DONE]\n":
                done = True
                continue
            (choice,) = json.loads(line[6:])["choices"]
            piece = choice["delta"].get("content")
            if piece:
                tokens += 1
                if not text:
                    self.first.append(time.perf_counter() - begun)
                text += piece
            finish = choice["finish_reason"] or finish
        return response.status, text, finish if done else "no [DONE]", tokens

    def _check(self, answer: tuple[int, str, str | None, int], limit: int) -> None:
        status, text, finish, tokens = answer
        if (
            status != 200
            or finish not in ("stop", "length")
            or not text
            or tokens > limit
            or "\ufffd" in text
        ):
            self.faults.append(f"answered {status}, {finish}, {tokens} of {limit} tokens: {text[:60]!r}")
        self.counts["answered"] += 1
        self.tokens += tokens

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Note memory and queue each second."""
        while time.monotonic() < self.end:
            self.memory.append(self.server.memory())
            running, waiting = await self._gauges(session)
            self.running.append(running)
            self.waiting.append(waiting)
            await asyncio.sleep(1)

    async def _gauges(self, session: aiohttp.ClientSession) -> tuple[float, float]:
        async with session.get(f"{self.server.url}/metrics") as response:
            text = await response.text()
        names = ("llmkit_requests_running", "llmkit_requests_waiting")
        return tuple(sum(map(float, re.findall(rf"^{name}{{.*}} (\S+)$", text, re.M))) for name in names)  # type: ignore[return-value]

    async def run(self, clients: int) -> None:
        """Let the clients run, then look if the server is idle and answers."""
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=120)
        ) as session:
            await asyncio.gather(self.watch(session), *(self.client(session, i) for i in range(clients)))
            for _ in range(100):
                if await self._gauges(session) == (0, 0):
                    break
                await asyncio.sleep(0.1)
            else:
                self.faults.append("requests still run or wait after all clients left")
            self.memory.append(self.server.memory())

    def growth(self) -> float:
        """Growth of the memory from the first third, without the start, to the last third."""
        third = len(self.memory) // 3
        first = statistics.median(self.memory[third // 2 : third] or self.memory)
        return statistics.median(self.memory[-third:] or self.memory) / first - 1


def main(seconds: float = 300.0, clients: int = 200) -> int:
    """Print the table; return 1 if something was wrong."""
    command = [
        sys.executable,
        "-m",
        "llmkit",
        "serve",
        "-m",
        "storyteller",
        "--offline",
        "--max-queue",
        str(QUEUE),
    ]
    with running([*command, "--port", "{port}"], "/health") as server:
        load = Load(server, seconds)
        begun = time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(load.run(clients))
        taken = time.monotonic() - begun
        errors = [
            line
            for line in server.log.read_text(errors="replace").splitlines()
            if "rror" in line or " 500 " in line
        ]
    load.faults += errors
    # A request that is let in while a row is free waits too, until the next step.
    most = max(map(sum, zip(load.running, load.waiting, strict=True)))
    if most > QUEUE + MAX_ROWS:
        load.faults.append(f"{most:g} requests ran or waited, more than {QUEUE + MAX_ROWS}")
    if load.growth() > GROWTH:
        load.faults.append(f"memory grew by {load.growth():.1%}")
    first = sorted(load.first) or [0.0]
    rows = [
        ("clients, seconds", f"{clients}, {taken:.0f}"),
        *((name, f"{count:,}") for name, count in sorted(load.counts.items())),
        ("tokens a second that reached a client", f"{load.tokens / taken:,.0f}"),
        (
            "first text after, median and 95 %",
            f"{statistics.median(first):.2f} s, {first[len(first) * 95 // 100]:.2f} s",
        ),
        ("most running, waiting, both", f"{max(load.running):g}, {max(load.waiting):g}, {most:g}"),
        ("limit of both", str(QUEUE + MAX_ROWS)),
        ("memory, first and last third", f"{statistics.median(load.memory):,.0f} MiB, {load.growth():+.1%}"),
        ("faults", str(len(load.faults))),
    ]
    print("\n".join(f"| {name} | {value} |" for name, value in [("load", "value"), ("---", "---:"), *rows]))
    for fault, count in Counter(load.faults).most_common(20):
        print(f"{count} x {fault}", file=sys.stderr)
    return int(bool(load.faults))


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
