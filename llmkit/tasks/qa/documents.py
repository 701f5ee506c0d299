"""Texts to answer from: files, folders and stdin, with the places of documents."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from llmkit.errors import InputError
from llmkit.records.read import has_rows
from llmkit.text.documents.reading.blocks import Block, read_blocks
from llmkit.text.documents.reading.files import document_format, files_of, plain_text, read_file
from llmkit.text.passages import ContextDocument

# Read for their places in the source: Markdown as it stands, with its tables and code.
_AS_TEXT = {"md"}
Reader = Callable[[str], ContextDocument]


def read_documents(
    paths: Sequence[str],
    notice: Callable[[str], None] | None = None,
    read: Reader | None = None,
    but: Path | None = None,
    encoding: str | None = None,
) -> list[ContextDocument]:
    """Read texts to answer from.

    PDF, Word, OpenDocument, EPUB, HTML and subtitles are read as prose with its places; other text keeps the
    exact characters of the file, such as CRLF and tabs.

    Args:
        paths: files, plain or gzipped; ``-`` for stdin; a folder stands for all files in it but hidden ones,
            sorted by name.
        notice: called with a sentence for each file of a folder that is left out because it is not text.
        read: reads a file, in place of `read_context`.
        but: a folder whose files are no context, such as an index.
        encoding: encoding of text files; None is UTF-8 for plain text, and what the bytes show for others.

    Raises:
        InputError: a file is missing, empty, damaged or not text, or a folder holds no text.
    """
    documents: dict[str, ContextDocument] = {}
    read = read or partial(read_context, encoding=encoding)
    for path in paths:
        before = len(documents)
        for file, named in files_of([path]):
            if but is not None and not named and but.resolve() in Path(file).resolve().parents:
                continue
            try:
                documents[file] = read_stdin(encoding) if file == "-" else read(file)
            except InputError as error:
                if named:
                    raise
                if notice is not None:
                    notice(f"skipped: {error}")
        if len(documents) == before and Path(path).is_dir():
            raise InputError(f"{path}: no text file in this folder")
    return list(documents.values())


def read_stdin(encoding: str | None = None) -> ContextDocument:
    """Read plain text from stdin.

    Raises:
        InputError: stdin is closed, empty, or not text.
    """
    if sys.stdin is None:
        raise InputError("stdin is closed; give a file")
    return ContextDocument("stdin", plain_text(sys.stdin.buffer.read(), "stdin", encoding))


def read_context(path: str, encoding: str | None = None) -> ContextDocument:
    """Read a file to answer from.

    Raises:
        InputError: it is missing, empty, damaged, not text, or a file of rows.
    """
    if has_rows(path):
        raise InputError(f"{path}: a context is a text or a document; give rows with contexts as `input`")
    return context_of(read_file(path), path, encoding)


def context_of(data: bytes, name: str, encoding: str | None = None) -> ContextDocument:
    """Return the text of a file's bytes, with its places.

    Raises:
        InputError: it is empty, damaged, or not text.
    """
    format = document_format(name)
    if format is None or format in _AS_TEXT:
        return ContextDocument(name, plain_text(data, name, encoding))
    try:
        blocks = read_blocks(data, format, encoding)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if not blocks:
        raise InputError(f"{name}: no text in this document")
    return _with_places(name, blocks)


def _with_places(name: str, blocks: Sequence[Block]) -> ContextDocument:
    """Put blocks together: a blank line between paragraphs, bars between the cells of a row."""
    parts: list[str] = []
    places: list[tuple[int, str]] = []
    size = 0
    for before, block in itertools.pairwise([None, *blocks]):
        assert block is not None
        cells = before is not None and before.kind == block.kind == "cell"
        gap = "" if before is None else " | " if cells else "\n" if block.kind == "cue" else "\n\n"
        parts += [gap, block.text]
        size += len(gap)
        if not places or places[-1][1] != block.place:
            places.append((size, block.place))
        size += len(block.text)
    return ContextDocument(name, "".join(parts), tuple(places))
