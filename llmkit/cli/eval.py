"""`llmkit eval`: score predictions, or a model on a text."""

from __future__ import annotations

import itertools
import json as json_module
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import console, options
from llmkit.cli.options import flag
from llmkit.errors import InputError

if TYPE_CHECKING:
    from llmkit.evaluation import Evaluation, Example, Metric

DEFAULT_MODEL = "stories"
REFERENCE_FREE = ("distinct", "repetition")
PEEK = 100
"""Rows looked at before the first is scored, to tell in what script they are written."""


@dataclass
class MetricFlags:
    """Options of the metrics; None leaves the metric's own default, or the choice, to us."""

    to: Annotated[
        str | None, flag("--to", metavar="LANG", help="Target language, which decides BLEU's tokenizer.")
    ] = None
    tokenize: Annotated[
        str | None, flag("--tokenize", help="BLEU's tokenizer: 13a, intl, zh, char, ja-mecab, none, ...")
    ] = None
    smooth: Annotated[
        str | None, flag("--smooth", help="BLEU's smoothing: exp, floor, add-k or none (exp).")
    ] = None
    lowercase: Annotated[bool | None, flag("--lowercase", help="BLEU and chrF without case.")] = None
    word_order: Annotated[int | None, flag("--word-order", help="Word n-grams in chrF; 2 is chrF++.")] = None
    stemmer: Annotated[bool | None, flag("--stemmer", help="ROUGE over Porter stems.")] = None
    rouge_words: Annotated[
        str | None,
        flag("--rouge-words", help="default (a-z and 0-9, as rouge_score), unicode (all scripts) or auto."),
    ] = None
    rouge_split: Annotated[
        str | None, flag("--rouge-split", help="A sentence of ROUGE-Lsum: newline, sentences, or auto.")
    ] = None
    normalize: Annotated[
        bool | None, flag("--normalize", help="exact_match without case, articles and punctuation.")
    ] = None
    no_answer_threshold: Annotated[
        float | None, flag("--no-answer-threshold", help="squad_v2: above it there is no answer (1.0).")
    ] = None


@dataclass
class ColumnFlags:
    """Where the predictions and the references are."""

    references: Annotated[
        list[str] | None,
        flag("--references", metavar="FILE", help="Plain lines to compare with; may be repeated."),
    ] = None
    prediction_field: Annotated[
        str | None, flag("--prediction-field", metavar="NAME", help="Column of the predictions (prediction).")
    ] = None
    reference_field: Annotated[
        str | None,
        flag("--reference-field", metavar="NAME", help="Column of the references (references, reference)."),
    ] = None
    baseline: Annotated[
        str | None, flag("--baseline", metavar="FILE", help="Another system's predictions for the same rows.")
    ] = None


@dataclass
class PerplexityFlags:
    """How a model is run over a text."""

    window: Annotated[
        int | None, flag("--window", metavar="TOKENS", help="Tokens the model sees at a time (all it can).")
    ] = None
    stride: Annotated[
        int | None,
        flag("--stride", metavar="TOKENS", help="Tokens predicted per further window (half the window)."),
    ] = None
    bos: Annotated[
        str,
        flag(
            "--bos", metavar="WHERE", help="Beginning-of-sequence token: first, every window, none, or auto."
        ),
    ] = "auto"
    concatenate: Annotated[
        bool, flag("--concatenate", help="The rows are one text, with a blank line between them.")
    ] = False
    lines: Annotated[bool, flag("--lines", help="Each line of a text file is a text of its own.")] = False
    field: Annotated[str | None, flag("--field", metavar="NAME", help="The column with the text.")] = None
    template: Annotated[
        str | None,
        flag("--template", metavar="TEXT", help="A text over several columns, such as 'Q: {question}'."),
    ] = None
    batch_size: Annotated[
        str, flag("--batch-size", metavar="auto|N", help="Windows per batch, or auto: as memory allows.")
    ] = "auto"

    def rows_per_batch(self) -> int | None:
        """`--batch-size` as a number; None for auto."""
        if self.batch_size == "auto":
            return None
        if not self.batch_size.isdigit() or int(self.batch_size) < 1:
            raise InputError(f"--batch-size {self.batch_size}: give a number of windows, or auto")
        return int(self.batch_size)


