"""Rows of a file to examples: which columns hold the prediction and the references, and what if not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from llmkit.errors import InputError, RowError
from llmkit.evaluation.metric import Example
from llmkit.records.rows import Row, nearest

REFERENCE_FIELDS = ("references", "reference", "answers")


def from_rows(
    rows: Iterable[Row],
    *,
    prediction_field: str = "prediction",
    reference_field: str | None = None,
    needs_references: bool = True,
) -> Iterator[Example]:
    """Examples from rows that hold both predictions and references.

    Args:
        rows: as `llmkit.records` reads them.
        prediction_field: the column with the prediction.
        reference_field: the column with the reference, a list of references, or SQuAD's
            `{"text": [...]}`; None takes `references`, `reference` or `answers`.
        needs_references: False leaves them empty where there is no such column.

    Raises:
        RowError: a row could not be read, or lacks a column.
    """
    for row in rows:
        prediction = _column(row, prediction_field, "--prediction-field")
        references = _references(row, reference_field, needs_references)
        yield Example(prediction, references, row.data, row.where)


def from_lines(
    rows: Iterable[Row], references: Sequence[Iterable[Row]], *, prediction_field: str | None = None
) -> Iterator[Example]:
    """Examples from predictions in one file and references in others, line by line.

    Args:
        rows: the predictions; plain lines, or rows with `prediction_field`.
        references: one or more files of as many plain lines.
        prediction_field: the column with the prediction; None takes a plain line's text, else `prediction`.

    Raises:
        InputError: the files differ in length.
        RowError: a row could not be read, or lacks the column.
    """
    for number, (row, *right) in enumerate(zip_longest(rows, *references), 1):
        lines = [row, *right]
        if any(line is None for line in lines):
            ended = next(i for i, line in enumerate(lines) if line is None)
            which = "the predictions end" if ended == 0 else f"reference file {ended} ends"
            raise InputError(
                f"{which} after {number - 1} lines and the others go on; "
                "predictions and references must match line by line"
            )
        field = prediction_field or ("text" if set(row.data) == {"text"} else "prediction")
        prediction = _column(row, field, "--prediction-field")
        yield Example(
            prediction, [_column(line, "text", "--references") for line in right], row.data, row.where
        )


def _column(row: Row, name: str, flag: str) -> Any:
    if row.error is not None:
        raise RowError(row.where, row.error)
    if name not in row.data:
        near = nearest(name, row.data)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(row.data) or 'none'}"
        raise RowError(row.where, f"there is no column {name!r}; {hint} (name it with {flag})")
    return row.data[name]


def _references(row: Row, field: str | None, needed: bool) -> list[Any]:
    name = field or next((known for known in REFERENCE_FIELDS if known in row.data), None)
    if name is None:
        if not needed:
            return []
        raise RowError(
            row.where,
            f"there is no column 'reference' or 'references'; there are {', '.join(row.data) or 'none'} "
            "(name it with --reference-field, or give a file of lines with --references)",
        )
    value = _column(row, name, "--reference-field")
    if isinstance(value, Mapping):
        if "text" not in value:
            raise RowError(row.where, f"column {name!r} is an object without 'text'")
        value = value["text"]
    if value is None:
        raise RowError(row.where, f"column {name!r} is null")
    return list(value) if isinstance(value, (list, tuple)) else [value]
