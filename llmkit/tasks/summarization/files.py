"""Texts of files to summarize: the prose of documents, and rows that name files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmkit.errors import InputError, RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.read import RowSource, identity_of
from llmkit.records.rows import Row
from llmkit.records.task import Fields, RunState, Task
from llmkit.text.documents.reading.blocks import read_blocks, running_text, without_license
from llmkit.text.documents.reading.files import document_format, files_of, plain_text, read_file, titled

READ = ("txt", "md", "html", "srt", "vtt", "docx", "odt", "epub", "pdf")
"""Formats of documents whose prose is summarized."""


def text_of_file(path: str, format: str | None = None, encoding: str | None = None) -> str:
    """Return the running text of a file, without code, tables, menus and addresses.

    Args:
        path: the file; one without a known format is plain text.
        format: its format, if the name does not tell it.
        encoding: encoding of text; None is UTF-8 for plain text, and what the bytes show for documents.

    Raises:
        InputError: it cannot be read, is no text and no document, or has no prose.
    """
    return text_of_data(read_file(path), path, format or document_format(path), encoding)


def text_of_data(data: bytes, name: str, format: str | None, encoding: str | None = None) -> str:
    """Return the running text of a document's bytes; None is plain text; see `text_of_file`."""
    if format in {None, "txt"}:
        return without_license(plain_text(data, name, encoding))
    if format not in READ:
        raise InputError(f"{name}: {titled(name)} is not summarized; formats are {', '.join(READ)}")
    try:
        text = running_text(read_blocks(data, format, encoding))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if not text:
        raise InputError(f"{name}: no prose in this file")
    return text


def named_files(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the files that paths name, and those of their folders that are no documents.

    Raises:
        InputError: a folder holds no document.
    """
    found: list[str] = []
    others: list[str] = []
    for path in paths:
        inside: list[str] = []
        for name, named in files_of([path]):
            known = named or document_format(name) in READ or name.lower().endswith((".txt", ".text"))
            (inside if known else others).append(name)
        if not inside:
            raise InputError(f"{path}: no documents in this folder; formats are {', '.join(READ)}")
        found += inside
    return list(dict.fromkeys(found)), others


def file_rows(files: Sequence[str]) -> RowSource:
    """Return a row for each file, with its name in the column `file`."""
    identity = {"files": {name: identity_of(name) for name in files}}
    rows = (Row(index, {"file": name}, name) for index, name in enumerate(files))
    return RowSource("files", rows, identity=identity, count=len(files), size_of=_size_of_file)


def _size_of_file(row: Row) -> int:
    """Return the bytes of the file that a row names: its text is in memory with those of its window."""
    try:
        return os.stat(row.data["file"]).st_size
    except OSError:  # its own row says so
        return 0


class SummarizedFiles:
    """Summaries of files as a `Task`: reads the file that a row names, and hands its text on.

    Args:
        task: summarizes texts in the column `text`.
        format: format of all files; None takes each by its name.
        encoding: encoding of text files; see `text_of_file`.
    """

    def __init__(self, task: Task[Any], format: str | None = None, encoding: str | None = None) -> None:
        self.task = task
        self.format = format
        self.encoding = encoding
        self.run_state: RunState = task.run_state

    def prepare(self, rows: Sequence[Row]) -> list[PreparedRow[Any] | RowError]:
        """Read files; one that cannot be read becomes its RowError."""
        made: list[PreparedRow[Any] | RowError] = []
        for row in rows:
            try:
                text = text_of_file(row.data["file"], self.format, self.encoding)
            except InputError as error:
                made.append(RowError(row.where, str(error).removeprefix(f"{row.where}: ")))
                continue
            (one,) = self.task.prepare([replace(row, data={"text": text})])
            made.append(one if isinstance(one, RowError) else replace(one, row=row))
        return made

    def fields(self, batch: Sequence[PreparedRow[Any]], budget: Budget) -> Sequence[Fields | RowError]:
        return self.task.fields(batch, budget)

    def budget(self, batch_size: int | None) -> Budget:
        return self.task.budget(batch_size)

    def header(self) -> dict[str, Any]:
        return {**self.task.header(), "format": self.format, "encoding": self.encoding}
