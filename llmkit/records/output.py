"""Write rows to a file that a killed run can resume, or to a text stream.

Public: `check`, `JournaledOutput`, `StreamOutput`.

During a run, FILE.partial contains the finished windows as JSONL. After them it has the rows of the current
window in the order of completion, for users to look at. FILE.journal (see `journal`) contains the results of
the current window. A kill loses at most the running batch; a power cut loses at most the window. At the end
the rows are converted if FILE is CSV or Parquet. One rename creates or replaces FILE. A record of the
finished file goes to the user's state folder (see `finished`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from llmkit.errors import InputError, LLMKitError
from llmkit.records import finished, journal
from llmkit.records.batches import Budget
from llmkit.records.disk import reason
from llmkit.records.journal import CommitWindow, Finished, Journal, Result
from llmkit.records.output_paths import OutputPaths
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps

_CHUNK = 1 << 20


def check(path: str | Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse an output that `JournaledOutput` would refuse, before any work.

    With `overwrite`, a finished file at that path no longer counts as finished.

    Raises:
        InputError: the path cannot be written, the file or an unfinished run exists and neither option
            was given, another process is writing it, or `resume` is set and no run finished the existing
            file.
    """
    OutputPaths(path).check(resume=resume, overwrite=overwrite)


class JournaledOutput:
    """A file of rows written window by window, with a journal.

    Args:
        path: the file: CSV or Parquet by the end of its name, otherwise JSONL.
        header: everything that the output depends on, as JSON: options, model revision, dtype, threads,
            seed, budget, and under ``input`` the source's `identity()`. A resumed run must have the same.
        resume: continue an unfinished run; start one if there is none.
        overwrite: start again; an old file stays until the new one is complete.
        adopt: keys of `header` that a resumed run copies from the journal without a comparison: values that
            the user did not choose, such as a drawn seed.

    Attributes:
        header: the header in force, with the adopted values.
        finished: the file is complete; after opening with `resume`, no work is left.
        done_rows: rows in finished windows.
        failed: number of failed rows among them.
        budget: the reduced budget, if memory ran out with the first one.

    Raises (on entering):
        InputError: `check` would refuse the output, the earlier run had other options, or the files are
            damaged.
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
        self._paths = OutputPaths(path)
        self._resume, self._overwrite, self._adopt = resume, overwrite, adopt
        # Digests of the input: rows of finished windows, and the same with the current window.
        self._input = hashlib.sha256()
        self._input_ahead = self._input
        self._expected_input = self._input.hexdigest()
        self._output = hashlib.sha256()
        self._bytes = 0
        self._unfinished: CommitWindow | None = None
        self._committed = 0
        self._window: dict[int, Row] = {}  # the current window's rows by index
        self._partial_fd = self._journal_fd = -1

    @property
    def kept(self) -> int:
        """Number of rows that a resumed run would not run again."""
        return self.done_rows + self._committed

    def __enter__(self) -> Self:
        self._paths.check(resume=self._resume, overwrite=self._overwrite)
        done = self._paths.finished_run() if self._resume else None
        if done is not None:
            self._require_same(done)
            self.done_rows, self.failed = done.finished.done_rows, done.finished.failed
            self.finished = True
            finished.remember(self._paths.final, journal.head(done.header, done.finished))
            self._paths.journal.unlink(missing_ok=True)
            return self
        fresh = not (self._resume or self._overwrite)
        self._partial_fd = self._paths.lock(fresh=fresh)
        try:
            with self._disk():
                if self._resume and self._paths.journal.exists():
                    self._continue(journal.read(self._paths.journal))
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
        """Skip the rows that are done.

        Raises:
            InputError: they differ from the rows that the unfinished run read.
        """
        journal.hash_rows(islice(rows, self.done_rows), self._input)
        if self._input.hexdigest() != self._expected_input:
            raise self._changed()

    def begin_window(self, rows: Sequence[Row]) -> dict[int, Result]:
        """Begin a window of rows; return the results, by row index, that the journal already has.

        Raises:
            InputError: they differ from the rows of the unfinished run's window.
        """
        digest = hashlib.sha256()
        self._input_ahead = self._input.copy()
        journal.hash_rows(rows, digest, self._input_ahead)
        known, self._unfinished = self._unfinished, None
        self._window = {row.index: row for row in rows}
        window = CommitWindow(self.done_rows, len(rows), digest.hexdigest())
        if known is None:
            self._append(journal.window_line(window))
            return {}
        if (known.first, known.rows, known.sha256) != (window.first, window.rows, window.sha256):
            raise self._changed()
        self._show(known.results.items())
        return dict(known.results)

    def commit(self, results: Sequence[tuple[int, Result]]) -> None:
        """Keep the results of one batch, each with its row's index."""
        self._append(journal.batch_line(results))
        self._committed += len(results)
        self._show(results)

    def sync(self) -> None:
        """Flush the committed batches to the disk, so that they survive a power failure."""
        with self._disk():
            os.fsync(self._journal_fd)

    def _show(self, results: Iterable[tuple[int, Result]]) -> None:
        """Append rows of the current window to the partial file; `end_window` writes them again in order."""
        rows = (journal.row_out(self._window[index], result) for index, result in results)
        with self._disk():
            _write(self._partial_fd, "".join(dumps(row) + "\n" for row in rows).encode())

    def set_budget(self, budget: Budget) -> None:
        """Record the reduced budget."""
        self._append(journal.budget_line(budget))
        self.budget = budget

    def end_window(self, rows: Sequence[dict[str, Any]], failures: Sequence[str | None]) -> None:
        """Write a complete window.

        Args:
            rows: output rows.
            failures: for each row the reason of its failure, or None.
        """
        data = "".join(dumps(row) + "\n" for row in rows).encode()
        with self._disk():
            os.ftruncate(self._partial_fd, self._bytes)
            os.lseek(self._partial_fd, self._bytes, os.SEEK_SET)
            _write(self._partial_fd, data)
            os.fsync(self._partial_fd)
            self._input = self._input_ahead
            self._output.update(data)
            self._bytes += len(data)
            self.done_rows += len(rows)
            self.failed += sum(reason is not None for reason in failures)
            self._committed = 0
            self._replace_journal()

    def finish(self) -> None:
        """Give the rows their final form and name, write the record, and remove the other files."""
        with self._disk():
            os.fsync(self._partial_fd)
            new, totals = self._paths.partial, self._totals()
            if self._paths.convert is not None:
                new, totals = self._paths.converted, self._convert(totals)
            os.replace(new, self._paths.final)
            self.finished = True
            finished.remember(self._paths.final, journal.head(self.header, totals))
            self._paths.partial.unlink(missing_ok=True)
            self._paths.journal.unlink(missing_ok=True)
            self._paths.sync_folder()

    def _convert(self, totals: Finished) -> Finished:
        """Convert the partial file, and return the totals with the size and the hash of the new file."""
        assert self._paths.convert is not None
        with self._paths.open_converted() as file:
            self._paths.convert(self._paths.partial, file)
            file.flush()
            os.fsync(file.fileno())
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            return replace(totals, bytes=size, output=hashlib.file_digest(file, "sha256").hexdigest())

    def _begin(self) -> None:
        # In this order, because a kill in between leaves a partial file that is too long; resuming truncates
        # it.
        self._replace_journal()
        os.ftruncate(self._partial_fd, 0)

    def _require_same(self, found: Journal) -> None:
        """Copy the adopted keys from a run's header.

        Raises:
            InputError: another key differs.
        """
        for key in self._adopt:
            if key in found.header:
                self.header[key] = found.header[key]
        if found.header.get("input") != self.header.get("input"):
            raise self._changed()
        different = journal.difference(found.header, self.header)
        if different is not None:
            raise InputError(
                f"{self._paths.final}: cannot resume: {different}; give the same, or overwrite=True starts"
                " again"
            )

    def _continue(self, found: Journal) -> None:
        self._require_same(found)
        done = found.finished
        size = os.fstat(self._partial_fd).st_size
        if size < done.bytes:
            raise InputError(
                f"{self._paths.partial} has {size} bytes, but its journal says {done.bytes}: it was"
                " truncated; overwrite=True starts again"
            )
        self._hash_partial(done.bytes)
        if self._output.hexdigest() != done.output:
            raise InputError(
                f"{self._paths.partial} is damaged: its bytes differ from those that the run wrote;"
                " overwrite=True starts again"
            )
        self.done_rows, self.failed, self.budget = done.done_rows, done.failed, found.budget
        self._bytes, self._expected_input = done.bytes, done.input
        self._unfinished = found.window
        self._committed = len(found.window.results) if found.window else 0
        os.ftruncate(self._partial_fd, done.bytes)
        os.lseek(self._partial_fd, 0, os.SEEK_END)
        self._journal_fd = os.open(self._paths.journal, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW)
        os.ftruncate(self._journal_fd, found.size)
        self._append(journal.pid_line())

    def _hash_partial(self, size: int) -> None:
        at = 0
        while at < size and (data := os.pread(self._partial_fd, min(_CHUNK, size - at), at)):
            self._output.update(data)
            at += len(data)

    def _append(self, line: bytes) -> None:
        with self._disk():
            _write(self._journal_fd, line)

    def _totals(self) -> Finished:
        output, rows = self._output.hexdigest(), self._input.hexdigest()
        return Finished(self.done_rows, self._bytes, output, rows, self.failed, self.budget)

    def _replace_journal(self) -> None:
        new = self._paths.open_new_journal()
        old, self._journal_fd = self._journal_fd, new
        if old >= 0:
            os.close(old)
        _write(new, journal.head(self.header, self._totals()))
        os.fsync(new)
        os.replace(self._paths.new_journal, self._paths.journal)
        self._paths.sync_folder()

    def _changed(self) -> InputError:
        return InputError(
            f"{self._paths.final}: cannot resume: the input differs from that of the earlier run;"
            " give the same input, or overwrite=True starts again"
        )

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn errors of the disk into messages with the next step for the user."""
        try:
            yield
        except OSError as error:
            why = str(error) if error.errno is None else reason(error.errno)
            raise LLMKitError(
                f"{self._paths.final}: {why}; finished rows are kept; resume=True continues"
            ) from error

    def _discard(self) -> None:
        """Remove the files of a run that did no work, so that the next attempt can start."""
        paths = self._paths
        for path in (paths.new_journal, paths.journal, paths.converted, paths.partial):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _close(self) -> None:
        """Close the files. This releases the lock on the partial file."""
        for fd in (self._journal_fd, self._partial_fd):
            if fd >= 0:
                os.close(fd)
        self._journal_fd = self._partial_fd = -1


class StreamOutput:
    """Write rows to a text stream, in input order, as soon as all rows before them are done.

    It cannot be resumed.

    Args:
        stream: the stream, such as `sys.stdout`.
        render: takes an output row and the reason of its failure (None for a good row) and returns its
            text, without the line's end; None writes JSON.

    Attributes:
        written: number of rows that the stream has.
    """

    done_rows = failed = kept = 0
    budget = None

    def __init__(
        self, stream: TextIO, render: Callable[[dict[str, Any], str | None], str] | None = None
    ) -> None:
        self.written = 0
        self._stream = stream
        self._render = render or (lambda row, failure: dumps(row))

    def catch_up(self, rows: Iterator[Row]) -> None:
        """Do nothing: a stream is never resumed."""

    def begin_window(self, rows: Sequence[Row]) -> dict[int, Result]:
        """Return no results: a stream is never resumed."""
        return {}

    def commit(self, results: Sequence[tuple[int, Result]]) -> None:
        """Do nothing: `write` gets the rows in their order."""

    def sync(self) -> None:
        """Do nothing: a stream is never resumed."""

    def set_budget(self, budget: Budget) -> None:
        """Do nothing: a stream is never resumed."""

    def write(self, rows: Sequence[dict[str, Any]], failures: Sequence[str | None]) -> None:
        """Write and flush the next rows; see `JournaledOutput.end_window`."""
        for row, failure in zip(rows, failures, strict=True):
            self._stream.write(self._render(row, failure) + "\n")
            self.written += 1
        self._stream.flush()

    def finish(self) -> None:
        """Do nothing: all rows were flushed."""


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
