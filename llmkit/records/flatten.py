"""Flatten the nested rows of published data sets: one column per text, one row per question.

Public: `flat`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.records.rows import Row


def flat(rows: Iterator[Row]) -> Iterator[Row]:
    """Flatten the usual nested forms; other rows do not change.

    - `{"translation": {"en": ..., "de": ...}}` (WMT, OPUS): each language becomes a column; the column
      `translation` stays.
    - SQuAD's file or articles (`data`, `paragraphs`, `qas`): each question becomes a row, with `context`,
      `title` and `answers` as `{"text": [...], "answer_start": [...]}`.

    The rows get new indexes, from 0. A part of an article that has another form becomes a row with an error.
    """
    index = 0
    for row in rows:
        for found in _unnested(row.data):
            if isinstance(found, str):
                yield Row(index, {}, row.where, found)
            else:
                yield Row(index, found, row.where, row.error)
            index += 1


def _unnested(data: dict[str, Any]) -> Iterator[dict[str, Any] | str]:
    """Yield the flat rows of a row, each as its data or as the reason of its error."""
    translation = data.get("translation")
    articles = data["data"] if _is_list_of(data.get("data"), "paragraphs") else [data]
    if _is_list_of(articles, "paragraphs"):
        for article in articles:
            for number, paragraph in enumerate(article["paragraphs"], 1):
                yield from _questions(article, paragraph, f"paragraph {number}")
    elif isinstance(translation, Mapping):
        yield {**data, **{name: text for name, text in translation.items() if name not in data}}
    else:
        yield data


def _is_list_of(value: Any, key: str) -> bool:
    """Return True for a list of objects, each with a list under the name `key`."""
    listed = isinstance(value, list) and bool(value)
    return listed and all(isinstance(item, dict) and isinstance(item.get(key), list) for item in value)


def _questions(article: dict[str, Any], paragraph: Any, name: str) -> Iterator[dict[str, Any] | str]:
    if not isinstance(paragraph, dict):
        yield f"{name} is not an object"
        return
    questions = paragraph.get("qas", [])
    if not isinstance(questions, list):
        yield f"{name}: its qas is not a list"
        return
    for number, question in enumerate(questions, 1):
        answers = _answers(question.get("answers")) if isinstance(question, dict) else None
        if answers is None:
            yield f"{name}, question {number}: it is not an object with answers as in SQuAD"
            continue
        yield {
            "id": question.get("id"),
            "title": article.get("title"),
            "context": paragraph.get("context"),
            "question": question.get("question"),
            "answers": answers,
        }


def _answers(value: Any) -> dict[str, list[Any]] | None:
    """Return SQuAD's answers as two lists, from a list of objects or from two lists; None for other forms."""
    if value is None:
        return {"text": [], "answer_start": []}
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, list) and isinstance(starts, list):
            return {"text": texts, "answer_start": starts}
        return None
    if not isinstance(value, list) or not all(isinstance(answer, dict) for answer in value):
        return None
    return {
        "text": [answer.get("text") for answer in value],
        "answer_start": [answer.get("answer_start") for answer in value],
    }
