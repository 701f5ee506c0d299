"""Read the documents of a corpus one at a time.

Public: `Corpus`, `Skipped`, `END_OF_TEXT`, `MAX_BOOK`, `MAX_DOCUMENT`.

This module does not depend on models or tokenizers.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.encodings import check_encoding
from llmkit.records.read import has_rows, open_rows, open_text
from llmkit.records.rows import default_column, text_of
from llmkit.text.encodings import guess

END_OF_TEXT = "<|endoftext|>"
_CHUNK = 1 << 20
MAX_DOCUMENT = 1 << 30
"""Maximum number of bytes of a document."""
MAX_BOOK = 16 << 20
"""Maximum number of bytes of a text file without separators that is one document: longer than any novel."""
# Bytes of a Python string besides its characters; counted so that short documents do not fill the memory.
_OVERHEAD = 50
# Number of reasons to keep for skipped rows: a corpus may have more bad rows than fit in memory.
_REASONS = 5


@dataclass
class Skipped:
    """Rows and documents left out of a corpus under `on_error="skip"`.

    Attributes:
        count: number of rows, and of documents of text files.
        first: place and reason of the first few.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, error: RowError) -> None:
        self.count += 1
        if len(self.first) < _REASONS:
            self.first.append(str(error))


class Corpus:
    """The documents of all sources, in order, read once; they are never all in memory.

    Args:
        sources: tables and datasets as `records.open_rows` takes them (`.jsonl`, `.json`, `.csv`, `.tsv`,
            `.parquet`, each also `.gz`; `-`; `hf:dataset`, by default its split "train"), with a document in
            a column of each row. Any other file is text, or with `.gz` compressed text.
        separator: text between the documents of a text file. None is ``<|endoftext|>`` if the file has it;
            otherwise the file is one document, or if it is longer than `MAX_BOOK`, blank lines separate.
        whole: a text file is one document.
        field: column with the text; None is `text`, or the only column of a source's first row with a string.
        on_error: "skip" leaves out rows without a text, and documents of text files that are not UTF-8.
        limit: maximum number of rows or documents to read from each source; None is all.
        encoding: encoding of text files; None is UTF-8.

    Attributes:
        skipped: rows and documents left out so far.

    Iterating raises InputError if a source is missing, damaged, not UTF-8, has a row without a text (the
    message names line or row), or has no document; and if no document is left in all sources. White space
    around documents is removed, and empty documents are left out.
    """

    def __init__(
        self,
        sources: Sequence[str | Path],
        *,
        separator: str | None = None,
        whole: bool = False,
        field: str | None = None,
        on_error: str = "fail",
        limit: int | None = None,
        encoding: str | None = None,
    ) -> None:
        if separator == "":
            raise OptionError("separator", "is empty; whole=True makes a file one document")
        if field is not None and not any(map(has_rows, sources)):
            raise OptionError("field", f"{field}: plain text has no columns")
        self.skipped = Skipped()
        self._sources = list(map(str, sources))
        kept = self.skipped if on_error == "skip" else None
        how = _SourceOptions(separator, whole, field, kept is not None, limit, check_encoding(encoding))
        self._parts = [(deque[str](), _documents(source, how, kept)) for source in self._sources]

    def head(self, size: int) -> tuple[list[str], bool]:
        """Read the beginnings of all sources, in turns; iterating yields these documents again.

        Args:
            size: number of characters (with some overhead per document) at which to stop.

        Returns:
            Documents, in the corpus's order, and True if they are all documents of the corpus.

        Raises:
            InputError: for the same reasons as iterating.
        """
        waiting = deque(self._parts)
        left = size
        while waiting and left > 0:
            part = waiting.popleft()
            # Read a hundredth of `size` at a time, so that at most a hundred sources are open at once.
            turn = min(left, max(1, size // 100))
            for text in part[1]:
                part[0].append(text)
                turn -= len(text) + _OVERHEAD
                left -= len(text) + _OVERHEAD
                if turn <= 0:
                    waiting.append(part)
                    break
        found = [text for seen, _ in self._parts for text in seen]
        if not found and not waiting:
            raise self._no_document()
        return found, not waiting

    def __iter__(self) -> Iterator[str]:
        found = False
        for seen, rest in self._parts:
            while seen:
                found = True
                yield seen.popleft()
            for text in rest:
                found = True
                yield text
        if not found:
            raise self._no_document()

    def _no_document(self) -> InputError:
        reason = f": {self.skipped.first[0]}" if self.skipped.first else ""
        return InputError(f"{', '.join(self._sources)}: no usable document{reason}")


@dataclass(frozen=True)
class _SourceOptions:
    """Options for reading a source: the arguments of `Corpus`; `lenient` keeps errors as texts."""

    separator: str | None
    whole: bool
    field: str | None
    lenient: bool
    limit: int | None
    encoding: str | None


def _documents(source: str, how: _SourceOptions, skipped: Skipped | None) -> Iterator[str]:
    """Yield the documents of a source; add bad ones to `skipped`, or raise if it is None."""
    texts = _row_texts(source, how) if has_rows(source) else _file_texts(source, how)
    found = 0
    for text in texts:
        if isinstance(text, RowError):
            if skipped is None:
                raise text
            skipped.add(text)
            found += 1
        elif document := text.strip():
            found += 1
            yield document
        if found == how.limit:
            return
    if not found:
        raise InputError(f"{source}: no document in it; a corpus needs text")


def _row_texts(source: str, how: _SourceOptions) -> Iterator[str | RowError]:
    """Yield the text of each row, or the error of a bad row."""
    field = how.field
    for row in open_rows(source, split="train", encoding=how.encoding):
        try:
            if field is None and row.error is None:
                field = default_column(row, ("text",))
            text: str | RowError = text_of(row, field=field, template=None, defaults=())
        except RowError as error:
            text = error
        yield text


def _file_texts(source: str, how: _SourceOptions) -> Iterator[str | RowError]:
    """Yield the texts of a file; if `lenient`, an error in place of a text that is not UTF-8."""
    with open_text(source, encoding=how.encoding) as stream:
        separator = how.separator
        if how.whole:
            separator = ""
        elif separator is None:
            separator = _default_separator(stream)
            stream.seek(0)
        texts = _split(_chunks(stream, source, how), separator, source)
        yield from _checked(texts, source, separator, how) if how.lenient else texts


def _checked(
    texts: Iterable[str], source: str, separator: str, how: _SourceOptions
) -> Iterator[str | RowError]:
    """Yield the texts, and an error with its place for a text with a surrogate from a bad byte."""
    line = 1
    for text in texts:
        found: str | RowError = text
        try:
            text.encode()
        except UnicodeEncodeError as error:
            good = text[: error.start]
            before = good[good.rfind("\n") + 1 :]
            data = text.encode("utf-8", "surrogateescape")
            found = _not_utf8(source, line + good.count("\n"), len(before.encode()) + 1, data, how)
        yield found
        line += text.count("\n") + separator.count("\n")


def _default_separator(stream: IO[bytes]) -> str:
    """Return `END_OF_TEXT` if the stream has it; else "" for a text of a book's length, or a blank line."""
    mark, end, size = END_OF_TEXT.encode(), b"", 0
    while chunk := stream.read(_CHUNK):
        end += chunk
        size += len(chunk)
        if mark in end:
            return END_OF_TEXT
        end = end[1 - len(mark) :]
    return "" if size <= MAX_BOOK else "\n\n"


def _split(chunks: Iterable[str], separator: str, source: str) -> Iterator[str]:
    """Split the joined chunks as `str.split` would, with one chunk and one document in memory.

    An empty separator gives one document.
    """
    held: list[str] = []
    end, size = "", 0
    for chunk in chunks:
        first, *parts = (end + chunk).split(separator) if separator else [chunk]
        if parts:
            yield "".join([*held, first])
            *whole, first = parts
            yield from whole
            held, size = [], 0
        # Keep the possible beginning of a separator for the next chunk.
        safe = max(0, len(first) - max(len(separator) - 1, 0))
        held.append(first[:safe])
        size += safe
        _check_size(size, source)
        end = first[safe:]
    yield "".join([*held, end])


def _chunks(stream: IO[bytes], source: str, how: _SourceOptions) -> Iterator[str]:
    r"""Yield whole lines, about a megabyte at a time, with line ends `\n`.

    A byte that is not UTF-8 raises an error; if `how.lenient`, it becomes a surrogate, and reading continues.
    """
    number = 1
    while lines := _lines(stream, source):
        if number == 1:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        try:
            text = b"".join(lines).decode(errors="surrogateescape" if how.lenient else "strict")
        except UnicodeDecodeError:
            raise _first_bad(source, number, lines, how) from None
        yield text.replace("\r\n", "\n")
        number += len(lines)


def _lines(stream: IO[bytes], source: str) -> list[bytes]:
    """Read about a megabyte of whole lines; a line is never longer than a document may be."""
    lines, size = list[bytes](), 0
    while size < _CHUNK and (line := stream.readline(MAX_DOCUMENT + 1)):
        size += len(line)
        _check_size(size, source)
        lines.append(line)
    return lines


def _check_size(size: int, source: str) -> None:
    """Refuse a document that would fill the memory: a small .gz file can unpack to any size."""
    if size > MAX_DOCUMENT:
        limit = f"{MAX_DOCUMENT / (1 << 30):.2g} GiB, the limit of one"
        raise InputError(f"{source}: a document is longer than {limit}; set `separator`, or split the file")


def _first_bad(source: str, number: int, lines: list[bytes], how: _SourceOptions) -> RowError:
    for at, line in enumerate(lines, start=number):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return _not_utf8(source, at, error.start + 1, line, how)
    raise AssertionError


def _not_utf8(source: str, line: int, byte: int, data: bytes, how: _SourceOptions) -> RowError:
    if how.encoding is not None:
        return RowError(f"{source}:{line}", f"bytes that are not {how.encoding}")
    reason = f"not UTF-8 (byte {byte} of the line); give the encoding, e.g. encoding={guess(data)}"
    return RowError(f"{source}:{line}", reason)
