"""How varied generated texts are: distinct n-grams and repetition. No references are needed.

Words are those of `text.words.unicode_words`. A text too short to hold an n-gram says nothing about that n
and is left out of its mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.evaluation.metric import Example, Metric, text
from llmkit.text.words import unicode_words

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix


def distinct(*, orders: Sequence[int] = (1, 2, 3)) -> Metric:
    """distinct-n: different n-grams over all n-grams of a text (Li et al. 2016), its mean over texts, 0 to 1.

    The paper takes the ratio over all texts at once, which falls as more texts are added; the mean over
    texts does not, so that runs of different lengths compare.

    Raises:
        InputError: an order is below 1.
    """
    return _metric("distinct", orders, lambda share: share)


def repetition(*, orders: Sequence[int] = (2, 3, 4)) -> Metric:
    """rep-n: the share of a text's n-grams that it has already said (Welleck et al. 2020).

    The mean over texts, 0 to 1; 0 says nothing twice; less is better.

    Raises:
        InputError: an order is below 1.
    """
    return _metric("repetition", orders, lambda share: 1 - share)


def distinct_share(words: Sequence[str], n: int) -> float | None:
    """Different n-grams over all n-grams; None where there is no n-gram."""
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

        with np.errstate(invalid="ignore"):  # 0 of 0 texts is NaN, which is left out of the results
            values: Matrix = sums[:, 0::2] / sums[:, 1::2]
        return values

    return Metric(
        name=name,
        scores=tuple(f"{name}_{n}" for n in orders),
        signature=f"level:text|tok:unicode|version:llmkit-{__version__}",
        statistics=statistics,
        corpus=corpus,
        needs_references=False,
    )
