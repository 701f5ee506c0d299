"""What all text verbs share: where their rows come from, and the run over many of them.

A verb brings a `RowTask` (a loaded model with its options); reading, batching, the journal, progress,
rendering and the exit code are the same for all.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from llmkit.cli.common import console
from llmkit.cli.common.options import InputFlags, OutputFlags
from llmkit.errors import InputError, RowError

if TYPE_CHECKING:
    from llmkit.records.batches import Budget, PreparedRow
    from llmkit.records.process import Summary
    from llmkit.records.read import RowSource
    from llmkit.records.rows import Row

WINDOW = 1024


class RowTask(Protocol):
    """What a verb does to rows.

    Attributes:
        seed: of everything random in it; may be set before the first batch.
        seed_given: the user chose it.
        tokens_written: so far, for the progress line.
    """

    seed: int

    @property
    def seed_given(self) -> bool: ...

    @property
    def tokens_written(self) -> int: ...

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow | RowError]:
        """Make rows ready to run."""

    def work(self, batch: Sequence[PreparedRow]) -> list[dict[str, Any] | RowError]:
        """Run a batch: the fields that each row gains."""

    def budget(self, batch_size: int | None) -> Budget:
        """How much a batch may hold."""

    def header(self) -> dict[str, Any]:
        """All that the results depend on, besides the rows and the seed, as JSON."""


@runtime_checkable
class InSubBatches(Protocol):
    """A `RowTask` that cuts its rows into parts and calls the model on those.

    Attributes:
        limit: how much one call may hold; what `budget` gave, or the run that is resumed had.
    """

    limit: Budget


def open_source(text: str | None, flags: InputFlags, *, field: str) -> tuple[RowSource, bool]:
    """The verb's rows, and whether there is just one text: from the argument, a file, or stdin.

    Args:
        text: the verb's argument.
        flags: the input flags.
        field: what a text from the argument or stdin is called in its row.
    """
    from llmkit.records.read import open_rows, rows_of

    if flags.field is not None and flags.template is not None:
        raise InputError("--field takes one column and --template several: give one of them")
    if text is not None and flags.input is not None:
        raise InputError("a text and --input were given: give one of them")
    if text is not None and flags.lines:
        raise InputError("a text and --lines were given: --lines is about stdin, which is not read then")
    if flags.input is not None:
        return open_rows(flags.input, whole=flags.whole), False
    for flag in ("field", "template", "whole"):
        if getattr(flags, flag):
            raise InputError(f"--{flag} is about rows of a file: name it with --input")
    if text is not None:
        return rows_of([text], field=field, name=field), True
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing to work on: give a text, --input FILE, or text on stdin (see --help)")
    if flags.lines:
        return rows_of(_stdin_lines(), field=field, name="stdin"), False
    whole = "".join(line + "\n" for line in _stdin_lines())
    if not whole.strip():
        raise InputError("stdin is empty")
    return rows_of([whole.removesuffix("\n")], field=field, name="stdin"), True


def _stdin_lines() -> Any:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"stdin:{number}: not UTF-8; convert it, e.g. iconv -f latin1 -t utf-8"
            ) from error


def run_rows(task: RowTask, source: RowSource, flags: OutputFlags, *, verb: str, field: str) -> None:
    """Run `task` over all rows, to `--output` or stdout, and exit with 3 if some failed under skip.

    Args:
        task: what is done to the rows.
        source: the rows.
        flags: the output flags.
        verb: the verb's name, for the journal and the progress line.
        field: the result field that plain output shows.
    """
    from llmkit.records.output import StreamOutput

    summary: Summary | None
    if flags.output is None:
        render = None if flags.json else _plain(field)
        budget = task.budget(flags.rows_per_batch())
        summary = _process(task, source, flags, StreamOutput(sys.stdout, render), budget, verb)
    else:
        summary = to_file(task, source, flags, verb=verb)
        tell(summary, flags.output)
    if summary is not None and summary.failed:
        why = "" if flags.output is None and not flags.json else "; each says why in its `error` field"
        console.notice(f"{summary.failed} of {summary.rows} rows failed{why}")
        raise console.Exit(3)


def check_output(flags: OutputFlags) -> bool:
    """Refuse an output that cannot be written, before the model is loaded.

    Returns:
        True if `--resume` finds the file finished, so that there is nothing to do.
    """
    from llmkit.records import output

    flags.check()
    if flags.output is None:
        return False
    finished = output.check(flags.output, resume=flags.resume, overwrite=flags.overwrite)
    if finished:
        console.notice(f"{flags.output} is finished already; nothing to do")
    return finished


def to_file(task: RowTask, source: RowSource, flags: OutputFlags, *, verb: str) -> Summary | None:
    """Run `task` over all rows into the file `flags.output`, with a journal beside it while that lasts.

    Returns:
        What was done; None where the file was finished already.
    """
    from llmkit.records.batches import Budget
    from llmkit.records.output import JournaledOutput

    assert flags.output is not None
    budget = task.budget(flags.rows_per_batch())
    header = {
        "verb": verb,
        **task.header(),
        "seed": task.seed,
        **_threads(),
        "window": WINDOW,
        "batch_size": flags.batch_size,
        "budget": asdict(budget),
        "input": source.identity(),
    }
    # What the user left to us is taken over from the run that is resumed.
    adopt = ["threads", "budget", *([] if task.seed_given else ["seed"])]
    with JournaledOutput(
        flags.output, header, resume=flags.resume, overwrite=flags.overwrite, adopt=adopt
    ) as output:
        if output.finished:
            return None
        task.seed = output.header["seed"]
        _set_threads(output.header)
        budget = Budget(**output.header["budget"])
        if isinstance(task, InSubBatches):
            task.limit = budget
        try:
            summary = _process(task, source, flags, output, budget, verb)
        except BaseException as error:
            stopped = not isinstance(error, Exception)  # Ctrl-C or SIGTERM, which say nothing themselves
            if stopped and output.kept:
                console.notice(f"interrupted: {output.kept} rows are done and kept; --resume goes on")
            raise
    return summary


def tell(summary: Summary | None, output: Path | None) -> None:
    """Say how many rows a file got."""
    if summary is not None:
        resumed = f" ({summary.resumed} of them before)" if summary.resumed else ""
        console.notice(f"{console.count(summary.rows, 'row')}{resumed} in {output}")


def _threads() -> dict[str, int]:
    """How many threads torch computes with; nothing where no model runs and torch was not imported."""
    torch = sys.modules.get("torch")
    return {} if torch is None else {"threads": torch.get_num_threads()}


def _set_threads(header: dict[str, Any]) -> None:
    if "threads" in header:
        import torch

        torch.set_num_threads(header["threads"])


def _process(
    task: RowTask, source: RowSource, flags: OutputFlags, output: Any, budget: Budget, verb: str
) -> Summary:
    from llmkit.records.process import process

    with console.Progress(verb, total=1.0) as bar:
        return process(
            source,
            prepare=task.prepare,
            work=task.work,
            output=output,
            budget=budget,
            window=WINDOW,
            on_error="skip" if flags.on_error == "skip" else "fail",
            progress=_speed(task, bar),
            notice=console.notice,
        )


def _speed(task: RowTask, bar: console.Progress) -> Callable[..., None]:
    """Progress as rows/s and tokens/s of this run: rows that were done before do not count."""
    started = time.monotonic()
    first: list[int] = []

    def tell(done: int, failed: int, fields: Any, share: float | None) -> None:
        first.append(done) if not first else None
        seconds = max(time.monotonic() - started, 1e-9)
        text = f"{done} rows, {(done - first[0]) / seconds:.1f} rows/s"
        if task.tokens_written:
            text += f", {task.tokens_written / seconds:.0f} tokens/s"
        bar.update(share or 0.0, text + (f", {failed} failed" if failed else ""))

    return tell


def _plain(field: str) -> Callable[[dict[str, Any]], str]:
    """One line per result: line breaks inside one become spaces, so that lines in are lines out."""
    told: list[bool] = []
    numbers = itertools.count(1)

    def render(row: dict[str, Any]) -> str:
        number = next(numbers)
        if "error" in row and field not in row:
            console.error(f"row {number}: {row['error']}")
            return ""
        results = row[field] if isinstance(row[field], list) else [row[field]]
        lines = [" ".join(str(result).splitlines()) for result in results]
        if not told and any(len(str(result).splitlines()) > 1 for result in results):
            told.append(True)
            console.notice("line breaks inside results are shown as spaces; --json keeps them")
        return "\n".join(lines)

    return render
