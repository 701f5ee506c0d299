"""Run a function over all rows: window by window, batch by batch, in input order out.

Public: `process`, `Summary`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from llmkit.errors import OptionError, OutOfMemory, RequestRefused, RowError
from llmkit.records.batches import Budget, PreparedRow, longest_first, next_batch
from llmkit.records.journal import Failure, Result, row_out
from llmkit.records.output import JournaledOutput, StreamOutput
from llmkit.records.read import RowSource
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps

Prepare = Callable[[list[Row]], Sequence[PreparedRow[Any] | RowError]]
Work = Callable[[list[PreparedRow[Any]], Budget], Sequence[dict[str, Any] | RowError]]
OnProgress = Callable[[int, int, list[dict[str, Any]] | None, float | None], None]

# Characters in the rows of a window. Rows of some thousand characters do not reach it.
_MOST_CHARACTERS = 64 << 20


@dataclass(frozen=True)
class Summary:
    """Totals of a run.

    Attributes:
        rows: rows in the output.
        failed: number of failed rows among them.
        resumed: rows that were already done when this run began.
        seconds: wall-clock time of this run.
    """

    rows: int
    failed: int
    resumed: int
    seconds: float


def process(
    source: RowSource,
    *,
    prepare: Prepare,
    work: Work,
    output: JournaledOutput | StreamOutput,
    budget: Budget,
    window: int = 1024,
    on_error: Literal["fail", "skip"] = "fail",
    columns: Sequence[str] = (),
    result_field: str | None = None,
    progress: OnProgress | None = None,
    notice: Callable[[str], None] | None = None,
    reworded: Callable[[str], str] = str,
) -> Summary:
    """Add the fields that `work` returns to each row of `source`, and write the rows in input order.

    Memory holds one window of rows. It ends before `window` rows once they have 64 Mi characters. Within it,
    rows run longest first in batches cut by `budget`; each finished batch is committed whole. The batches are
    a pure function of the rows, of `prepare`, `budget` and `window`, so they are the same after a resume.
    The file is then identical byte for byte, provided that `prepare` and `work` depend on their arguments
    only.

    A result never replaces a column of the input: such a row is refused, before any work if the first
    window has one. So an output row failed exactly if it has no result column. Its reason is in the column
    `error`, or in `llmkit_error` if the input has a column `error`.

    Args:
        source: the rows.
        prepare: makes rows ready: one result per row in the same order, or a RowError for a row that
            cannot run. It must treat each row independently; it gets only rows that could be read.
        work: runs one batch, given the budget: returns the fields to add to each row, or a RowError, in the
            same order. It may raise `OutOfMemory`; the batch then runs again with half the budget.
        output: an output that was entered.
        budget: limits of a batch; an output that is resumed after an out-of-memory error has its own.
        window: most rows read and sorted at a time. A resumed run must use the same.
        on_error: "skip" writes a failed row with the reason; "fail" ends the run there.
        columns: names of the fields that `work` returns, as far as they are known, the main one first.
        result_field: another name for the main field; another field `x` becomes `RESULT_FIELD_x`.
        progress: called after each batch with the rows done, the number of failed ones, the batch's fields
            (None where no batch ran) and the share of the input that is done (None if unknown).
        notice: called with a sentence when memory ran out and the run continues.
        reworded: takes the reason of a failure, and returns the text for the row, in which options have the
            names that the user knows.

    Raises:
        RowError: a row failed under "fail".
        OptionError: a result would replace a column of the input.
        InputError: the source is broken, or is not the one that the output was begun with.
        LLMKitError: the output cannot be written.

    After any exception, here or in a callback, a journaled output can be resumed.
    """
    started = time.monotonic()
    rows = iter(source)
    output.catch_up(rows)
    run = _Run(
        source=source,
        prepare=prepare,
        work=work,
        output=output,
        budget=output.budget or budget,
        skip=on_error == "skip",
        names=_Names(tuple(columns), result_field),
        progress=progress or _silent,
        notice=notice or _silent,
        reworded=reworded,
        done=output.done_rows,
        failed=output.failed,
        resumed=output.done_rows,
        share=source.fraction(),
    )
    while chunk := _next_window(rows, window, source.size_of):
        run.window(chunk)
    output.finish()
    return Summary(run.done, run.failed, run.resumed, time.monotonic() - started)


def _next_window(rows: Iterator[Row], most: int, size_of: Callable[[Row], int]) -> list[Row]:
    """Return the next rows, at most `most`, and fewer where they are long."""
    window: list[Row] = []
    characters = 0
    for row in islice(rows, most):
        window.append(row)
        characters += size_of(row)
        if characters >= _MOST_CHARACTERS:
            break
    return window


def _silent(*arguments: object) -> None:
    pass


@dataclass(frozen=True)
class _Names:
    """Names of the result columns; see `process`."""

    columns: tuple[str, ...]
    main: str | None

    def of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a result under their names in the output."""
        if self.main is None:
            return dict(fields)
        first = self.columns[0] if self.columns else next(iter(fields), None)
        return {self.main if name == first else f"{self.main}_{name}": x for name, x in fields.items()}

    def taken(self, row: Row, fields: Iterable[str]) -> str | None:
        """Return why these result columns cannot be added to a row; None if they can."""
        name = next((name for name in fields if name in row.data), None)
        if name is None:
            return None
        return f"the input has a column {name!r} already, and a result would replace it"


