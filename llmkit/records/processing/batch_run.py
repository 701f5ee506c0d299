"""State of one run over rows, and the steps that all ways of running share.

Public: `RowRun`, `OpenWindow`, `ResultNames`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from llmkit.errors import OptionError, OutOfMemory, RequestRefused, RowError
from llmkit.records.batches import Budget, PreparedRow, longest_first, next_batch
from llmkit.records.journal import Failure, Result, row_out
from llmkit.records.output import JournaledOutput, StreamOutput
from llmkit.records.processing.turn import Turn
from llmkit.records.read import RowSource
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps

Prepare = Callable[[list[Row]], Sequence[PreparedRow[Any] | RowError]]
Work = Callable[[list[PreparedRow[Any]], Budget], Sequence[dict[str, Any] | RowError]]
OnProgress = Callable[[int, int, list[dict[str, Any]] | None, float | None], None]
Answers = dict[int, dict[str, Any] | RowError]
"""Fields of each row, or the reason of its failure, by the row's index."""


@dataclass(frozen=True)
class ResultNames:
    """Names of the result columns; see `process`."""

    columns: tuple[str, ...]
    main: str | None

    def of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a result with their names in the output."""
        if self.main is None:
            return dict(fields)
        first = self.columns[0] if self.columns else next(iter(fields), None)
        return {self.main if name == first else f"{self.main}_{name}": x for name, x in fields.items()}

    def taken(self, row: Row, fields: Iterable[str]) -> str | None:
        """Return the reason why these result columns cannot be added to a row; None if they can."""
        name = next((name for name in fields if name in row.data), None)
        if name is None:
            return None
        return f"the input already has a column {name!r}, which a result would replace"


@dataclass
class OpenWindow:
    """A window of rows in progress.

    Attributes:
        rows: its rows.
        pending: rows that wait to run, longest first.
        refused: rows that cannot run.
        share_before, share_after: share of the input read before and after it; None if unknown.
        total: number of all rows, if this is the last window.
        results: the results so far, by row index.
        shown: rows at its beginning that a stream has.
    """

    rows: list[Row]
    pending: list[PreparedRow[Any]]
    refused: Answers
    share_before: float | None
    share_after: float | None
    total: int | None
    results: dict[int, Result] = field(default_factory=dict)
    shown: int = 0


@dataclass
class RowRun:
    """State of one `process` call; `done` and `failed` count over the whole output.

    Attributes:
        read: number of rows read so far.
        read_share: share of the input read so far; None if unknown.
        share: share of the input that is done.
        turn: held while the task's own code runs.
    """

    source: RowSource
    prepare: Prepare
    work: Work
    output: JournaledOutput | StreamOutput
    budget: Budget
    skip: bool
    names: ResultNames
    progress: OnProgress
    notice: Callable[[str], None]
    reworded: Callable[[str], str]
    done: int
    failed: int
    resumed: int
    read: int
    read_share: float | None
    turn: Turn
    share: float | None = None

    def open_window(self, rows: list[Row], known: Mapping[int, Result]) -> OpenWindow:
        """Prepare the rows of a window, except those whose results are known."""
        share = self.source.fraction()
        first = not self.read
        self.read += len(rows)
        total = self.read if share == 1.0 else None
        pending, refused = self._ready([row for row in rows if row.index not in known], first)
        before, self.read_share = self.read_share, share
        self.resumed += len(known)
        return OpenWindow(rows, pending, refused, before, share, total)

    def run_window(self, rows: list[Row]) -> None:
        """Run one window, batch after batch, and write it."""
        known = self.output.begin_window(rows)
        window = self.open_window(rows, known)
        self.settle(window, known | self.settled(window.refused), None)
        while window.pending:
            batch = next_batch(window.pending, self.budget)
            reason = ""
            answers: dict[int, Result] | None = None
            try:
                answers = self.settled(self.attempt(batch, self.budget))
            except OutOfMemory as error:
                reason = str(error)
            # Outside `except`: a live exception keeps the failed batch's tensors in memory.
            answers = self.with_less_memory(batch, reason) if answers is None else answers
            if answers is not None:
                del window.pending[: len(batch)]
                self.commit(window, answers)
        self.end(window)

    def attempt(self, batch: list[PreparedRow[Any]], budget: Budget) -> Answers:
        """Run one batch; if one of its rows is refused, find that row.

        Raises:
            OutOfMemory: it does not fit into memory.
        """
        try:
            answers = self.work(batch, budget)
        except RequestRefused as error:
            return self._parted(batch, str(error), budget)
        return {
            one.row.index: self._checked(one.row, answer) for one, answer in zip(batch, answers, strict=True)
        }

    def with_less_memory(self, batch: list[PreparedRow[Any]], reason: str) -> dict[int, Result] | None:
        """Reduce the budget after `batch` did not fit; return the failure of a single row."""
        smaller = self.budget.halved(batch)
        if smaller is None:
            row = batch[0].row
            return self.settled({row.index: RowError(row.where, f"does not fit into memory: {reason}")})
        self.budget = smaller
        self.output.set_budget(smaller)
        self.notice(f"out of memory with {len(batch)} rows at once; continuing with fewer")
        return None

    def commit(self, window: OpenWindow, answers: dict[int, Result]) -> None:
        """Keep the results of one batch."""
        self.output.commit(list(answers.items()))
        good = [answer for answer in answers.values() if not isinstance(answer, Failure)]
        self.settle(window, answers, good)

    def settle(self, window: OpenWindow, new: dict[int, Result], fields: list[dict[str, Any]] | None) -> None:
        """Count new results of a window and report the progress."""
        window.results.update(new)
        self._show(window)
        self.done += len(new)
        self.failed += sum(isinstance(result, Failure) for result in new.values())
        before, after = window.share_before, window.share_after
        self.share = None
        if window.total is not None:
            self.share = self.done / window.total
        elif before is not None and after is not None:
            # The source is read a window ahead of the work.
            self.share = before + (after - before) * len(window.results) / len(window.rows)
        self.progress(self.done, self.failed, fields, self.share)

    def _show(self, window: OpenWindow) -> None:
        """Give a stream the rows that are next in the order of the input."""
        if not isinstance(self.output, StreamOutput):
            return
        done = takewhile(lambda row: row.index in window.results, window.rows[window.shown :])
        rows, failures = _as_written(list(done), window.results)
        window.shown += len(rows)
        if rows:
            self.output.write(rows, failures)

    def end(self, window: OpenWindow) -> None:
        """Write a complete window to a file; a stream has its rows."""
        if not isinstance(self.output, StreamOutput):
            self.output.end_window(*_as_written(window.rows, window.results))

    def settled(self, answers: Mapping[int, dict[str, Any] | RowError]) -> dict[int, Result]:
        """Return answers by row index as results; under "fail", raise for the first failed row."""
        failed = {index: answer for index, answer in answers.items() if isinstance(answer, RowError)}
        if failed and not self.skip:
            error = failed[min(failed)]
            if not self.output.kept:
                raise error
            kept = f"{self.output.kept} rows are done and kept: resume=True on_error=skip continues"
            raise RowError(error.where, f"{error.reason} ({kept})")
        return {
            index: Failure(self.reworded(answer.reason)) if isinstance(answer, RowError) else answer
            for index, answer in answers.items()
        }

    def _ready(self, rows: list[Row], first: bool) -> tuple[list[PreparedRow[Any]], Answers]:
        """Return the rows prepared and sorted for `next_batch`, and the rows that cannot run."""
        errors: Answers = {row.index: RowError(row.where, row.error) for row in rows if row.error is not None}
        columns = self.names.of(dict.fromkeys(self.names.columns))
        for row in rows:
            taken = self.names.taken(row, columns)
            if taken is not None and first:
                raise OptionError("result_field", f"is needed: {row.where}: {taken}; give it a new name")
            if taken is not None:
                errors[row.index] = RowError(row.where, f"{taken}; `result_field` renames it")
        readable = [row for row in rows if row.index not in errors]
        with self.turn:
            prepared = self.prepare(readable) if readable else []
        pending = []
        for row, item in zip(readable, prepared, strict=True):
            if isinstance(item, RowError):
                errors[row.index] = item
            else:
                pending.append(item)
        return sorted(pending, key=longest_first), errors

    def _parted(self, batch: list[PreparedRow[Any]], reason: str, budget: Budget) -> Answers:
        """Run the two halves of a batch with a refused row, and again, until that row is alone."""
        if len(batch) == 1:
            return {batch[0].row.index: RowError(batch[0].row.where, reason)}
        found: Answers = {}
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            found |= self.attempt(half, budget)
        return found

    def _checked(self, row: Row, answer: dict[str, Any] | RowError) -> dict[str, Any] | RowError:
        """Return the answer as a resumed run reads it from the journal, so that both write the same."""
        if isinstance(answer, RowError):
            return answer
        named = self.names.of(answer)
        taken = self.names.taken(row, named)
        if taken is not None:
            return RowError(row.where, f"{taken}; `result_field` renames it")
        try:
            fields: dict[str, Any] = json.loads(dumps(named))
        except ValueError:
            return RowError(row.where, "its result contains NaN or Infinity, which JSON does not support")
        return fields


def _as_written(
    rows: Sequence[Row], results: Mapping[int, Result]
) -> tuple[list[dict[str, Any]], list[str | None]]:
    """Return rows with their results, and for each the reason of its failure or None."""
    found = [results[row.index] for row in rows]
    failures = [result.reason if isinstance(result, Failure) else None for result in found]
    return [row_out(row, result) for row, result in zip(rows, found, strict=True)], failures
