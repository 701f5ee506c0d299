"""Files for reading: which are documents, which are plain text, and which are neither."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmkit.errors import InputError
from llmkit.text.documents.formats import FORMATS, format_of

MOST_BYTES = 1 << 30
"""Most bytes of a file, unpacked."""
_CONTROLS = re.compile(r"[\x01-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.01  # share of control characters in a text
_SOME_CONTROLS = 2  # a short text may hold as many, such as the title and colors of a terminal
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip data"}


def files_of(paths: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each file of paths and folders, and True if it was named directly.

    The files of a folder come sorted by name; hidden ones are left out.
    """
    for path in paths:
        if not Path(path).is_dir():
            yield path, True
            continue
        for root, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield str(Path(root, name)), False


def read_file(path: str) -> bytes:
    """Return the bytes of a file, of a .gz unpacked.

    Raises:
        InputError: it cannot be read, is no regular file, is larger than `MOST_BYTES`, or is damaged.
    """
    try:
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder; give a file in it")
        with open(path, "rb") as file:
            zipped = path.lower().endswith(".gz")
            stream: io.BufferedIOBase = gzip.GzipFile(fileobj=file) if zipped else file
            data = stream.read(MOST_BYTES + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}: damaged gzip data, or none: {error}") from error
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 30} GiB, the limit of one text; split it")
    return data


def document_format(path: str) -> str | None:
    """Return the format of a document that is not plain text, by its name; None for text as it stands."""
    format = format_of(path.lower().removesuffix(".gz"))
    return None if format in {None, "txt", "json", "yaml", "po"} else format


def plain_text(data: bytes, name: str, encoding: str | None = None) -> str:
    """Return the text in a file of plain text.

    Args:
        data: the file's bytes.
        name: its name, for messages.
        encoding: its encoding; None is UTF-8.

    Raises:
        InputError: it is empty, or no text in this encoding.
    """
    kind = _ENCODINGS.get(data[:2])
    if kind is not None and encoding is None:
        raise InputError(f"{name} is {kind}, not text in UTF-8; give its `encoding`")
    if b"\0" in data and encoding is None:
        raise InputError(f"{name}: not text: it contains NUL bytes")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        byte, advice = data[error.start], "" if encoding else "; give its `encoding`, such as latin1"
        raise InputError(
            f"{name}: not text: byte 0x{byte:02x} is not {(encoding or 'utf-8').upper()}{advice}"
        ) from error
    most = max(_SOME_CONTROLS, _MOST_CONTROLS * min(len(text), 65536))
    if "\0" in text or len(_CONTROLS.findall(text[:65536])) > most:
        raise InputError(f"{name}: not text: it contains control characters")
    if not text.strip():
        raise InputError(f"{name} is empty, or contains only white space")
    return text


def titled(path: str) -> str:
    """Return the title of a file's format, for messages."""
    format = format_of(path.lower().removesuffix(".gz"))
    return FORMATS[format].title if format else "plain text"
