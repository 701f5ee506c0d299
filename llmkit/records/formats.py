"""Read each text format: a stream of bytes in, rows out, one at a time.

A row that cannot be read becomes a `Row` with an `error`, and reading continues. A file that cannot be read
raises InputError. Public: a function for each text format, and the helpers that `json_file` shares.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from typing import IO, Any

from llmkit.errors import InputError
from llmkit.records.rows import Row
from llmkit.records.strict_json import Decoder

_BOM = codecs.BOM_UTF8
_SPACE = re.compile(r"[ \t\n\r]*")


def space_end(text: str, start: int) -> int:
    """Return the end of the JSON white space that begins at `start`."""
    match = _SPACE.match(text, start)
    return match.end() if match else start


def jsonl_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of JSON Lines: an object a line. Blank lines are not rows."""
    decoder = Decoder()
    index = 0
    for number, raw in enumerate(stream, 1):
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if raw.isspace() or not raw:
            continue
        data, error = _object(raw, decoder)
        yield Row(index, data, f"{name}:{number}", error)
        index += 1


def _object(raw: bytes, decoder: Decoder) -> tuple[dict[str, Any], str | None]:
    """Return the object on a line, or the reason why there is none."""
    try:
        text = raw.decode().rstrip(" \t\r\n")
        value, end, problem = decoder.decode(text, space_end(text, 0))
    except UnicodeDecodeError as error:
        return {}, not_utf8(error.object[error.start])
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}"
    except ValueError as error:
        return {}, f"not JSON: {error}"
    if end < len(text):
        return {}, f"not JSON: more text after the value, at column {space_end(text, end) + 1}"
    return as_object(value, problem)


def as_object(value: Any, problem: str | None) -> tuple[dict[str, Any], str | None]:
    """Return a decoded value as the data of a row, or the reason why it cannot be one."""
    if problem is not None:
        return {}, problem
    if isinstance(value, dict):
        return value, None
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return {}, f"a JSON {kinds.get(type(value), 'number')}, not an object"


def not_utf8(byte: int) -> str:
    """Return the message for a byte of another encoding."""
    return f"byte 0x{byte:02x} is not UTF-8; convert the file, e.g. iconv -f latin1 -t utf-8"


def line_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of plain text: one row a line, blank lines included."""
    for index, raw in enumerate(stream):
        if index == 0:
            raw = raw.removeprefix(_BOM)
        where = f"{name}:{index + 1}"
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            yield Row(index, {}, where, not_utf8(error.object[error.start]))
        else:
            yield Row(index, {"text": text.removesuffix("\n").removesuffix("\r")}, where)


def whole_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """One row: the whole text of a file."""
    try:
        text = stream.read().removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        yield Row(0, {}, name, not_utf8(error.object[error.start]))
    else:
        yield Row(0, {"text": text}, name)


def csv_rows(stream: IO[bytes], name: str, delimiter: str) -> Iterator[Row]:
    """Rows of CSV or TSV under a header line; quoted fields may hold line ends, also in TSV.

    Raises:
        InputError: the header is not one.
    """
    csv.field_size_limit(sys.maxsize)
    # A bad byte comes through as a surrogate, so that it spoils its own row and not the file.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    header = _csv_header(reader, name)
    index = 0
    while True:
        where = f"{name}:{reader.line_num + 1}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield Row(index, {}, where, _csv_reason(error))
        else:
            if fields is None:
                return
            if not fields:
                continue
            reason = _csv_problem(fields, len(header))
            data = dict(zip(header, fields, strict=True)) if reason is None else {}
            yield Row(index, data, where, reason)
        index += 1


def _csv_header(reader: Any, name: str) -> list[str]:
    try:
        header: list[str] = next((fields for fields in reader if fields), [])
    except csv.Error as error:
        raise InputError(f"{name}:1: {_csv_reason(error)}") from error
    problem = _csv_problem(header, len(header))
    if problem is not None:
        raise InputError(f"{name}:1: {problem}")
    if not header:
        raise InputError(f"{name}: no header line; the first line must name the columns")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError(f"{name}:1: two columns are named {twice[0]!r}; rename one in the header line")
    return header


def _csv_reason(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return "a quote that opens here is never closed"
    return f"not CSV: {error} (inside a quoted field, a quote is written twice)"


def _csv_problem(fields: list[str], columns: int) -> str | None:
    for field in fields:
        bad = _ESCAPED_BYTE.search(field) if not field.isascii() else None
        if bad is not None:
            return not_utf8(ord(bad.group()) - 0xDC00)
    if len(fields) != columns:
        return f"{len(fields)} fields where the header has {columns}"
    return None


_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
