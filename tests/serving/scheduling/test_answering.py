"""Answers on their way from a model's thread to a handler that may be cancelled at any moment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.engines.base import Request, Sampling
from llmkit.serving.errors import ApiError
from llmkit.serving.scheduling.answering import Answering
from llmkit.serving.scheduling.jobs import NewTokens
from llmkit.serving.scheduling.prepare import PreparedChoice

PREPARED = [PreparedChoice(Request(Sampling(max_new_tokens=4), ids=[1]), (), None)]


def answering(seconds: float = 60.0) -> tuple[Answering, list[Any]]:
    jobs: list[Any] = []
    model: Any = SimpleNamespace(worker=SimpleNamespace(submit=jobs.extend))
    return Answering(model, PREPARED, seconds, ""), jobs


@pytest.mark.parametrize("moment", range(6))
def test_a_client_that_leaves_as_a_token_comes_ends_its_answer(moment: int) -> None:
    async def run() -> None:
        found, jobs = answering()

        async def handler() -> None:
            with found:
                async for _ in found.events(60.0):
                    pass

        task = asyncio.ensure_future(handler())
        await asyncio.sleep(0.01)
        jobs[0].emit(NewTokens([1]))
        for _ in range(moment):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()
        assert jobs[0].cancelled

    asyncio.run(run())


def test_silence_and_the_deadline_are_told() -> None:
    async def run() -> None:
        found, jobs = answering(0.05)
        seen: list[Any] = []

        async def listen() -> None:
            with found:
                async for event in found.events(0.02):
                    seen.append(event)

        with pytest.raises(ApiError) as error:
            await listen()
        assert error.value.code == "timeout"
        assert seen
        assert set(seen) == {None}
        assert jobs[0].cancelled

    asyncio.run(run())
