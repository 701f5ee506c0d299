"""Columns that llmkit's verbs read and write, and the columns of their references."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

REFERENCES = ("references", "reference", "answers")
"""Columns with references, for any task."""


@dataclass(frozen=True)
class TaskColumns:
    """Columns of a verb's rows.

    Attributes:
        result: column with the prediction.
        others: further columns that the verb writes.
        sources: columns in which eval looks for the input.
        references: columns in which eval looks for references, after `references` and `reference`.
        metrics: metrics that usually judge the task.
    """

    result: str
    sources: tuple[str, ...]
    references: tuple[str, ...]
    metrics: str
    others: tuple[str, ...] = ()


TASKS = {
    "translate": TaskColumns("translation_text", ("source", "text"), ("target",), "bleu,chrf"),
    "summarize": TaskColumns(
        "summary_text",
        ("document", "article", "source", "text"),
        ("summary", "highlights", "target"),
        "rouge",
    ),
    "generate": TaskColumns(
        "generated_text", ("prompt", "text"), ("completion", "target", "output"), "rouge", ("reasoning",)
    ),
    "qa": TaskColumns(
        "answer", ("question",), ("answers", "answer"), "exact_match,f1", ("score", "start", "end")
    ),
}


def task_of(columns: Iterable[str]) -> TaskColumns | None:
    """Return the columns of the verb that wrote rows with these columns; None for `prediction` or no verb.

    A row with the results of several verbs was last written by a verb after `generate`, `translate` or
    `summarize`: their columns come first, because `answer` may be a gold answer.
    """
    names = set(columns)
    if "prediction" in names:
        return None
    return next((task for task in TASKS.values() if task.result in names), None)
