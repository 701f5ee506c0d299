"""`llmkit eval`: score predictions, or a model on a text."""

from __future__ import annotations

from typing import Annotated

from llmkit.cli.common import options
from llmkit.cli.common.form_flags import FormFlags
from llmkit.cli.eval import modes
from llmkit.cli.eval.flags import (
    BatchFlags,
    BenchmarkFlags,
    ColumnFlags,
    Flags,
    IntervalFlags,
    LikelihoodFlags,
    ReadingFlags,
    ScoredModelFlags,
    ScoringFlags,
    TargetFlags,
    TaskFlags,
    TextFlags,
)
from llmkit.cli.eval.metric_flags import MetricFlags
from llmkit.cli.eval.report_flags import RecordFlags, ReportFlags

EXAMPLES = [
    "llmkit eval --metric bleu,rouge predictions.jsonl",
    "llmkit eval --task translate --from en --to de --metric bleu,chrf test.jsonl",
    "llmkit eval --metric rouge system-1.jsonl system-2.jsonl --table latex",
]


@options.expand
def run(
    *,
    files: Annotated[
        list[str] | None,
        options.argument(
            "FILE...",
            help="Rows with predictions, or plain lines with --references; - is stdin. Several files are"
            " compared in one table.",
        ),
    ] = None,
    scoring: ScoringFlags,
    intervals: IntervalFlags,
    columns: ColumnFlags,
    target: TargetFlags,
    metrics: MetricFlags,
    task: TaskFlags,
    texts: TextFlags,
    batches: BatchFlags,
    likelihood: LikelihoodFlags,
    benchmarks: BenchmarkFlags,
    reading: ReadingFlags,
    model: ScoredModelFlags,
    decoding: options.DecodingFlags,
    forms: FormFlags,
    records: RecordFlags,
    report: ReportFlags,
    messages: options.MessageFlags,
) -> None:
    """Score predictions or a model, with confidence intervals."""
    flags = Flags(
        files or [],
        scoring,
        intervals,
        columns,
        target,
        metrics,
        task,
        texts,
        batches,
        likelihood,
        benchmarks,
        reading,
        model,
        decoding,
        forms,
        records,
        report,
    )
    mode = modes.choose(flags)
    modes.refuse(mode, flags)
    report.check(records)
    mode.function()(flags)
