"""Score rows with any number of metrics: every number with its interval, and with a baseline its p-value."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.evaluation.metric import Example, Metric
from llmkit.evaluation.resampling import Resampler, Sums, interval, p_value

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix

MAX_GROUPS = 200
"""Each group keeps the sums of all its samples; a field with more values than this is no grouping."""
AHEAD = 256
"""Rows that a metric sees together that is quicker so."""


@dataclass(frozen=True)
class Comparison:
    """A score against the same score of a baseline, on the same rows.

    Args:
        score: the baseline's.
        difference: the system's less the baseline's.
        low: lower end of the difference's interval (paired bootstrap).
        high: its upper end.
        p_bootstrap: p-value of the paired bootstrap, two-sided (Koehn 2004, Riezler and Maxwell 2005).
        p_randomization: p-value of paired approximate randomization, two-sided (Noreen 1989).
    """

    score: float
    difference: float
    low: float | None
    high: float | None
    p_bootstrap: float
    p_randomization: float


@dataclass(frozen=True)
class Score:
    """One number and what is needed to get it again.

    Args:
        name: the score's name, such as `rougeL`.
        score: the number.
        low: lower end of its confidence interval; None where it has none (a single row, a threshold).
        high: its upper end.
        rows: how many rows it is over.
        metric: the metric that gave it.
        signature: that metric's options and versions.
        scale: what a perfect system scores, 1 or 100; None where there is no such number.
        group: the value of the grouping field; None over all rows.
        details: the numbers behind the score.
        baseline: the comparison with a baseline.
    """

    name: str
    score: float
    low: float | None
    high: float | None
    rows: int
    metric: str
    signature: str
    scale: int | None
    group: str | None = None
    details: dict[str, float] = field(default_factory=dict)
    baseline: Comparison | None = None


@dataclass(frozen=True)
class Evaluation:
    """All scores, those over all rows first, then group by group in order of appearance.

    `model` tells what model wrote the predictions and how, where that is known.
    """

    rows: int
    scores: list[Score]
    confidence: float
    resamples: int
    seed: int
    by: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Record:
    """A row that was scored.

    Args:
        row: the row.
        scores: its own.
        baseline: how the baseline answered it.
        baseline_scores: the scores of that.
    """

    row: Example
    scores: dict[str, float]
    baseline: Example | None = None
    baseline_scores: dict[str, float] | None = None


def examples(
    predictions: Sequence[Any], references: Sequence[Any] | None = None, **columns: Sequence[Any]
) -> list[Example]:
    """Rows to score, from lists.

    Args:
        predictions: one a row.
        references: for each row one reference, or a list of them; None for metrics that need none.
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


def score(
    metrics: Sequence[Metric],
    rows: Iterable[Example],
    *,
    baseline: Iterable[Example] | None = None,
    by: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    on_record: Callable[[Record], None] | None = None,
) -> Evaluation:
    """Score rows as they come; memory does not grow with their number.

    Args:
        metrics: what to score with, from `metric.make` or from the metrics' own functions.
        rows: predictions and references.
        baseline: the same rows as another system answered them, in the same order. Their references may
            be empty; the system's are used.
        by: a column; each of its values is scored apart as well, as if its rows stood alone.
        confidence: of the intervals, between 0 and 1.
        resamples: bootstrap samples, and random swaps.
        seed: of the samples.
        on_record: called with each row as it was scored.

    Raises:
        InputError: there are no rows, the baseline has another number of them, or an option is out of
            range.
        RowError: a row lacks something, or a baseline's row has other references.
    """
    _check_options(confidence, resamples, seed)

    def corpus(group: str | None) -> _Corpus:
        return _Corpus(metrics, group, baseline is not None, resamples, seed)

    everything = corpus(None)
    groups: dict[str, _Corpus] = {}
    reference_counts: set[int] = set()
    for row, other in _ahead(metrics, _paired(rows, baseline)):
        statistics = [metric.statistics(row) for metric in metrics]
        others = [metric.statistics(other) for metric in metrics] if other is not None else None
        reference_counts.add(len(row.references))
        into = [everything] if by is None else [everything, _group(row, by, groups, corpus)]
        for one in into:
            one.add(row, statistics, others)
        if on_record is not None:
            theirs = _record_scores(metrics, others) if others is not None else None
            on_record(Record(row, _record_scores(metrics, statistics), other, theirs))
    if everything.rows == 0:
        raise InputError("there is nothing to score: the input has no rows")
    references = str(reference_counts.pop()) if len(reference_counts) == 1 else "var"
    scores = [s for one in (everything, *groups.values()) for s in one.scores(confidence, references)]
    _check_all_scored(metrics, scores)
    return Evaluation(everything.rows, scores, confidence, resamples, seed, by)


def _check_options(confidence: float, resamples: int, seed: int) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"--confidence is {confidence}; it lies between 0 and 1, such as 0.95")
    if resamples < 1:
        raise InputError(f"--resamples is {resamples}; it must be at least 1")
    if seed < 0:
        raise InputError(f"the seed is {seed}; it must not be negative")


def _check_all_scored(metrics: Sequence[Metric], scores: Sequence[Score]) -> None:
    scored = {one.metric for one in scores if one.group is None}
    for metric in metrics:
        if metric.name not in scored:
            raise InputError(f"{metric.name} has nothing to score: the texts are empty, or too short for it")


