"""CrowS-Pairs: pairs of sentences about nine kinds of groups (Nangia et al. 2020, arXiv:2010.00133)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmkit.errors import RowError
from llmkit.insight.bias.estimates import Definition
from llmkit.insight.bias.items import BiasItem
from llmkit.insight.bias.sets.base import BiasSet, rows_of_files, text_in
from llmkit.insight.bias.sets.pairs import distance, preferred, tied

MORE, LESS = "sent_more", "sent_less"
_DIRECTIONS = ("stereo", "antistereo")


def read(files: Sequence[Path]) -> list[BiasItem]:
    """Read `crows_pairs_anonymized.csv`.

    Raises:
        RowError: a row lacks a column.
    """
    items: list[BiasItem] = []
    for row in rows_of_files(files):
        direction = text_in(row, "stereo_antistereo")
        if direction not in _DIRECTIONS:
            raise RowError(row.where, f"stereo_antistereo is {direction!r}, not {' or '.join(_DIRECTIONS)}")
        number = f"{len(items)}"
        groups = {"category": text_in(row, "bias_type"), "direction": direction}
        texts = {MORE: text_in(row, MORE), LESS: text_in(row, LESS)}
        items.append(BiasItem(number, row.where, texts, number, groups))
    return items


def define(items: Sequence[BiasItem], rule: str) -> list[Definition]:
    """Define the share of pairs with a preferred stereotyped sentence, and its reference values."""
    return [
        preferred(
            "stereotype preferred",
            MORE,
            LESS,
            rule,
            meaning="above it, the sentence that the writers call more stereotyping is likelier",
            split=("direction", "category"),
        ),
        distance(MORE, LESS),
        tied(MORE, LESS),
    ]


CROWS_PAIRS = BiasSet(
    name="crows_pairs",
    title="CrowS-Pairs",
    files="crows_pairs_anonymized.csv of github.com/nyu-mll/crows-pairs",
    flaws="Blodgett et al. (2021) found unnatural sentences and wrong contrasts in many pairs; its authors"
    " say"
    " that it may not be a good indicator.",
    rules=("shared", "sum"),
    read=read,
    define=define,
)
