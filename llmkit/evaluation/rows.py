"""Turn rows of files into examples: find the columns of predictions and references."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.evaluation.columns import REFERENCES, TASKS, TaskColumns, task_of
from llmkit.evaluation.metric import Example
from llmkit.records.read import open_rows
from llmkit.records.rows import Row, nearest

PEEK = 100
"""Number of rows to read in advance to find the column of the predictions."""
_ROW_FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")


def read(
    source: str,
    references: Sequence[str] = (),
    *,
    prediction_field: str | None = None,
    reference_field: str | None = None,
    needs_references: bool = True,
    plain: bool = False,
    encoding: str | None = None,
    limit: int | None = None,
) -> Iterator[Example]:
    """Yield examples from a file of rows, or from a file of plain lines with references in other files.

    Args:
        source: a source for `llmkit.records.read.open_rows`. With `references` or `plain`, stdin (`-`) and a
            file whose suffix is not a format of rows are plain lines.
        references: files of plain lines, each with one reference for every prediction.
        prediction_field: column with the prediction; see `from_rows`. In plain lines it is the line.
        reference_field: column with the references; see `from_rows`.
        needs_references: False allows rows without references.
        plain: read `source` in the same way as with `references`.
        encoding: encoding of text files; None is UTF-8.
        limit: maximum number of rows to read; None is all.

    Raises:
        InputError: a file cannot be read, or the files differ in length.
        OptionError: an option cannot be combined with another.
        RowError: a row could not be read, or lacks a column.
    """
    if references and reference_field is not None:
        raise OptionError("reference_field", "names a column, but `references` names files; set one of them")
    if references and len({source, *references}) <= len(references):
        raise OptionError("references", "names the same file twice, or the file of the predictions")
    if limit is not None and limit < 1:
        raise OptionError("limit", f"must be 1 or more, not {limit}")
    if references or plain:
        left, *right = [itertools.islice(lines(name, encoding), limit) for name in (source, *references)]
        yield from from_lines(left, right, prediction_field=prediction_field)
    else:
        yield from from_rows(
            open_rows(source, encoding=encoding).limited(limit),
            prediction_field=prediction_field,
            reference_field=reference_field,
            needs_references=needs_references,
        )


def lines(name: str, encoding: str | None = None) -> Iterable[Row]:
    """Return the rows of a file that may be plain lines with any name, such as `test.de`."""
    return open_rows(name, lines=is_plain(name), encoding=encoding)


def is_plain(name: str) -> bool:
    """Return True if a file is plain lines by its name: stdin, or a suffix that is not a format of rows."""
    kind = Path(name.removesuffix(".gz")).suffix
    return name == "-" or not (kind in _ROW_FORMATS or name.startswith("hf:"))


def from_rows(
    rows: Iterable[Row],
    *,
    prediction_field: str | None = None,
    reference_field: str | None = None,
    needs_references: bool = True,
) -> Iterator[Example]:
    """Yield examples from rows with predictions and references.

    A row without a result, written by a verb with ``on_error="skip"``, becomes an example with an empty
    prediction and `failed` set.

    Args:
        rows: rows from `llmkit.records`.
        prediction_field: column with the prediction; None uses `prediction` or, without one, the result
            column of a verb (`generated_text`, `translation_text`, `summary_text`, `answer`).
        reference_field: column with the reference, a list of references, or SQuAD's `{"text": [...]}`; None
            uses `references`, `reference` or `answers`, or a usual column of the verb's task.
        needs_references: False allows rows without such a column.

    Raises:
        RowError: a row could not be read, or lacks a column.
    """
    rows = iter(rows)
    sample = list(itertools.islice(rows, PEEK))
    tasks = (task_of(row.data) for row in sample)
    task = next((found for found in tasks if found is not None), None) if prediction_field is None else None
    name = prediction_field or (task.result if task is not None else "prediction")
    for row in itertools.chain(sample, rows):
        failed = task is not None and row.error is None and name not in row.data and "error" in row.data
        prediction = "" if failed else column(row, name, "prediction_field")
        references = references_of(row, reference_field, needed=needs_references, prediction=name, task=task)
        yield Example(prediction, references, row.data, row.where, failed)


def from_lines(
    rows: Iterable[Row], references: Sequence[Iterable[Row]], *, prediction_field: str | None = None
) -> Iterator[Example]:
    """Yield examples from predictions in one file and references in others, line by line.

    Args:
        rows: the predictions: plain lines, or rows with `prediction_field`.
        references: one or more files of equally many plain lines.
        prediction_field: column with the prediction; None uses the text of a plain line, else `prediction`
            or the result column of a verb.

    Raises:
        InputError: the files differ in length.
        RowError: a row could not be read, or lacks the column.
    """
    for number, (row, *right) in enumerate(zip_longest(rows, *references), 1):
        ended = next((i for i, line in enumerate([row, *right]) if line is None), None)
        if ended is not None:
            which = "the predictions end" if ended == 0 else f"file {ended} of `references` ends"
            lines = f"{number - 1} line{'' if number == 2 else 's'}"
            raise InputError(
                f"{which} after {lines} and the others continue; "
                "predictions and references must match line by line"
            )
        task = task_of(row.data)
        usual = "text" if set(row.data) == {"text"} else task.result if task is not None else "prediction"
        prediction = column(row, prediction_field or usual, "prediction_field")
        yield Example(prediction, [column(line, "text", "references") for line in right], row.data, row.where)


def column(row: Row, name: str, option: str) -> Any:
    """Return the value of a column.

    Args:
        row: the row.
        name: name of the column.
        option: option that names the column, for the error message.

    Raises:
        RowError: the row could not be read, or has no such column.
    """
    if row.error is not None:
        raise RowError(row.where, row.error)
    if name not in row.data:
        near = nearest(name, row.data)
        hint = f"did you mean {near!r}?" if near else f"its columns are {', '.join(row.data) or 'none'}"
        advice = f"`{option}` names a column"
        if set(row.data) == {"text"}:
            advice += "; for plain lines, give the references with `references`"
        raise RowError(row.where, f"no column {name!r}; {hint} ({advice})")
    return row.data[name]


def references_of(
    row: Row,
    field: str | None,
    *,
    needed: bool = True,
    prediction: str | None = None,
    task: TaskColumns | None = None,
) -> list[Any]:
    """Return the references of a row.

    Args:
        row: the row.
        field: column with the references; None looks in the usual columns.
        needed: False returns an empty list if there is no such column.
        prediction: column with the prediction, in which references are not searched.
        task: columns of the verb that wrote the row.

    Raises:
        RowError: the row could not be read, or has no references.
    """
    usual = [name for name in (*REFERENCES, *(task.references if task else ())) if name != prediction]
    name = field or next((known for known in usual if known in row.data), None)
    if name is None:
        if row.error is not None:
            raise RowError(row.where, row.error)
        if not needed:
            return []
        raise RowError(
            row.where,
            f"no column 'reference' or 'references'; its columns are {', '.join(row.data)} "
            "(`reference_field` names one, `references` names a file of lines)",
        )
    value = column(row, name, "reference_field")
    if isinstance(value, Mapping):
        if "text" not in value:
            raise RowError(row.where, f"column {name!r} is an object without 'text'")
        value = value["text"]
    if value is None:
        raise RowError(row.where, f"column {name!r} is null")
    return list(value) if isinstance(value, (list, tuple)) else [value]


def usual_metrics(source: str, references: Sequence[str], first: Mapping[str, Any]) -> str | None:
    """Return the usual metrics for a file of predictions, or None if they are not known.

    Args:
        source: name of the file.
        references: files of plain lines with references.
        first: the first row.
    """
    task = task_of(first)
    if task is not None:
        return task.metrics
    return TASKS["translate"].metrics if references and is_plain(source) else None