class _Corpus:
    """The rows of one group: one resampler whose columns are all metrics' statistics side by side."""

    def __init__(
        self, metrics: Sequence[Metric], group: str | None, paired: bool, resamples: int, seed: int
    ) -> None:
        self.rows = 0
        self._metrics, self._group, self._paired = metrics, group, paired
        self._resampler = Resampler(samples=resamples, seed=seed, paired=paired)
        self._kept = {metric.name: array("d") for metric in metrics if metric.kept}
        self._widths: list[int] = []

    def add(
        self,
        row: Example,
        statistics: Sequence[Sequence[float]],
        baseline: Sequence[Sequence[float]] | None,
    ) -> None:
        self.rows += 1
        self._widths = [len(columns) for columns in statistics]
        self._resampler.add([value for columns in (*statistics, *(baseline or ())) for value in columns])
        for metric in self._metrics:
            if metric.kept is not None:
                self._kept[metric.name].extend(metric.kept(row))

    def scores(self, confidence: float, references: str) -> Iterator[Score]:
        import numpy as np

        sums = self._resampler.finish()
        start, offset = 0, sum(self._widths)
        for metric, width in zip(self._metrics, self._widths, strict=True):
            one = slice(start, start + width)
            two = slice(offset + start, offset + start + width)
            start += width
            total = metric.corpus(sums.total[None, one])[0]
            samples = metric.corpus(sums.samples[:, one])
            compare = _comparer(metric, sums, one, two, total, samples) if self._paired else None
            details = metric.details(sums.total[one].tolist()) if metric.details else {}
            about = self._about(metric, references)
            for i, name in enumerate(metric.scores):
                if np.isnan(total[i]):  # a share of no rows, such as SQuAD's HasAns where nothing has
                    continue
                low, high = interval(samples[:, i], confidence) if self.rows > 1 else (None, None)
                yield Score(
                    name,
                    float(total[i]),
                    low,
                    high,
                    **about,
                    details=details.get(name, {}),
                    baseline=compare(i, confidence) if compare else None,
                )
            if metric.whole is not None:
                kept = np.array(self._kept[metric.name]).reshape(self.rows, -1)
                for name, value in metric.whole(kept).items():
                    yield Score(name, value, None, None, **about)

    def _about(self, metric: Metric, references: str) -> dict[str, Any]:
        nrefs = f"nrefs:{references}|" if metric.needs_references else ""
        return {
            "rows": self.rows,
            "metric": metric.name,
            "signature": nrefs + metric.signature,
            "scale": metric.scale,
            "group": self._group,
        }


def _comparer(
    metric: Metric, sums: Sums, one: slice, two: slice, total: Matrix, samples: Matrix
) -> Callable[[int, float], Comparison]:
    """How the system's statistics (columns `one`) and the baseline's (`two`) compare, score by score."""
    assert sums.swapped is not None
    other = metric.corpus(sums.total[None, two])[0]
    drawn = samples - metric.corpus(sums.samples[:, two])
    swapped = metric.corpus(sums.swapped[:, one]) - metric.corpus(sums.swapped[:, two])

    def compare(i: int, confidence: float) -> Comparison:
        difference = float(total[i] - other[i])
        low, high = interval(drawn[:, i], confidence)
        return Comparison(
            score=float(other[i]),
            difference=difference,
            low=low,
            high=high,
            p_bootstrap=p_value(drawn[:, i], difference, centre=difference),
            p_randomization=p_value(swapped[:, i], difference),
        )

    return compare


def _record_scores(metrics: Sequence[Metric], statistics: Sequence[Sequence[float]]) -> dict[str, float]:
    import numpy as np

    scores: dict[str, float] = {}
    for metric, columns in zip(metrics, statistics, strict=True):
        alone = metric.record or metric.corpus
        values = alone(np.array([columns], dtype=np.float64))[0].tolist()
        scores.update(zip(metric.scores, values, strict=True))
    return scores


def _paired(
    rows: Iterable[Example], baseline: Iterable[Example] | None
) -> Iterator[tuple[Example, Example | None]]:
    if baseline is None:
        for row in rows:
            yield row, None
        return
    for count, (row, other) in enumerate(zip_longest(rows, baseline)):
        if row is None or other is None:
            longer, shorter = (
                ("the baseline", "the system") if row is None else ("the system", "the baseline")
            )
            raise InputError(
                f"{longer} has more rows than {shorter}, which ends after {count}; "
                "the two must answer the same rows in the same order"
            )
        if other.references and list(other.references) != list(row.references):
            raise RowError(
                other.where,
                f"its references are not those of {row.where}; "
                "the baseline must answer the same rows in the same order",
            )
        yield row, Example(other.prediction, row.references, other.data, other.where)


def _ahead(
    metrics: Sequence[Metric], pairs: Iterator[tuple[Example, Example | None]]
) -> Iterator[tuple[Example, Example | None]]:
    """The same pairs, some at a time shown to the metrics that ask for it."""
    waiting = [metric.ahead for metric in metrics if metric.ahead is not None]
    if not waiting:
        yield from pairs
        return
    while held := list(islice(pairs, AHEAD)):
        for show in waiting:
            show([one for pair in held for one in pair if one is not None])
        yield from held


def _group(row: Example, by: str, groups: dict[str, _Corpus], corpus: Callable[[str], _Corpus]) -> _Corpus:
    """The group that a row belongs to; one that is not in `groups` yet is made and put there."""
    if by not in row.data:
        raise RowError(row.where, f"no column {by!r} to group by; its columns are {', '.join(row.data)}")
    value = str(row.data[by])
    if value not in groups:
        groups[value] = corpus(value)
    if len(groups) > MAX_GROUPS:
        raise InputError(f"{by!r} has more than {MAX_GROUPS} values; group by a field with few")
    return groups[value]
