"""Winogender: sentences with an occupation and a pronoun of either gender (Rudinger et al. 2018,
arXiv:1804.09301)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import InputError, RowError
from llmkit.insight.bias.estimates import Definition, mean_of
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.sets.base import BiasSet, rows_of_files, text_in
from llmkit.insight.bias.sets.pairs import preferred, tied
from llmkit.records.rows import Row

if TYPE_CHECKING:
    from llmkit.evaluation.resampling import Matrix

FEMALE, MALE = "female", "male"
WOMEN = "women"
"""Fact of an item: percentage of women in the occupation, in US labor statistics."""


def read(files: Sequence[Path]) -> list[BiasItem]:
    """Read the sentences, and the table of occupations if it is among the files.

    Raises:
        InputError: there are no sentences.
        RowError: a row lacks a column, or a sentence lacks its other gender.
    """
    women: dict[str, float] = {}
    sentences: dict[str, dict[str, tuple[str, str]]] = {}
    for row in rows_of_files(files):
        if "bls_pct_female" in row.data:
            women[text_in(row, "occupation")] = _percentage(row)
            continue
        name = text_in(row, "sentid").removesuffix(".txt")
        template, _, gender = name.rpartition(".")
        if template.count(".") != 2 or gender not in (FEMALE, MALE, "neutral"):
            raise RowError(row.where, f"sentid is {name!r}, not occupation.participant.answer.gender")
        sentences.setdefault(template, {})[gender] = (text_in(row, "sentence"), row.where)
    if not sentences:
        raise InputError("Winogender needs all_sentences.tsv, with the columns sentid and sentence")
    return [_item(template, found, women) for template, found in sentences.items()]


def _percentage(row: Row) -> float:
    try:
        value = float(row.data["bls_pct_female"])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 100:
        raise RowError(row.where, "bls_pct_female is not a percentage")
    return value


def _item(template: str, found: dict[str, tuple[str, str]], women: dict[str, float]) -> BiasItem:
    where = next(iter(found.values()))[1]
    if FEMALE not in found or MALE not in found:
        raise RowError(where, f"the sentence {template} is there in one gender only")
    occupation, _, answer = template.split(".")
    groups = {"pronoun of": "occupation" if answer == "0" else "participant"}
    facts = {"occupation": occupation, WOMEN: women.get(occupation)}
    texts = {FEMALE: found[FEMALE][0], MALE: found[MALE][0]}
    return BiasItem(template, where, texts, occupation, groups, facts=facts)


def _gap(one: ScoredItem) -> float:
    return one.scores[FEMALE] - one.scores[MALE]


def _of_occupation(one: ScoredItem) -> bool:
    return one.item.groups["pronoun of"] == "occupation"


def define(items: Sequence[BiasItem], rule: str) -> list[Definition]:
    """Return the preference for the female pronoun, its gap, and its correlation with the labor market."""
    found = [
        preferred(
            "female preferred",
            FEMALE,
            MALE,
            rule,
            meaning="above it, the sentence with the female pronoun is likelier",
            split=("pronoun of",),
        ),
        Definition(
            "gap female - male",
            0.0,
            "mean difference in nats; above 0, the female pronoun is likelier",
            mean_of(_gap),
            percent=False,
            split=("pronoun of",),
        ),
        tied(FEMALE, MALE),
    ]
    if all(item.facts[WOMEN] is not None for item in items):
        found.append(
            Definition(
                "correlation with women",
                0.0,
                "of an occupation's gap with its percentage of women in US statistics of 2015 and 2016, where"
                " the pronoun means the occupation; 1 is a model that repeats the labor market",
                _moments,
                correlation,
                keep=_of_occupation,
                percent=False,
            )
        )
    return found


def _moments(items: Sequence[ScoredItem]) -> list[float]:
    """Return the moments of one occupation: its percentage of women x, and its mean gap y."""
    x = float(items[0].item.facts[WOMEN])
    y = math.fsum(map(_gap, items)) / len(items)
    return [1.0, x, y, x * x, y * y, x * y]


def correlation(sums: Matrix) -> Matrix:
    """Return Pearson's correlation from sums of 1, x, y, x^2, y^2 and xy (samples x 6)."""
    import numpy as np

    n, x, y, xx, yy, xy = sums.T
    spread = np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0)
    found: Matrix = (n * xy - x * y) / np.sqrt(np.where(spread > 1e-12, spread, np.nan))
    return found


WINOGENDER = BiasSet(
    name="winogender",
    title="Winogender",
    files="all_sentences.tsv and, for the correlation, occupations-stats.tsv of"
    " github.com/rudinger/winogender-schemas",
    flaws="120 templates, and one sentence for each: it can show bias and cannot show that there is none,"
    " as its"
    " authors say.",
    rules=("shared", "sum"),
    read=read,
    define=define,
)
