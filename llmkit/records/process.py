"""Run a function over all rows: window by window, batch by batch, in input order out.

Public: `process`, `Summary`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from llmkit.errors import OutOfMemory, RowError
from llmkit.records.batches import Budget, PreparedRow, longest_first, next_batch
from llmkit.records.journal import Failure, Result
from llmkit.records.output import JournaledOutput, StreamOutput
from llmkit.records.read import RowSource
from llmkit.records.rows import Row
from llmkit.records.strict_json import dumps

Prepare = Callable[[list[Row]], Sequence[PreparedRow[Any] | RowError]]
Work = Callable[[list[PreparedRow[Any]], Budget], Sequence[dict[str, Any] | RowError]]
OnProgress = Callable[[int, int, list[dict[str, Any]] | None, float | None], None]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        rows: rows in the output.
        failed: how many of them carry an `error`.
        resumed: how many were already done when this run began.
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
    progress: OnProgress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Summary:
    """Write, for each row of `source` and in its order, the row with the fields that `work` gives it.

    Memory holds one window of rows. Within it, rows run longest first in batches cut by `budget`; each
    finished batch is committed whole. The batches are a pure function of the rows, of `prepare`, `budget`
    and `window`, and the same on resuming; that the file is then the same byte for byte also takes a
    `prepare` and a `work` that depend on their arguments alone.

    Args:
        source: the rows.
        prepare: makes rows ready, one result per row in the same order; a RowError in place of a row that
            cannot be run. It must treat each row by itself, and sees only rows that could be read.
        work: takes one batch and the budget, and returns the fields to add to each row, or a RowError, in the
            same order. It may raise `OutOfMemory`; the batch is then tried again with half the budget.
        output: where the rows go, already entered.
        budget: what a batch may hold; an output that is resumed after an out-of-memory brings its own.
        window: rows read and sorted at a time. A resumed run must use the same.
        on_error: "skip" writes a failed row with an `error` field; "fail" ends the run at it.
        progress: called after each batch with the rows done, how many of them failed, the batch's fields
            (None where no batch ran) and the share of the input that is done (None if not known).
        notice: called with a sentence when memory ran out and the run goes on.

    Raises:
        RowError: a row failed under "fail".
        InputError: the source turned out broken, or is not the one that the output was begun with.
        LLMKitError: the output cannot be written.

    Whatever is raised, here or in a callback, a journaled output is left so that it can be resumed.
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
        progress=progress or _silent,
        notice=notice or _silent,
        done=output.done_rows,
        failed=output.failed,
        resumed=output.done_rows,
        share=source.fraction(),
    )
    while chunk := list(islice(rows, window)):
        run.window(chunk)
    output.finish()
    return Summary(run.done, run.failed, run.resumed, time.monotonic() - started)


def _silent(*told: object) -> None:
    pass


@dataclass
class _Run:
    """The state of one `process` call; `done` and `failed` count over the whole output."""

    source: RowSource
    prepare: Prepare
    work: Work
    output: JournaledOutput | StreamOutput
    budget: Budget
    skip: bool
    progress: OnProgress
    notice: Callable[[str], None]
    done: int
    failed: int
    resumed: int
    share: float | None

    def window(self, rows: list[Row]) -> None:
        """Run one window and write it."""
        failed_before = self.failed
        share_before, share_after = self.share, self.source.fraction()
        results: dict[int, Result] = {}

        def settle(new: dict[int, Result], fields: list[dict[str, Any]] | None) -> None:
            results.update(new)
            self.done += len(new)
            self.failed += sum(isinstance(result, Failure) for result in new.values())
            self.share = None
            if share_before is not None and share_after is not None:
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
        rows_out = [_row_out(row, results[row.index]) for row in rows]
        self.output.end_window(rows_out, self.failed - failed_before)

    def _ready(self, rows: list[Row]) -> tuple[list[PreparedRow[Any]], dict[int, Result]]:
        """Rows prepared and sorted for `next_batch`, and the results of those that cannot run."""
        readable = [row for row in rows if row.error is None]
        prepared = self.prepare(readable) if readable else []
        errors = {row.index: RowError(row.where, row.error) for row in rows if row.error is not None}
        pending = []
        for row, item in zip(readable, prepared, strict=True):
            if isinstance(item, RowError):
                errors[row.index] = item
            else:
                pending.append(item)
        return sorted(pending, key=longest_first), self._settled(errors)

    def _answers(self, batch: list[PreparedRow[Any]]) -> dict[int, Result] | None:
        """Run one batch: results by row index; None if memory ran out and a smaller budget is set."""
        try:
            answers = self.work(batch, self.budget)
        except OutOfMemory as error:
            reason = str(error)
        else:
            return self._settled(
                {p.row.index: _checked(p.row, answer) for p, answer in zip(batch, answers, strict=True)}
            )
        # Outside `except`: a live exception keeps the failed batch's tensors in memory.
        smaller = self.budget.halved(batch)
        if smaller is None:
            row = batch[0].row
            return self._settled({row.index: RowError(row.where, f"does not fit into memory: {reason}")})
        self.budget = smaller
        self.output.set_budget(smaller)
        self.notice(f"out of memory with {len(batch)} rows at once; going on with fewer")
        return None

    def _settled(self, answers: Mapping[int, dict[str, Any] | RowError]) -> dict[int, Result]:
        """Answers by row index as results; under "fail", the first row that failed ends the run."""
        failed = {index: answer for index, answer in answers.items() if isinstance(answer, RowError)}
        if failed and not self.skip:
            error = failed[min(failed)]
            if not self.output.kept:
                raise error
            kept = f"{self.output.kept} rows are done and kept: --resume --on-error skip goes on"
            raise RowError(error.where, f"{error.reason} ({kept})")
        return {
            index: Failure(answer.reason) if isinstance(answer, RowError) else answer
            for index, answer in answers.items()
        }


def _checked(row: Row, answer: dict[str, Any] | RowError) -> dict[str, Any] | RowError:
    """The answer as it would be read back from the journal, so that a resumed run writes the same."""
    if isinstance(answer, RowError):
        return answer
    try:
        fields: dict[str, Any] = json.loads(dumps(answer))
    except ValueError:
        return RowError(row.where, "its result holds NaN or Infinity, which JSON cannot")
    return fields


def _row_out(row: Row, result: Result) -> dict[str, Any]:
    if not isinstance(result, Failure):
        return {**row.data, **result}
    if row.error is not None:
        return {"error": f"{row.where}: {result.reason}"}
    return {**row.data, "error": result.reason}
