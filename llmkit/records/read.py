"""Open rows: a file of any known format, stdin, a Hub dataset, or texts in memory.

Public: `open_rows`, `rows_of`, `RowSource`, `UnknownFormat`, `open_text`, `has_rows`, `identity_of`. All
sources are streamed. A file that is missing, empty or of another format is refused on opening.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import itertools
import os
import re
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import IO, Any, cast

from llmkit.errors import InputError, OptionError
from llmkit.fingerprint import fingerprint
from llmkit.records import formats
from llmkit.records.csv_file import csv_rows, tsv_rows
from llmkit.records.encodings import as_utf8, check_encoding, named
from llmkit.records.json_file import json_rows
from llmkit.records.remote.reading import CHUNK, RemoteFile
from llmkit.records.remote.urls import url_of
from llmkit.records.rows import Row, characters
from llmkit.records.tables import open_hub, open_parquet
from llmkit.text.languages import read_code

_FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
_LINE_SUFFIXES = {"list", "lst", "src", "tgt", "trg", "ref", "hyp", "hypo", "lines"}
# `zh-Hant`, `pt_BR`. Codes of three letters are left out: many other endings look like them.
_LANGUAGE = re.compile(r"[a-z]{2}(?:[-_][A-Za-z]{2,4})?")
_READERS: dict[str, Callable[[IO[bytes], str], Iterator[Row]]] = {
    ".jsonl": formats.jsonl_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": tsv_rows,
    ".txt": formats.line_rows,
    "lines": formats.line_rows,
    "whole": formats.whole_rows,
}
_LINES = (".txt", "lines")


class UnknownFormat(InputError):  # noqa: N818 (a condition that a caller may explain further)
    """The end of a file's name does not belong to a format of rows."""


class RowSource:
    """Rows that can be iterated once.

    Attributes:
        name: the user's name for the source.
        limit: maximum number of rows to read; None is all.
        size_of: function that returns the approximate number of characters of text for a row.
        lines: each row is a line of plain text.
    """

    def __init__(
        self,
        name: str,
        rows: Iterator[Row],
        *,
        identity: dict[str, Any] | None = None,
        count: int | None = None,
        position: Callable[[], float] | None = None,
        size_of: Callable[[Row], int] | None = None,
        lines: bool = False,
    ) -> None:
        self.name = name
        self._rows = rows
        self._identity = identity or {"name": name}
        self._count = count
        self._position = position
        self.size_of = size_of or (lambda row: characters(row.data))
        self._taken = 0
        self._at_end = False
        self.lines = lines
        self.limit: int | None = None

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self._taken = row.index + 1
            yield row
        self._at_end = True

    def limited(self, limit: int | None) -> RowSource:
        """Read only the first `limit` rows; None reads all. Return the source itself.

        Raises:
            OptionError: the limit is below 1.
        """
        if limit is not None:
            if limit < 1:
                raise OptionError("limit", f"must be 1 or more, not {limit}")
            self.limit = limit
            self._rows = itertools.islice(self._rows, limit)
        return self

    def through(self, change: Callable[[Iterator[Row]], Iterator[Row]]) -> RowSource:
        """Pass the rows through `change`; name and identity stay. Return the source itself."""
        self._rows = change(self._rows)
        return self

    def without_blank_lines(self) -> RowSource:
        """Drop blank lines of plain text; an empty text in a column stays. Return the source itself."""
        if self.lines:
            self._rows = (row for row in self._rows if row.error is not None or row.data["text"].strip())
        return self

    def first(self) -> Row | None:
        """Return the first row without consuming it; None if there is none."""
        return next(iter(self.peek(1)), None)

    def peek(self, count: int) -> list[Row]:
        """Return the first rows, at most `count`, without consuming them."""
        taken = list(itertools.islice(self._rows, count))
        self._rows = itertools.chain(taken, self._rows)
        return taken

    def identity(self) -> dict[str, Any]:
        """Return the identity of this input as JSON.

        For a regular file: its name, its size in bytes, and the SHA-256 of its first and last MiB. For
        other sources: the name.
        """
        return dict(self._identity)

    def total(self) -> int | None:
        """Return the number of rows; None while it is unknown."""
        if self._at_end or self._count is None:
            return self._taken if self._at_end else None
        return self._count if self.limit is None else min(self._count, self.limit)

    def fraction(self) -> float | None:
        """Return the share of the source that has been read, 0 to 1; None if it is unknown."""
        if self._at_end or (self.limit is not None and self._taken >= self.limit):
            return 1.0
        if self._count is not None:
            most = self._count if self.limit is None else min(self.limit, self._count)
            return self._taken / most if most else 1.0
        shares = [self._taken / self.limit] if self.limit is not None else []
        if self._position is not None:
            # Bytes are already read before the first row.
            shares.append(self._position() if self._taken else 0.0)
        return max(shares, default=None)


