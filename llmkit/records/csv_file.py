"""Read CSV and TSV, one row at a time.

A broken row does not affect others: reading continues on the next line. Public: `csv_rows`, `tsv_rows`.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import deque
from collections.abc import Iterator
from typing import IO, NamedTuple

from llmkit.errors import InputError
from llmkit.records.encodings import not_utf8
from llmkit.records.formats import MAX_LINE, TOO_LONG, lines_of
from llmkit.records.rows import Row

_UNCLOSED = "a quote that begins here is never closed"
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_OTHER_DELIMITERS = (";", "\t", "|")
# A field that a writer had to quote, because it contains quotes.
_QUOTED = re.compile(r'"((?:[^"]|"")*""(?:[^"]|"")*)"')


def csv_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of CSV (RFC 4180) under a header line; quoted fields may contain line ends.

    If the header has semicolons, tabs or bars and no comma, these separate the fields.

    Raises:
        InputError: the header is missing or broken.
    """
    csv.field_size_limit(sys.maxsize)
    # A bad byte becomes a surrogate, so that only its row is an error.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    records = _Records(text)
    header: list[str] = []
    index = 0
    for record in records:
        where = f"{name}:{record.line}"
        if not header:
            header = _checked_header(record.fields, record.problem, where)
            records.columns = len(header)
            continue
        reason = record.problem or _problem(record.fields, len(header))
        data = dict(zip(header, record.fields, strict=True)) if reason is None else {}
        yield Row(index, data, where, reason)
        index += 1
    if not header:
        raise InputError(f"{name}: no header line; the first line must name the columns")


def tsv_rows(stream: IO[bytes], name: str) -> Iterator[Row]:
    """Rows of TSV under a header line: each line is a row, and a quote is an ordinary character.

    A quoted field with doubled quotes is unquoted, because other programs write a field that contains a quote
    in this way.

    Raises:
        InputError: the header is missing or broken.
    """
    header: list[str] = []
    index = 0
    for number, raw in enumerate(lines_of(stream), 1):
        where = f"{name}:{number}"
        line = None if raw is None else raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
        if line == "":
            continue
        fields = [] if line is None else [_unquoted(field) for field in line.split("\t")]
        if not header:
            header = _checked_header(fields, TOO_LONG if line is None else None, where)
            continue
        reason = TOO_LONG if line is None else _problem(fields, len(header))
        yield Row(index, dict(zip(header, fields, strict=True)) if reason is None else {}, where, reason)
        index += 1
    if not header:
        raise InputError(f"{name}: no header line; the first line must name the columns")


class _CsvRecord(NamedTuple):
    """A record: the line it begins on, and its fields or its problem."""

    line: int
    fields: list[str]
    problem: str | None = None


class _Records:
    """Records of CSV text. After a broken one, reading continues on the line after its first.

    Attributes:
        columns: number of fields that a record should have; 0 while it is unknown.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self.columns = 0
        self._text = text
        self._waiting: deque[str] = deque()  # lines to read again
        self._taken: list[str] = []  # lines of the current record
        self._size = 0
        self._limit = MAX_LINE
        self._line = 1
        self._delimiter = ","

    def __iter__(self) -> Iterator[_CsvRecord]:
        self._delimiter = self._find_delimiter()
        reader = self._reader()
        while True:
            self._taken, self._size = [], 0
            problem, fields = None, None
            try:
                fields = next(reader, None)
            except csv.Error as error:
                problem = _reason(error, len(self._taken))
            except _TooLongError:
                problem = _UNCLOSED if len(self._taken) > 1 else TOO_LONG
                self._skip_line()
            line = self._line
            if problem is None and fields is None:
                return
            if problem is None and self._is_stray_quote(fields or []):
                problem = _UNCLOSED
            if problem is None:
                self._line += len(self._taken)
                if fields:
                    yield _CsvRecord(line, fields)
                continue
            self._line += 1
            self._waiting.extendleft(reversed(self._taken[1:]))
            if problem is _UNCLOSED:
                # Keeps the time linear in a file with many stray quotes.
                self._limit = max(1 << 16, self._limit // 4)
            yield _CsvRecord(line, [], problem)
            reader = self._reader()

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._lines(), delimiter=self._delimiter, strict=True)

    def _lines(self) -> Iterator[str]:
        while line := self._next_line():
            self._taken.append(line)
            self._size += len(line)
            if self._size > self._limit:
                raise _TooLongError
            yield line

    def _next_line(self) -> str:
        return self._waiting.popleft() if self._waiting else self._text.readline(MAX_LINE + 1)

    def _skip_line(self) -> None:
        """Skip the rest of a line that was read in part."""
        last = self._taken[-1]
        while len(last) > 1 << 20 and not last.endswith(("\n", "\r")):
            last = self._text.readline(1 << 21)

    def _find_delimiter(self) -> str:
        line = self._next_line()
        self._waiting.append(line)
        columns = {one: len(next(csv.reader([line], delimiter=one), ())) for one in (",", *_OTHER_DELIMITERS)}
        return "," if columns[","] > 1 else max(columns, key=lambda one: columns[one])

    def _is_stray_quote(self, fields: list[str]) -> bool:
        """Return True if a record of several lines has too few or many fields, and its first line has not."""
        if len(self._taken) < 2 or not self.columns or len(fields) == self.columns:
            return False
        return self._taken[0].count(self._delimiter) + 1 == self.columns


class _TooLongError(Exception):
    """A record is longer than the limit."""


def _checked_header(header: list[str], problem: str | None, where: str) -> list[str]:
    problem = problem or _problem(header, len(header))
    if problem is not None:
        raise InputError(f"{where}: {problem}")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise InputError(f"{where}: two columns are named {twice[0]!r}; rename one in the header line")
    return header


def _reason(error: csv.Error, lines: int) -> str:
    if "unexpected end" in str(error) or lines > 1:
        return _UNCLOSED
    return f"not CSV: {error} (inside a quoted field, a quote is written twice)"


def _problem(fields: list[str], columns: int) -> str | None:
    for field in fields:
        bad = _ESCAPED_BYTE.search(field) if not field.isascii() else None
        if bad is not None:
            data = field.encode("utf-8", "surrogateescape")
            return not_utf8(data, len(field[: bad.start()].encode("utf-8")))
    if len(fields) != columns:
        return f"{len(fields)} field{'s' * (len(fields) != 1)}, but the header has {columns}"
    return None


def _unquoted(field: str) -> str:
    quoted = _QUOTED.fullmatch(field) if field.startswith('"') else None
    return quoted.group(1).replace('""', '"') if quoted else field
