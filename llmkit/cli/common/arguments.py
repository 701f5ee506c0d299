"""Meaning of an argument in every verb: the name of a file, otherwise a text.

An argument that names an existing file is read. One that looks like a path but names no file is refused: no
verb may use a file's name as its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.cli.common import rows
from llmkit.errors import InputError
from llmkit.records.remote.urls import url_of

if TYPE_CHECKING:
    from llmkit.cli.common.options import InputFlags
    from llmkit.records.read import RowSource
    from llmkit.records.rows import Row

_PLACE = re.compile(r"(?:~|\.{1,2})?[/\\]\S*")
_NAME = re.compile(r"\S+\.[A-Za-z]\w{0,7}")
_OTHER_SUFFIXES = {
    ".log",
    ".tex",
    ".rst",
    ".csv",
    ".tsv",
    ".jsonl",
    ".parquet",
    ".gz",
    ".doc",
    ".pdf",
    ".rtf",
}


def exists(name: str) -> bool:
    """Return True if an argument names a file or a folder."""
    try:
        return bool(name) and Path(name).exists()
    except (OSError, ValueError):  # a text too long for a path, or with a NUL
        return False


def refuse_missing(text: str) -> None:
    """Refuse a text that looks like a path of a missing file.

    A single word looks like a path if it begins with `/`, `./`, `../` or `~/`, is in an existing folder, or
    ends like the name of a file.

    Raises:
        InputError: it looks like such a path.
    """
    if _looks_like_path(text):
        raise InputError(f"{text}: no such file (if it is a text, give it on stdin)")


def _looks_like_path(text: str) -> bool:
    from llmkit.records.read import is_lines
    from llmkit.text.documents.formats import format_of

    if "://" in text or not re.fullmatch(r"\S+", text):
        return False
    if _PLACE.fullmatch(text) and re.search(r"\w", text):
        return True
    folder = re.split(r"[/\\]", text)[0]
    if folder != text and exists(folder):
        return True
    if not _NAME.fullmatch(text):
        return False
    suffix = Path(text).suffix.lower()
    return format_of(text) is not None or suffix in _OTHER_SUFFIXES or is_lines(text)


def open_argument(
    argument: str | None, inputs: InputFlags, *, field: str, lines: bool = False
) -> tuple[RowSource, bool]:
    """Open the rows of a verb that takes one text: its argument, `--input`, or stdin.

    Args:
        argument: a text, the name of a file of plain text, ``-`` for stdin, or None.
        inputs: the input flags; `--lines` makes each line of a file or of stdin a text.
        field: column of a text.
        lines: read lines, also without the flag.

    Returns:
        The rows, and True if they are a single text.

    Raises:
        InputError: a folder, a file of rows or of a document format, an empty file, or a path that does not
            exist.
    """
    if lines and not inputs.lines and inputs.input is None and (argument in {None, "-"} or exists(argument)):
        inputs = replace(inputs, lines=True)
    if argument is None or argument == "-":
        if argument == "-" and inputs.input is not None:
            raise InputError("stdin and --input were given: give one of them")
        return rows.open_source(None, inputs, field=field)
    if url_of(argument) is not None:
        raise InputError(f"{argument}: an object in storage; read it with --input")
    if not exists(argument):
        refuse_missing(argument)
        return rows.open_source(argument, inputs, field=field)
    return open_text_file(argument, inputs, field=field)


def open_text_file(name: str, inputs: InputFlags, *, field: str) -> tuple[RowSource, bool]:
    """Open a file of plain text as one text, or with `--lines` as a text per line.

    Raises:
        InputError: see `open_argument`.
    """
    from llmkit.records.read import has_rows, open_rows
    from llmkit.text.documents.formats import FORMATS, format_of

    if inputs.input is not None:
        raise InputError("a file and --input were given: give one of them")
    for flag in ("field", "template", "whole"):
        if getattr(inputs, flag):
            raise InputError(f"--{flag} applies to rows of a file: give it with --input")
    if has_rows(name):
        raise InputError(f"{name}: a file of rows; read it with --input")
    format = format_of(name.removesuffix(".gz"))
    if format is not None and (FORMATS[format].package or not FORMATS[format].written):
        raise InputError(
            f"{name}: {FORMATS[format].title}, which translate, summarize and qa read; save it as plain text"
        )
    if inputs.limit is not None and not inputs.lines:
        raise InputError("--limit applies to rows: give a file with --input, or give --lines")
    source = open_rows(name, lines=inputs.lines, whole=not inputs.lines, encoding=inputs.encoding)

    def renamed(found: Iterator[Row]) -> Iterator[Row]:
        for row in found:
            text = row.data.get("text", "")
            if "\0" in text:
                raise InputError(f"{row.where}: not text: it contains NUL characters")
            yield replace(
                row, data={field: text if inputs.lines else text.rstrip("\r\n")} if row.data else {}
            )

    source = source.through(renamed).limited(inputs.limit)
    first = source.first()
    if not inputs.lines and first is not None and first.error is None and not first.data[field].strip():
        raise InputError(f"{name} is empty, or contains only white space")
    return source, not inputs.lines
