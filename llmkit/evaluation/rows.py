"""Rows of a file to examples: which columns hold the prediction and the references, and what if not."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, cast

from llmkit.errors import InputError, RowError
from llmkit.evaluation.metric import Example
from llmkit.records.formats import line_rows
from llmkit.records.read import open_rows
from llmkit.records.rows import Row, nearest

REFERENCE_FIELDS = ("references", "reference", "answers")
_ROW_FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")


def read(
    source: str,
    references: Sequence[str] = (),
    *,
    prediction_field: str | None = None,
    reference_field: str | None = None,
    needs_references: bool = True,
    plain: bool = False,
) -> Iterator[Example]:
    """Examples from a file of rows, or from a file of plain lines with the references in others.

    Args:
        source: what `llmkit.records.read.open_rows` takes. With `references` or `plain`, stdin (`-`) and a
            file whose name does not end in one of its formats are plain lines.
        references: files of plain lines, each with a reference for every prediction.
        prediction_field: the column with the prediction; None takes `prediction`, or a plain line's text.
        reference_field: the column with the references; see `from_rows`.
        needs_references: False leaves them empty where there are none.
        plain: read `source` as with `references`.

    Raises:
        InputError: a file cannot be read, or they differ in length.
        RowError: a row could not be read, or lacks a column.
    """
    if references and reference_field is not None:
        raise InputError("the references are in --references or in a column (--reference-field): give one")
    if references and len({source, *references}) <= len(references):
        raise InputError("the same file was given twice among predictions and --references")
    if references or plain:
        right = [lines(name) for name in references]
        yield from from_lines(lines(source), right, prediction_field=prediction_field)
    else:
        yield from from_rows(
            open_rows(source),
            prediction_field=prediction_field or "prediction",
            reference_field=reference_field,
            needs_references=needs_references,
        )


def lines(name: str) -> Iterable[Row]:
    """Rows of a file that may be plain lines under any name, such as `test.de`."""
    kind = Path(name.removesuffix(".gz")).suffix
    if name != "-" and (kind in _ROW_FORMATS or name.startswith("hf:")):
        return open_rows(name)
    return _plain_lines(name)


def _plain_lines(name: str) -> Iterator[Row]:
    try:
        with _open(name) as stream:
            yield from line_rows(stream, "stdin" if name == "-" else name)
    except (OSError, EOFError, zlib.error) as error:  # also of damaged gzip data
        raise InputError(f"{name}: {getattr(error, 'strerror', None) or error}") from error


def _open(name: str) -> IO[bytes]:
    if name == "-":
        return sys.stdin.buffer
    return cast("IO[bytes]", gzip.open(name)) if name.endswith(".gz") else open(name, "rb")


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
        ended = next((i for i, line in enumerate([row, *right]) if line is None), None)
        if ended is not None:
            which = "the predictions end" if ended == 0 else f"--references file {ended} ends"
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
        hint = f"did you mean {near!r}?" if near else f"its columns are {', '.join(row.data) or 'none'}"
        advice = f"name it with {flag}"
        if set(row.data) == {"text"}:
            advice += ", or for plain lines give the references with --references"
        raise RowError(row.where, f"no column {name!r}; {hint} ({advice})")
    return row.data[name]


def _references(row: Row, field: str | None, needed: bool) -> list[Any]:
    name = field or next((known for known in REFERENCE_FIELDS if known in row.data), None)
    if name is None:
        if not needed:
            return []
        raise RowError(
            row.where,
            f"no column 'reference' or 'references'; its columns are {', '.join(row.data)} "
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
