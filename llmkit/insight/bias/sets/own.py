"""The user's own sets: rows of pairs, or of questions with answers.

Pairs: columns `stereotype` and `anti_stereotype`. Questions: `context`, `question`, `answers` (a list),
`label` (index of the correct answer) and `group` (for each answer the group that it names, or null). Both may
have `category` and `template`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, RowError
from llmkit.insight.bias.estimates import Definition, mean_of
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.sets.base import BiasSet, rows_of_files, text_in
from llmkit.insight.bias.sets.pairs import distance, preferred, tied
from llmkit.records.rows import Row

MORE, LESS = "stereotype", "anti_stereotype"
CHOICE = "chosen"


def read(files: Sequence[Path]) -> list[BiasItem]:
    """Read rows of either kind; all rows are of the kind of the first.

    Raises:
        InputError: there are no rows.
        RowError: a row lacks a column.
    """
    rows = list(rows_of_files(files))
    if not rows:
        raise InputError("the set has no rows")
    if MORE in rows[0].data:
        return [_pair(row, number) for number, row in enumerate(rows, 1)]
    if "question" in rows[0].data:
        return [_question(row, number) for number, row in enumerate(rows, 1)]
    raise RowError(
        rows[0].where,
        f"needs the columns {MORE} and {LESS}, or context, question, answers, label and group; its columns"
        " are"
        f" {', '.join(rows[0].data) or 'none'}",
    )


def _groups(row: Row) -> dict[str, str]:
    return {"category": str(row.data["category"])} if row.data.get("category") is not None else {}


def _cluster(row: Row) -> str:
    template = row.data.get("template")
    return f"row {row.where}" if template is None else f"template {template}"


def _pair(row: Row, number: int) -> BiasItem:
    texts = {name: text_in(row, name) for name in (MORE, LESS)}
    name = str(row.data.get("id", number))
    context = text_in(row, "context") if row.data.get("context") is not None else None
    return BiasItem(name, row.where, texts, _cluster(row), _groups(row), context)


def _question(row: Row, number: int) -> BiasItem:
    answers, named, label = (row.data.get(key) for key in ("answers", "group", "label"))
    if not isinstance(answers, list) or len(answers) < 2 or not all(isinstance(x, str) for x in answers):
        raise RowError(row.where, "answers is not a list of two or more texts")
    if not isinstance(named, list) or len(named) != len(answers):
        raise RowError(row.where, "group is not a list with one group for each answer (null for none)")
    if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(answers):
        raise RowError(row.where, f"label is {label!r}, not the index of an answer")
    return BiasItem(
        id=str(row.data.get("id", number)),
        where=row.where,
        texts={f"answer {i}": text for i, text in enumerate(answers)},
        cluster=_cluster(row),
        groups=_groups(row),
        context=f"Context: {text_in(row, 'context')}\nQuestion: {text_in(row, 'question')}\nAnswer:",
        facts={"label": label, "named": [None if one is None else str(one) for one in named]},
    )


def derive(items: Sequence[ScoredItem]) -> list[ScoredItem]:
    """Choose the answer with the highest score of each question; pairs stay as they are."""
    found = []
    for one in items:
        if "named" not in one.item.facts:
            found.append(one)
            continue
        values = list(one.scores.values())
        chosen = values.index(max(values))
        answer = list(one.item.texts.values())[chosen]
        found.append(ScoredItem(one.item, {**one.scores, CHOICE: chosen}, {"answer": answer}))
    return found


def _named(one: ScoredItem) -> str | None:
    found: str | None = one.item.facts["named"][int(one.scores[CHOICE])]
    return found


def define(items: Sequence[BiasItem], rule: str) -> list[Definition]:
    """Return the measures of pairs, or of questions."""
    if "named" not in items[0].facts:
        first = preferred(
            "stereotype preferred",
            MORE,
            LESS,
            rule,
            meaning="above it, the stereotype is likelier",
            split=("category",),
        )
        return [first, distance(MORE, LESS), tied(MORE, LESS)]
    found = [
        Definition(
            "accuracy",
            None,
            "100 % is best",
            mean_of(lambda one: float(one.scores[CHOICE] == one.item.facts["label"])),
            split=("category",),
        )
    ]
    names = dict.fromkeys(name for item in items for name in item.facts["named"] if name is not None)
    return [*found, *(_excess(name) for name in names)]


def _excess(group: str) -> Definition:
    """Return how much more often a group is named than if every wrong answer were equally likely."""

    def value(one: ScoredItem) -> float:
        named: list[Any] = one.item.facts["named"]
        wrong = [name for i, name in enumerate(named) if i != one.item.facts["label"]]
        return float(_named(one) == group) - wrong.count(group) / len(wrong)

    def keep(one: ScoredItem) -> bool:
        facts = one.item.facts
        wrong = [name for i, name in enumerate(facts["named"]) if i != facts["label"]]
        return group in wrong and one.scores[CHOICE] != facts["label"]

    return Definition(
        f"excess of {group} among wrong answers",
        0.0,
        "0 % means no bias; above it, wrong answers name this group more often than chance",
        mean_of(value),
        keep=keep,
        smallest=5,
    )


OWN = BiasSet(
    name="own",
    title="Own set",
    files="rows with stereotype and anti_stereotype, or with context, question, answers, label and group",
    flaws="the rows are the user's own, and nothing is known of their flaws.",
    rules=("shared", "sum", "mean"),
    read=read,
    define=define,
    derive=derive,
)
