"""Work for a model's thread: an answer to generate, or a function to run; and their events."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.engines.base import Completion, LiveAnswer, Request, TokenLogprob
from llmkit.serving.errors import ApiError
from llmkit.serving.metrics import Metrics

GRACE = 0.2
"""Seconds after a deadline during which the model's thread may still end a request itself."""

# Limits of calls that run together. Their results come together, so a short text must not wait for long ones.
_TEXTS_TOGETHER = 64
_CHARACTERS_TOGETHER = 4_000
_TIMES_SHORTEST = 16  # more characters than that, but at most so many times those of the shortest call


@dataclass(frozen=True)
class NewTokens:
    """New tokens of an answer, with their log-probabilities if requested."""

    ids: Sequence[int]
    logprobs: Sequence[TokenLogprob] = ()


@dataclass(frozen=True)
class Ended:
    """The end of an answer.

    Attributes:
        completion: the answer.
        reused: number of prompt tokens that were not computed again.
    """

    completion: Completion
    reused: int = 0


@dataclass(frozen=True)
class Failed:
    """The failure of an answer."""

    error: BaseException


Event = NewTokens | Ended | Failed


class AnswerJob:
    """One answer.

    Args:
        request: prompt with its settings.
        emit: receives the job's events in the model's thread; it must not block.
        deadline: value of `time.monotonic` after which the job fails.

    Attributes:
        cancelled: True, set by any thread, ends the job at the next step.
    """

    def __init__(self, request: Request, emit: Callable[[Event], None], deadline: float) -> None:
        self.request = request
        self.deadline = deadline
        self.cancelled = False
        self.ended = False
        self.answer: LiveAnswer | None = None
        self._emit = emit
        self._sent = 0  # number of log-probabilities sent
        self._begun = self._last = time.monotonic()

    @property
    def dead(self) -> bool:
        """True if the client no longer waits for the answer."""
        return self.cancelled or time.monotonic() > self.deadline

    def emit(self, event: Event) -> None:
        """Send an event; none follows the last one."""
        if self.ended:
            return
        self.ended = not isinstance(event, NewTokens)
        try:
            self._emit(event)
        except RuntimeError:  # the event loop is closed, so there is no receiver
            self.cancelled = self.ended = True

    def take(self, ids: Sequence[int], metrics: Metrics, model: str) -> bool:
        """Send new tokens; return False to end the answer."""
        now = time.monotonic()
        first = self._last == self._begun
        name = "llmkit_time_to_first_token_seconds" if first else "llmkit_time_between_tokens_seconds"
        metrics.observe(name, now - self._last, model=model)
        self._last = now
        logprobs: Sequence[TokenLogprob] = ()
        if self.answer is not None and self.request.logprobs is not None:
            logprobs = list(self.answer.logprobs[self._sent :])
            self._sent += len(logprobs)
        self.emit(NewTokens(list(ids), logprobs))
        return not self.dead

    def finish(self, completion: Completion) -> None:
        """Send the end; for an answer that was truncated because nobody waits, send a failure."""
        if completion.finish_reason == "interrupted":
            self.emit(Failed(ended_early(self)))
        else:
            self.emit(Ended(completion, 0 if self.answer is None else self.answer.reused))


@dataclass(frozen=True)
class TextBatch:
    """Texts of a call that may be answered together with those of other calls.

    Attributes:
        key: all else that the results depend on; calls with equal keys may run as one.
        texts: the texts.
        function: takes the engine and texts, and returns a result for each. The result of a text does not
            depend on the texts beside it.
    """

    key: Hashable
    texts: Sequence[str]
    function: Callable[[Any, Sequence[str]], Sequence[Any]]

    @property
    def characters(self) -> int:
        """Number of characters of all texts."""
        return sum(map(len, self.texts))


class CallJob:
    """A function that runs in the model's thread, between steps.

    Args:
        function: takes the engine, or the model that finds answers in texts.
        done: takes the result, or the error, in the model's thread.
        deadline: as of a `AnswerJob`; a call that runs already is not ended.
        batch: the same work as texts, if other calls may join it.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        done: Callable[[Any, BaseException | None], None],
        deadline: float,
        batch: TextBatch | None = None,
    ) -> None:
        self.function = function
        self.batch = batch
        self.deadline = deadline
        self.cancelled = False
        self._done = done

    @property
    def dead(self) -> bool:
        """True if the client no longer waits for the result."""
        return self.cancelled or time.monotonic() > self.deadline

    def done(self, result: Any, error: BaseException | None = None) -> None:
        """Send the result."""
        try:
            self._done(result, error)
        except RuntimeError:  # the event loop is closed
            pass


def alike(job: CallJob, waiting: Iterable[AnswerJob | CallJob]) -> list[CallJob]:
    """Return the waiting calls that run together with `job`: they have its key, and are about as long."""
    found: list[CallJob] = []
    if job.batch is None:
        return found
    texts, sizes = len(job.batch.texts), [job.batch.characters]
    for one in waiting:
        if not isinstance(one, CallJob) or one.batch is None or one.batch.key != job.batch.key or one.dead:
            continue
        batch = one.batch
        most = max(_CHARACTERS_TOGETHER, _TIMES_SHORTEST * min(*sizes, batch.characters))
        if texts + len(batch.texts) <= _TEXTS_TOGETHER and sum(sizes) + batch.characters <= most:
            texts += len(batch.texts)
            sizes.append(batch.characters)
            found.append(one)
    return found


def fail(job: AnswerJob | CallJob, error: BaseException) -> None:
    """Send an error as the end of a job."""
    if isinstance(job, CallJob):
        job.done(None, error)
    else:
        job.emit(Failed(error))


def ended_early(job: AnswerJob | CallJob) -> ApiError:
    """Return the reason why a job ended before its answer."""
    if job.cancelled:
        return ApiError(499, "the client disconnected", code="cancelled")
    return too_late()


def too_late() -> ApiError:
    """Return the error of a request after its deadline."""
    return ApiError(504, "the answer took longer than the time limit", code="timeout")
