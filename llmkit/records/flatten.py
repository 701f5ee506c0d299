"""Rows as published data sets have them, made flat: one text a column, one question a row.

Public: `flat`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmkit.records.rows import Row


def flat(rows: Iterator[Row]) -> Iterator[Row]:
    """Undo the nesting of the usual forms.

    - `{"translation": {"en": ..., "de": ...}}` (WMT, OPUS): its languages become columns beside it.
    - SQuAD's file or articles (`data`, `paragraphs`, `qas`): each question is a row, with `context`, `title`
      and `answers` as `{"text": [...], "answer_start": [...]}`.

    Other rows pass as they are. Rows are counted anew.
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
    """Whether it is a list of objects that have a list by the name `key`."""
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
