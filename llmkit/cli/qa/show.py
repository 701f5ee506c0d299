"""Answers as plain text: all answers to one question with places, or one line for each question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.cli.common import console, progress, streams
from llmkit.records.task import Task, fields_of_one

if TYPE_CHECKING:
    from llmkit.cli.common.rows import Render
    from llmkit.records.read import RowSource


def answer_one(task: Task[Any], source: RowSource, *, several: bool) -> None:
    """Write the answers to one question, one per line.

    Args:
        task: answers it.
        source: its row.
        several: begin a line with the answer's place, like grep.
    """
    from llmkit.tasks.qa.extractive import ExtractiveQA

    row = next(iter(source))
    with progress.Progress("qa", total=1.0) as bar:
        if isinstance(task, ExtractiveQA):
            task.progress = lambda done, total: bar.update(done / total, f"{done} of {total} windows")
        fields = fields_of_one(task, row, task.budget(None))
    for answer in _each(fields):
        place = place_of(answer) if several else ""
        print(f"{place}: {_line(answer)}" if place else _line(answer))
        if answer["score"] is not None:
            console.detail(f"score {answer['score']:.4f}, characters {answer['start']} to {answer['end']}")


def answer_line(task: Task[Any], field: str) -> Render:
    """Return a function that shows a row: the question, the answer's place and the answer, a tab between.

    Args:
        task: answers the rows.
        field: column of the answer.
    """
    from llmkit.errors import RowError

    def show(row: dict[str, Any], failure: str | None) -> str:
        try:
            question = " ".join(task.source.question(_row(row)).split())  # type: ignore[attr-defined]
        except RowError:
            question = ""
        if failure is not None:
            console.error(f"{question}: {failure}")
            return f"{streams.one_line(question)}\t\t"
        return "\n".join(
            "\t".join((streams.one_line(question), place_of(answer), _line(answer)))
            for answer in _each({**row, "answer": row[field]})
        )

    return show


def place_of(answer: dict[str, Any]) -> str:
    """Return the place of an answer: ``notes.txt:3`` or ``report.pdf p. 12``; empty if it is not known.

    A line break in a file's name could imitate an answer, so it is shown as an escape.
    """
    if answer.get("file") is None:
        return ""
    file = streams.one_line(str(answer["file"]))
    return f"{file}:{answer['line']}" if answer["line"] is not None else f"{file} {answer['place']}"


def report(task: Task[Any]) -> None:
    """Report shortened contexts and wrong quotations of a chat model."""
    from llmkit.tasks.qa.generative import GenerativeQA

    if not isinstance(task, GenerativeQA):
        return
    if task.shortened:
        console.notice(
            f"contexts longer than the model's context, reduced to the passages that fit: {task.shortened}"
        )
    if task.misquoted:
        console.notice(f"answers without a quotation from the context: {task.misquoted}")


def _each(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of each answer; with `top_k` they are lists."""
    names = ("answer", "score", "start", "end", "file", "line", "place")
    held = {name: fields[name] for name in names if name in fields}
    if not isinstance(held["answer"], list):
        return [held]
    return [dict(zip(held, values, strict=True)) for values in zip(*held.values(), strict=True)]


def _line(answer: dict[str, Any]) -> str:
    return " ".join(str(answer["answer"]).split())


def _row(data: dict[str, Any]) -> Any:
    from llmkit.records.rows import Row

    return Row(0, data, "question")
