"""Results of an evaluation: scores with their intervals, and comparisons with baselines."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmkit.evaluation.metric import Example


@dataclass(frozen=True)
class Comparison:
    """A score compared with the same score of a baseline on the same rows.

    Attributes:
        name: name of the baseline.
        score: score of the baseline.
        difference: score of the system minus that of the baseline.
        low: lower end of the interval of the difference (paired bootstrap).
        high: upper end of the interval of the difference.
        p_bootstrap: two-sided p-value of the paired bootstrap (Koehn 2004, Riezler and Maxwell 2005).
        p_randomization: two-sided p-value of paired approximate randomization (Noreen 1989).

    If the baseline has no score (all its texts are too short for it), the numbers are NaN. So are p-values of
    an infinite difference.
    """

    name: str
    score: float
    difference: float
    low: float | None
    high: float | None
    p_bootstrap: float
    p_randomization: float


@dataclass(frozen=True)
class Score:
    """One score and everything needed to reproduce it.

    Attributes:
        name: name of the score, such as `rougeL`.
        score: its value.
        low: lower end of the confidence interval; None if there is no interval (a single row, a threshold).
        high: upper end of the confidence interval.
        rows: number of rows.
        metric: name of the metric that gives the score.
        signature: options and versions of the metric.
        scale: score of a perfect system, 1 or 100; None if there is none.
        interval: method of the interval, `bootstrap` or `wilson`; None if there is no interval.
        group: value of the grouping column; None over all rows.
        details: further numbers of the score.
        baselines: comparisons with the baselines, in their order.
        lower_is_better: True for errors and losses.
        task: the Hub's name of the task that the metric usually judges.
    """

    name: str
    score: float
    low: float | None
    high: float | None
    rows: int
    metric: str
    signature: str
    scale: int | None
    interval: str | None = None
    group: str | None = None
    details: dict[str, float] = field(default_factory=dict)
    baselines: tuple[Comparison, ...] = ()
    lower_is_better: bool = False
    task: str = "text-generation"

    @property
    def baseline(self) -> Comparison | None:
        """The comparison with the first baseline; None without a baseline."""
        return self.baselines[0] if self.baselines else None


@dataclass(frozen=True)
class Evaluation:
    """All scores: first those over all rows, then group by group in order of appearance.

    Attributes:
        rows: number of rows.
        scores: the scores.
        confidence: confidence of the intervals.
        resamples: number of bootstrap samples and of random swaps.
        seed: seed of the samples.
        by: grouping column.
        model: the model that wrote the predictions and its options, if known.
    """

    rows: int
    scores: list[Score]
    confidence: float
    resamples: int
    seed: int
    by: str | None = None
    model: str | None = None

    def __getitem__(self, name: str) -> Score:
        """Return the score of that name over all rows.

        Raises:
            KeyError: there is no such score.
        """
        for score in self.scores:
            if score.name == name and score.group is None:
                return score
        names = [score.name for score in self.scores if score.group is None]
        raise KeyError(f"no score {name!r}; there are {', '.join(names)}")


@dataclass(frozen=True)
class Record:
    """A scored row.

    Attributes:
        row: the row.
        scores: scores of this row alone.
        baseline: the same row of the first baseline; None without a baseline.
        baseline_scores: scores of `baseline`.
    """

    row: Example
    scores: dict[str, float]
    baseline: Example | None = None
    baseline_scores: dict[str, float] | None = None
