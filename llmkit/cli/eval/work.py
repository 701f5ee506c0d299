"""Score rows and report the result; used by all kinds of runs except benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llmkit.cli.common import console, progress
from llmkit.cli.eval.flags import Flags
from llmkit.cli.eval.report import PerRecord, report_scores, stem
from llmkit.errors import InputError, OptionError
from llmkit.whole_file import write_whole

if TYPE_CHECKING:
    from llmkit.evaluation import Example, Metric
    from llmkit.evaluation.external import Module
    from llmkit.evaluation.page import PlottedRows
    from llmkit.evaluation.results import Record
    from llmkit.records.rows import Row


@dataclass
class Work:
    """Rows to be scored, and metrics for them.

    Attributes:
        source: name of the input.
        metrics: the metrics.
        rows: the rows.
        baselines: rows of other systems, by name.
        modules: metrics from `evaluate`.
        model: description of the model that wrote the predictions, if known.
    """

    source: str
    metrics: list[Metric]
    rows: Iterable[Example]
    baselines: Mapping[str, Iterable[Example]] = field(default_factory=dict)
    modules: Sequence[Module] = ()
    model: str | None = None


def only_file(flags: Flags) -> str:
    """Return the input: a file, or `-` for stdin.

    Raises:
        InputError: there is none, or several.
    """
    if len(flags.files) > 1:
        raise InputError(f"{flags.files[1]}: only predictions in files can be compared; give one file")
    if flags.files:
        return flags.files[0]
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing to score: give a file of predictions, or rows on stdin (see --help)")
    return "-"


def configured(
    names: Sequence[str], flags: Flags, sample: Sequence[Example], *, language: str | None
) -> list[Metric]:
    """Build the metrics with the user's options, and print a notice for each automatic choice.

    Raises:
        OptionError: an option applies to none of the metrics, or its value is not allowed.
    """
    from llmkit.evaluation.defaults import configure

    try:
        metrics, notes = configure(names, flags.metric_options(), sample, language=language)
    except OptionError as error:
        if error.option != "language":
            raise
        raise OptionError("to", error.reason) from None  # the flag has another name
    for note in notes:
        console.notice(note)
    return metrics


def baselines(flags: Flags, source: str) -> list[str]:
    """Return the files of the baselines.

    Raises:
        OptionError: one is the input, or is given twice.
    """
    files = flags.scoring.baseline or []
    seen = {Path(source).resolve()}
    for name in files:
        if name != "-" and Path(name).resolve() in seen:
            raise OptionError("baseline", f"names {name}, which is the input or another baseline")
        seen.add(Path(name).resolve())
    return files


def score_work(work: Work, flags: Flags, bar: progress.Progress) -> None:
    """Score the rows, write the files and print the scores; exit with 3 if the system failed on some rows.

    Raises:
        InputError: as `score_rows`.
    """
    from llmkit.evaluation import score_rows
    from llmkit.evaluation.page import PlottedRows, as_page

    seed = flags.model.seed or 0
    page = flags.records.report
    plotted = PlottedRows(seed, work.metrics[0].lower_is_better) if page and work.metrics else None
    failed = 0
    with ExitStack() as files:
        path = flags.records.per_record
        per_record = files.enter_context(PerRecord(path)) if path is not None else None

        def on_record(record: Record) -> None:
            nonlocal failed
            failed += record.row.failed
            _pass_on(record, work.modules, per_record, plotted)

        files.enter_context(bar)
        evaluation = score_rows(
            work.metrics,
            counted(work.rows, bar),
            baselines=work.baselines,
            by=flags.scoring.by,
            confidence=flags.intervals.confidence,
            resamples=flags.intervals.resamples,
            seed=seed,
            on_record=on_record,
        )
    for module in work.modules:
        evaluation.scores.extend(module.scores())
    evaluation = replace(evaluation, model=work.model)
    if page is not None and plotted is not None:
        against = ", ".join(work.baselines) or None
        write_whole(page, as_page(evaluation, plotted, source=stem(work.source), baseline=against))
        console.notice(f"the report is {page}")
    console.will_exit(3 if failed else 0)
    report_scores(evaluation, flags.report, work.source)
    if failed:
        console.notice(f"{failed} of {evaluation.rows} rows failed and count as empty predictions")
        raise typer.Exit(3)


def counted(rows: Iterable[Example], bar: progress.Progress) -> Iterator[Example]:
    """Yield the rows and show their number."""
    for count, row in enumerate(rows, 1):
        yield row
        if count % 100 == 0:
            bar.update(0, f"{count} rows")


def _pass_on(
    record: Record, modules: Sequence[Module], per_record: PerRecord | None, plotted: PlottedRows | None
) -> None:
    """Pass a scored row to its other users."""
    for module in modules:
        module.add(record.row)
    if per_record is not None:
        per_record.add(record.row, record.scores)
    if plotted is not None:
        plotted.add(record)


def given_language(flags: Flags, names: Sequence[str]) -> str | None:
    """Return the target language, if one of the metrics uses it."""
    from llmkit.evaluation.registry import declaration_of

    return flags.target.to if any(declaration_of(name).uses_language for name in names) else None


def check_question(row: Row, question: str | None) -> None:
    """Refuse rows that `--task qa` cannot answer, before the model is loaded.

    Args:
        row: the first row.
        question: column or template of the question; None if no column has a usual name.

    Raises:
        InputError: a column is missing.
    """
    needs = "--task qa needs the columns `question` and `context` (the text that contains the answer)"
    has = f"{row.where} has {', '.join(row.data)}"
    if question is None:
        raise InputError(f"{needs}; {has}. Name the column of the question with --field")
    if "context" not in row.data:
        raise InputError(
            f"{needs}; {has}. Rename the column of the text to context. Without such a column, answer first"
            " with llmkit qa --input ROWS --context FILE -o ANSWERS.jsonl, and then score ANSWERS.jsonl"
        )