def rows_of(texts: Iterable[str], field: str = "text", name: str = "argument") -> RowSource:
    """Return a source with one row per text, in the column `field`."""
    rows = (Row(index, {field: text}, f"{name}:{index + 1}") for index, text in enumerate(texts))
    return RowSource(name, rows, count=len(texts) if isinstance(texts, Sized) else None)


def has_rows(source: str | Path) -> bool:
    """Return True if, by its name, a source has rows with columns; False for plain text."""
    name = str(source).lower()
    kind = Path(name.removesuffix(".gz")).suffix
    return name == "-" or _is_dataset(name) or (kind in _FORMATS and kind != ".txt")


def is_lines(source: str | Path) -> bool:
    """Return True for names of parallel texts and lists: ``train.en``, ``a.de``, ``x.list``.

    >>> is_lines("train.en"), is_lines("dev.zh-Hant.gz"), is_lines("notes.md")
    (True, True, False)
    """
    suffix = Path(str(source).removesuffix(".gz")).suffix[1:]
    if suffix.lower() in _LINE_SUFFIXES:
        return True
    language = read_code(suffix) if _LANGUAGE.fullmatch(suffix) else None
    return language is not None and language.name is not None


def identity_of(source: str | Path) -> dict[str, Any]:
    """Return `RowSource.identity` of a source without reading its rows, so that a pipe loses none.

    Raises:
        InputError: the file does not exist, is a folder, or may not be read.
    """
    name = str(source)
    if name == "-" or _is_dataset(name):
        return {"name": name}
    if (url := url_of(name)) is not None:
        return RemoteFile(url).identity()
    with _naming(name):
        if not Path(name).is_dir() and not stat.S_ISREG(os.stat(name).st_mode):
            return {"name": name}
        with open(name, "rb") as file:
            return {"name": Path(name).name, **fingerprint(file.fileno())}


@contextlib.contextmanager
def open_text(source: str | Path, *, encoding: str | None = None) -> Iterator[io.BufferedReader]:
    """Open a file of plain text, also as .gz, as bytes that can be read again after `seek(0)`.

    Args:
        source: name of the file.
        encoding: its encoding; None is UTF-8. The bytes are UTF-8 in any case.

    Raises:
        InputError: the file is missing, a folder, damaged, or begins with the mark of another encoding.
    """
    name, codec = str(source), check_encoding(encoding)
    with _naming(name), open(name, "rb") as file:
        zipped = name.lower().endswith(".gz")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            stream = _copy(file, name, zipped)
        else:
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file
        with as_utf8(stream, codec) as text:
            if codec is None:
                _refuse_other_encodings(text, name)
            yield text


def open_rows(
    source: str | Path,
    *,
    lines: bool = False,
    whole: bool = False,
    split: str | None = None,
    encoding: str | None = None,
) -> RowSource:
    """Open ``-`` (stdin, as JSONL), ``hf:dataset[:config][:split]``, a file or a URL, by the end of its name.

    A URL names an object in a storage that fsspec knows: ``s3://``, ``gs://``, ``az://``, ``hf://``.

    Files are .jsonl, .json, .csv, .tsv, .parquet or .txt, each also with .gz. Names of parallel texts and
    lists (``train.en``, ``a.de``, ``x.list``) are lines of text, like .txt. A pipe with another name,
    such as a shell's ``<(command)``, is JSONL.

    Args:
        source: name of the source.
        lines: read plain text, under any name, with one row per line (as in .txt).
        whole: read plain text, under any name, as one row.
        split: split of a dataset that has several, if the source names none.
        encoding: encoding of a text file; None is UTF-8.

    Raises:
        InputError: on opening or while reading: the file is missing, empty, damaged, or of another format
            (UnknownFormat).
        OptionError: there is no such encoding, or the file is not text.
    """
    name, codec = str(source), check_encoding(encoding)
    text = "whole" if whole else "lines" if lines else None
    if name == "-":
        return RowSource("stdin", _stdin_rows(text or ".jsonl", codec), lines=lines)
    if (url := url_of(name)) is not None:
        return _open_remote(url, text, codec)
    if _is_dataset(name):
        option = text or (None if codec is None else "encoding")
        if option is not None:
            raise OptionError(option, f"is for files of text, and {name} is a dataset")
        return RowSource(name, _begun(open_hub(name, split)))
    with _naming(name), contextlib.ExitStack() as opened:
        file = opened.enter_context(open(name, "rb"))
        status = os.fstat(file.fileno())
        regular = stat.S_ISREG(status.st_mode)
        kind, zipped = _format(name, text, regular)
        if regular and status.st_size == 0:
            raise InputError(f"{name} is empty")
        identity = {"name": Path(name).name, **fingerprint(file.fileno())} if regular else None
        if kind == ".parquet":
            if codec is not None:
                raise OptionError("encoding", f"is for files of text, and {name} is a Parquet file")
            table = file if regular and not zipped else opened.enter_context(_copy(file, name, zipped))
            rows, count = open_parquet(table, name)
            opened.pop_all()
            return RowSource(name, rows, identity=identity, count=count)
        rows = _begun(_file_rows(file, name, kind, zipped, codec))
        opened.pop_all()

    def position() -> float:
        return 1.0 if file.closed else file.tell() / status.st_size

    at = position if regular else None
    return RowSource(name, rows, identity=identity, position=at, lines=kind in _LINES)


