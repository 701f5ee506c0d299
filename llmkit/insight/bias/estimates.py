"""Numbers from scored items: values, intervals, p-values, and comparisons of two models.

Shares of independent items have Wilson's interval. All other numbers have a bootstrap interval over clusters:
items from one template are drawn together, because they are not independent. With few clusters the percentile
interval is too narrow; it is widened as Hesterberg (2015), What Teachers Should Know About the Bootstrap, The
American Statistician 69, proposes: percentiles of Student's distribution, and the factor sqrt(n / (n - 1)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.evaluation.resampling import Resampler, interval, p_value, wilson
from llmkit.evaluation.results import Comparison
from llmkit.insight.bias.items import ScoredItem, clusters
from llmkit.insight.bias.results import BiasMeasure

if TYPE_CHECKING:
    from llmkit.evaluation.resampling import Matrix

FEWEST_CLUSTERS = 5
"""Fewest clusters for which a bootstrap interval is given; with fewer it would be far too narrow."""
MOST_GROUPS = 100
"""Most values of a kind of groups that are shown one by one."""
Keep = Callable[[ScoredItem], bool]
Statistics = Callable[[Sequence[ScoredItem]], Sequence[float]]


def everything(item: ScoredItem) -> bool:
    """Keep all items."""
    return True


def ratio(sums: Matrix) -> Matrix:
    """Return the first sum divided by the second; serves as `Definition.corpus`."""
    return sums[:, 0] / sums[:, 1]


def mean_of(value: Callable[[ScoredItem], float]) -> Statistics:
    """Return the statistics of a mean over items, for `ratio`."""
    return lambda items: [math.fsum(map(value, items)), float(len(items))]


@dataclass(frozen=True)
class Definition:
    """A measure, before it is computed.

    Attributes:
        name: its name.
        ideal: value of a model without bias; None if there is none.
        meaning: ideal and direction in words.
        statistics: numbers of one cluster, which are summed over clusters.
        corpus: maps sums (samples x statistics) to values (samples).
        keep: items that count.
        share: the value is a share of items, each of which counts 0, one half or 1; `statistics` and `corpus`
            are then those of `mean_of` and `ratio`. Its interval is Wilson's if no two items share a cluster.
        percent: the value is shown in percent.
        split: kinds of groups, a key of `BiasItem.groups`, for whose values the measure is given too.
        smallest: fewest items for which a group is shown.
    """

    name: str
    ideal: float | None
    meaning: str
    statistics: Statistics
    corpus: Callable[[Matrix], Matrix] = ratio
    keep: Keep = everything
    share: bool = False
    percent: bool = True
    split: tuple[str, ...] = ()
    smallest: int = 1


@dataclass(frozen=True)
class IntervalOptions:
    """Options of the intervals.

    Attributes:
        confidence: confidence, between 0 and 1.
        resamples: number of bootstrap samples.
        seed: seed of the samples.
    """

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0


def measured(
    definitions: Iterable[Definition],
    items: Sequence[ScoredItem],
    sampling: IntervalOptions,
    *,
    other: Sequence[ScoredItem] | None = None,
    other_name: str = "baseline",
) -> list[BiasMeasure]:
    """Compute measures over all items and over groups, with p-values corrected for their number.

    Args:
        definitions: the measures.
        items: the scored items.
        sampling: options of the intervals.
        other: the same items, in the same order, scored by the baseline.
        other_name: its name.

    Raises:
        InputError: there are no items.
    """
    if not items:
        raise InputError("there is nothing to measure: no item is left")
    overall, grouped = [], []
    for definition in definitions:
        whole = _estimate(definition, items, sampling, other, other_name)
        if whole is not None:
            overall.append(whole)
        for kind in definition.split:
            values = dict.fromkeys(one.item.groups[kind] for one in items if kind in one.item.groups)
            for value in values if 1 < len(values) <= MOST_GROUPS else ():
                part = replace(definition, keep=_in_group(definition.keep, kind, value))
                if sum(map(part.keep, items)) < definition.smallest:
                    continue
                one = _estimate(part, items, sampling, other, other_name)
                if one is not None:
                    grouped.append(replace(one, group=f"{kind}={value}"))
    return adjusted([*overall, *grouped])


def _in_group(keep: Keep, kind: str, value: str) -> Keep:
    return lambda one: one.item.groups.get(kind) == value and keep(one)


def _estimate(
    definition: Definition,
    items: Sequence[ScoredItem],
    sampling: IntervalOptions,
    other: Sequence[ScoredItem] | None,
    other_name: str,
) -> BiasMeasure | None:
    """Compute a measure; None if no item counts."""
    kept = [one for one in items if definition.keep(one)]
    if not kept:
        return None
    groups = clusters(kept)
    rows = _statistics(definition, groups, other)
    total, samples, swapped = _resampled(rows, sampling, 1 if other is None else 2)
    width = len(total) if other is None else len(total) // 2
    value = float(_values(definition, total[None, :width])[0])
    low, high, p, method = None, None, None, None
    if definition.share and len(groups) == len(kept):  # Wilson's interval is of independent items
        low, high = wilson(value, len(kept), sampling.confidence)
        method, p = "wilson", _share_p(value, definition.ideal, len(kept))
    elif len(groups) >= FEWEST_CLUSTERS:
        drawn = _values(definition, samples[:, :width])
        low, high = interval(drawn, widened(sampling.confidence, len(groups)))
        method = "bootstrap" if low is not None else None
        if definition.ideal is not None and low is not None and math.isfinite(value):
            p = p_value(drawn, value - definition.ideal, len(groups), center=value)
    return BiasMeasure(
        name=definition.name,
        value=value,
        low=low,
        high=high,
        n=len(kept),
        clusters=len(groups),
        ideal=definition.ideal,
        meaning=definition.meaning,
        interval=method,
        percent=definition.percent,
        p=p,
        baseline=None
        if swapped is None
        else _compared(definition, total, samples, swapped, len(rows), sampling, other_name),
    )


def _statistics(
    definition: Definition, groups: dict[str, list[ScoredItem]], other: Sequence[ScoredItem] | None
) -> list[list[float]]:
    """Return the statistics of each cluster; those of the baseline are next to them, if there is one."""
    rows = {name: [float(x) for x in definition.statistics(group)] for name, group in groups.items()}
    if other is None:
        return list(rows.values())
    theirs = clusters([one for one in other if definition.keep(one)])
    width = len(next(iter(rows.values())))
    # Items that count may depend on the answers (BBQ): a cluster may be missing from one of the two.
    return [
        [*rows.get(name, [0.0] * width), *_of(definition, theirs.get(name), width)]
        for name in dict.fromkeys([*groups, *theirs])
    ]


def _of(definition: Definition, group: Sequence[ScoredItem] | None, width: int) -> list[float]:
    return [0.0] * width if group is None else [float(x) for x in definition.statistics(group)]


def _resampled(
    rows: Sequence[Sequence[float]], sampling: IntervalOptions, systems: int
) -> tuple[Matrix, Matrix, Matrix | None]:
    resampler = Resampler(samples=sampling.resamples, seed=sampling.seed, systems=systems)
    for row in rows:
        resampler.add(row)
    sums = resampler.finish()
    return sums.total, sums.samples, sums.swapped[0] if sums.swapped else None


def _values(definition: Definition, sums: Matrix) -> Matrix:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return definition.corpus(sums)


def _compared(
    definition: Definition,
    total: Matrix,
    samples: Matrix,
    swapped: Matrix,
    count: int,
    sampling: IntervalOptions,
    name: str,
) -> Comparison:
    """Compare the two halves of the columns, the model's statistics and the baseline's.

    With fewer than `FEWEST_CLUSTERS` clusters (`count`) the difference has no interval.
    """
    width = len(total) // 2

    def difference(sums: Matrix) -> Matrix:
        found: Matrix = _values(definition, sums[:, :width]) - _values(definition, sums[:, width:])
        return found

    observed = float(difference(total[None])[0])
    drawn = difference(samples)
    low, high = None, None
    if count >= FEWEST_CLUSTERS:
        low, high = interval(drawn, widened(sampling.confidence, count))
    return Comparison(
        name=name,
        score=float(_values(definition, total[None, width:])[0]),
        difference=observed,
        low=low,
        high=high,
        p_bootstrap=p_value(drawn, observed, count, center=observed),
        p_randomization=p_value(difference(swapped), observed, count),
    )


def _share_p(value: float, ideal: float | None, n: int) -> float | None:
    """Return the two-sided p-value of the score test, which Wilson's interval inverts.

    Its normal distribution has thinner tails than the binomial distribution of few items. So the value is at
    least the smallest one that the exact binomial test can give: 2 / 2^n for an ideal of one half.
    """
    if ideal is None or not 0 < ideal < 1:
        return None
    z = abs(value - ideal) / math.sqrt(ideal * (1 - ideal) / n)
    least = 2.0 ** (1 - n) if ideal == 0.5 else min(ideal, 1 - ideal) ** n
    return max(math.erfc(z / math.sqrt(2)), least)


def adjusted(measures: Sequence[BiasMeasure]) -> list[BiasMeasure]:
    """Return the measures with Holm's correction of their p-values (Holm 1979, Scand. J. Statist. 6)."""
    tested = sorted((one.p, i) for i, one in enumerate(measures) if one.p is not None)
    found: dict[int, float] = {}
    highest = 0.0
    for rank, (p, i) in enumerate(tested):
        highest = max(highest, min(1.0, p * (len(tested) - rank)))
        found[i] = highest
    return [replace(one, p_adjusted=found.get(i)) for i, one in enumerate(measures)]


def widened(confidence: float, count: int) -> float:
    """Return the confidence whose percentile interval suits a bootstrap over `count` clusters."""
    outside = NormalDist().cdf(-math.sqrt(count / (count - 1)) * student(0.5 + confidence / 2, count - 1))
    return 1 - 2 * outside


def student(share: float, freedom: int) -> float:
    """Return a quantile of Student's t distribution.

    Args:
        share: probability below the quantile, above one half.
        freedom: degrees of freedom; exact for 1 and 2, else Cornish and Fisher's expansion (Abramowitz and
            Stegun 26.7.5).
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    if freedom == 2:
        return (2 * share - 1) / math.sqrt(2 * share * (1 - share))
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))
