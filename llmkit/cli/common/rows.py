"""Rows for all text verbs: open them, and run a task over them.

A verb brings a `Task`; reading, batching, the journal, progress, rendering and the exit code are the same for
all verbs.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llmkit.cli.common import console, progress, signals
from llmkit.cli.common.options import InputFlags, OutputFlags
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.records.batches import Budget
    from llmkit.records.process import Summary
    from llmkit.records.read import RowSource
    from llmkit.records.task import RunState, Task
    from llmkit.tasks.generation import Generation
    from llmkit.tasks.prompts import PromptMaker

WINDOW = 1024


def open_source(
    text: str | None,
    flags: InputFlags,
    *,
    field: str,
    give: str = "give a text, text on stdin, or --input FILE (see --help)",
) -> tuple[RowSource, bool]:
    """Open the verb's rows: the argument, a file, or stdin.

    Args:
        text: the verb's argument.
        flags: the input flags.
        field: column of a text from the argument or stdin.
        give: the possible inputs, for the message that there is no input.

    Returns:
        The rows, and True if they are a single text.
    """
    from llmkit.records.read import UnknownFormat, open_rows, rows_of

    if flags.field is not None and flags.template is not None:
        raise InputError("--field takes one column and --template several: give one of them")
    if text is not None and flags.input is not None:
        raise InputError("a text and --input were given: give one of them")
    if text is not None and flags.lines:
        raise InputError("a text and --lines were given: --lines applies to stdin, which is not read here")
    if flags.input is not None:
        try:
            source = open_rows(flags.input, lines=flags.lines, whole=flags.whole, encoding=flags.encoding)
        except UnknownFormat as error:
            raise InputError(
                f"{error}; for plain text, --whole reads it as one text and --lines each line as one"
            ) from error
        return source.limited(flags.limit), False
    for flag in ("field", "template", "whole"):
        if getattr(flags, flag):
            raise InputError(f"--{flag} applies to rows of a file: give it with --input")
    if flags.limit is not None and (text is not None or not flags.lines):
        raise InputError("--limit applies to rows: give a file with --input, or give --lines")
    if text is not None:
        if flags.encoding is not None:
            raise InputError("--encoding applies to a file or stdin, not to a text on the command line")
        return rows_of([text], field=field, name=field), True
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(f"no input: {give}")
    if flags.lines:
        lines = rows_of(_stdin_lines(flags.encoding), field=field, name="stdin")
        return lines.limited(flags.limit), False
    whole = "".join(line + "\n" for line in _stdin_lines(flags.encoding))
    if not whole.strip():
        raise InputError(f"stdin is empty: {give}")
    if _is_row(whole.partition("\n")[0]):
        console.notice("stdin is read as one text; --input - reads it as rows of JSON")
    return rows_of([whole.removesuffix("\n")], field=field, name="stdin"), True


def _is_row(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _stdin_lines(encoding: str | None) -> Iterator[str]:
    """Yield the lines of stdin, without their ends."""
    from llmkit.records.read import open_rows

    for row in open_rows("-", lines=True, encoding=encoding):
        if row.error is not None:
            raise InputError(f"{row.where}: {row.error}")
        yield row.data["text"]


Render = Callable[[dict[str, Any], str | None], str]
"""Function that returns the plain output of an output row and the reason of its failure."""


def run_rows(
    task: Task[Any],
    source: RowSource,
    flags: OutputFlags,
    *,
    verb: str,
    field: str,
    render: Render | None = None,
    answers: bool = False,
    single: bool = False,
    more: Sequence[str] = (),
) -> None:
    """Run `task` over all rows, to `--output` or stdout, and exit with 3 if some failed under skip.

    Args:
        task: answers the rows.
        source: the rows.
        flags: the output flags.
        verb: the verb's name, for the journal and the progress line.
        field: the result field that plain output shows.
        render: returns the plain output; None shows `field` on a line.
        answers: plain output leaves out the white space with which a chat model's answer begins.
        single: there is one row; plain output keeps its line breaks, with --- between several results.
        more: names of further result fields.
    """
    from llmkit.records.output import StreamOutput

    summary: Summary | None
    if flags.output is None:
        plain = None if flags.json else render or _plain(flags.result_field or field, answers, single)
        budget = task.budget(flags.rows_per_batch())
        stream = StreamOutput(sys.stdout, plain)
        try:
            summary = _process(task, source, flags, stream, budget, verb, (field, *more), early=True)
        except (KeyboardInterrupt, signals.Terminated):
            if not single:
                there = console.count(stream.written, "row")
                console.notice(f"interrupted: {there} on stdout; with -o FILE, a run can be resumed")
            raise
    else:
        summary = to_file(task, source, flags, verb=verb, columns=(field, *more))
        report_rows(summary, flags.output)
    if summary is not None and summary.failed:
        why = "" if flags.output is None and not flags.json else "; their `error` field gives the reason"
        console.notice(f"{summary.failed} of {summary.rows} rows failed{why}")
        raise console.Exit(3)


def check_output(flags: OutputFlags) -> None:
    """Refuse an output that cannot be written, before the model is loaded."""
    from llmkit.records.remote.output import check_output as check

    flags.check()
    if flags.output is not None:
        check(flags.output, resume=flags.resume, overwrite=flags.overwrite)


def to_file(
    task: Task[Any], source: RowSource, flags: OutputFlags, *, verb: str, columns: Sequence[str] = ()
) -> Summary | None:
    """Run `task` over all rows and write `flags.output`, with a journal next to it during the run.

    Returns:
        The totals; None if the file was already finished.
    """
    from llmkit.records.batches import Budget
    from llmkit.records.remote.output import open_output

    assert flags.output is not None
    header, adopt = header_of(task, source, flags, verb)
    with open_output(
        flags.output, header, resume=flags.resume, overwrite=flags.overwrite, adopt=adopt
    ) as output:
        if output.finished:
            console.notice(f"{_shown(flags.output)} is finished already; nothing to do")
            return None
        _check_workers(task.run_state, output.header)
        task.run_state.seed = output.header["seed"]
        _set_threads(output.header)
        budget = Budget(**output.header["budget"])
        try:
            summary = _process(task, source, flags, output, budget, verb, columns)
        except BaseException as error:
            stopped = not isinstance(error, Exception)  # Ctrl-C or SIGTERM, which print no message
            if stopped and output.kept:
                console.notice(f"interrupted: {output.kept} rows are finished and kept; --resume continues")
            raise
    return summary


def header_of(
    task: Task[Any], source: RowSource, flags: OutputFlags, verb: str
) -> tuple[dict[str, Any], list[str]]:
    """Return all settings that determine the output, and the keys that a resumed run reuses.

    The reused ones are those that the user did not choose.
    """
    header = {
        "verb": verb,
        **task.header(),
        "seed": task.run_state.seed,
        **_threads(),
        "window": WINDOW,
        "batch_size": flags.batch_size,
        "result_field": flags.result_field,
        "budget": asdict(task.budget(flags.rows_per_batch())),
        "limit": source.limit,
        "input": source.identity(),
        "workers": None if task.run_state.workers is None else task.run_state.workers.hardware,
    }
    return header, ["threads", "budget", "workers", *([] if task.run_state.seed_given else ["seed"])]


def to_stream(
    task: Task[Any],
    source: RowSource,
    flags: OutputFlags,
    stream: TextIO,
    *,
    verb: str,
    columns: Sequence[str] = (),
) -> Summary:
    """Run `task` over all rows and write them to a text stream as JSONL, without a journal."""
    from llmkit.records.output import StreamOutput

    budget = task.budget(flags.rows_per_batch())
    return _process(task, source, flags, StreamOutput(stream, None), budget, verb, columns)


def report_rows(summary: Summary | None, output: Path | None) -> None:
    """Report the number of rows in a file."""
    if summary is not None:
        resumed = f" ({summary.resumed} of them before)" if summary.resumed else ""
        name = _shown(output)
        form = "" if name.lower().endswith((".jsonl", ".ndjson", ".csv", ".parquet")) else ", as JSONL"
        console.notice(f"{console.count(summary.rows, 'row')}{resumed} in {name}{form}")


def _shown(path: Path | None) -> str:
    """Return the name of an output as the user gave it."""
    from llmkit.records.remote.urls import url_of

    return "" if path is None else url_of(path) or str(path)


def report_shortened(prompts: PromptMaker) -> None:
    """Report the number of truncated prompts."""
    if prompts.shortened:
        lost = "their oldest turns" if prompts.options.truncate == "turns" else "a part"
        number = console.count(prompts.shortened, "prompt")
        limit = f"the {prompts.context_length} tokens of the context of {prompts.name}"
        console.notice(f"{number} longer than {limit}: the model did not see {lost}")


def report_cut(generation: Generation) -> None:
    """Report answers that were cut before the end of their form."""
    if cut := generation.details.cut:
        console.notice(
            f"answers that a limit such as `max_new_tokens` ended before they were complete: {cut}; their"
            " `finish_reason` is length"
        )


def report_seed(run_state: RunState, *, sampling: bool) -> None:
    """Report a given seed that has no effect, and under `-v` a seed that was drawn."""
    if not sampling:
        report_unused_seed(
            run_state.seed if run_state.seed_given else None, "`temperature` turns sampling on"
        )
    elif not run_state.seed_given:
        console.detail(f"seed {run_state.seed}: drawn")


def report_unused_seed(seed: int | None, reason: str) -> None:
    """Report a given seed if the work uses no random numbers.

    Args:
        seed: the seed; None if none was given.
        reason: end of the sentence, such as what to set to make the work random.
    """
    if seed is not None:
        console.notice(f"`seed` has no effect, because nothing is sampled; {reason}")


def _check_workers(run_state: RunState, header: dict[str, Any]) -> None:
    """Refuse to resume on workers that differ from those of the journal."""
    workers, before = run_state.workers, header["workers"]
    if workers is None or before is None or workers.allow_mixed:
        return
    from llmkit.records.journal import difference

    different = difference(before, workers.hardware)
    if different is not None:
        raise InputError(
            f"cannot resume: the workers' {different}, so the rows could differ; `allow_mixed` allows this"
        )


def _threads() -> dict[str, int]:
    """Return the number of torch's threads; an empty dict if torch is not imported and no model runs."""
    torch = sys.modules.get("torch")
    return {} if torch is None else {"threads": torch.get_num_threads()}