@dataclass
class _Run:
    """State of one `process` call; `done` and `failed` count over the whole output."""

    source: RowSource
    prepare: Prepare
    work: Work
    output: JournaledOutput | StreamOutput
    budget: Budget
    skip: bool
    names: _Names
    progress: OnProgress
    notice: Callable[[str], None]
    reworded: Callable[[str], str]
    done: int
    failed: int
    resumed: int
    share: float | None

    def window(self, rows: list[Row]) -> None:
        """Run one window and write it."""
        share_before = self.share if self.done else 0.0
        share_after = self.source.fraction()
        total = self.done + len(rows) if share_after == 1.0 else None
        results: dict[int, Result] = {}

        def settle(new: dict[int, Result], fields: list[dict[str, Any]] | None) -> None:
            results.update(new)
            self.done += len(new)
            self.failed += sum(isinstance(result, Failure) for result in new.values())
            self.share = None
            if total is not None:
                self.share = self.done / total
            elif share_before is not None and share_after is not None:
                # The source is read a window ahead of the work.
                self.share = share_before + (share_after - share_before) * len(results) / len(rows)
            self.progress(self.done, self.failed, fields, self.share)

        known = self.output.begin_window(rows)
        self.resumed += len(known)
        pending, refused = self._ready([row for row in rows if row.index not in known])
        settle(known | refused, None)
        while pending:
            batch = next_batch(pending, self.budget)
            answers = self._answers(batch)
            if answers is None:
                continue
            self.output.commit(list(answers.items()))
            del pending[: len(batch)]
            settle(answers, [answer for answer in answers.values() if not isinstance(answer, Failure)])
        failures = [
            result.reason if isinstance(result, Failure) else None
            for result in (results[row.index] for row in rows)
        ]
        self.output.end_window([row_out(row, results[row.index]) for row in rows], failures)

    def _ready(self, rows: list[Row]) -> tuple[list[PreparedRow[Any]], dict[int, Result]]:
        """Return the rows prepared and sorted for `next_batch`, and the results of rows that cannot run."""
        errors = {row.index: RowError(row.where, row.error) for row in rows if row.error is not None}
        columns = self.names.of(dict.fromkeys(self.names.columns))
        for row in rows:
            taken = self.names.taken(row, columns)
            if taken is not None and not self.done:
                raise OptionError("result_field", f"is needed: {row.where}: {taken}; give it a new name")
            if taken is not None:
                errors[row.index] = RowError(row.where, f"{taken}; `result_field` renames it")
        readable = [row for row in rows if row.index not in errors]
        prepared = self.prepare(readable) if readable else []
        pending = []
        for row, item in zip(readable, prepared, strict=True):
            if isinstance(item, RowError):
                errors[row.index] = item
            else:
                pending.append(item)
        return sorted(pending, key=longest_first), self._settled(errors)

    def _answers(self, batch: list[PreparedRow[Any]]) -> dict[int, Result] | None:
        """Run one batch; return results by row index, or None after reducing the budget."""
        try:
            answers = self.work(batch, self.budget)
        except RequestRefused as error:
            return self._settled(self._parted(batch, str(error)))
        except OutOfMemory as error:
            reason = str(error)
        else:
            return self._settled(
                {p.row.index: self._checked(p.row, answer) for p, answer in zip(batch, answers, strict=True)}
            )
        # Outside `except`: a live exception keeps the failed batch's tensors in memory.
        smaller = self.budget.halved(batch)
        if smaller is None:
            row = batch[0].row
            return self._settled({row.index: RowError(row.where, f"does not fit into memory: {reason}")})
        self.budget = smaller
        self.output.set_budget(smaller)
        self.notice(f"out of memory with {len(batch)} rows at once; continuing with fewer")
        return None

    def _parted(self, batch: list[PreparedRow[Any]], reason: str) -> dict[int, dict[str, Any] | RowError]:
        """Run the two halves of a batch of which one row was refused, until that row is alone."""
        if len(batch) == 1:
            return {batch[0].row.index: RowError(batch[0].row.where, reason)}
        found: dict[int, dict[str, Any] | RowError] = {}
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            try:
                answers = self.work(half, self.budget)
            except RequestRefused as error:
                found |= self._parted(half, str(error))
                continue
            for one, answer in zip(half, answers, strict=True):
                found[one.row.index] = self._checked(one.row, answer)
        return found

    def _settled(self, answers: Mapping[int, dict[str, Any] | RowError]) -> dict[int, Result]:
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

    def _checked(self, row: Row, answer: dict[str, Any] | RowError) -> dict[str, Any] | RowError:
        """Return the answer as a resumed run would read it from the journal, so that both write the same."""
        if isinstance(answer, RowError):
            return answer
        named = self.names.of(answer)
        taken = self.names.taken(row, named)
        if taken is not None:
            return RowError(row.where, f"{taken}; `result_field` renames it")
        try:
            fields: dict[str, Any] = json.loads(dumps(named))
        except ValueError:
            return RowError(row.where, "its result holds NaN or Infinity, which JSON cannot hold")
        return fields
