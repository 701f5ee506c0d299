"""`llmkit eval`: score predictions, or a model on a text."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli.common import console, options
from llmkit.cli.common.options import flag
from llmkit.cli.eval.benchmark import BenchmarkFlags, benchmark
from llmkit.cli.eval.flags import ColumnFlags, MetricFlags, PerplexityFlags, ReportFlags
from llmkit.cli.eval.likelihood import METRICS, check, likelihoods
from llmkit.cli.eval.predict import Predictions, TaskFlags
from llmkit.cli.eval.report import PerRecord, stem, tell, write
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.evaluation import Example, Metric
    from llmkit.evaluation.external import Module
    from llmkit.evaluation.page import PlottedRows
    from llmkit.evaluation.scoring import Record

REFERENCE_FREE = ("distinct", "repetition")
PEEK = 100
"""Rows looked at before the first is scored, to tell in what script they are written."""


@options.expand
def run(
    *,
    file: Annotated[
        str | None,
        typer.Argument(help="PlottedRows with predictions, or plain lines with --references; - is stdin."),
    ] = None,
    metric: Annotated[
        str | None,
        flag(
            "--metric",
            metavar="NAME,...",
            help="bleu, chrf, chrf++, ter, rouge, exact_match, f1, squad, squad_v2, accuracy, distinct,"
            " repetition, perplexity, multiple_choice, minimal_pairs, bertscore; an `evaluate` module's"
            " path, or evaluate:NAME.",
        ),
    ] = None,
    tasks: TaskFlags,
    benchmarks: BenchmarkFlags,
    columns: ColumnFlags,
    by: Annotated[
        str | None, flag("--by", metavar="NAME", help="Score each value of this column apart.")
    ] = None,
    confidence: Annotated[float, flag("--confidence", help="Of the intervals (0.95).")] = 0.95,
    resamples: Annotated[int, flag("--resamples", help="Bootstrap samples and random swaps (1000).")] = 1000,
    metrics: MetricFlags,
    perplexity: PerplexityFlags,
    model: options.ModelFlags,
    decoding: options.DecodingFlags,
    report: ReportFlags,
    messages: options.MessageFlags,
) -> None:
    """Score predictions or a model, with confidence intervals."""
    from llmkit.evaluation import score
    from llmkit.evaluation.external import Module
    from llmkit.evaluation.page import PlottedRows, as_page

    flags = _Flags(tasks, columns, metrics, perplexity, model, decoding, report)
    if benchmarks.benchmark is not None:
        _only_benchmarks([("FILE", file), ("--metric", metric), ("--by", by)], flags)
        rows_per_batch = perplexity.rows_per_batch()
        evaluation = benchmark(
            benchmarks, model, batch_size=rows_per_batch, confidence=confidence, resamples=resamples
        )
        tell(evaluation, report, benchmarks.benchmark)
        return
    _refuse(benchmarks, because="is about benchmarks: name one with --benchmark")
    names, modules = _names(_chosen(metric, tasks))
    report.check()
    source = _source(file)
    _refuse_ignored(flags, names, modules, by)
    bar = console.Progress("eval")
    with ExitStack() as files:
        work = _gather(source, names, flags, bar, files)
        work.modules = [Module(name, work.sample, trusted=model.trust_remote_code) for name in modules]
        record = files.enter_context(PerRecord(report.per_record)) if report.per_record else None
        shown = PlottedRows(model.seed or 0) if report.report is not None else None
        files.enter_context(bar)
        evaluation = score(
            work.metrics,
            work.rows,
            baseline=work.baseline,
            by=by,
            confidence=confidence,
            resamples=resamples,
            seed=model.seed or 0,
            on_record=lambda one: _each(one, work, record, shown),
        )
    for module in work.modules:
        evaluation.scores.extend(module.scores())
    predictions = work.predictions
    if predictions is not None:
        evaluation = replace(evaluation, model=predictions.signature)
    tell(evaluation, report, source)
    if report.report is not None and shown is not None:
        write(report.report, as_page(evaluation, shown, source=stem(source), baseline=columns.baseline))
        console.notice(f"the page is {report.report}")
    if predictions is not None and predictions.failed:
        console.notice(f"{predictions.failed} of {evaluation.rows} rows failed, scored as empty predictions")
        raise typer.Exit(3)


@dataclass
class _Flags:
    """The groups of flags, filled in."""

    tasks: TaskFlags
    columns: ColumnFlags
    metrics: MetricFlags
    perplexity: PerplexityFlags
    model: options.ModelFlags
    decoding: options.DecodingFlags
    report: ReportFlags


def _only_benchmarks(others: Sequence[tuple[str, str | None]], flags: _Flags) -> None:
    """Refuse what a benchmark brings itself, or does not give."""
    because = "has no use beside --benchmark, which brings its own texts and metrics"
    for name, value in others:
        if value is not None:
            raise InputError(f"{name} {because}")
    _refuse(flags.tasks, flags.columns, flags.metrics, flags.decoding, because=because)
    _refuse(flags.perplexity, because=because, but=["batch_size"])
    kept = ["json", "bare", "output", "overwrite", "card", "dataset"]
    _refuse(flags.report, because="is not written for a benchmark: its rows stay in the harness", but=kept)
    flags.report.check()


def _refuse_ignored(flags: _Flags, names: list[str], modules: list[str], by: str | None) -> None:
    """Refuse flags about anything but what is scored: texts, what a task writes, or given predictions."""
    tasks, likely = flags.tasks, _likelihood(names)
    if tasks.task is None:
        groups = (tasks, flags.decoding) if likely is None else (flags.decoding,)
        _refuse(*groups, because="is about a model run by eval: name what it does with --task")
    if likely is not None:
        if names != [likely] or modules:
            raise InputError(f"{likely} judges a model on texts, and the others predictions: run it apart")
        allowed = ["baseline", *(["reference_field"] if likely == "multiple_choice" else [])]
        because = f"is about predictions, and {likely} judges a model on texts"
        _refuse(tasks, flags.columns, flags.metrics, because=because, but=[*allowed, "source", "to"])
        check(likely, flags.perplexity, per_record=flags.report.per_record)
        return
    if modules and (by is not None or flags.columns.baseline is not None):
        raise InputError(f"{modules[0]} gives nothing to group or compare by: leave it or the flag out")
    if tasks.task is not None:
        because = f"is about perplexity, not about --task {tasks.task}"
        _refuse(flags.perplexity, because=because, but=["field", "template", "batch_size"])
    else:
        allowed = ["seed", "offline", *(["trust_remote_code"] if modules else [])]
        because = f"is about {', '.join(METRICS)}: name one of them with --metric"
        _refuse(flags.perplexity, because=because, but=allowed)
        because = "is about a model, which --task runs and --metric perplexity measures: name one of them"
        _refuse(flags.model, because=because, but=allowed)


def _likelihood(names: list[str]) -> str | None:
    """The metric among `names` that judges a model on texts, if one does."""
    return next((name for name in names if name in METRICS), None)


def _chosen(metric: str | None, tasks: TaskFlags) -> str:
    """`--metric`, or what the task is usually scored by."""
    if metric is not None:
        return metric
    if tasks.task is None:
        raise InputError("name what to measure with --metric, such as bleu or perplexity (see --help)")
    default = tasks.chosen().metrics
    console.notice(f"--metric {default}: the default of --task {tasks.task}")
    return default


def _gather(source: str, names: list[str], flags: _Flags, bar: console.Progress, files: ExitStack) -> _Work:
    """What is to be scored: a model's losses on texts, what a task writes, or predictions that are there.

    `files` outlives the scoring, and with it a task's predictions that are not kept.
    """
    columns, metrics = flags.columns, flags.metrics
    likely = _likelihood(names)
    if likely is not None:
        languages = (flags.tasks.source, metrics.to)
        return _Work(*likelihoods(likely, source, flags.perplexity, columns, flags.model, languages, bar))
    if flags.tasks.task is None:
        return _predictions(source, names, columns, metrics, bar)
    folder = Path(files.enter_context(tempfile.TemporaryDirectory(prefix="llmkit-eval-")))
    predictions = _predict(source, flags, folder)
    # --to also names the language to translate into, whatever measures the result.
    scored = metrics if "bleu" in names else replace(metrics, to=None)
    work = _work(predictions.examples(), str(predictions.path), names, columns, scored, bar)
    work.predictions = predictions
    return work


def _predict(source: str, flags: _Flags, folder: Path) -> Predictions:
    """Run the model over the rows of `source`."""
    from llmkit.cli.eval.predict import Request, predict

    columns = flags.columns
    for name in ("references", "prediction_field"):
        if getattr(columns, name) is not None:
            shown = name.replace("_", "-")
            raise InputError(f"--{shown} is about predictions that are there; --task makes them")
    request = Request(
        rows=source,
        task=flags.tasks,
        model=flags.model,
        decoding=flags.decoding,
        target=flags.metrics.to,
        field=flags.perplexity.field,
        template=flags.perplexity.template,
        reference_field=columns.reference_field,
        batch_size=flags.perplexity.batch_size,
        overwrite=flags.report.overwrite,
    )
    return predict(request, folder)


@dataclass
class _Work:
    """What is to be scored, and by what."""

    metrics: list[Metric]
    rows: Iterable[Example]
    baseline: Iterable[Example] | None = None
    sample: Sequence[Example] = ()
    modules: Sequence[Module] = ()
    predictions: Predictions | None = None


def _names(metric: str) -> tuple[list[str], list[str]]:
    """The metrics of the comma list: ours, and modules of `evaluate`."""
    from llmkit.evaluation.external import is_module
    from llmkit.evaluation.metric import check_name

    names = list(dict.fromkeys(name.strip() for name in metric.split(",") if name.strip()))
    ours = [name for name in names if not is_module(name)]
    for name in ours if names else [metric]:
        check_name(name)
    return ours, [name for name in names if is_module(name)]


def _source(file: str | None) -> str:
    if file is not None:
        return file
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing to score: name a file of predictions, or give rows on stdin (see --help)")
    return "-"


def _predictions(
    source: str, names: list[str], columns: ColumnFlags, flags: MetricFlags, bar: console.Progress
) -> _Work:
    from llmkit.evaluation.rows import read

    rows = read(
        source,
        columns.references or (),
        prediction_field=columns.prediction_field,
        reference_field=columns.reference_field,
        needs_references=any(name not in REFERENCE_FREE for name in names),
    )
    return _work(rows, source, names, columns, flags, bar)


def _work(
    rows: Iterator[Example],
    source: str,
    names: list[str],
    columns: ColumnFlags,
    flags: MetricFlags,
    bar: console.Progress,
) -> _Work:
    """What is to be scored: `rows` beside the baseline's, by metrics that fit them."""
    from llmkit.evaluation.defaults import configure
    from llmkit.evaluation.rows import read

    others = None
    if columns.baseline is not None:
        if columns.baseline != "-" and Path(columns.baseline).resolve() == Path(source).resolve():
            raise InputError("--baseline names the predictions themselves; name another system's")
        others = read(
            columns.baseline,
            prediction_field=columns.prediction_field,
            reference_field=columns.reference_field,
            needs_references=False,
            plain=bool(columns.references),
        )
    sample = list(itertools.islice(rows, PEEK))
    given = {name: value for name, value in asdict(flags).items() if value is not None}
    language = given.pop("to", None)
    metrics, notes = configure(names, given, sample, language=language)
    for note in notes:
        console.notice(note)
    return _Work(metrics, _counted(itertools.chain(sample, rows), bar), others, sample)


def _each(one: Record, work: _Work, record: PerRecord | None, shown: PlottedRows | None) -> None:
    """What happens to a row besides being scored."""
    for module in work.modules:
        module.add(one.row)
    if record is not None:
        record.write(one.row, one.scores)
    if shown is not None:
        shown.add(one)


def _refuse(*groups: Any, because: str, but: Sequence[str] = ()) -> None:
    """Raise an InputError for any flag that was given and would be ignored."""
    found = options.given(*groups, but=but)
    if found:
        raise InputError(f"{found[0]} {because}")


def _counted(rows: Iterable[Example], bar: console.Progress) -> Iterator[Example]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % 100 == 0:
            bar.update(0, f"{count} rows")
