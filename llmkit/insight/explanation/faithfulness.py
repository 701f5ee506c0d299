"""Faithfulness: remove the units that a method ranks highest, and measure the decrease of the prediction.

An order must beat "latest words first", which is strong in causal models, and not only random orders. The
decrease is that of the log-probability. The probability is near 0 as soon as the last word is removed, so all
orders that begin with it would look the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.insight.explanation.result import Faithfulness

if TYPE_CHECKING:
    import numpy as np

    from llmkit.insight.explanation.scorer import UnitRemoval

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
SAMPLES = 1000
CONFIDENCE = 0.95


def measure(
    removal: UnitRemoval,
    units: Sequence[Sequence[int]],
    scores: Sequence[float],
    *,
    parts: int,
    contrast: bool,
    orders: int,
    seed: Sequence[int],
) -> tuple[Faithfulness, Faithfulness]:
    """Return comprehensiveness and sufficiency of scores.

    Args:
        removal: the log-probability, not the logit.
        units: positions of each unit.
        scores: one for each unit.
        parts: tokens of the target, over which its log-probability is averaged.
        contrast: there is a foil; the drop is then that of the difference of the two.
        orders: random orders.
        seed: seed of the random orders.
    """
    import numpy as np

    count = len(units)
    draws = np.random.default_rng(list(seed))
    ranked = sorted(range(count), key=lambda i: -scores[i])  # of equal scores the earlier unit first
    latest = sorted(range(count), key=lambda i: -max(units[i], default=-1))
    tried = [ranked, latest, *(draws.permutation(count).tolist() for _ in range(orders))]
    sizes = [math.ceil(share * count) for share in SHARES]

    def curve(keep: bool) -> list[float]:
        """Return the mean drop of each order."""
        removed: list[list[int]] = []
        for order in tried:
            for size in sizes:
                chosen = order[size:] if keep else order[:size]
                removed.append([position for unit in chosen for position in units[unit]])
        found = removal.scores([(), *removed]).sum(1) / (1 if contrast else parts)
        drops = found[0] - found[1:].reshape(len(tried), len(sizes))
        return [float(drop) for drop in drops.mean(1)]

    return _summed(curve(False)), _summed(curve(True))


def probability_of(parts: int, contrast: bool) -> Callable[[np.ndarray], float]:
    """Return the function that turns the parts' log-probabilities into a probability.

    With a contrast it is the probability of the target among the two; else the geometric mean of its tokens'
    probabilities, so that targets of any length can be compared.
    """

    def probability(row: np.ndarray) -> float:
        total = float(row.sum())
        if contrast:
            return 1 / (1 + math.exp(-total)) if total >= 0 else math.exp(total) / (1 + math.exp(total))
        return math.exp(min(total / parts, 0.0))

    return probability


def _summed(drops: Sequence[float]) -> Faithfulness:
    """Return the result of one curve: of the scores' order, of the position's, and of random ones."""
    value, position, *chance = drops
    mean = math.fsum(chance) / len(chance)
    low, high = _interval([value - one for one in chance])
    return Faithfulness(value, position, mean, value - mean, low, high, len(chance))


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the bootstrap interval of a mean; None for a single value."""
    from llmkit.evaluation.resampling import Resampler, interval

    if len(values) < 2:
        return None, None
    resampler = Resampler(samples=SAMPLES, seed=0)
    for value in values:
        resampler.add([value, 1.0])
    sums = resampler.finish()
    return interval(sums.samples[:, 0] / sums.samples[:, 1], CONFIDENCE)


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of an explanation's faithfulness from another order's, over texts.

    Attributes:
        mean: mean over the texts; above 0 the explanation is better.
        low, high: 95 % bootstrap interval over the texts.
        p: two-sided p-value of the paired test by random swaps.
        texts: number of texts.
    """

    mean: float
    low: float | None
    high: float | None
    p: float
    texts: int


def compare(
    measured: Sequence[Faithfulness], against: str, *, lower_is_better: bool = False
) -> PairedDifference:
    """Compare the order of the scores with another one over many texts.

    Args:
        measured: comprehensiveness of each text, or sufficiency of each; at least one.
        against: ``position`` or ``random``.
        lower_is_better: True for sufficiency.

    Raises:
        ValueError: there is none.
    """
    from llmkit.evaluation.resampling import Resampler, interval, p_value

    resampler = Resampler(samples=10 * SAMPLES, seed=0, systems=2)
    sign = -1.0 if lower_is_better else 1.0
    for one in measured:
        resampler.add([sign * one.value, 1.0, sign * getattr(one, against), 1.0])
    sums = resampler.finish()
    mean = float(sums.total[0] - sums.total[2]) / sums.rows
    low, high = interval((sums.samples[:, 0] - sums.samples[:, 2]) / sums.samples[:, 1], CONFIDENCE)
    swapped = (sums.swapped[0][:, 0] - sums.swapped[0][:, 2]) / sums.rows
    return PairedDifference(mean, low, high, p_value(swapped, mean, sums.rows), sums.rows)
