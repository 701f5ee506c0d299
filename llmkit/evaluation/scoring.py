"""Score rows with any number of metrics: every score has an interval, and with baselines p-values."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation.metric import Example, Metric
from llmkit.evaluation.resampling import Resampler, Sums, interval, p_value, wilson
from llmkit.evaluation.results import Comparison, Evaluation, Record, Score

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix

MAX_GROUPS = 200
"""Maximum number of groups, because each group keeps the sums of all its samples."""
PREFETCH_ROWS = 256
"""Number of rows to pass to `Metric.prefetch` at a time."""


def examples(
    predictions: Sequence[Any], references: Sequence[Any] | None = None, **columns: Sequence[Any]
) -> list[Example]:
    """Make rows to score from lists.

    Args:
        predictions: one for each row.
        references: for each row one reference, or a list of them; None for metrics without references.
        columns: further columns, such as a group.

    Raises:
        InputError: the lists differ in length.
    """
    for name, column in {"references": references, **columns}.items():
        if column is not None and len(column) != len(predictions):
            raise InputError(f"there are {len(predictions)} predictions and {len(column)} {name}")
    rows = []
    for index, prediction in enumerate(predictions):
        right = references[index] if references is not None else []
        right = list(right) if isinstance(right, (list, tuple)) else [right]
        data = {name: column[index] for name, column in columns.items()}
        rows.append(Example(prediction, right, data, f"row {index + 1}"))
    return rows


def score_rows(
    metrics: Sequence[Metric],
    rows: Iterable[Example],
    *,
    baselines: Mapping[str, Iterable[Example]] | None = None,
    by: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    on_record: Callable[[Record], None] | None = None,
) -> Evaluation:
    """Score rows one at a time; memory does not grow with their number, except by `Metric.unsummable`.

    Args:
        metrics: metrics to compute, from `registry.make` or from their own functions.
        rows: predictions and references.
        baselines: the same rows in the same order, answered by other systems; by name. Their references
            may be empty; those of `rows` are used.
        by: a column; rows with the same value are also scored as a group.
        confidence: confidence of the intervals, between 0 and 1.
        resamples: number of bootstrap samples and of random swaps.
        seed: seed of the samples.
        on_record: receives each row after scoring.

    Raises:
        InputError: there are no rows, a baseline has another number of rows, or there is nothing to score.
        OptionError: an option is out of range.
        RowError: a row lacks a column, or a row of a baseline has other references.
    """
    check_options(confidence, resamples, seed)
    baselines = baselines or {}

    def corpus(group: str | None) -> ScoredCorpus:
        return ScoredCorpus(metrics, len(baselines) + 1, group=group, resamples=resamples, seed=seed)

    everything = corpus(None)
    groups: dict[str, ScoredCorpus] = {}
    for row, *others in prefetched(metrics, paired(rows, baselines)):
        statistics = [[metric.statistics(one) for metric in metrics] for one in (row, *others)]
        into = [everything] if by is None else [everything, _group(row, by, groups, corpus)]
        for one in into:
            one.add([row, *others], statistics)
        if on_record is not None:
            on_record(_record(metrics, [row, *others], statistics))
    if everything.rows == 0:
        raise InputError("there is nothing to score: the input has no rows")
    names = list(baselines)
    scores_found = [
        s for one in (everything, *groups.values()) for s in one.scores(confidence, baselines=names)
    ]
    check_all_scored(metrics, scores_found)
    return Evaluation(everything.rows, scores_found, confidence, resamples, seed, by)


def check_options(confidence: float, resamples: int, seed: int) -> None:
    """Raise an OptionError unless the options of the intervals are possible."""
    if not 0 < confidence < 1:
        raise OptionError("confidence", f"must lie between 0 and 1, such as 0.95, not {confidence}")
    if resamples < 1:
        raise OptionError("resamples", f"must be 1 or more, not {resamples}")
    if seed < 0:
        raise OptionError("seed", f"must be 0 or more, not {seed}")


def check_all_scored(metrics: Sequence[Metric], scores: Sequence[Score]) -> None:
    """Raise an InputError if a metric gave no score over all rows."""
    scored = {one.metric for one in scores if one.group is None}
    for metric in metrics:
        if metric.name not in scored:
            raise InputError(f"{metric.name} has nothing to score: the texts are empty, or too short for it")


class ScoredCorpus:
    """Rows of one or more systems; one resampler keeps the statistics of all of them.

    Args:
        metrics: metrics to compute.
        systems: number of systems that answered the rows.
        group: value of the grouping column.
        resamples: number of bootstrap samples and of random swaps.
        seed: seed of the samples.
        swaps: swap outputs of the first system with those of the others, for `Comparison`.

    Attributes:
        rows: number of rows so far.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        systems: int = 1,
        *,
        group: str | None = None,
        resamples: int,
        seed: int,
        swaps: bool = True,
    ) -> None:
        self.rows = 0
        self._metrics, self._group = metrics, group
        self._resampler = Resampler(samples=resamples, seed=seed, systems=systems, swaps=swaps)
        self._unsummable = [{metric.name: array("d") for metric in metrics} for _ in range(systems)]
        self._widths: list[int] = []
        self._reference_counts: set[int] = set()
        self._sums: Sums | None = None

    def add(self, row: Sequence[Example], statistics: Sequence[Sequence[Sequence[float]]]) -> None:
        """Add a row: for each system its example, and the statistics of each metric."""
        self.rows += 1
        self._widths = [len(columns) for columns in statistics[0]]
        self._reference_counts.add(len(row[0].references))
        self._resampler.add([value for system in statistics for columns in system for value in columns])
        for metric in self._metrics:
            if metric.unsummable is not None:
                for example, numbers in zip(row, self._unsummable, strict=True):
                    numbers[metric.name].extend(metric.unsummable(example))

    def scores(self, confidence: float, *, system: int = 0, baselines: Sequence[str] = ()) -> Iterator[Score]:
        """Yield the scores of a system, compared with the others if their names are given."""
        import numpy as np

        for metric, columns in zip(self._metrics, self.columns(system), strict=True):
            sums = self.sums()
            total = metric.corpus(sums.total[None, columns])[0]
            samples = metric.corpus(sums.samples[:, columns])
            compare = [self._comparer(metric, columns, name, i) for i, name in enumerate(baselines)]
            details = metric.details(sums.total[columns].tolist()) if metric.details else {}
            about = self._about(metric)
            for i, name in enumerate(metric.scores):
                if np.isnan(total[i]):  # a share of zero rows, such as SQuAD's HasAns if no row has an answer
                    continue
                low, high, method = self._interval(
                    metric, name, float(total[i]), samples[:, i], sums.total[columns], confidence
                )
                yield Score(
                    name,
                    float(total[i]),
                    low,
                    high,
                    **about,
                    interval=method,
                    details=details.get(name, {}),
                    baselines=tuple(one(i, confidence) for one in compare),
                )
            if metric.from_all_rows is not None:
                numbers = np.array(self._unsummable[system][metric.name]).reshape(self.rows, -1)
                for name, value in metric.from_all_rows(numbers).items():
                    yield Score(name, value, None, None, **about)

    def sums(self) -> Sums:
        """Return the sums over all rows; no row can be added afterwards."""
        if self._sums is None:
            self._sums = self._resampler.finish()
        return self._sums

    def columns(self, system: int) -> Iterator[slice]:
        """Yield the columns of each metric's statistics of a system."""
        start = system * sum(self._widths)
        for width in self._widths:
            yield slice(start, start + width)
            start += width

    def _interval(
        self, metric: Metric, name: str, value: float, samples: Matrix, sums: Matrix, confidence: float
    ) -> tuple[float | None, float | None, str | None]:
        """Return the ends of an interval, and its method."""
        if self.rows < 2:
            return None, None, None
        if name in metric.shares and metric.scale is not None:
            low, high = wilson(value / metric.scale, float(sums[metric.shares[name]]), confidence)
            return low * metric.scale, high * metric.scale, "wilson"
        ends = interval(samples, confidence)
        return *ends, "bootstrap" if ends[0] is not None else None

    def _comparer(
        self, metric: Metric, columns: slice, name: str, number: int
    ) -> Callable[[int, float], Comparison]:
        """Return the function that compares a score of the first system with baseline `number`."""
        sums, width = self.sums(), sum(self._widths)
        theirs = slice(columns.start + (number + 1) * width, columns.stop + (number + 1) * width)
        beside = slice(columns.start + width, columns.stop + width)
        total = metric.corpus(sums.total[None, columns])[0]
        other = metric.corpus(sums.total[None, theirs])[0]
        drawn = metric.corpus(sums.samples[:, columns]) - metric.corpus(sums.samples[:, theirs])
        pair = sums.swapped[number]
        swapped = metric.corpus(pair[:, columns]) - metric.corpus(pair[:, beside])

        def compare(i: int, confidence: float) -> Comparison:
            difference = float(total[i] - other[i])
            low, high = interval(drawn[:, i], confidence)  # none for a single row: all samples are equal
            return Comparison(
                name=name,
                score=float(other[i]),
                difference=difference,
                low=low,
                high=high,
                p_bootstrap=p_value(drawn[:, i], difference, self.rows, center=difference),
                p_randomization=p_value(swapped[:, i], difference, self.rows),
            )

        return compare

    def _about(self, metric: Metric) -> dict[str, Any]:
        counts = self._reference_counts
        references = str(next(iter(counts))) if len(counts) == 1 else "var"
        return {
            "rows": self.rows,
            "metric": metric.name,
            "signature": (f"nrefs:{references}|" if metric.needs_references else "") + metric.signature,
            "scale": metric.scale,
            "group": self._group,
            "lower_is_better": metric.lower_is_better,
            "task": metric.task,
        }


