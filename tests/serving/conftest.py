"""A server in this process, with the embedded models and a loop of its own for each test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from llmkit import ModelSpec
from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from llmkit.serving.app import make_app
from llmkit.serving.settings import ServerSettings
from llmkit.serving.state import STATE, ServerState


class Client:
    """A client that waits, so that tests read from top to bottom."""

    def __init__(self, runner: asyncio.Runner, client: TestClient[Any, Any], log: list[str]) -> None:
        self.runner, self.client, self.log = runner, client, log

    @property
    def state(self) -> ServerState:
        return self.client.app[STATE]

    def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return self._ask("GET", path, **more)[:2]

    def post(self, path: str, body: Any, **more: Any) -> tuple[int, Any]:
        return self._ask(
            "POST", path, **({"data": body} if isinstance(body, bytes) else {"json": body}), **more
        )[:2]

    def full(self, method: str, path: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
        return self._ask(method, path, **more)

    def events(self, path: str, body: Any) -> list[Any]:
        """The data of a stream's events, and its comments as they are."""
        status, text = self.post(path, {**body, "stream": True})
        assert status == 200, text
        found: list[Any] = []
        for part in text.split("\n\n")[:-1]:
            if part.startswith(":"):
                found.append(part)
            else:
                data = part.removeprefix("data: ")
                found.append(data if data == "[DONE]" else json.loads(data))
        return found

    def together(self, path: str, bodies: list[Any]) -> list[tuple[int, Any]]:
        """Ask for all of the bodies at once."""

        async def all_of_them() -> Any:
            return await asyncio.gather(*(self._one("POST", path, json=body) for body in bodies))

        return [found[:2] for found in self.runner.run(all_of_them())]

    def until(self, holds: Callable[[], bool]) -> None:
        """Let the server run until something holds."""

        async def wait() -> None:
            for _ in range(3000):  # a minute, on a machine that is busy
                if holds():
                    return
                await asyncio.sleep(0.02)
            raise AssertionError("it did not happen")

        self.runner.run(wait())

    def _ask(self, method: str, path: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
        return self.runner.run(self._one(method, path, **more))

    async def _one(self, method: str, path: str, **more: Any) -> tuple[int, Any, dict[str, str]]:
        async with self.client.request(method, path, **more) as response:
            text = await response.text()
            body = json.loads(text) if response.content_type == "application/json" else text
            return response.status, body, dict(response.headers)


@pytest.fixture(scope="session")
def engines() -> dict[str, Engine]:
    names = ("stories", "storyteller")
    return {name: open_engine(ModelSpec(name, device="cpu", dtype="float32", bundled=True)) for name in names}


@contextmanager
def serving(engines: dict[str, Engine], **settings: Any) -> Iterator[Client]:
    """Run a server until the block ends."""
    log: list[str] = []
    openers: dict[str, Any] = {name: (lambda engine=engine: engine) for name, engine in engines.items()}
    with asyncio.Runner() as runner:
        app: web.Application = make_app(openers, ServerSettings(**settings), log.append)
        server = TestServer(app)

        async def start() -> TestClient[Any, Any]:
            client = TestClient(server)
            await client.start_server()
            return client

        client = Client(runner, runner.run(start()), log)
        if "keep_alive" not in settings:
            client.until(lambda: all(one.worker.loaded.is_set() for one in client.state.models.values()))
        yield client
        runner.run(client.client.close())


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models answer one request after another, as those do that do not run in native steps."""
    from llmkit.engines.transformers.engine import TransformersEngine

    monkeypatch.setattr(TransformersEngine, "live_batch", lambda self, prompt_cache=0: None)


@pytest.fixture
def serve(engines: dict[str, Engine]) -> Callable[..., Any]:
    """Start a server with the embedded models: ``with serve(max_queue=1) as client``."""
    return lambda **settings: serving(engines, **settings)


@pytest.fixture(scope="module")
def client(engines: dict[str, Engine]) -> Iterator[Client]:
    with serving(engines) as found:
        yield found