@dataclass
class ReportFlags:
    """What is told, and where."""

    json: Annotated[bool, flag("--json", help="Everything as JSON on stdout.")] = False
    bare: Annotated[bool, flag("--bare", help="The numbers alone, one a line.")] = False
    output: Annotated[
        Path | None, flag("-o", "--output", metavar="FILE", help="Write the JSON to this file as well.")
    ] = None
    per_record: Annotated[
        Path | None,
        flag("--per-record", metavar="FILE", help="Write each row with its own scores, as JSONL."),
    ] = None
    overwrite: Annotated[bool, flag("--overwrite", help="Replace files that are there.")] = False
    card: Annotated[
        Path | None, flag("--card", metavar="README.md", help="Put the scores into this model card.")
    ] = None
    dataset: Annotated[
        str | None,
        flag("--dataset", metavar="NAME", help="What --card calls the test set (the file's name)."),
    ] = None

    def check(self) -> None:
        """Refuse what cannot be written before anything is scored."""
        from llmkit.records import output

        if self.json and self.bare:
            raise InputError("--json and --bare were given: use one of them")
        if self.output is not None and self.output == self.per_record:
            raise InputError("--output and --per-record name the same file")
        for path in (self.output, self.per_record):
            if path is not None:
                output.check(path, overwrite=self.overwrite)
        if self.card is not None:
            from llmkit.evaluation.card import check_card

            check_card(self.card)
        elif self.dataset is not None:
            raise InputError("--dataset is about a model card: name it with --card")


@options.expand
def run(
    *,
    file: Annotated[
        str | None,
        typer.Argument(help="Rows with predictions, or plain lines with --references; - is stdin."),
    ] = None,
    metric: Annotated[
        str, flag("--metric", metavar="NAME,...", help="bleu, chrf, chrf++, ter, rouge, f1, squad, ...")
    ],
    columns: ColumnFlags,
    by: Annotated[
        str | None, flag("--by", metavar="NAME", help="Score each value of this column apart.")
    ] = None,
    confidence: Annotated[float, flag("--confidence", help="Of the intervals (0.95).")] = 0.95,
    resamples: Annotated[int, flag("--resamples", help="Bootstrap samples and random swaps (1000).")] = 1000,
    metrics: MetricFlags,
    perplexity: PerplexityFlags,
    model: options.ModelFlags,
    report: ReportFlags,
    messages: options.MessageFlags,
) -> None:
    """Score predictions or a model, with confidence intervals."""
    from llmkit.evaluation import score
    from llmkit.evaluation.metric import check_name

    names = list(dict.fromkeys(name.strip() for name in metric.split(",") if name.strip()))
    for name in names or [metric]:
        check_name(name)
    report.check()
    source = _source(file)
    others: Iterator[Example] | None = None
    if names == ["perplexity"]:
        _refuse(columns, metrics, because="is about predictions, and perplexity judges a model on a text")
        chosen, rows = _perplexity(source, perplexity, model)
    else:
        if "perplexity" in names:
            raise InputError("perplexity judges a model on a text, and the others predictions: run it apart")
        _refuse(perplexity, model, because="is about perplexity: name it with --metric", but="seed")
        rows, others = _predictions(source, names, columns)
        sample = list(itertools.islice(rows, PEEK))
        chosen, rows = _configure(names, metrics, sample), itertools.chain(sample, rows)
    with ExitStack() as files:
        record = files.enter_context(_PerRecord(report.per_record)) if report.per_record else None
        bar = files.enter_context(console.Progress("eval"))
        evaluation = score(
            chosen,
            _counted(rows, bar),
            baseline=others,
            by=by,
            confidence=confidence,
            resamples=resamples,
            seed=model.seed or 0,
            on_record=record.write if record else None,
        )
    _tell(evaluation, report, source)


def _source(file: str | None) -> str:
    if file is not None:
        return file
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing to score: name a file of predictions, or give rows on stdin (see --help)")
    return "-"


def _predictions(
    source: str, names: list[str], columns: ColumnFlags
) -> tuple[Iterator[Example], Iterator[Example] | None]:
    """The rows to be scored, and the baseline's."""
    from llmkit.evaluation.rows import read

    rows = read(
        source,
        columns.references or (),
        prediction_field=columns.prediction_field,
        reference_field=columns.reference_field,
        needs_references=any(name not in REFERENCE_FREE for name in names),
    )
    if columns.baseline is None:
        return rows, None
    if columns.baseline == source:
        raise InputError("--baseline names the predictions themselves; name another system's")
    others = read(
        columns.baseline,
        prediction_field=columns.prediction_field,
        reference_field=columns.reference_field,
        needs_references=False,
        plain=bool(columns.references),
    )
    return rows, others


