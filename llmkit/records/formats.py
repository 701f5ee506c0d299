"""Read each text format: turn a stream of bytes into rows, one at a time.

A row that cannot be read becomes a `Row` with an `error`, and reading continues. A file that cannot be read
raises InputError. Public: a function for each text format, and the helpers that `json_file` shares.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from llmkit.errors import InputError
from llmkit.records.encodings import not_utf8
from llmkit.records.rows import Row
from llmkit.records.strict_json import StrictDecoder

MAX_LINE = 64 << 20
"""Maximum number of bytes of a line or JSON item, so that a hostile or wrong file cannot fill the memory."""
TOO_LONG = f"longer than {MAX_LINE >> 20} MiB, which is the limit of a row"
_MAX_WHOLE = 1 << 30
_BOM = codecs.BOM_UTF8
_SPACE = re.compile(r"[ \t\n\r]*")


def space_end(text: str, start: int) -> int:
    """Return the end of the JSON white space that begins at `start`."""
    match = _SPACE.match(text, start)
    return match.end() if match else start


def lines_of(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the lines of a stream without a byte order mark; None for a line longer than `MAX_LINE`."""
    first = True
    while raw := stream.readline(MAX_LINE + 1):
        if len(raw) > MAX_LINE:
            while raw and not raw.endswith(b"\n"):
                raw = stream.readline(1 << 20)
            yield None
        else:
            yield raw.removeprefix(_BOM) if first else raw
        first = False


def jsonl_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of JSON Lines: one object per line. Blank lines are not rows."""
    decoder = StrictDecoder()
    index = 0
    for number, raw in enumerate(lines_of(stream), 1):
        if raw is not None and (raw.isspace() or not raw):
            continue
        data, error = ({}, TOO_LONG) if raw is None else _object(raw, decoder)
        yield Row(index, data, f"{name}:{number}", error)
        index += 1


def _object(raw: bytes, decoder: StrictDecoder) -> tuple[dict[str, Any], str | None]:
    """Return the object on a line, or the reason of the error."""
    try:
        text = raw.decode().rstrip(" \t\r\n")
        value, end, problem = decoder.decode(text, space_end(text, 0))
    except UnicodeDecodeError as error:
        return {}, not_utf8(error.object, error.start)
    except json.JSONDecodeError as error:
        return {}, f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}"
    except ValueError as error:
        return {}, f"not JSON: {error}"
    if end < len(text):
        return {}, f"not JSON: more text after the value, at column {space_end(text, end) + 1}"
    return as_object(value, problem)


def as_object(value: Any, problem: str | None) -> tuple[dict[str, Any], str | None]:
    """Return a decoded value as the data of a row, or the reason why it cannot be a row."""
    if problem is not None:
        return {}, problem
    if isinstance(value, dict):
        return value, None
    kinds = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return {}, f"a JSON {kinds.get(type(value), 'number')}, not an object"


def line_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of plain text: one row per line, blank lines included."""
    for index, raw in enumerate(lines_of(stream)):
        where = f"{name}:{index + 1}"
        if raw is None:
            yield Row(index, {}, where, TOO_LONG)
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            yield Row(index, {}, where, not_utf8(error.object, error.start))
        else:
            yield Row(index, {"text": text.removesuffix("\n").removesuffix("\r")}, where)


def whole_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """One row: the whole text of a file."""
    content = stream.read(_MAX_WHOLE + 1)
    if len(content) > _MAX_WHOLE:
        raise InputError(f"{name} is larger than {_MAX_WHOLE >> 30} GiB, the limit of one text; split it")
    try:
        text = content.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        yield Row(0, {}, name, not_utf8(error.object, error.start))
    else:
        yield Row(0, {"text": text}, name)