def _is_dataset(name: str) -> bool:
    return name.startswith("hf:") and not name.startswith("hf://")


def _open_remote(url: str, text: str | None, codec: str | None) -> RowSource:
    """Open the rows of an object; see `open_rows`."""
    kind, zipped = _format(url, text, True)
    file = RemoteFile(url)
    if not file.size:
        raise InputError(f"{url} is empty")
    stream = cast(IO[bytes], io.BufferedReader(file, CHUNK))
    with _naming(url):
        if kind == ".parquet":
            if codec is not None:
                raise OptionError("encoding", f"is for files of text, and {url} is a Parquet file")
            rows, count = open_parquet(_copy(stream, url, zipped) if zipped else stream, url)
            return RowSource(url, rows, identity=file.identity(), count=count)
        rows = _begun(_file_rows(stream, url, kind, zipped, codec))
    return RowSource(
        url,
        rows,
        identity=file.identity(),
        position=lambda: file.tell() / file.size,
        lines=kind in _LINES,
    )


def _stdin_rows(kind: str, codec: str | None) -> Iterator[Row]:
    if sys.stdin is None:
        raise InputError("stdin is closed; give a file")
    stream = as_utf8(sys.stdin.buffer, codec)
    with _naming("stdin"):
        if codec is None:
            _refuse_other_encodings(stream, "stdin")
        yield from named(_READERS[kind](stream, "stdin"), codec)


def _file_rows(file: IO[bytes], name: str, kind: str, zipped: bool, codec: str | None) -> Iterator[Row]:
    stream = as_utf8(cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file, codec)
    with file, _naming(name):
        begun = _refuse_other_encodings(stream, name) if codec is None else bool(stream.peek(1))
        if not begun and zipped:
            raise InputError(f"{name} is empty")
        yield from named(_READERS[kind](stream, name), codec)


def _format(name: str, text: str | None, regular: bool) -> tuple[str, bool]:
    """Return the format of a file, as a key of `_READERS` or ".parquet", and True if it is compressed."""
    path = Path(name.lower())
    zipped = path.suffix == ".gz"
    kind = Path(path.stem).suffix if zipped else path.suffix
    if text is not None:
        if kind in _FORMATS and kind != ".txt":
            raise OptionError(text, f"reads plain text, and {name} is a {kind} file")
        return text, zipped
    if kind in _FORMATS:
        return kind, zipped
    if is_lines(path.stem if zipped else Path(name)):
        return "lines", zipped
    if not regular:
        return ".jsonl", zipped
    raise UnknownFormat(
        f"{name}: unknown format; rename it to end in one of {' '.join(_FORMATS)}"
        " (each may be followed by .gz)"
    )


def _refuse_other_encodings(stream: io.BufferedReader, name: str) -> bool:
    """Refuse encodings that the first bytes reveal; return False for an empty stream."""
    head = stream.peek(2)[:2]
    if head == b"\x1f\x8b":
        raise InputError(f"{name} is gzip data: unpack it, or give the file a name that ends in .gz")
    if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise InputError(f"{name} is UTF-16; encoding=utf-16 reads it")
    return bool(head)


def _copy(file: IO[bytes], name: str, zipped: bool) -> IO[bytes]:
    """Copy a stream without `seek` to a temporary file, because Parquet is read from its end."""
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    limit = shutil.disk_usage(tempfile.gettempdir()).free // 2
    with file:
        source = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if zipped else file
        while data := source.read(1 << 20):
            # A small .gz file can unpack to any size.
            if copy.tell() + len(data) > limit:
                raise InputError(f"{name}: unpacked, it is larger than half of the free disk space")
            copy.write(data)
    copy.seek(0)
    return copy


def _begun(rows: Iterator[Row]) -> Iterator[Row]:
    """Read the first row at once, so that errors of the file come before any work; return all rows."""
    return itertools.chain(list(itertools.islice(rows, 1)), rows)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turn errors of the disk and of gzip into InputErrors that name the file."""
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{name}: damaged gzip data, or not gzip data: {error}") from error
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{name} is a folder; give a file in it") from None
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from error