def _set_threads(header: dict[str, Any]) -> None:
    if "threads" in header:
        import torch

        torch.set_num_threads(header["threads"])


def _process(
    task: Task[Any],
    source: RowSource,
    flags: OutputFlags,
    output: Any,
    budget: Budget,
    verb: str,
    columns: Sequence[str],
    *,
    early: bool = False,
) -> Summary:
    from llmkit.records.process import process

    workers = task.run_state.workers
    with progress.Progress(verb, total=1.0) as bar:
        return process(
            source,
            prepare=task.prepare,
            work=task.fields,
            output=output,
            budget=budget,
            window=WINDOW,
            early=early,
            on_error="skip" if flags.on_error == "skip" else "fail",
            columns=columns,
            result_field=flags.result_field,
            progress=_speed(task.run_state, source, bar),
            notice=console.notice,
            reworded=console.with_flags,
            at_once=1 if workers is None else workers.calls,
            turn=None if workers is None else workers.turn,
        )


def _speed(run_state: RunState, source: RowSource, bar: progress.Progress) -> Callable[..., None]:
    """Return a function that shows rows/s and tokens/s of this run, without the rows of earlier runs."""
    started = time.monotonic()
    first: list[int] = []

    def show(done: int, failed: int, fields: Any, share: float | None) -> None:
        first.append(done) if not first else None
        seconds = max(time.monotonic() - started, 1e-9)
        total = source.total()
        text = f"{done} rows" if total is None else f"{done} of {console.count(total, 'row')}"
        text += f", {(done - first[0]) / seconds:.1f} rows/s" if done > first[0] else ""
        if run_state.tokens_written:
            text += f", {run_state.tokens_written / seconds:.0f} tokens/s"
        text += f", {run_state.workers.describe()}" if run_state.workers is not None else ""
        bar.update(share or 0.0, text + (f", {failed} failed" if failed else ""))

    return show


def _plain(field: str, answers: bool, single: bool) -> Render:
    """Return a function that renders a result as one line: a line break inside it becomes a space.

    Several results of a row are a line each, and an empty line ends them. See `run_rows` for the options.
    """
    reported: list[bool] = []
    numbers = itertools.count(1)

    def render(row: dict[str, Any], failure: str | None) -> str:
        number = next(numbers)
        if failure is not None:
            console.error(f"row {number}: {failure}")
            return ""
        several = isinstance(row[field], list)
        results = row[field] if several else [row[field]]
        if answers:
            results = [str(result).lstrip() for result in results]
        if single:
            return "\n---\n".join(map(str, results))
        lines = [" ".join(str(result).splitlines()) for result in results]
        if not reported and any(len(str(result).splitlines()) > 1 for result in results):
            reported.append(True)
            console.notice("line breaks inside results are shown as spaces; --json keeps them")
        return "\n".join(lines) + "\n" * several

    return render
