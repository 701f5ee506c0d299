"""Flatten the nested rows of published data sets: one text a column, one question a row.

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

    The rows get new indexes, from 0.
    """
    index = 0
    for row in rows:
        for data in _unnested(row.data):
            yield Row(index, data, row.where, row.error)
            index += 1


def _unnested(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    translation = data.get("translation")
    articles = data["data"] if _is_list_of(data.get("data"), "paragraphs") else [data]
    if _is_list_of(articles, "paragraphs"):
        for article in articles:
            yield from _questions(article)
    elif isinstance(translation, Mapping):
        yield {**data, **{name: text for name, text in translation.items() if name not in data}}
    else:
        yield data


def _is_list_of(value: Any, key: str) -> bool:
    """Return True for a list of objects, each with a list under the name `key`."""
    listed = isinstance(value, list) and bool(value)
    return listed and all(isinstance(item, dict) and isinstance(item.get(key), list) for item in value)


def _questions(article: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for paragraph in article["paragraphs"]:
        for question in paragraph.get("qas", ()):
            answers = question.get("answers") or []
            yield {
                "id": question.get("id"),
                "title": article.get("title"),
                "context": paragraph.get("context"),
                "question": question.get("question"),
                "answers": {
                    "text": [answer.get("text") for answer in answers],
                    "answer_start": [answer.get("answer_start") for answer in answers],
                },
            }
