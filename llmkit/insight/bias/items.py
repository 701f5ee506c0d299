"""Items of a bias set, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BiasItem:
    """One comparison: texts that differ in the group that they are about.

    Attributes:
        id: name of the item; the same in every run over the same file.
        where: place in the file, for messages.
        texts: the texts that a model scores, by their role, such as `stereotype` and `anti_stereotype`.
        cluster: items with one value are drawn together by the bootstrap: a template, or a target term.
        groups: values to split by, by kind, such as `{"category": "age"}`.
        context: text before each of the texts, not scored itself; None is none.
        blank: the sentence with the word BLANK, where the texts differ in one word alone.
        facts: further facts that the measures use.
    """

    id: str
    where: str
    texts: Mapping[str, str]
    cluster: str
    groups: Mapping[str, str] = field(default_factory=dict)
    context: str | None = None
    blank: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoredItem:
    """An item with its numbers.

    Attributes:
        item: the item.
        scores: by name, such as the log-likelihood in nats of each role's text.
        output: outputs of the model, for the page; empty where it only scored texts.
        weight: reason to show the item on the page, the larger the better; 0 is none of its own.
    """

    item: BiasItem
    scores: Mapping[str, float]
    output: Mapping[str, str] = field(default_factory=dict)
    weight: float = 0.0

    def preference(self, role: str, other: str, *, ties: float = 0.5) -> float:
        """Return 1 if the text of `role` scores higher than that of `other`, 0 if lower, `ties` if equal."""
        difference = self.scores[role] - self.scores[other]
        return ties if difference == 0 else float(difference > 0)


def clusters(items: Sequence[ScoredItem]) -> dict[str, list[ScoredItem]]:
    """Return the items of each cluster, in order of appearance."""
    found: dict[str, list[ScoredItem]] = {}
    for one in items:
        found.setdefault(one.item.cluster, []).append(one)
    return found
