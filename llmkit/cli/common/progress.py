"""Progress on stderr: a bar on a terminal, otherwise plain lines at intervals, nothing under `-q`."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console, signals
from llmkit.cli.common.streams import printable

if TYPE_CHECKING:
    from llmkit.training.trainer import Step

_TICK = 0.5  # seconds between two updates of the time
_FIRST_LINE = 10.0  # seconds


class Progress:
    """Progress display; `update` reports a step, and a thread updates the time between steps.

    The bar appears after half a second, so that short work shows no bar.

    Args:
        verb: first word of the line.
        total: value of `done` at the end; None if it is unknown.
        seconds_between_lines: interval of plain lines; the first line comes after at most ten seconds.
    """

    def __init__(self, verb: str, total: float | None = None, seconds_between_lines: float = 30.0) -> None:
        self.verb = verb
        self.total = total
        self._every = seconds_between_lines
        self._start = time.monotonic()
        self._first: tuple[float, float] | None = None  # of the first update: time, work done
        self._next_line = self._start + min(_FIRST_LINE, seconds_between_lines)
        self._latest: tuple[float, str] = 0.0, ""
        self._bar: Any = None
        self._task: Any = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def update(self, done: float, text: str = "") -> None:
        """Show `done` (of `total`) and a few words such as `12.1 rows/s`."""
        signals.unwind()  # from now on, a signal must save work, and a bar may have to be removed
        signals.check()
        if self._first is None:
            self._first = time.monotonic(), done  # a resumed run does not begin at 0
        self._latest = done, text
        if console.state.quiet:
            return
        if self._thread is None and not self._closed.is_set():
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()
        self._show()

    def close(self) -> None:
        """Remove the bar."""
        self._closed.set()
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tick(self) -> None:
        while not self._closed.wait(_TICK):
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        done, text = self._latest
        with self._lock:
            if self._closed.is_set() or now - self._start < 0.5:
                return
            if sys.stderr.isatty():
                self._draw(done, text, now)
            elif now >= self._next_line:
                self._next_line = now + self._every
                share = f" {100 * done / self.total:.0f}%" if self.total else ""
                console.say(f"llmkit: {self.verb}:{share} {text}, {_clock(now - self._start)}")

    def _left(self, done: float, now: float) -> str:
        """Return the time left; the elapsed time while there is no basis for an estimate."""
        since, before = self._first or (now, done)
        if not self.total or done <= before:
            return _clock(now - self._start)
        return f"{_clock((now - since) * max(self.total - done, 0.0) / (done - before))} left"

    def _draw(self, done: float, text: str, now: float) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress
            from rich.table import Column

            def fixed(width: int) -> Column:
                return Column(no_wrap=True, min_width=width)

            drawing = console.drawing()
            # On a narrow terminal the words are cut at their end; the other cells stay.
            self._bar = RichProgress(
                TextColumn("{task.description}", table_column=fixed(len(self.verb))),
                BarColumn(bar_width=max(4, min(20, drawing.width - 90))),
                TextColumn("{task.percentage:>3.0f}%", table_column=fixed(4)),
                TextColumn("{task.fields[text]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
                # rich's own estimate needs several updates, and a batch may take a minute.
                TextColumn("{task.fields[left]}", table_column=fixed(12)),
                console=drawing,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.verb, total=self.total, text="", left="")
        self._bar.update(self._task, completed=done, text=printable(text), left=self._left(done, now))


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show the elapsed time during work without steps, such as loading a model.

    On a terminal it appears after half a second and disappears at the end; otherwise a line is printed after
    ten seconds. It draws no bar, because a signal may end the process at once.
    """
    ended = threading.Event()
    if console.state.quiet:
        yield
        return
    thread = threading.Thread(target=_wait, args=(text, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _wait(text: str, ended: threading.Event) -> None:
    begun = time.monotonic()
    next_line = begun + _FIRST_LINE
    while not ended.wait(_TICK):
        now = time.monotonic()
        line = f"llmkit: {text}, {_clock(now - begun)}"
        if sys.stderr.isatty():
            console.show_line(line)
        elif now >= next_line:
            next_line = now + 30
            console.say(line)
    console.clear_line()


def _clock(seconds: float) -> str:
    """`0:00:07`."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class ReadingDisplay(Progress):
    """Progress of reading a corpus of unknown length."""

    def __init__(self) -> None:
        super().__init__("read")
        self._began = time.monotonic()

    def show(self, documents: int, characters: int) -> None:
        size = characters / 1e6
        speed = size / max(time.monotonic() - self._began, 1e-9)
        self.update(characters, f"{documents:,} documents, {size:,.0f} MB, {speed:.1f} MB/s")


def step_cells(step: Step) -> tuple[str, ...]:
    """Return the cells of a row about a step of training."""
    left = step.seconds_left
    return (
        f"{step.step:,}/{step.steps:,}",
        "-" if step.loss is None else f"{step.loss:.4f}",
        "-" if step.learning_rate is None else f"{step.learning_rate:.2e}",
        "-" if step.gradient_norm is None else f"{step.gradient_norm:.2f}",
        f"{step.tokens_per_second:,.0f}",
        f"{step.memory / 1e9:.1f} GB",
        "-" if left is None else f"{int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}",
    )


def step_line(step: Step) -> str:
    """Return a line about a step of training."""
    position, loss, rate, norm, speed, memory, left = step_cells(step)
    return (
        f"step {position}, loss {loss}, learning rate {rate}, gradient norm {norm}, {speed} tokens/s,"
        f" {memory}, {left} left"
    )
