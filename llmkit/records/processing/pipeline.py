"""Run batches at the same time, and commit their results in the order of the plan.

The plan is the same as for one batch at a time, so the output is the same to the byte. Windows overlap: the
next one begins while a slow batch of the last one still runs. Up to four times as many batches are planned as
run at once, so a slow batch blocks the others only after all of those have finished.

Public: `run_ahead`.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmkit.errors import OutOfMemory
from llmkit.records.batches import Budget, PreparedRow, next_batch
from llmkit.records.processing.batch_run import Answers, OpenWindow, RowRun
from llmkit.records.rows import Row

_AHEAD = 4  # see `python -m tests.simulate_cluster`: slow batches against rows in memory


def run_ahead(run: RowRun, windows: Iterator[list[Row]], *, at_once: int) -> None:
    """Run all rows, `at_once` batches at the same time.

    Args:
        run: the run; its `work` is called in threads, one at a time as `run.turn` allows.
        windows: unfinished rows, in windows.
        at_once: batches that run at the same time.

    Raises:
        RowError, OptionError, InputError, LLMKitError: as `process`.
    """
    jobs = _Jobs(run, at_once)
    try:
        _Pipeline(run, windows, jobs).run()
    finally:
        jobs.close()


@dataclass
class _Planned:
    """A batch of the plan: its rows, and later its answers or the reason of its failure."""

    window: OpenWindow
    batch: list[PreparedRow[Any]]
    budget: Budget
    outcome: Answers | BaseException | None = None
    dropped: bool = False


class _Jobs:
    """Threads that run planned batches.

    They are daemon threads: a thread that waits for a remote model must not keep the process alive.
    """

    def __init__(self, run: RowRun, at_once: int) -> None:
        self.at_once = at_once
        self._run = run
        self._waiting: queue.SimpleQueue[_Planned | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._closed = False
        for number in range(at_once):
            threading.Thread(target=self._work, name=f"llmkit-batch-{number}", daemon=True).start()

    def put(self, planned: _Planned) -> None:
        """Give a batch to a thread."""
        self._waiting.put(planned)

    def wait(self) -> None:
        """Wait until one more batch has an outcome."""
        self._done.get()

    def close(self) -> None:
        """End the threads after their current batch."""
        self._closed = True
        for _ in range(self.at_once):
            self._waiting.put(None)

    def _work(self) -> None:
        while (planned := self._waiting.get()) is not None and not self._closed:
            if planned.dropped:
                continue
            try:
                with self._run.turn:
                    planned.outcome = self._run.attempt(planned.batch, planned.budget)
            except BaseException as error:
                planned.outcome = error
            self._done.put(None)


class _Pipeline:
    """Plan batches ahead, and keep their results in the order of the plan."""

    def __init__(self, run: RowRun, unread: Iterator[list[Row]], jobs: _Jobs) -> None:
        self._run, self._unread, self._jobs = run, unread, jobs
        self._most = _AHEAD * jobs.at_once
        self._windows: deque[OpenWindow] = deque()
        self._planned: deque[_Planned] = deque()
        self._at_end = False

    def run(self) -> None:
        chunk = self._next_rows()
        if chunk:
            known = self._run.output.begin_window(chunk)
            self._windows.append(self._run.open_window(chunk, known))
            self._settle_first(known)
        while self._windows:
            self._plan()
            if self._keep_finished():
                continue
            self._jobs.wait()

    def _next_rows(self) -> list[Row]:
        chunk = next(self._unread, [])
        self._at_end = not chunk
        return chunk

    def _settle_first(self, known: Any) -> None:
        window = self._windows[0]
        self._run.settle(window, known | self._run.settled(window.refused), None)

    def _plan(self) -> None:
        """Plan batches, and open windows for them, up to the limit."""
        while len(self._planned) < self._most:
            window = next((one for one in self._windows if one.pending), None)
            if window is None:
                if self._at_end or len(self._windows) > self._most:
                    return
                chunk = self._next_rows()
                if chunk:
                    self._windows.append(self._run.open_window(chunk, {}))
                continue
            batch = next_batch(window.pending, self._run.budget)
            del window.pending[: len(batch)]
            planned = _Planned(window, batch, self._run.budget)
            self._planned.append(planned)
            self._jobs.put(planned)

    def _keep_finished(self) -> bool:
        """Commit finished batches at the front of the plan; return True if there were any."""
        moved = committed = False
        while self._windows:
            head = self._windows[0]
            if self._planned and self._planned[0].window is head:
                if self._planned[0].outcome is None:
                    break
                committed |= self._keep(self._planned[0])
            elif head.pending:
                break
            else:
                self._end_first()
            moved = True
        if committed:
            self._run.output.sync()
        return moved

    def _keep(self, planned: _Planned) -> bool:
        """Commit one batch; return False if it must run again in smaller batches."""
        outcome = planned.outcome
        if isinstance(outcome, OutOfMemory):
            answers = self._run.with_less_memory(planned.batch, str(outcome))
            if answers is None:
                self._plan_again()
                return False
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            assert outcome is not None
            answers = self._run.settled(outcome)
        self._planned.popleft()
        self._run.commit(planned.window, answers)
        return True

    def _plan_again(self) -> None:
        """Drop the plan: all further batches follow the smaller budget, as without workers."""
        while self._planned:
            last = self._planned.pop()
            last.dropped = True
            last.window.pending[:0] = last.batch

    def _end_first(self) -> None:
        """Write the first window, and begin the next."""
        self._run.end(self._windows.popleft())
        if not self._windows and not self._at_end:
            chunk = self._next_rows()
            if chunk:
                self._windows.append(self._run.open_window(chunk, {}))
        if self._windows:
            self._run.output.begin_window(self._windows[0].rows)
            self._settle_first({})