def _configure(names: list[str], flags: MetricFlags, sample: list[Example]) -> list[Metric]:
    from llmkit.evaluation.defaults import configure

    given = {name: value for name, value in asdict(flags).items() if value is not None}
    language = given.pop("to", None)
    metrics, notes = configure(names, given, sample, language=language)
    for note in notes:
        console.notice(note)
    return metrics


def _perplexity(
    source: str, flags: PerplexityFlags, model: options.ModelFlags
) -> tuple[list[Metric], Iterator[Example]]:
    """The metric, and the losses of the model on the source's texts."""
    from llmkit.cli.loading import load_model
    from llmkit.evaluation.perplexity import measure, perplexity, windowing
    from llmkit.evaluation.rows import lines
    from llmkit.records.read import open_rows

    batch_size = flags.rows_per_batch()
    suffix = Path(source.removesuffix(".gz")).suffix
    plain = suffix == ".txt" or (source == "-" and flags.field is None and flags.template is None)
    if flags.lines and not plain:
        raise InputError("--lines is about a text file; the rows of another are texts of their own already")
    whole = plain and not flags.lines
    rows = lines(source) if plain and flags.lines else open_rows(source, whole=whole)
    joined = whole or flags.concatenate
    loaded = load_model(model.spec(task="text-generation", default_model=DEFAULT_MODEL))
    how = windowing(loaded, window=flags.window, stride=flags.stride, bos=flags.bos)
    console.notice(f"windows of {how.window} tokens, {how.stride} new in each; before a text: {how.name}")
    losses = measure(
        loaded,
        rows,
        how,
        field=flags.field,
        template=flags.template,
        concatenated=joined,
        batch_size=batch_size,
        notice=console.notice,
    )
    return [perplexity(loaded, how, concatenated=joined)], losses


def _refuse(*groups: Any, because: str, but: str = "") -> None:
    """Raise an InputError for any flag that was given and would be ignored."""
    for group in groups:
        for one in fields(group):
            if one.name != but and getattr(group, one.name) != one.default:
                raise InputError(f"--{one.name.replace('_', '-')} {because}")


def _counted(rows: Iterable[Example], bar: console.Progress) -> Iterator[Example]:
    for count, row in enumerate(rows, 1):
        yield row
        if count % 100 == 0:
            bar.update(0, f"{count} rows")


class _PerRecord:
    """`--per-record`: each row with its scores; the file appears when all rows were scored."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._partial = self._path.with_name(self._path.name + ".partial")

    def __enter__(self) -> _PerRecord:
        self._file = open(self._partial, "w", encoding="utf-8")
        return self

    def write(self, row: Example, scores: dict[str, float]) -> None:
        from llmkit.records.strict_json import dumps

        # A share of nothing (SQuAD's NoAns of a row with an answer) is no number and is left out.
        numbers = {name: value for name, value in scores.items() if not math.isnan(value)}
        self._file.write(dumps({**row.data, "scores": numbers}) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._file.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)


def _tell(evaluation: Evaluation, flags: ReportFlags, source: str) -> None:
    from llmkit.evaluation import report

    text = json_module.dumps(report.as_json(evaluation), ensure_ascii=False, indent=2, allow_nan=False)
    if flags.json:
        print(text)
    elif flags.bare:
        print(report.as_bare(evaluation))
    else:
        print(report.as_table(evaluation))
    if flags.output is not None:
        flags.output.write_text(text + "\n", encoding="utf-8")
        console.notice(f"{len(evaluation.scores)} scores in {flags.output}")
    if flags.card is not None:
        from llmkit.evaluation.card import update_card

        update_card(flags.card, evaluation, dataset=flags.dataset or _stem(source))
        console.notice(f"{flags.card} has the scores in its model-index")


def _stem(source: str) -> str:
    """What to call a test set that has no name: its file, without folder and endings."""
    if source.startswith("hf:"):
        return source.removeprefix("hf:").split(":")[0]
    return "stdin" if source == "-" else Path(source).name.split(".")[0]
