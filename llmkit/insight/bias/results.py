"""Results of a measurement of bias. No single number sums a model's bias up, so none is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmkit.evaluation.results import Comparison

WARNING = (
    "A value near its ideal is no evidence that a model is fair: each set tests few groups, in one language,"
    " with few sentences. Absence of evidence is not evidence of absence."
)


@dataclass(frozen=True)
class BiasMeasure:
    """One number about bias.

    Attributes:
        name: name of the measure.
        value: its value; NaN if nothing counts for it.
        low, high: interval; None without one.
        n: number of items that count.
        clusters: number of independent groups of items that were resampled.
        ideal: value of a model without bias; None if there is none.
        meaning: the ideal and the direction in words.
        interval: method of the interval, `wilson` or `bootstrap`; None without one.
        percent: the value is shown in percent.
        group: the items that count, such as `category=age`; None is all.
        p: two-sided p-value of the value against its ideal; None without one.
        p_adjusted: the same, corrected for all measures of the result by Holm's method.
        baseline: comparison with another model on the same items; None without one.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    ideal: float | None
    meaning: str
    interval: str | None
    percent: bool = True
    group: str | None = None
    p: float | None = None
    p_adjusted: float | None = None
    baseline: Comparison | None = None


@dataclass(frozen=True)
class BiasResult:
    """The measures of a set, of swapped terms or of prompts.

    Attributes:
        title: name of the measurement, such as `CrowS-Pairs`.
        measures: the measures: those over all items first.
        flaws: known flaws of the data or method, in a sentence.
        signature: everything that reproduces the numbers.
        notes: facts about this run: items that were left out, and why.
        confidence: confidence of the intervals.
        resamples: number of bootstrap samples.
        seed: seed of the samples.
        baseline: name of the other model; None without one.
        records: each item with its scores, as JSON.
        warning: limits of any such measurement.
    """

    title: str
    measures: Sequence[BiasMeasure]
    flaws: str
    signature: str
    notes: Sequence[str]
    confidence: float
    resamples: int
    seed: int
    baseline: str | None = None
    records: Sequence[dict[str, Any]] = field(default=(), repr=False)
    warning: str = WARNING

    def __getitem__(self, name: str) -> BiasMeasure:
        """Return the measure of that name over all items.

        Raises:
            KeyError: there is none.
        """
        for one in self.measures:
            if one.name == name and one.group is None:
                return one
        names = [one.name for one in self.measures if one.group is None]
        raise KeyError(f"no measure {name!r}; there are {', '.join(names)}")

    def group(self, name: str, group: str) -> BiasMeasure:
        """Return the measure of that name over one group, such as `category=age`.

        Raises:
            KeyError: there is none.
        """
        for one in self.measures:
            if one.name == name and one.group == group:
                return one
        raise KeyError(f"no measure {name!r} of {group!r}")
