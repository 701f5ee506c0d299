"""Flags of `llmkit eval`, in groups by subject; `modes` lists the groups for each kind of run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from llmkit.cli.common import options
from llmkit.cli.common.engine_flags import RowModelFlags
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.common.options import FixedSeed, flag
from llmkit.cli.eval.metric_flags import MetricFlags
from llmkit.cli.eval.report_flags import RecordFlags, ReportFlags
from llmkit.errors import OptionError
from llmkit.evaluation.columns import TASKS, TaskColumns
from llmkit.evaluation.registry import METRICS, declaration_of

_SUMMARIES = ", ".join(f"{name} ({declaration_of(name).summary})" for name in METRICS)
_METRIC_HELP = f"{_SUMMARIES}; the path of an `evaluate` module, or evaluate:NAME."


@dataclass
class ScoringFlags:
    """Metrics, references and baselines."""

    GROUP = "Scoring"

    metric: Annotated[
        str | None,
        flag("--metric", metavar="NAME,...", help=_METRIC_HELP, default="the usual metrics of the verb"),
    ] = None
    reference_field: Annotated[
        str | None,
        flag(
            "--reference-field",
            metavar="NAME",
            help="Column of the references, or of the correct choice.",
            default="the usual names",
        ),
    ] = None
    baseline: Annotated[
        list[str] | None,
        flag(
            "--baseline",
            metavar="FILE",
            help="Predictions of another system for the same rows, or a --per-record file; may be repeated.",
            default="none",
        ),
    ] = None
    by: Annotated[
        str | None,
        flag(
            "--by",
            metavar="NAME",
            help="Also score the rows of each value of this column separately.",
            default="none",
        ),
    ] = None


@dataclass
class IntervalFlags:
    """Intervals and p-values."""

    GROUP = "Scoring"

    confidence: Annotated[float, flag("--confidence", help="Confidence level of the intervals.")] = 0.95
    resamples: Annotated[int, flag("--resamples", help="Bootstrap samples and random swaps.")] = 1000


@dataclass
class ColumnFlags:
    """Columns and files of predictions."""

    GROUP = "Predictions"

    references: Annotated[
        list[str] | None,
        flag(
            "--references",
            metavar="FILE",
            help="Plain lines with references; may be repeated.",
            default="a column of the rows",
        ),
    ] = None
    prediction_field: Annotated[
        str | None,
        flag(
            "--prediction-field",
            metavar="NAME",
            help="Column of the predictions.",
            default="prediction, or the result column of a verb",
        ),
    ] = None


@dataclass
class TargetFlags:
    """The target language."""

    GROUP = "Languages"

    to: Annotated[
        str | None,
        flag(
            "--to",
            metavar="LANG",
            help="Target language; also chooses BLEU's tokenizer.",
            default="the model's, if it has one",
        ),
    ] = None


@dataclass
class TextFlags:
    """Texts that a model reads."""

    GROUP = "Texts"

    source: Annotated[
        str | None,
        flag(
            "--from",
            metavar="LANG",
            help="Source language of a translation model.",
            default="the model's, if it has one",
        ),
    ] = None
    field: Annotated[
        str | None,
        flag(
            "--field",
            metavar="NAME",
            help="Column of the text, or of the choices.",
            default="the usual names",
        ),
    ] = None
    template: Annotated[
        str | None,
        flag(
            "--template",
            metavar="TEXT",
            help="Text that combines several columns, such as 'Q: {question}'.",
            default="--field",
        ),
    ] = None


@dataclass
class BatchFlags:
    """Batches of a model."""

    GROUP = "Texts"

    batch_size: Annotated[
        str,
        flag(
            "--batch-size",
            metavar="auto|N",
            help="Windows or rows per batch; auto uses the available memory.",
        ),
    ] = "auto"

    def rows_per_batch(self) -> int | None:
        """Return `batch_size` as a number; None for auto.

        Raises:
            OptionError: it is neither.
        """
        if self.batch_size == "auto":
            return None
        if not self.batch_size.isdecimal() or int(self.batch_size) < 1:
            raise OptionError("batch_size", f"must be a number of windows or auto, not {self.batch_size}")
        return int(self.batch_size)


@dataclass
class LikelihoodFlags:
    """Windows and context for metrics of likelihood."""

    GROUP = "Likelihood"

    window: Annotated[
        int | None,
        flag(
            "--window",
            metavar="TOKENS",
            help="Context window, in tokens.",
            default="its context length",
        ),
    ] = None
    stride: Annotated[
        int | None,
        flag(
            "--stride",
            metavar="TOKENS",
            help="Stride: tokens that each further window scores.",
            default="half the window",
        ),
    ] = None
    bos: Annotated[
        str,
        flag(
            "--bos", metavar="WHERE", help="Beginning-of-sequence token: first, every window, none, or auto."
        ),
    ] = "auto"
    concatenate: Annotated[
        bool, flag("--concatenate", help="Score the rows as one text, with a blank line between them.")
    ] = False
    lines: Annotated[bool, flag("--lines", help="Score each line of a text file as a separate text.")] = False
    given: Annotated[
        str | None,
        flag(
            "--given",
            metavar="NAME|TEXT",
            help="Column, or template, of the context of a text: a question, or the source of a translation.",
            default="none",
        ),
    ] = None
    token_losses: Annotated[
        bool, flag("--token-losses", help="Add each token and its loss in nats to --per-record.")
    ] = False


@dataclass
class TaskFlags:
    """A model that eval runs itself before it scores."""

    GROUP = "Task"

    task: Annotated[
        str | None,
        flag(
            "--task",
            metavar="VERB",
            help=f"Run a model over the rows first: {', '.join(TASKS)}.",
            default="none",
        ),
    ] = None
    save_predictions: Annotated[
        Path | None,
        flag(
            "--save-predictions",
            metavar="FILE",
            help="Save the predictions of --task; --resume continues a killed run.",
            default="none",
        ),
    ] = None
    resume: Annotated[bool, flag("--resume", help="Continue an unfinished --save-predictions.")] = False
    on_error: Annotated[
        str,
        flag(
            "--on-error",
            metavar="fail|skip",
            help="skip scores a failed row as an empty prediction.",
        ),
    ] = "fail"
    no_answer: Annotated[
        bool, flag("--no-answer", help="--task qa: return an empty answer if the text has no answer.")
    ] = False
    truncate: options.Truncate = None

    def columns(self, source_language: str | None) -> TaskColumns:
        """Return the columns of the task.

        Args:
            source_language: value of `--from`.

        Raises:
            OptionError: there is no such task, or an option applies to another one.
        """
        assert self.task is not None
        if self.task not in TASKS:
            raise OptionError("task", f"must be one of {', '.join(TASKS)}, not {self.task}")
        for option, value, task in (
            ("source", source_language, "translate"),
            ("no_answer", self.no_answer or None, "qa"),
            ("truncate", self.truncate, "generate"),
        ):
            if value is not None and self.task != task:
                raise OptionError(option, f"applies to task={task}")
        kept = self.save_predictions
        if kept is not None and kept.suffix.lower() in (".csv", ".parquet"):
            raise OptionError("save_predictions", f"must be JSONL, which eval reads again; {kept} is not")
        if self.resume and kept is None:
            raise OptionError("resume", "needs the file of the predictions, `save_predictions`")
        return TASKS[self.task]


@dataclass
class ReadingFlags:
    """Rows and encoding of the files to read."""

    GROUP = "Input"

    limit: Annotated[
        int | None,
        flag(
            "--limit",
            metavar="N",
            help="Read only the first N rows, or samples of each benchmark.",
            default="all",
        ),
    ] = None
    encoding: options.Encoding = None


@dataclass
class BenchmarkFlags:
    """Benchmarks of EleutherAI's harness."""

    GROUP = "Benchmarks"

    benchmark: Annotated[
        str | None,
        flag(
            "--benchmark",
            metavar="NAME,...",
            help="Tasks of lm-evaluation-harness, such as arc_easy.",
            default="none",
        ),
    ] = None
    benchmark_folder: Annotated[
        Path | None,
        flag(
            "--benchmark-folder",
            metavar="DIR",
            help="Folder with more tasks, as YAML files of the harness.",
            default="none",
        ),
    ] = None
    shots: Annotated[
        int | None,
        flag("--shots", help="Solved examples in each prompt.", default="the task's own number"),
    ] = None
    chat_prompts: Annotated[
        bool, flag("--chat-prompts", help="Apply the model's chat template to the prompts.")
    ] = False


@dataclass
class ScoredModelFlags(RowModelFlags):
    """The model to score; its seed is 0 if none is given."""

    seed: FixedSeed = None


@dataclass
class Flags:
    """All groups of flags, filled in; the names of the fields are those in `modes.MODES`."""

    files: list[str]
    scoring: ScoringFlags
    intervals: IntervalFlags
    columns: ColumnFlags
    target: TargetFlags
    metrics: MetricFlags
    task: TaskFlags
    texts: TextFlags
    batches: BatchFlags
    likelihood: LikelihoodFlags
    benchmarks: BenchmarkFlags
    reading: ReadingFlags
    model: ScoredModelFlags
    decoding: options.DecodingFlags
    forms: FormFlags
    records: RecordFlags
    report: ReportFlags

    def metric_options(self) -> dict[str, Any]:
        """Return the options of metrics that the user gave."""
        given = dataclasses.asdict(self.metrics)
        return {name: value for name, value in given.items() if value is not None}
