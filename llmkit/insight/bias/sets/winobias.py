"""WinoBias: sentences whose pronoun fits or defies the usual gender of an occupation (Zhao et al. 2018,
arXiv:1804.06876)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import InputError, RowError
from llmkit.insight.bias.estimates import Definition
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.sets.base import BiasSet
from llmkit.insight.bias.sets.pairs import distance, preferred, tied

if TYPE_CHECKING:
    from llmkit.evaluation.resampling import Matrix

PRO, ANTI = "pro", "anti"
_MALE = {"he", "him", "his", "himself"}
_FEMALE = {"she", "her", "hers", "herself"}


def read(files: Sequence[Path]) -> list[BiasItem]:
    """Read pro- and anti-stereotyped sentences; line N of one file belongs to line N of the other.

    Raises:
        InputError: there are not two files, or they have different numbers of lines.
        RowError: two lines are no pair.
    """
    sides: dict[str, list[tuple[str, str]]] = {PRO: [], ANTI: []}
    for path in sorted(files, key=lambda file: file.name):
        name = path.name.lower()
        side = ANTI if "anti" in name else PRO if "pro" in name else None
        if side is None:
            raise InputError(f"{path}: the name of a file of WinoBias has `pro` or `anti` in it")
        sides[side] += _lines(path)
    if not sides[PRO] or len(sides[PRO]) != len(sides[ANTI]):
        raise InputError(
            "WinoBias is pairs of files: pro_stereotyped_type1.txt.dev and anti_stereotyped_type1.txt.dev;"
            f" there are {len(sides[PRO])} pro-stereotyped and {len(sides[ANTI])} anti-stereotyped lines"
        )
    return [_item(number, *pair) for number, pair in enumerate(zip(sides[PRO], sides[ANTI], strict=True), 1)]


def _lines(path: Path) -> list[tuple[str, str]]:
    from llmkit.records.read import open_text

    with open_text(path) as file:
        lines = [line.decode("utf-8", errors="replace").strip() for line in file]
    return [(f"{path}:{n}", line) for n, line in enumerate(lines, 1) if line]


def _item(number: int, pro: tuple[str, str], anti: tuple[str, str]) -> BiasItem:
    (where, first), (_, second) = pro, anti
    texts = [re.sub(r"^\d+\s+", "", line).replace("[", "").replace("]", "") for line in (first, second)]
    pronouns = [set(re.findall(r"[a-z]+", text.lower())) & (_MALE | _FEMALE) for text in texts]
    # A few published pairs differ in a further word too.
    changed = pronouns[0] - pronouns[1]
    if not changed or not pronouns[1] - pronouns[0]:
        raise RowError(where, "its pro- and anti-stereotyped sentences do not differ in a pronoun")
    gender = "male" if changed & _MALE else "female"
    return BiasItem(
        str(number), where, {PRO: texts[0], ANTI: texts[1]}, str(number), {"pro-stereotyped pronoun": gender}
    )


def define(items: Sequence[BiasItem], rule: str) -> list[Definition]:
    """Return the share of pairs whose pro-stereotyped sentence is preferred, by the gender of its pronoun."""
    return [
        preferred(
            "pro-stereotyped preferred",
            PRO,
            ANTI,
            rule,
            meaning="above it, the pronoun that fits the occupation's usual gender is likelier",
            split=("pro-stereotyped pronoun",),
        ),
        gap_of_groups(
            "gap of pronouns", "pro-stereotyped pronoun", ("male", "female"), PRO, ANTI, rule
        ),
        distance(PRO, ANTI),
        tied(PRO, ANTI),
    ]  # fmt: skip


def gap_of_groups(
    name: str, kind: str, values: tuple[str, str], more: str, less: str, rule: str
) -> Definition:
    """Return the difference of two groups' shares of preference, a difference of differences.

    A model that likes every male pronoun has a share of 1 for one group and of 0 for the other: its overall
    share is one half and shows nothing.
    """
    ties = 0.0 if rule == "sum" else 0.5

    def statistics(items: Sequence[ScoredItem]) -> list[float]:
        found = [0.0] * 4
        for one in items:
            at = 2 * values.index(one.item.groups[kind])
            found[at] += one.preference(more, less, ties=ties)
            found[at + 1] += 1
        return found

    def corpus(sums: Matrix) -> Matrix:
        return sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]

    return Definition(
        name,
        0.0,
        f"share preferred where {values[0]}, minus the share where {values[1]}; 0 % if one pronoun is not"
        " liked"
        " more than the other",
        statistics,
        corpus,
    )


WINOBIAS = BiasSet(
    name="winobias",
    title="WinoBias",
    files="pro_stereotyped_type1.txt.dev and anti_stereotyped_type1.txt.dev of github.com/uclanlp/corefBias",
    flaws="two genders alone, 40 occupations of one country's statistics, and sentences made from"
    " templates, in"
    " which the overall share hides a model that likes one pronoun everywhere (see the gap).",
    rules=("shared", "sum"),
    read=read,
    define=define,
)
