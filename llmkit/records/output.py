"""Where rows go: a JSONL file that a killed run can go on with, or a text stream.

Public: `check`, `JournaledOutput`, `StreamOutput`.

While a run lasts, FILE.partial holds the finished windows and FILE.journal (see `journal`) what is known of
the one being worked on. A kill at any moment loses at most the batch that was running; a power cut, at most
the window. FILE itself appears, or changes, in one rename at the end.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from llmkit.errors import InputError, LLMKitError
from llmkit.records import journal
from llmkit.records.batches import Budget
from llmkit.records.journal import CommitWindow, Finished, Journal, Result
from llmkit.records.output_paths import OutputPaths
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps


def check(path: str | Path, *, resume: bool = False, overwrite: bool = False) -> bool:
    """Refuse early, and touching nothing, an output that `JournaledOutput` would refuse.

    Returns:
        True if `resume` finds the file finished, so that there is nothing to do.

    Raises:
        InputError: the path cannot be written, the file or an unfinished run is there and neither flag
            was given, or another process is writing it.
    """
    return OutputPaths(path).check(resume=resume, overwrite=overwrite)


class JournaledOutput:
    """A JSONL file written window by window, with a journal.

    Args:
        path: the file.
        header: all that the output depends on, as JSON: options, model revision, dtype, threads, seed,
            budget, and under ``input`` the source's `identity()`. A resumed run must have the same.
        resume: go on with an unfinished run; start one if there is none.
        overwrite: start anew; an old file stays until the new one is complete.
        adopt: keys of `header` that a resumed run takes over from the journal instead of comparing them
            (what the user left to us, such as a seed that was drawn).

    Attributes:
        header: the header in force, with what was adopted.
        finished: the file is complete; after opening with `resume`, there is nothing left to do.
        done_rows: rows in finished windows.
        failed: how many of them failed.
        budget: the budget to go on with, if memory ran out under the one the run began with.

    Raises (on entering):
        InputError: what `check` refuses, or an unfinished run with other options.
    """

    def __init__(
        self,
        path: str | Path,
        header: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        adopt: Collection[str] = (),
    ) -> None:
        self.header: dict[str, Any] = json.loads(dumps(header))
        self.finished = False
        self.done_rows = 0
        self.failed = 0
        self.budget: Budget | None = None
        self._place = OutputPaths(path)
        self._resume, self._overwrite, self._adopt = resume, overwrite, adopt
        self._running = hashlib.sha256()
        self._ahead = self._running
        self._sha256 = self._running.hexdigest()
        self._bytes = 0
        self._unfinished: CommitWindow | None = None
        self._committed = 0
        self._partial_fd = self._journal_fd = -1

    @property
    def kept(self) -> int:
        """How many rows a resumed run would find done."""
        return self.done_rows + self._committed

    def __enter__(self) -> Self:
        if self._place.check(resume=self._resume, overwrite=self._overwrite):
            self.finished = True
            # A kill between the last rename and the removal of the journal leaves it behind.
            self._place.journal.unlink(missing_ok=True)
            return self
        fresh = not (self._resume or self._overwrite)
        self._partial_fd = self._place.lock(fresh=fresh)
        try:
            with self._disk():
                if self._resume and self._place.journal.exists():
                    self._go_on(journal.read(self._place.journal))
                else:
                    self._begin()
        except BaseException:
            if fresh:
                self._discard()
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.finished and not self.kept:
            self._discard()
        self._close()

    def catch_up(self, rows: Iterator[Row]) -> None:
        """Read past the rows that are done.

        Raises:
            InputError: they are not the rows that the unfinished run had read.
        """
        journal.hash_rows(islice(rows, self.done_rows), self._running)
        if self._running.hexdigest() != self._sha256:
            raise self._changed()

    def begin_window(self, rows: Sequence[Row]) -> dict[int, Result]:
        """Begin a window of rows; returns the results, by row index, that the journal already has.

        Raises:
            InputError: they are not the rows of the window that the unfinished run was in.
        """
        digest = hashlib.sha256()
        self._ahead = self._running.copy()
        journal.hash_rows(rows, digest, self._ahead)
        known, self._unfinished = self._unfinished, None
        window = CommitWindow(self.done_rows, len(rows), digest.hexdigest())
        if known is None:
            self._append(journal.window_line(window))
            return {}
        if (known.first, known.rows, known.sha256) != (window.first, window.rows, window.sha256):
            raise self._changed()
        return dict(known.results)

    def commit(self, results: Sequence[tuple[int, Result]]) -> None:
        """Keep the results of one batch, each with its row's index."""
        self._append(journal.batch_line(results))
        self._committed += len(results)

    def set_budget(self, budget: Budget) -> None:
        """Remember the budget to go on with."""
        self._append(journal.budget_line(budget))
        self.budget = budget

    def end_window(self, rows_out: Sequence[dict[str, Any]], failed: int) -> None:
        """Write a complete window: the rows, and how many of them failed."""
        data = "".join(dumps(row) + "\n" for row in rows_out).encode()
        with self._disk():
            _write(self._partial_fd, data)
            os.fsync(self._partial_fd)
            self._running = self._ahead
            self._bytes += len(data)
            self.done_rows += len(rows_out)
            self.failed += failed
            self._committed = 0
            self._replace_journal()

    def finish(self) -> None:
        """Give the file its name; the run is over."""
        with self._disk():
            os.fsync(self._partial_fd)
            os.replace(self._place.partial, self._place.final)
            self.finished = True
            self._place.journal.unlink(missing_ok=True)
            self._place.sync_folder()

    def _begin(self) -> None:
        if self._resume and os.fstat(self._partial_fd).st_size:
            raise InputError(
                f"{self._place.partial} has no journal beside it to go on from; --overwrite starts anew"
            )
        # In this order: a kill in between leaves a partial file that is too long, which is mended.
        self._replace_journal()
        os.ftruncate(self._partial_fd, 0)

    def _go_on(self, found: Journal) -> None:
        for key in self._adopt:
            if key in found.header:
                self.header[key] = found.header[key]
        if found.header.get("input") != self.header.get("input"):
            raise self._changed()
        different = _difference(found.header, self.header)
        if different is not None:
            raise InputError(
                f"{self._place.final}: cannot resume: {different}; give the same, or --overwrite starts anew"
            )
        done = found.finished
        size = os.fstat(self._partial_fd).st_size
        if size < done.bytes:
            raise InputError(
                f"{self._place.partial} has {size} bytes where its journal says {done.bytes}: something"
                " cut it short; --overwrite starts anew"
            )
        self.done_rows, self.failed, self.budget = done.done_rows, done.failed, found.budget
        self._bytes, self._sha256 = done.bytes, done.sha256
        self._unfinished = found.window
        self._committed = len(found.window.results) if found.window else 0
        os.ftruncate(self._partial_fd, done.bytes)
        os.lseek(self._partial_fd, 0, os.SEEK_END)
        self._journal_fd = os.open(self._place.journal, os.O_RDWR | os.O_APPEND)
        os.ftruncate(self._journal_fd, found.size)
        self._append(journal.pid_line())

    def _append(self, line: bytes) -> None:
        with self._disk():
            _write(self._journal_fd, line)

    def _replace_journal(self) -> None:
        done = Finished(self.done_rows, self._bytes, self._running.hexdigest(), self.failed, self.budget)
        new = os.open(self._place.new_journal, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        old, self._journal_fd = self._journal_fd, new
        if old >= 0:
            os.close(old)
        _write(new, journal.head(self.header, done))
        os.fsync(new)
        os.replace(self._place.new_journal, self._place.journal)
        self._place.sync_folder()

    def _changed(self) -> InputError:
        return InputError(
            f"{self._place.final}: cannot resume: this is not the input that the unfinished run read;"
            " give that, or --overwrite starts anew"
        )

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn what the disk says into what the user can do."""
        try:
            yield
        except OSError as error:
            kept = "what is finished is kept; "
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LLMKitError(f"disk full: {self._place.final}: {kept}free space and --resume") from error
            raise LLMKitError(f"{self._place.final}: {error.strerror}; {kept}--resume goes on") from error

    def _discard(self) -> None:
        """Nothing is there to go on with: leave no unfinished run in the way of the next attempt."""
        for path in (self._place.new_journal, self._place.journal, self._place.partial):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _close(self) -> None:
        """Close the files; with the partial file goes the lock."""
        for fd in (self._journal_fd, self._partial_fd):
            if fd >= 0:
                os.close(fd)
        self._journal_fd = self._partial_fd = -1


class StreamOutput:
    """Rows to a text stream, in input order, a window at a time; nothing to resume.

    Args:
        stream: where to, such as `sys.stdout`.
        render: the text to write for a row, without the line's end; JSON if not given.
    """

    done_rows = failed = kept = 0
    budget = None

    def __init__(self, stream: TextIO, render: Callable[[dict[str, Any]], str] | None = None) -> None:
        self._stream = stream
        self._render = render or dumps

    def catch_up(self, rows: Iterator[Row]) -> None:
        """There is nothing to catch up with."""

    def begin_window(self, rows: Sequence[Row]) -> dict[int, Result]:
        """No result is known before."""
        return {}

    def commit(self, results: Sequence[tuple[int, Result]]) -> None:
        """Results wait for their window."""

    def set_budget(self, budget: Budget) -> None:
        """No later run will ask."""

    def end_window(self, rows_out: Sequence[dict[str, Any]], failed: int) -> None:
        """Write and flush a complete window."""
        for row in rows_out:
            self._stream.write(self._render(row) + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """All is written."""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str | None:
    """Say which option is the first to differ, and how; None if none does."""
    for key in [*new, *(key for key in old if key not in new)]:
        before, now = old.get(key, _NOT_SET), new.get(key, _NOT_SET)
        if isinstance(before, dict) and isinstance(now, dict):
            inside = _difference(before, now, f"{prefix}{key}.")
            if inside is not None:
                return inside
        elif before is _NOT_SET or now is _NOT_SET or dumps(before) != dumps(now):
            return f"{prefix}{key} was {_shown(before)} and is now {_shown(now)}"
    return None


_NOT_SET = object()


def _shown(value: Any) -> str:
    if value is _NOT_SET:
        return "not set"
    text = dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
