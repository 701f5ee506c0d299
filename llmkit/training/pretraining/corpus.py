"""A corpus on its way to a model: sources to documents, one at a time, and which of them are held out.

This module knows nothing of models or of tokenizers.
"""

from __future__ import annotations

import codecs
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from llmkit.errors import InputError, RowError
from llmkit.records.read import has_rows, open_rows, open_text
from llmkit.records.rows import default_column, text_of

END_OF_TEXT = "<|endoftext|>"
_CHUNK = 1 << 20
# What a Python string takes besides its characters, so that many short documents are not taken for few.
_OVERHEAD = 50
_RANKS = 1 << 64
# Of what is skipped, so many reasons are kept: a corpus may have more bad rows than fit in memory.
_REASONS = 5


@dataclass
class Skipped:
    """What was left out of a corpus under `--on-error skip`.

    Attributes:
        count: rows, and documents of text files.
        first: place and reason of the first few.
    """

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, error: RowError) -> None:
        self.count += 1
        if len(self.first) < _REASONS:
            self.first.append(str(error))


class Corpus:
    """The documents of all sources, in order, read once and never held all at a time.

    Args:
        sources: a table or dataset as `records.open_rows` takes it (`.jsonl`, `.json`, `.csv`, `.tsv`,
            `.parquet`, each also `.gz`; `-`; `hf:dataset`, by default its split "train") has a document in a
            column of each row; anything else is text, or with `.gz` compressed text.
        separator: what stands between the documents of a text file. Without one it is ``<|endoftext|>`` in
            a file that has it, and a blank line in a file that has not.
        whole: a text file is one document.
        field: the column; by default `text`, else the only one of a source's first row that holds a string.
        on_error: "skip" leaves out a row without a text, and a document of a text file that is not UTF-8.

    Attributes:
        skipped: what was left out, so far.

    Iterating raises InputError where a source is missing, damaged, not UTF-8, has a row without a text (line
    or row are named), or holds no document; and where of all sources nothing is left. Documents are stripped
    of white space around them, and empty ones are left out.
    """

    def __init__(
        self,
        sources: Sequence[str | Path],
        *,
        separator: str | None = None,
        whole: bool = False,
        field: str | None = None,
        on_error: str = "fail",
    ) -> None:
        if separator == "":
            raise InputError("--separator is empty; --whole makes a file one document")
        if field is not None and not any(map(has_rows, sources)):
            raise InputError(f"--field {field}: plain text has no columns")
        self.skipped = Skipped()
        self._sources = list(map(str, sources))
        kept = self.skipped if on_error == "skip" else None
        self._parts = [
            (deque[str](), _documents(source, separator, whole, field, kept)) for source in self._sources
        ]

    def head(self, size: int) -> tuple[list[str], bool]:
        """Look at the beginnings of all sources together, turn by turn, without taking anything away.

        Args:
            size: characters (and a little for each document) at which to stop.

        Returns:
            Documents, in the corpus's order, and whether they are all there are.

        Raises:
            InputError: as iterating.
        """
        waiting = deque(self._parts)
        left = size
        while waiting and left > 0:
            part = waiting.popleft()
            # A hundredth at a time, so that no more than a hundred sources are open at once.
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
            raise self._nothing()
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
            raise self._nothing()

    def _nothing(self) -> InputError:
        reason = f": {self.skipped.first[0]}" if self.skipped.first else ""
        return InputError(f"{', '.join(self._sources)}: no document that can be used{reason}")


@dataclass(frozen=True)
class Split:
    """Which documents are held out: those whose rank, a hash of seed and text, lies below a threshold, or is
    the one named beside it.

    So it depends neither on a document's neighbours nor on the order of the files, and two copies of a
    document fall on the same side.
    """

    seed: int
    below: int
    also: int | None = None

    def holds_out(self, text: str) -> bool:
        if not self.below:
            return False
        rank = _rank(self.seed, text)
        return rank < self.below or rank == self.also


def choose_split(head: Iterable[str], share: float, seed: int, *, complete: bool) -> Split:
    """The threshold that holds out `share` of the documents, whole ones.

    Args:
        head: documents of the corpus.
        share: of different documents; 0 holds nothing out.
        seed: of the choice.
        complete: they are all of them: the share is met to the document. Of a longer corpus it is met about,
            and one of these documents is held out if no other is.

    Raises:
        InputError: the documents are all there are, and one side would be empty.
    """
    import numpy as np

    if share == 0:
        return Split(seed, 0)
    ranks = np.unique(np.fromiter((_rank(seed, text) for text in head), dtype=np.uint64))
    if not complete:
        below = int(share * _RANKS)
        # Of few long documents none may lie below; where there is one alone, it is needed to learn from.
        none = len(ranks) > 1 and int(ranks[0]) >= below
        return Split(seed, below, int(ranks[0]) if none else None)
    count = max(1, round(share * len(ranks)))
    if count >= len(ranks):
        raise InputError(
            f"{len(ranks)} different document(s) cannot be split into a training and a held-out part: "
            "give more text, another --separator, or --eval-split 0"
        )
    return Split(seed, int(ranks[count]))


