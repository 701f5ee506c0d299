"""Diversity of generated texts: distinct n-grams and repetition, without references.

Words are those of `text.words.unicode_words`. A text too short for an n-gram is left out of the mean for that
n.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.evaluation.metric import Declaration, Example, Metric, declare, text
from llmkit.text.words import unicode_words

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix


@declare(Declaration("different n-grams of a text", needs_references=False))
def distinct(*, orders: Sequence[int] = (1, 2, 3)) -> Metric:
    """Build distinct-n: different n-grams over all n-grams of a text, averaged over texts, 0 to 1.

    Li et al. (2016, arXiv:1510.03055) divide over all texts at once. That ratio falls with the number of
    texts; the mean over texts does not, so runs of different lengths are comparable.

    Args:
        orders: values of n.

    Raises:
        InputError: an order is below 1.
    """
    return _metric("distinct", orders, lambda share: share)


@declare(Declaration("repeated n-grams of a text", needs_references=False, lower_is_better=True))
def repetition(*, orders: Sequence[int] = (2, 3, 4)) -> Metric:
    """Build rep-n: the share of n-grams that occurred earlier in the text, averaged over texts, 0 to 1.

    See Welleck et al. (2020, arXiv:1908.04319). 0 means that no n-gram occurs twice; lower is better.

    Args:
        orders: values of n.

    Raises:
        InputError: an order is below 1.
    """
    return _metric("repetition", orders, lambda share: 1 - share)


def distinct_share(words: Sequence[str], n: int) -> float | None:
    """Return the number of different n-grams over the number of n-grams; None if there is no n-gram."""
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else None


def _metric(name: str, orders: Sequence[int], of_share: Callable[[float], float]) -> Metric:
    if not orders or min(orders) < 1:
        raise InputError(f"the n-gram orders of {name} are {list(orders)}; each must be at least 1")
    from llmkit import __version__

    def statistics(example: Example) -> list[float]:
        words = unicode_words(text(example.prediction, "prediction", example.where))
        columns = []
        for n in orders:
            share = distinct_share(words, n)
            columns += [0.0, 0.0] if share is None else [of_share(share), 1.0]
        return columns

    def corpus(sums: Matrix) -> Matrix:
        import numpy as np

        with np.errstate(invalid="ignore"):  # 0 of 0 texts is NaN, and `scoring` leaves it out
            values: Matrix = sums[:, 0::2] / sums[:, 1::2]
        return values

    return Metric(
        name=name,
        scores=tuple(f"{name}_{n}" for n in orders),
        signature=f"level:text|tok:unicode|version:llmkit-{__version__}",
        statistics=statistics,
        corpus=corpus,
    )
