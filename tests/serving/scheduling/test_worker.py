"""Calls that wait for one model at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.serving.metrics import Metrics
from llmkit.serving.scheduling.jobs import CallJob, TextBatch
from llmkit.serving.scheduling.worker import Worker
from llmkit.serving.settings import ServerSettings


class Calls:
    """Calls of a worker whose first one lasts until all others wait.

    Attributes:
        seen: the texts of each run.
        results: result or error of each call, by its texts.
        stop_at: texts at whose run the worker is stopped.
    """

    def __init__(self) -> None:
        engine = SimpleNamespace(live_batch=lambda size: None, token_budget=lambda: None)
        self.worker = Worker("m", lambda: engine, ServerSettings(), metrics=Metrics(), log=lambda line: None)
        self.seen: list[list[str]] = []
        self.results: dict[str, Any] = {}
        self.stop_at: list[str] | None = None
        self._go, self._ended = threading.Event(), threading.Semaphore(0)

    def job(self, key: str, *texts: str, seconds: float = 60.0) -> CallJob:
        def shout(engine: Any, texts: Sequence[str]) -> list[str]:
            self._go.wait(10)
            self.seen.append(list(texts))
            if list(texts) == self.stop_at:
                self.worker.stop("stopped")
            if "bad" in texts:
                raise InputError("a text is bad")
            return [f"{text.upper()}{key}" for text in texts]

        def done(result: Any, error: BaseException | None) -> None:
            self.results[" ".join(texts)] = str(error) if error is not None else result
            self._ended.release()

        batch = TextBatch(key, texts, shout)
        deadline = time.monotonic() + seconds
        return CallJob(lambda engine: shout(engine, texts), done, deadline, batch if key else None)

    def run(self, jobs: Sequence[CallJob]) -> None:
        """Let the first job begin, then the others wait."""
        self.worker.start()
        self.worker.submit(jobs[:1])
        while not self.worker.running:
            time.sleep(0.001)
        self.worker.submit(jobs[1:])
        self._go.set()
        for _ in jobs:
            assert self._ended.acquire(timeout=10)
        self.worker.stop("the test is over")


def test_waiting_calls_with_one_key_run_together() -> None:
    calls = Calls()
    calls.run([calls.job(*one) for one in ("1a", "1b", "2c", ("1", "d", "e"), ("", "f"), ("", "g"), "2h")])
    assert calls.seen == [["a"], ["b", "d", "e"], ["c", "h"], ["f"], ["g"]]
    assert calls.results == {
        **{"a": ["A1"], "b": ["B1"], "c": ["C2"], "d e": ["D1", "E1"]},
        **{"f": ["F"], "g": ["G"], "h": ["H2"]},
    }


def test_a_call_that_fails_fails_alone() -> None:
    calls = Calls()
    calls.run([calls.job("1", text) for text in ("a", "b", "bad", "c")])
    assert calls.seen == [["a"], ["b", "bad", "c"], ["b"], ["bad"], ["c"]]
    assert calls.results == {"a": ["A1"], "b": ["B1"], "bad": "a text is bad", "c": ["C1"]}


def test_calls_that_failed_together_end_with_the_worker() -> None:
    calls = Calls()
    calls.stop_at = ["b"]
    calls.run([calls.job("1", text) for text in ("a", "b", "bad", "c")])
    assert calls.seen == [["a"], ["b", "bad", "c"], ["b"]]
    assert calls.results["bad"] == calls.results["c"] == "stopped"


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([1, 2, 20_000, 3_998, 2, 2], [[1], [2, 3_998], [20_000], [2, 2]]),
        ([1, 9_000, 8_000, 5_000, 100], [[1], [9_000, 8_000, 5_000], [100]]),
    ],
    ids=["short beside long", "long"],
)
def test_short_texts_do_not_wait_for_long_ones(sizes: list[int], runs: list[list[int]]) -> None:
    calls = Calls()
    calls.run([calls.job("1", "x" * size) for size in sizes])
    assert [list(map(len, texts)) for texts in calls.seen] == runs


def test_at_most_64_texts_run_together() -> None:
    calls = Calls()
    calls.run([calls.job("1", "a"), *(calls.job("1", *(f"{i}{j}" for j in range(30))) for i in range(3))])
    assert [len(texts) for texts in calls.seen] == [1, 60, 30]