def _rank(seed: int, text: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{text}".encode()).digest()[:8], "big")


def _documents(
    source: str, separator: str | None, whole: bool, field: str | None, skipped: Skipped | None
) -> Iterator[str]:
    """The documents of a source; a bad one is put among the `skipped`, or without that ends it."""
    lenient = skipped is not None
    texts = _row_texts(source, field) if has_rows(source) else _file_texts(source, separator, whole, lenient)
    found = False
    for text in texts:
        if isinstance(text, RowError):
            if skipped is None:
                raise text
            skipped.add(text)
            found = True
            continue
        document = text.strip()
        if document:
            found = True
            yield document
    if not found:
        raise InputError(f"{source}: no document in it; a corpus needs text")


def _row_texts(source: str, field: str | None) -> Iterator[str | RowError]:
    """The text of each row, or what is wrong with it."""
    for row in open_rows(source, split="train"):
        try:
            if field is None and row.error is None:
                field = default_column(row, ("text",))
            text: str | RowError = text_of(row, field=field, template=None, defaults=())
        except RowError as error:
            text = error
        yield text


def _file_texts(source: str, separator: str | None, whole: bool, lenient: bool) -> Iterator[str | RowError]:
    """The texts of a file; `lenient`, what is wrong in place of one that is not UTF-8."""
    with open_text(source) as stream:
        if whole:
            texts, separator = iter(["".join(_chunks(stream, source, lenient))]), ""
        else:
            if separator is None:
                separator = END_OF_TEXT if _has(stream, END_OF_TEXT.encode()) else "\n\n"
                stream.seek(0)
            texts = _split(_chunks(stream, source, lenient), separator)
        yield from _checked(texts, source, separator) if lenient else texts


def _checked(texts: Iterable[str], source: str, separator: str) -> Iterator[str | RowError]:
    """The texts, and in place of one that a bad byte left half a character in, where that byte is."""
    line = 1
    for text in texts:
        found: str | RowError = text
        try:
            text.encode()
        except UnicodeEncodeError as error:
            good = text[: error.start]
            before = good[good.rfind("\n") + 1 :]
            found = _not_utf8(source, line + good.count("\n"), len(before.encode()) + 1)
        yield found
        line += text.count("\n") + separator.count("\n")


def _has(stream: IO[bytes], mark: bytes) -> bool:
    end = b""
    while chunk := stream.read(_CHUNK):
        end += chunk
        if mark in end:
            return True
        end = end[1 - len(mark) :]
    return False


def _split(chunks: Iterable[str], separator: str) -> Iterator[str]:
    """`str.split` of the chunks joined, with no more in memory than a chunk and a document."""
    held: list[str] = []
    end = ""
    for chunk in chunks:
        first, *parts = (end + chunk).split(separator)
        if parts:
            yield "".join([*held, first])
            *whole, first = parts
            yield from whole
            held = []
        # What may be the beginning of a separator waits for the next chunk.
        sure = max(0, len(first) - len(separator) + 1)
        held.append(first[:sure])
        end = first[sure:]
    yield "".join([*held, end])


def _chunks(stream: IO[bytes], source: str, lenient: bool) -> Iterator[str]:
    """Whole lines, about a megabyte at a time, with line ends of one character.

    A byte that is not UTF-8 ends it; `lenient`, it comes as half a character, and reading goes on.
    """
    number = 1
    while lines := stream.readlines(_CHUNK):
        if number == 1:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        try:
            text = b"".join(lines).decode(errors="surrogateescape" if lenient else "strict")
        except UnicodeDecodeError:
            raise _first_bad(source, number, lines) from None
        yield text.replace("\r\n", "\n")
        number += len(lines)


def _first_bad(source: str, number: int, lines: list[bytes]) -> RowError:
    for at, line in enumerate(lines, start=number):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return _not_utf8(source, at, error.start + 1)
    raise AssertionError


def _not_utf8(source: str, line: int, byte: int) -> RowError:
    reason = f"not UTF-8 (byte {byte} of the line); convert it, e.g. iconv -f latin1 -t utf-8"
    return RowError(f"{source}:{line}", reason)
