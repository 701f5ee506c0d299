"""Run a function over all rows, by windows and batches, and write the rows in input order.

Public: `process`, `Summary`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from llmkit.records.batches import Budget
from llmkit.records.output import JournaledOutput, StreamOutput
from llmkit.records.processing.batch_run import OnProgress, Prepare, ResultNames, RowRun, Work
from llmkit.records.processing.pipeline import run_ahead
from llmkit.records.processing.turn import Turn
from llmkit.records.processing.windows import growing_windows, windows
from llmkit.records.read import RowSource


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
    early: bool = False,
    on_error: Literal["fail", "skip"] = "fail",
    columns: Sequence[str] = (),
    result_field: str | None = None,
    progress: OnProgress | None = None,
    notice: Callable[[str], None] | None = None,
    reworded: Callable[[str], str] = str,
    at_once: int = 1,
    turn: Turn | None = None,
) -> Summary:
    """Add the fields that `work` returns to each row of `source`, and write the rows in input order.

    A stream gets each row as soon as it and all rows before it are done; a file, window by window.

    Memory holds one window of rows. It ends before `window` rows once they have 64 Mi characters. Within it,
    rows run longest first in batches cut by `budget`; each finished batch is committed whole. The batches are
    a pure function of the rows, of `prepare`, `budget` and `window`, so they are the same after a resume.
    The file is then identical byte for byte, provided that `prepare` and `work` depend on their arguments
    only.

    A result never replaces a column of the input: such a row is refused, before any work if it is in the
    first window. So an output row failed if and only if it has no result column. Its reason is in the column
    `error`, or in `llmkit_error` if the input has a column `error`.

    Args:
        source: the rows.
        prepare: makes rows ready: one result per row in the same order, or a RowError for a row that
            cannot run. It must treat each row independently. It receives only readable rows.
        work: runs one batch, given the budget: returns the fields to add to each row, or a RowError, in the
            same order. It may raise `OutOfMemory`; the batch then runs again with half the budget.
        output: an output that was entered.
        budget: limits of a batch; an output that is resumed after an out-of-memory error has its own.
        window: most rows read and sorted at a time. A resumed run must use the same.
        early: begin with small windows, so that the first rows are complete soon; see `growing_windows`.
            Only for an output that is not resumed.
        on_error: "skip" writes a failed row with the reason; "fail" ends the run there.
        columns: known names of the fields that `work` returns, the main one first.
        result_field: another name for the main field; another field `x` becomes `RESULT_FIELD_x`.
        progress: called after each batch with the rows done, the number of failed ones, the batch's fields
            (None if no batch ran) and the share of the input that is done (None if unknown).
        notice: called with a sentence when memory ran out and the run continues.
        reworded: takes the reason of a failure, and returns the text for the row, in which options have the
            names that the user knows.
        at_once: batches that run at the same time, in threads; the output is the same.
        turn: lock that lets one thread at a time run `prepare` and `work`; `work` releases it while it waits.

    Raises:
        RowError: a row failed under "fail".
        OptionError: a result would replace a column of the input.
        InputError: the source is broken, or is not the source of the earlier run.
        LLMKitError: the output cannot be written.

    After any exception, here or in a callback, a journaled output can be resumed.
    """
    started = time.monotonic()
    rows = iter(source)
    output.catch_up(rows)
    run = RowRun(
        source=source,
        prepare=prepare,
        work=work,
        output=output,
        budget=output.budget or budget,
        skip=on_error == "skip",
        names=ResultNames(tuple(columns), result_field),
        progress=progress or _silent,
        notice=notice or _silent,
        reworded=reworded,
        done=output.done_rows,
        failed=output.failed,
        resumed=output.done_rows,
        read=output.done_rows,
        read_share=source.fraction() if output.done_rows else 0.0,
        turn=turn or Turn(),
    )
    if early:
        chunks = growing_windows(rows, window, source.size_of, budget)
    else:
        chunks = windows(rows, window, source.size_of)
    if at_once > 1:
        run_ahead(run, chunks, at_once=at_once)
    else:
        for chunk in chunks:
            run.run_window(chunk)
    output.finish()
    return Summary(run.done, run.failed, run.resumed, time.monotonic() - started)


def _silent(*arguments: object) -> None:
    pass
