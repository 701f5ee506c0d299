"""Read a .json file as a stream: the objects of one array, or objects one after another.

Public: `json_rows`.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from llmkit.errors import InputError
from llmkit.records.encodings import not_utf8
from llmkit.records.formats import MAX_LINE, TOO_LONG, as_object, space_end
from llmkit.records.rows import Row
from llmkit.records.strict_json import StrictDecoder

_CHUNK = 1 << 18


def json_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of a JSON file: the items of a top-level array, or each top-level object.

    An item that is not an object becomes a row with an error. Broken syntax ends the file, because without
    lines the start of the next item is unknown.

    Raises:
        InputError: broken syntax or encoding.
    """
    text = _Text(stream, name)
    array = text.peek() == "["
    if array:
        text.skip(1)
    index = 0
    more = text.peek() not in ("", "]") if array else text.peek() != ""
    while more:
        text.peek()
        line = text.line
        data, error = as_object(*text.value(f"item {index + 1}"))
        yield Row(index, data, f"{name}:{line}", error)
        index += 1
        if array and text.peek() == ",":
            text.skip(1)
        else:
            more = not array and text.peek() != ""
    if array:
        if text.peek() != "]":
            raise text.broken(f"expecting ',' or ']' after item {index}")
        text.skip(1)
        if text.peek():
            raise text.broken("more text after the array")


class _Text:
    """The text of a stream; only the value that is being decoded is in memory."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.line = 1
        self._stream, self._name = stream, name
        self._decoder = StrictDecoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._start = 0
        self._at_end = False

    def peek(self) -> str:
        """Return the next character that is not white space; empty at the end."""
        while True:
            self._move(space_end(self._text, self._start))
            if self._start < len(self._text) or self._at_end:
                return self._text[self._start : self._start + 1]
            self._read(_CHUNK)

    def skip(self, count: int) -> None:
        self._move(self._start + count)

    def value(self, name: str) -> tuple[Any, str | None]:
        """Decode the value that starts at the next character; return it and its problem, if it has one."""
        size = _CHUNK
        while True:
            try:
                value, end, problem = self._decoder.decode(self._text, self._start)
            except json.JSONDecodeError as error:
                if self._at_end or not self._cut_off(error):
                    self._move(min(error.pos, len(self._text)))
                    raise self.broken(f"{name} is not JSON: {error.msg.removesuffix(' at')}") from None
            except ValueError as error:
                raise self.broken(f"{name} is not JSON: {error}") from None
            else:
                # A number at the end of the text may be truncated: 1, 1e, 1e+ and 1e+5 have the same start.
                if end + 2 < len(self._text) or self._at_end:
                    self._move(end)
                    return value, problem
            if len(self._text) - self._start > MAX_LINE:
                raise self.broken(f"{name} is {TOO_LONG}")
            self._read(size)
            size *= 2  # the time stays proportional to the value's length

    def broken(self, reason: str) -> InputError:
        return InputError(f"{self._name}:{self.line}: {reason}")

    def _cut_off(self, error: json.JSONDecodeError) -> bool:
        """Return True if the error may come from text that ends in the middle of a value."""
        longest_token = len("-Infinity")
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - longest_token

    def _move(self, to: int) -> None:
        self.line += self._text.count("\n", self._start, to)
        self._start = to

    def _read(self, size: int) -> None:
        raw = self._stream.read(size)
        self._at_end = not raw
        try:
            new = self._utf8.decode(raw, final=self._at_end)
        except UnicodeDecodeError as error:
            self.line += self._text.count("\n", self._start) + raw[: error.start].count(b"\n")
            raise self.broken(not_utf8(error.object, error.start)) from None
        self._text = self._text[self._start :] + new
        self._start = 0