def record_scores(metrics: Sequence[Metric], statistics: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the scores of a single row from its statistics of each metric."""
    import numpy as np

    scores: dict[str, float] = {}
    for metric, columns in zip(metrics, statistics, strict=True):
        alone = metric.record or metric.corpus
        values = alone(np.array([columns], dtype=np.float64))[0].tolist()
        scores.update(zip(metric.scores, values, strict=True))
    return scores


def _record(
    metrics: Sequence[Metric], row: Sequence[Example], statistics: Sequence[Sequence[Sequence[float]]]
) -> Record:
    """Return a scored row of the system and the first baseline."""
    ours = record_scores(metrics, statistics[0])
    if len(row) == 1:
        return Record(row[0], ours)
    return Record(row[0], ours, row[1], record_scores(metrics, statistics[1]))


def paired(
    rows: Iterable[Example], others: Mapping[str, Iterable[Example]], name: str = "the system"
) -> Iterator[list[Example]]:
    """Yield each row of a system with the same row of the others, which use its references.

    Args:
        rows: rows of the system.
        others: rows of the other systems, by name.
        name: name of the system, for error messages.

    Raises:
        InputError: the systems differ in their number of rows.
        RowError: another system has other references.
    """
    names = [name, *others]
    for count, answers in enumerate(zip_longest(rows, *others.values())):
        ended = [name for name, answer in zip(names, answers, strict=True) if answer is None]
        if ended:
            longer = next(name for name in names if name not in ended)
            raise InputError(
                f"{longer} has more rows than {ended[0]}, which ends after {count}; "
                "all systems must answer the same rows in the same order"
            )
        row, *theirs = answers
        for other in theirs:
            if other.references and list(other.references) != list(row.references):
                raise RowError(
                    other.where,
                    f"its references are not those of {row.where}; "
                    "all systems must answer the same rows in the same order",
                )
        yield [
            row,
            *(Example(o.prediction, row.references, o.data, o.where, o.failed) for o in theirs),
        ]


def prefetched(metrics: Sequence[Metric], rows: Iterator[list[Example]]) -> Iterator[list[Example]]:
    """Yield the same rows, after passing some at a time to the metrics that prefetch."""
    waiting = [metric.prefetch for metric in metrics if metric.prefetch is not None]
    if not waiting:
        yield from rows
        return
    while held := list(islice(rows, PREFETCH_ROWS)):
        for prefetch in waiting:
            prefetch([example for row in held for example in row])
        yield from held


def _group(
    row: Example, by: str, groups: dict[str, ScoredCorpus], corpus: Callable[[str], ScoredCorpus]
) -> ScoredCorpus:
    """Return the group of a row; create it in `groups` if needed."""
    if by not in row.data:
        raise RowError(row.where, f"no column {by!r} to group by; its columns are {', '.join(row.data)}")
    found = row.data[by]
    value = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, default=str)
    if value not in groups:
        groups[value] = corpus(value)
    if len(groups) > MAX_GROUPS:
        raise InputError(f"{by!r} has more than {MAX_GROUPS} values; group by a column with few")
    return groups[value]
