"""Workers of a cluster: start them, assign calls, and replace failed workers.

A call whose worker fails runs again on another one, at most three times; then its rows are refused, and
`on_error` decides. A worker has up to two calls, so that it never waits for the driver; only its running call
counts as a possible cause of its failure.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from llmkit.cluster.options import ClusterOptions
from llmkit.cluster.worker import HARDWARE, ModelWorker, WorkerDescription, raised
from llmkit.errors import InputError, LLMKitError, RequestRefused, one_line
from llmkit.records.journal import difference
from llmkit.records.processing.turn import Turn

CALLS = 2
"""Number of calls of a worker at a time: one runs, one waits."""
_TRIES_AGAIN = 3
_STARTS = 3
_PATIENCE = 60.0  # seconds without any worker before a notice


@dataclass(eq=False)
class _WorkerPlace:
    """A slot for a worker: its actor, and the references of its calls, oldest first."""

    actor: Any = None
    node: str = ""
    ready: bool = False
    gone: bool = False  # it cannot be started
    calls: dict[object, Any] = field(default_factory=dict)


class WorkerPool:
    """Workers with the same model.

    Args:
        ray: from `connect`.
        opener: creates the object in a worker; it is pickled.
        options: the cluster.
        count: number of workers.
        resources: options of each actor, such as ``num_gpus``.
        notice: called with a sentence for the user.

    Attributes:
        first: description of the first ready worker; the others are compared with it.
        turn: see `Turn`; a caller releases it while a worker computes.
        deaths: number of workers that failed so far.
    """

    def __init__(
        self,
        ray: Any,
        opener: Callable[[], Any],
        options: ClusterOptions,
        count: int,
        resources: dict[str, Any],
        notice: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._ray, self._opener, self._options, self._notice = ray, opener, options, notice
        self._actor = ray.remote(ModelWorker).options(
            max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD", **resources
        )
        self._changed = threading.Condition()
        self._error: LLMKitError | None = None
        self._closed = False
        self._suspects: set[Hashable] = set()
        self._blamed: set[object] = set()  # calls that were running when their worker failed
        self.turn = Turn()
        self.deaths = 0
        self.first: WorkerDescription | None = None
        self._slots = [_WorkerPlace() for _ in range(count)]
        for slot in self._slots:
            self._start(slot)

    @property
    def hardware(self) -> dict[str, Any]:
        """Return the processor or GPU, the versions and the hash of the weights of the workers."""
        return {name: value for name, value in self.wait().identity.items() if name in HARDWARE}

    @property
    def allow_mixed(self) -> bool:
        """Return True if the workers may differ."""
        return self._options.allow_mixed

    def identity(self) -> dict[str, Any]:
        """Return the identity of the workers' object, which equals that of a run without a cluster."""
        return {name: value for name, value in self.wait().identity.items() if name not in HARDWARE}

    @property
    def calls(self) -> int:
        """Maximum number of calls of all workers at the same time."""
        return CALLS * len(self._slots)

    def describe(self) -> str:
        """Return the number of running workers, for a progress line."""
        alive, wanted = sum(slot.ready for slot in self._slots), len(self._slots)
        return f"{wanted} workers" if alive == wanted else f"{alive} of {wanted} workers"

    def wait(self) -> WorkerDescription:
        """Wait until the first worker is ready, and return its description.

        Raises:
            LLMKitError: no worker can be started.
        """
        with self._changed:
            self._wait_for(lambda: self.first is not None)
        assert self.first is not None
        return self.first

    def call(self, method: str, arguments: tuple[Any, ...], keys: frozenset[Hashable] = frozenset()) -> Any:
        """Call a method of the workers' object on one worker. Any thread may call.

        Args:
            method: its name.
            arguments: its arguments.
            keys: identify the rows of the call. Each row of a call that failed too often gets one more
                attempt.

        Raises:
            RequestRefused: its workers failed.
            LLMKitError: as the method; no worker is left.
        """
        most = 0 if keys and keys <= self._suspects else _TRIES_AGAIN
        with self.turn.waiting():
            return self._call(method, arguments, keys, most)

    def _call(self, method: str, arguments: tuple[Any, ...], keys: frozenset[Hashable], most: int) -> Any:
        deaths = 0
        while True:
            slot, actor, call, ref = self._submit(method, arguments)
            try:
                reply = self._ray.get(ref)
            except self._ray.exceptions.RayTaskError as error:
                self._give_back(slot, call, actor)
                raise LLMKitError(f"a worker on {slot.node} failed: {one_line(_cause(error))}") from error
            except self._ray.exceptions.RayError as error:
                deaths += self._died(slot, call, actor, error)
                if deaths > most:
                    self._suspects |= keys
                    times = "" if deaths == 1 else f" {deaths} times"
                    raise RequestRefused(f"its worker died{times} ({self._reason(error)})") from error
                continue
            except ConnectionError as error:
                raise _lost(error) from error
            except BaseException:
                self._give_back(slot, call, actor)
                raise
            self._give_back(slot, call, actor)
            kind, value = reply
            if kind != "done":
                raise raised(kind, value)
            return value

    def close(self) -> None:
        """End all workers; running calls fail."""
        with self._changed:
            self._closed = True
            actors = [slot.actor for slot in self._slots]
            self._changed.notify_all()
        for actor in actors:
            try:
                self._ray.kill(actor)
            except Exception:
                pass  # the worker has ended, or the cluster has

    def _submit(self, method: str, arguments: tuple[Any, ...]) -> tuple[_WorkerPlace, Any, object, Any]:
        """Wait for the worker with the fewest calls, and give it the call.

        The lock is kept until Ray has the call, so that `calls` has the order of execution.
        """
        call = object()
        with self._changed:
            self._wait_for(lambda: self._free() is not None)
            slot = self._free()
            assert slot is not None
            slot.calls[call] = ref = slot.actor.run.remote(method, arguments, _threads())
            return slot, slot.actor, call, ref

    def _free(self) -> _WorkerPlace | None:
        ready = [slot for slot in self._slots if slot.ready and len(slot.calls) < CALLS]
        return min(ready, key=lambda slot: len(slot.calls), default=None)

    def _wait_for(self, holds: Callable[[], bool]) -> None:
        """Wait on the condition until a predicate is true.

        Raises:
            LLMKitError: no worker can be started, or the pool was closed.
        """
        while True:
            if self._closed:
                raise LLMKitError("the workers were stopped")
            if self._error is not None:
                raise self._error
            if holds():
                return
            alive = any(slot.ready for slot in self._slots)
            if not self._changed.wait(None if alive else _PATIENCE) and not alive:
                what = "no worker is ready yet" if self.first is None else "no worker is left"
                self._notice(f"{what}; waiting for the cluster (after Ctrl-C, finished rows are kept)")

    def _give_back(self, slot: _WorkerPlace, call: object, actor: Any) -> None:
        with self._changed:
            if slot.actor is actor and call in slot.calls:
                del slot.calls[call]
                self._changed.notify()

    def _died(self, slot: _WorkerPlace, call: object, actor: Any, error: Exception) -> bool:
        """Replace a failed worker; return True if it was running this call.

        Raises:
            LLMKitError: the pool is closed.
        """
        with self._changed:
            if self._closed:
                raise LLMKitError("the workers were stopped") from error
            first = slot.actor is actor  # this thread is the first of those with a call of this worker
            if first:
                self._blamed.update(self._running(slot))
                slot.calls.clear()
                slot.ready = False
                self.deaths += 1
                self._start(slot)
            running = call in self._blamed
            self._blamed.discard(call)
        if first:
            self._notice(f"a worker on {slot.node} died; {self.describe()}, and its rows run again")
        return running

    def _running(self, slot: _WorkerPlace) -> list[object]:
        """Return the call that a failed worker was running: the oldest without an answer."""
        for call, ref in slot.calls.items():
            try:
                self._ray.get(ref, timeout=0)
            except Exception:
                return [call]
        return []

    def _start(self, slot: _WorkerPlace) -> None:
        try:
            slot.actor = self._actor.remote(self._opener)
        except Exception as error:
            self._error = _lost(error)
            return
        threading.Thread(target=self._join, args=(slot, slot.actor), daemon=True).start()

    def _join(self, slot: _WorkerPlace, actor: Any) -> None:
        """Wait until a new worker is ready, and add it if it equals the others."""
        for start in range(_STARTS):
            try:
                if start:
                    actor = self._actor.remote(self._opener)
                    with self._changed:
                        slot.actor = actor
                kind, value = self._ray.get(actor.describe.remote())
                break
            except Exception as error:
                if self._closed:
                    return
                failure = error
        else:
            self._fail(slot, LLMKitError(f"a worker cannot start: {self._reason(failure)}"))
            return
        if kind != "done":
            self._fail(slot, raised(kind, value))
            return
        with self._changed:
            different = None if self.first is None else difference(self.first.identity, value.identity)
            if different is not None and not self._options.allow_mixed:
                first = self.first.node if self.first else ""
                self._error = InputError(
                    f"the workers differ, so the result would not be reproducible: on {first},"
                    f" {different} on {value.node}; use the same device and versions, or set allow_mixed=True"
                )
            self.first = self.first or value
            slot.node, slot.ready = value.node, True
            self._changed.notify_all()

    def _fail(self, slot: _WorkerPlace, error: LLMKitError) -> None:
        """Record a worker that cannot start; without other workers, the run ends."""
        with self._changed:
            slot.gone = True
            if all(other.gone for other in self._slots):
                self._error = error
            last = self._error is not None
            self._changed.notify_all()
        if not last:
            self._notice(f"a worker was lost: {one_line(error)}")

    def _reason(self, error: Exception) -> str:
        return one_line(str(error).splitlines()[0] if str(error) else type(error).__name__, 160)


def _lost(error: Exception) -> LLMKitError:
    return LLMKitError(f"the connection to the cluster is lost: {one_line(error, 160)}")


def _cause(error: Any) -> str:
    cause = getattr(error, "cause", None)
    return f"{type(cause).__name__}: {cause}" if cause is not None else str(error)


def _threads() -> int | None:
    """Return the number of torch's threads in this process, for the journal; None without torch."""
    torch = sys.modules.get("torch")
    return None if torch is None else torch.get_num_threads()
