from typing import Any

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
