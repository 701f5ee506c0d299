"""Answers in transfer from a model's thread to a request's handler."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from llmkit.serving.scheduling.jobs import GRACE, AnswerJob, Event, NewTokens, too_late
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.prepare import PreparedChoice


class Answering:
    """Running answers; closing the context cancels unfinished ones.

    Args:
        model: the model.
        prepared: the answers to generate.
        seconds: deadline.
        scope: clients of one scope share keys and values of common prompt prefixes.
    """

    def __init__(
        self, model: ServedModel, prepared: Sequence[PreparedChoice], seconds: float, scope: str
    ) -> None:
        loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[tuple[int, Event]] = asyncio.Queue()

        def emitter(index: int) -> Callable[[Event], None]:
            return lambda event: _ignore(loop.call_soon_threadsafe(self._events.put_nowait, (index, event)))

        self._deadline = deadline = time.monotonic() + seconds
        requests = [replace(one.request, scope=scope) for one in prepared]
        self._jobs = [AnswerJob(one, emitter(i), deadline) for i, one in enumerate(requests)]
        model.worker.submit(self._jobs)

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._jobs:
            job.cancelled = True

    async def events(self, silence: float) -> AsyncIterator[tuple[int, Event] | None]:
        """Yield (answer, event) until all answers have ended; None after `silence` seconds without an event.

        Raises:
            ApiError: the deadline has passed, and the busy model's thread did not report it.
        """
        left = len(self._jobs)
        while left:
            rest = self._deadline + GRACE - time.monotonic()
            try:
                # Not asyncio.wait_for: that of Python 3.11 loses a cancellation that comes together with an
                # event (https://github.com/python/cpython/issues/86296), and the answer would continue.
                async with asyncio.timeout(min(silence, rest)):
                    index, event = await self._events.get()
            except TimeoutError:
                if time.monotonic() >= self._deadline + GRACE:
                    raise too_late() from None
                yield None
                continue
            left -= not isinstance(event, NewTokens)
            yield index, event


def _ignore(_: object) -> None:
    pass
