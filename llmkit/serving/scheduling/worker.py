"""One thread for each model. Requests wait in its queue, and join and leave its batch between steps.

Only this thread uses the model. Other threads put jobs (tasks are `CallJob`s) into the queue, or cancel them.
"""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Completion, LiveBatch, Request
from llmkit.errors import OptionError
from llmkit.serving.errors import ApiError
from llmkit.serving.metrics import Metrics
from llmkit.serving.scheduling.jobs import AnswerJob, CallJob, NewTokens, alike, ended_early, fail

if TYPE_CHECKING:
    from llmkit.engines.base import Engine
    from llmkit.runtime.load import LoadedModel
    from llmkit.serving.settings import ServerSettings

_WATCHED_TOKENS, _CALL_TOKENS = 2048, 8192
"""Tokens of a batch of a call: beside answers that wait for their next step, and where there are none."""
STUCK_SECONDS = 30.0
"""Seconds without a step after which a model with work counts as stuck."""


class Worker:
    """The thread of one model.

    Args:
        name: the model's name, for metrics.
        open_engine: opens the model: an `Engine`, or the `LoadedModel` of a model that does not write text.
        settings: limits of queue and memory, and the time that an idle model stays loaded.
        metrics: counts tokens and times.
        log: receives a line about an error that a request did not cause.

    Attributes:
        engine: the model after opening.
        reader: the model, if it does not write text: it finds answers in texts, or embeds them.
        failure: reason why it could not be opened.
        loaded: set when it is open, or opening failed.
    """

    def __init__(
        self,
        name: str,
        open_engine: Callable[[], Any],
        settings: ServerSettings,
        *,
        metrics: Metrics,
        log: Callable[[str], None],
    ) -> None:
        self.name = name
        self.engine: Engine | None = None
        self.reader: LoadedModel | None = None
        self.failure: BaseException | None = None
        self.loaded = threading.Event()
        self._open, self._metrics, self._log = open_engine, metrics, log
        self._max_queue, self._prompt_cache = settings.max_queue, settings.prompt_cache
        self._keep_alive = settings.keep_alive
        self._holds = 0  # number of requests that need the model
        self._wanted = settings.keep_alive is None
        self._used = time.monotonic()
        self._batch: LiveBatch | None = None
        self._waiting: deque[AnswerJob | CallJob] = deque()
        self._running: list[AnswerJob] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._alone: Sequence[AnswerJob | CallJob] = ()  # run by themselves, without a batch
        self._beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"llmkit-{name}", daemon=True)

    def start(self) -> None:
        """Begin to open the model, if it is not loaded on demand."""
        self._thread.start()

    def hold(self) -> None:
        """Keep the model loaded, or load it, until `release`."""
        with self._changed:
            self._holds += 1
            self._wanted = not self.loaded.is_set()
            self._changed.notify()

    def release(self) -> None:
        """Release one `hold`."""
        with self._changed:
            self._holds -= 1
            self._used = time.monotonic()
            self._changed.notify()

    @property
    def loads_on_demand(self) -> bool:
        """True if the model is loaded on demand, and unloaded when it is idle."""
        return self._keep_alive is not None

    def stop(self, reason: str) -> None:
        """Fail all waiting and running jobs, and end the thread after the current step."""
        with self._changed:
            self._stopping = True
            jobs = [*self._waiting, *self._running, *self._alone]
            self._waiting.clear()
            self._changed.notify()
        for job in jobs:
            fail(job, ApiError(503, reason, code="shutting_down"))
            job.cancelled = True

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(seconds)

    def submit(self, jobs: Sequence[AnswerJob | CallJob]) -> None:
        """Put all jobs into the queue, or none.

        Raises:
            ApiError: the queue is full, or the worker stops.
        """
        with self._changed:
            if self._stopping:
                raise ApiError(503, "the server is shutting down", code="shutting_down")
            free = self._free_rows() + self._max_queue - len(self._waiting)
            if len(jobs) > free:
                message = f"the queue of {self.name} is full ({self._max_queue} waiting); try again later"
                raise ApiError(429, message, code="queue_full", retry_after=1)
            self._waiting.extend(jobs)
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """Number of waiting jobs."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs that run."""
        return len(self._running) + len(self._alone)

    @property
    def idle(self) -> bool:
        """True if there are no jobs."""
        return not self.waiting and not self.running

    @property
    def stuck(self) -> bool:
        """True if there is work and no step has ended for `STUCK_SECONDS`."""
        return bool(self._running) and time.monotonic() - self._beat > STUCK_SECONDS

    def _free_rows(self) -> int:
        rows = self._batch.rows if self._batch is not None else 1
        return max(rows - self.running, 0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._wait()
                if self._stopping:
                    return
                busy, wanted = bool(self._waiting or self._running), self._wanted
            if not self.loaded.is_set() and (busy or wanted):
                self._load()
            elif busy:
                self._turn()
            else:
                self._unload()

    def _wait(self) -> None:
        """Wait for work or a request to load the model, or until the model has been idle for too long."""
        while not (self._waiting or self._running or self._stopping or self._wanted):
            left = None
            if self._keep_alive is not None and self.loaded.is_set() and not self._holds:
                left = self._used + self._keep_alive - time.monotonic()
                if left <= 0:
                    return
            self._changed.wait(left)

    def _load(self) -> None:
        try:
            opened = self._open()
            if hasattr(opened, "live_batch"):
                self._batch = opened.live_batch(self._prompt_cache)
                self.engine = opened
            else:
                self.reader = opened
        except BaseException as error:
            self.failure = error
            self._log(f"{self.name}: {error}")
        with self._changed:
            self._wanted = False
            self._used = time.monotonic()
            self.loaded.set()

    def _unload(self) -> None:
        with self._changed:
            if self._holds or self._waiting or self._wanted:
                return
            self.loaded.clear()
        self.engine = self.reader = self.failure = self._batch = None
        gc.collect()
        self._log(f"{self.name}: unloaded, because it was not used")

    def _turn(self) -> None:
        """Drop jobs without a waiting client, let others join, and run one step."""
        with self._changed:
            dead = [job for job in self._waiting if job.dead]
            for job in dead:
                self._waiting.remove(job)
        for job in dead:
            fail(job, ended_early(job))
        while (following := self._next()) is not None:
            self._begin(following)
        if self._running:
            self._step()

    def _next(self) -> AnswerJob | CallJob | None:
        """Return the next job that may run now."""
        with self._changed:
            rows = self._batch.rows if self._batch is not None else 1
            if not self._waiting or self._stopping or len(self._running) >= rows:
                return None
            return self._waiting.popleft()

    def _begin(self, job: AnswerJob | CallJob) -> None:
        if job.dead:  # again, because another job may have taken long
            fail(job, ended_early(job))
            return
        try:
            if self.reader is not None and isinstance(job, CallJob):
                self._alone = [job]
                job.done(job.function(self.reader))
                return
            if self.failure is not None or self.engine is None:
                raise ApiError(503, f"{self.name} could not be loaded", code="model_failed")
            if isinstance(job, AnswerJob) and self._batch is not None and self._batch.takes(job.request):
                self._join(job, self._batch)
                return
            if isinstance(job, CallJob):
                with self._changed:
                    others = alike(job, self._waiting)
                    for one in others:
                        self._waiting.remove(one)
                self._call([job, *others], self.engine)
                return
            self._alone, self._beat = [job], time.monotonic()
            self._stream(job, self.engine)
        except Exception as error:
            self._note(error)
            fail(job, error)
        finally:
            self._alone = ()

    def _call(self, jobs: Sequence[CallJob], engine: Engine) -> None:
        """Run one call, or several as one; if several fail, each runs alone, so that it has its own error."""
        self._alone, self._beat = jobs, time.monotonic()
        most = _WATCHED_TOKENS if self._batch is not None else _CALL_TOKENS
        watched = _Watched(engine, lambda: self._between(jobs), most)
        if len(jobs) == 1:
            jobs[0].done(jobs[0].function(watched))
            return
        batches = [job.batch for job in jobs if job.batch is not None]
        try:
            results = batches[0].function(watched, [text for batch in batches for text in batch.texts])
        except Exception:
            self._put_back(jobs)
            return
        found = iter(results)
        for job, batch in zip(jobs, batches, strict=True):
            job.done(list(islice(found, len(batch.texts))))

    def _put_back(self, jobs: Sequence[CallJob]) -> None:
        """Let calls be the next ones again, each alone."""
        with self._changed:
            if self._stopping:
                return  # `stop` has failed them
            for job in jobs:
                job.batch = None
            self._waiting.extendleft(reversed(jobs))

    def _join(self, job: AnswerJob, batch: LiveBatch) -> None:
        sampling, length = job.request.sampling, len(job.request.ids or ())
        room = batch.capacity - length
        if room < 1:
            raise OptionError("prompt", f"has {length} tokens, but the cache has space for {batch.capacity}")
        limit = min(sampling.max_new_tokens, room)
        job.request = replace(job.request, sampling=replace(sampling, max_new_tokens=limit))

        def on_tokens(ids: Sequence[int]) -> bool:
            return job.take(ids, self._metrics, self.name)

        job.answer = batch.add(job.request, on_tokens)
        self._running.append(job)

    def _stream(self, job: AnswerJob, engine: Engine) -> None:
        """Run a request alone; after each of its tokens, the others run a step."""

        def on_tokens(ids: Sequence[int]) -> bool:
            self._beat = time.monotonic()
            if self._running:
                self._step()
            return job.take(ids, self._metrics, self.name)

        completion = engine.stream(job.request, on_tokens)
        if completion.logprobs:
            # Without a batch they are known only at the end.
            job.emit(NewTokens((), completion.logprobs))
        self._end(job, completion)

    def _between(self, calls: Sequence[CallJob]) -> None:
        """Give the others a step between two calls of the engine, and end calls that nobody waits for."""
        self._beat = time.monotonic()
        if self._running:
            self._step()
        if all(call.dead for call in calls):
            raise ended_early(calls[0])

    def _step(self) -> None:
        batch = self._batch
        assert batch is not None
        for job in self._running:
            if job.dead and job.answer is not None:
                job.answer.cancelled = True
        try:
            done = batch.step()
        except Exception as error:
            self._recover(error)
            return
        self._beat = time.monotonic()
        ended = [job for job in self._running if job.answer in done]
        self._running = [job for job in self._running if job.answer not in done]
        for job in ended:
            assert job.answer is not None
            self._end(job, job.answer.completion())

    def _end(self, job: AnswerJob, completion: Completion) -> None:
        job.finish(completion)
        self._metrics.add("llmkit_generated_tokens_total", len(completion.ids), model=self.name)
        reused = 0 if job.answer is None else job.answer.reused
        self._metrics.add("llmkit_prompt_tokens_reused_total", reused, model=self.name)
        self._metrics.add("llmkit_prompt_tokens_total", completion.prompt_tokens, model=self.name)
        self._metrics.add("llmkit_answers_total", model=self.name, reason=completion.finish_reason)

    def _recover(self, error: Exception) -> None:
        """Fail the answers of a failed step, and continue with a new batch."""
        self._note(error)
        failed, self._running = self._running, []
        for job in failed:
            fail(job, error)
        self._batch = None
        try:
            self._batch = self.engine.live_batch(self._prompt_cache) if self.engine is not None else None
        except Exception as again:  # without a batch, requests run one after another
            self._note(again)

    def _note(self, error: BaseException) -> None:
        from llmkit.serving.errors import as_api_error

        if as_api_error(error).status == 500:
            self._log(f"{self.name}: " + "".join(traceback.format_exception(error)).rstrip())


class _Watched:
    """An engine that works in small batches, of at most `most` tokens, and reports before each of them."""

    def __init__(self, engine: Any, report: Callable[[], None], most: int) -> None:
        self._engine, self._report, self._most = engine, report, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def token_budget(self) -> int:
        """Return the token budget of one call."""
        return min(self._engine.token_budget() or self._most, self._most)

    def generate(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer requests together; see `Engine.generate`."""
        self._report()
        found: list[list[Completion]] = self._engine.generate(requests)
        return found
