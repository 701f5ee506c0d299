"""`llmkit eval FILE`: score predictions in a file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmkit.cli.common import console, progress
from llmkit.cli.eval.flags import Flags
from llmkit.cli.eval.modes import metric_names
from llmkit.cli.eval.work import Work, baselines, configured, only_file, score_work
from llmkit.errors import OptionError, RowError

if TYPE_CHECKING:
    from llmkit.evaluation import Example

PEEK = 100
"""Number of rows to read before scoring, to find their script and columns."""


def run(flags: Flags) -> None:
    """Score predictions in a file.

    Raises:
        InputError: bad usage, or bad rows.
    """
    source = only_file(flags)
    rows = examples(source, flags)
    sample = sample_of(rows, flags)
    ours, modules = chosen_metrics(flags, source, sample)
    metrics = configured(ours, flags, sample, language=flags.target.to)
    work = Work(
        source,
        metrics,
        itertools.chain(sample, rows),
        baselines={name: baseline_rows(name, flags) for name in baselines(flags, source)},
    )
    score_modules(work, modules, sample, flags)


def sample_of(rows: Iterator[Example], flags: Flags) -> list[Example]:
    """Read some of the rows.

    Raises:
        OptionError: no metric is named, and the rows have no predictions from which to choose one.
        RowError: a row could not be read, or lacks a column.
    """
    try:
        return list(itertools.islice(rows, PEEK))
    except RowError as error:
        if flags.scoring.metric is None:
            raise OptionError(
                "metric", f"must name a metric, such as bleu or perplexity ({error})"
            ) from error
        raise


def score_modules(work: Work, names: Sequence[str], sample: Sequence[Example], flags: Flags) -> None:
    """Load modules of `evaluate` and score the rows.

    Raises:
        OptionError: a module cannot group or compare.
    """
    from llmkit.evaluation.external import Module

    if names and (flags.scoring.by is not None or flags.scoring.baseline):
        option = "by" if flags.scoring.by is not None else "baseline"
        raise OptionError(option, f"cannot be combined with {names[0]}, which gives no scores of single rows")
    work.modules = [Module(name, sample, trusted=flags.model.trust_remote_code) for name in names]
    score_work(work, flags, progress.Progress("eval"))


def chosen_metrics(flags: Flags, source: str, sample: Sequence[Example]) -> tuple[list[str], list[str]]:
    """Return the names of the metrics, and of modules of `evaluate`; without `--metric` the usual ones.

    Raises:
        OptionError: no metric is named, and the file does not allow a choice.
    """
    from llmkit.evaluation.external import is_module
    from llmkit.evaluation.rows import usual_metrics

    names = flags.scoring.metric
    if names is None and sample and flags.columns.prediction_field is None:
        names = usual_metrics(source, flags.columns.references or (), sample[0].data)
        if names is not None:
            console.notice(f"metric={names}: usual for this input")
    if names is None:
        raise OptionError("metric", "must name a metric, such as bleu or perplexity (see --help)")
    listed = metric_names(names)
    return [name for name in listed if not is_module(name)], [name for name in listed if is_module(name)]


def examples(source: str, flags: Flags) -> Iterator[Example]:
    """Return the examples of a file; rows without references are errors if a metric needs references."""
    from llmkit.evaluation.external import is_module
    from llmkit.evaluation.registry import declaration_of
    from llmkit.evaluation.rows import read

    names = [name for name in metric_names(flags.scoring.metric) if not is_module(name)]
    return read(
        source,
        flags.columns.references or (),
        prediction_field=flags.columns.prediction_field,
        reference_field=flags.scoring.reference_field,
        needs_references=flags.scoring.metric is None
        or any(declaration_of(name).needs_references for name in names),
        encoding=flags.reading.encoding,
        limit=flags.reading.limit,
    )


def baseline_rows(source: str, flags: Flags) -> Iterator[Example]:
    """Return the examples of a baseline, which may lack references."""
    from llmkit.evaluation.rows import read

    return read(
        source,
        prediction_field=flags.columns.prediction_field,
        reference_field=flags.scoring.reference_field,
        needs_references=False,
        plain=bool(flags.columns.references),
        encoding=flags.reading.encoding,
        limit=flags.reading.limit,
    )
