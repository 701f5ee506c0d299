import json
import random
from typing import Any

import pytest

from llmkit.records.flatten import flat
from llmkit.records.rows import Row


def flattened(*data: dict[str, Any]) -> list[Row]:
    return list(flat(iter(Row(i, row, f"x.json:{i + 1}") for i, row in enumerate(data))))


def test_translations_become_columns() -> None:
    (row,) = flattened({"id": 7, "translation": {"en": "Hi.", "de": "Hallo."}})
    assert row.data == {"id": 7, "translation": {"en": "Hi.", "de": "Hallo."}, "en": "Hi.", "de": "Hallo."}


ARTICLE = {
    "title": "Moon",
    "paragraphs": [
        {
            "context": "The moon is round.",
            "qas": [
                {"id": "a", "question": "What?", "answers": [{"text": "The moon", "answer_start": 0}]},
                {"id": "b", "question": "Why?", "answers": [], "is_impossible": True},
            ],
        }
    ],
}


def test_squad_s_file_and_its_articles_become_questions() -> None:
    whole, articles = flattened({"version": "1.1", "data": [ARTICLE]}), flattened(ARTICLE)
    assert [row.data for row in whole] == [row.data for row in articles]
    first, second = whole
    assert (first.index, second.index, second.where) == (0, 1, "x.json:1")
    assert first.data == {
        "id": "a",
        "title": "Moon",
        "context": "The moon is round.",
        "question": "What?",
        "answers": {"text": ["The moon"], "answer_start": [0]},
    }
    assert second.data["answers"] == {"text": [], "answer_start": []}


def test_other_rows_pass() -> None:
    rows = [{"data": [1, 2]}, {"paragraphs": 3}, {"translation": "Hallo"}, {}]
    assert [row.data for row in flattened(*rows)] == rows


ONE = {"question": "q", "answers": {"text": ["a"], "answer_start": [0]}}


@pytest.mark.parametrize(
    ("paragraphs", "rows", "errors"),
    [
        ([{"context": "a b", "qas": [ONE]}], 1, 0),
        ([{"qas": 3}], 0, 1),
        ([3, {"qas": [ONE]}], 1, 1),
        ([{"qas": [3, ONE]}], 1, 1),
        ([{"qas": [{"question": "q", "answers": "a"}]}], 0, 1),
        ([{"qas": [{"question": "q", "answers": ["a"]}]}], 0, 1),
        ([{"qas": [{"question": "q", "answers": {"text": "a"}}]}], 0, 1),
        ([{"qas": {"a": 1}}], 0, 1),
        ([{"qas": [{"question": "q"}]}], 1, 0),
        ([{}], 0, 0),
    ],
)
def test_a_broken_article_costs_its_own_parts(paragraphs, rows, errors):
    found = list(flat(iter([Row(0, {"paragraphs": paragraphs}, "x:1"), Row(1, {"a": 1}, "x:2")])))
    assert [row.index for row in found] == list(range(rows + errors + 1))
    assert sum(row.error is not None for row in found) == errors
    assert all(row.where == "x:1" for row in found[:-1])
    if rows and "answers" in str(paragraphs):
        good = next(row for row in found if row.error is None)
        assert good.data["answers"] == ONE["answers"]


def test_any_json_is_flattened_or_an_error():
    """Random JSON under the names that count."""
    rng = random.Random(0)
    names = ["data", "paragraphs", "qas", "answers", "translation", "text", "answer_start", "question"]

    def value(depth):
        kind = rng.randrange(7 if depth else 4)
        if kind < 4:
            return [None, 3, "x", True][kind]
        if kind == 4:
            return [value(depth - 1) for _ in range(rng.randrange(3))]
        return {rng.choice(names): value(depth - 1) for _ in range(rng.randrange(4))}

    for _ in range(3000):
        data = {rng.choice(names): value(5) for _ in range(3)}
        for row in flat(iter([Row(0, data, "x:1")])):
            assert isinstance(row.data, dict)
            json.dumps(row.data)
