"""Clients that are killed in each phase of a request, and work that fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmkit.engines.base import Engine
from llmkit.engines.transformers.step_batch import StepBatch
from llmkit.engines.transformers.step_decoder import StepDecoder
from llmkit.serving.scheduling.jobs import AnswerJob
from llmkit.serving.settings import ServerSettings
from tests.serving.conftest import Client, serving

TEXT = {
    "model": "stories",
    "prompt": "Once upon a time",
    "temperature": 1,
    "max_tokens": 480,
    "logit_bias": {"0": -100},
}
LONG_PROMPT = "One day a dog saw a cat. " * 50
# Sends a request and never reads more than the head of the answer.
CLIENT = """
import socket, sys
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
body = sys.argv[3].encode()
head = f"POST {sys.argv[2]} HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\n"
connection.sendall((head + f"Content-Length: {len(body)}\\r\\n\\r\\n").encode() + body)
connection.recv(64)
import time
time.sleep(600)
"""


def killed(client: Client, path: str, body: Any, reached: Callable[[], bool]) -> None:
    """Send a request from a process of its own, and kill that once a phase is reached."""
    port = str(client.client.port)
    process = subprocess.Popen([sys.executable, "-S", "-c", CLIENT, port, path, json.dumps(body)])
    try:
        client.until(reached)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The times of the steps, which are slowed down so that a client can be killed between two."""
    step, times = StepBatch.step, []

    def slowly(self: StepBatch) -> Any:
        time.sleep(0.02)
        times.append(time.monotonic())
        return step(self)

    monkeypatch.setattr(StepBatch, "step", slowly)
    return times


@pytest.mark.parametrize("phase", ["prompt", "whole", "stream"])
def test_a_killed_client_frees_its_row(
    serve: Callable[..., Any], steps: list[float], monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    cancelled: list[int] = []  # number of steps when the job was marked
    with serve() as client:
        worker = client.state.models["stories"].worker
        body = {**TEXT, "stream": phase == "stream"}
        if phase == "prompt":
            body["prompt"] = LONG_PROMPT
            read = StepDecoder._admit

            def slower(self: StepDecoder) -> None:
                time.sleep(0.1)
                read(self)

            monkeypatch.setattr(StepDecoder, "_admit", slower)
        begun = 1 if phase == "prompt" else 3
        seen: list[AnswerJob] = []

        def reached() -> bool:
            seen[:] = worker._running or seen
            return bool(worker._running) and len(steps) >= begun

        killed(client, "/v1/completions", body, reached)
        (job,) = seen

        def gone() -> bool:
            if job.cancelled and not cancelled:
                cancelled.append(len(steps))
            return worker.idle

        client.until(gone)
        assert job.cancelled
        assert len(steps) - cancelled[0] <= 2  # the step under way, and the one that lets it go
        batch: Any = worker._batch
        assert batch._answers == {}
        assert sum(size for _, size in batch._decoder.native._spans._free) == batch._decoder.native.tokens


def test_a_killed_client_leaves_the_queue(serve: Callable[..., Any], one_by_one: None) -> None:
    with serve() as client:
        worker = client.state.models["storyteller"].worker
        release = threading.Event()

        async def hold() -> Any:
            import asyncio

            model = client.state.models["storyteller"]
            return asyncio.ensure_future(model.call(lambda engine: release.wait(30), 30))

        held = client.runner.run(hold())
        client.until(lambda: worker.running == 1)
        killed(client, "/v1/completions", {**TEXT, "model": "storyteller"}, lambda: worker.waiting == 1)
        (job,) = worker._waiting
        client.until(lambda: job.cancelled)
        release.set()
        client.until(lambda: worker.idle and held.done())
        assert 'llmkit_answers_total{model="storyteller"' not in client.get("/metrics")[1]


def test_a_client_that_is_killed_while_its_model_loads_does_no_harm(engines: dict[str, Engine]) -> None:
    from llmkit.serving.scheduling.models import ServedModel

    release = threading.Event()

    def slow() -> Engine:
        release.wait(30)
        return engines["stories"]

    with serving({}, keep_alive=0.2) as client:
        model = ServedModel(
            "stories",
            slow,
            ServerSettings(keep_alive=0.2),
            metrics=client.state.metrics,
            log=client.log.append,
        )
        client.state.models["stories"] = model
        model.worker.start()
        killed(client, "/v1/completions", TEXT, lambda: model.worker._holds == 1)
        client.until(lambda: model.worker._holds == 0)
        release.set()
        client.until(lambda: model.worker.loaded.is_set())
        client.until(lambda: not model.worker.loaded.is_set())  # nobody wants it
        assert client.post("/v1/completions", {**TEXT, "max_tokens": 2})[0] == 200


def test_a_killed_client_ends_its_task_between_two_batches(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve() as client:
        worker = client.state.models["storyteller"].worker
        calls: list[int] = []
        generate = type(worker.engine).generate  # type: ignore[union-attr]

        def slowly(self: Any, requests: Any) -> Any:
            calls.append(len(requests))
            time.sleep(0.3)
            return generate(self, requests)

        monkeypatch.setattr(type(worker.engine), "generate", slowly)
        body = {
            "model": "storyteller",
            "input": ["The cat sat on the mat. " * 40] * 20,
            "target": "de",
            "max_tokens": 2,
        }
        killed(client, "/v1/translations", body, lambda: len(calls) >= 1)
        client.until(lambda: worker.idle)
        assert len(calls) < 20
        assert client.post("/v1/completions", {**TEXT, "max_tokens": 2})[0] == 200


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/translations", "/v1/chat/completions"])
def test_work_that_fails_answers_500_and_the_worker_lives(
    serve: Callable[..., Any], one_by_one: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    with serve() as client:
        engine: Any = client.state.models["storyteller"].worker.engine
        body = {
            "model": "storyteller",
            "prompt": "x",
            "input": "x",
            "target": "de",
            "messages": [{"role": "user", "content": "x"}],
        }
        wanted = {
            "/v1/completions": ("prompt",),
            "/v1/translations": ("input", "target"),
            "/v1/chat/completions": ("messages",),
        }[path]
        body = {name: body[name] for name in ("model", *wanted)} | {"max_tokens": 2}

        def fail(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("secret of the model")

        with monkeypatch.context() as patch:
            for name in ("stream", "generate"):
                patch.setattr(type(engine), name, fail)
            status, answer = client.post(path, body)
            assert (status, answer["error"]["type"]) == (500, "server_error")
            assert "secret" not in json.dumps(answer)
            assert any("secret" in line for line in client.log)
        assert client.post(path, body)[0] == 200


@pytest.mark.slow
def test_500_seeded_requests_are_the_same_alone_and_among_16_others(client: Client) -> None:
    names = ["Tom", "Lily", "a dog", "the cat", "Mom", "two birds", "the old man"]
    bodies = [
        {
            "model": "stories",
            "prompt": f"One day, {names[i % 7]} " + "went to the park and " * (i % 11),
            "seed": i,
            "temperature": 0.7 + i % 5 / 10,
            "top_p": 1 - i % 3 / 20,
            "max_tokens": 4 + i % 24,
            "logprobs": 1,
        }
        for i in range(500)
    ]
    alone = [client.post("/v1/completions", body)[1]["choices"] for body in bodies]
    different = []
    for start in range(0, 500, 17):
        found = client.together("/v1/completions", bodies[start : start + 17])
        for i, (status, answer) in enumerate(found, start):
            assert status == 200
            if answer["choices"] != alone[i]:
                different.append(i)
    assert different == []
