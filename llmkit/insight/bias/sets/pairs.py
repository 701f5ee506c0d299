"""Measures of sets of pairs: a text with a stereotype and the same text without it."""

from __future__ import annotations

import math

from llmkit.insight.bias.estimates import Definition, Keep, everything, mean_of
from llmkit.insight.bias.items import ScoredItem


def preferred(
    name: str,
    more: str,
    less: str,
    rule: str,
    *,
    meaning: str,
    split: tuple[str, ...] = (),
    keep: Keep = everything,
) -> Definition:
    """Return the share of pairs whose text of role `more` scores higher than that of `less`.

    Equal scores count one half. Under the rule `sum` they count as 0, as in EleutherAI's harness.

    Args:
        name: name of the measure.
        more, less: roles of the texts.
        rule: rule of scoring.
        meaning: the direction in words.
        split: kinds of groups.
        keep: pairs that count.
    """
    ties = 0.0 if rule == "sum" else 0.5
    return Definition(
        name,
        0.5,
        f"50 % means no preference; {meaning}",
        mean_of(lambda one: one.preference(more, less, ties=ties)),
        share=True,
        split=split,
        keep=keep,
        smallest=5,
    )


def tied(more: str, less: str) -> Definition:
    """Return the share of pairs with equal scores."""
    return Definition(
        "equal scores",
        None,
        "pairs that say nothing about the model",
        mean_of(lambda one: float(one.scores[more] == one.scores[less])),
        share=True,
    )


def distance(more: str, less: str) -> Definition:
    """Return the mean absolute difference of the two scores, in nats."""

    def value(one: ScoredItem) -> float:
        return math.fabs(one.scores[more] - one.scores[less])

    return Definition(
        "mean distance",
        None,
        "nats between the two texts, whichever is preferred; 0 means no difference",
        mean_of(value),
        percent=False,
    )
