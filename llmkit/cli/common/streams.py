"""The three standard streams: closed descriptors, a stderr that cannot fail, and a filter before terminals.

Text comes from models, files and file names that nobody has checked, and a terminal interprets escape
sequences in it: they can set its title, write the clipboard, or overwrite earlier output.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any

STDOUT = "stdout"
"""Name of standard output in errors, in place of a file name."""
# C0 controls except tab and line feed, DEL, and C1 controls (terminals interpret some like escape sequences).
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Line breaks of Unicode, which a terminal or a reader of lines may interpret.
_BREAKS = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]")


def printable(text: str) -> str:
    """Return `text` with control characters as visible escapes, such as ``\\x1b``."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    """Return text as one printable line: a line break, as in a file's name, is shown as ``\\n``."""
    return printable(_BREAKS.sub(lambda found: ascii(found[0])[1:-1], text))


class _Unfailing(io.RawIOBase):
    """Writer to a descriptor that ignores failures: a notice must not end the work."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except OSError:
                break
        return size


class _Stdout(io.FileIO):
    """Standard output, whose errors name it: a full disk is that of the file it goes to."""

    def __init__(self) -> None:
        super().__init__(1, "w", closefd=False)

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = STDOUT
            raise


class _Terminal(io.TextIOWrapper):
    """A text stream to a terminal that shows control characters instead of sending them."""

    def write(self, text: str) -> int:
        super().write(printable(text))
        return len(text)


def set_up() -> None:
    """Make the standard streams of this process safe to use, before anything is read or written.

    A descriptor that was closed is opened again: otherwise the next file opened would take its number, and
    messages would go into the user's data. Reading from a reopened stdin returns no data, and writing to a
    reopened stdout fails.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for number in closed:
        # In ascending order: each gets the lowest free number, which is its own.
        os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    if sys.stdout is not None and sys.stdout.isatty():
        sys.stdout = _Terminal(sys.stdout.buffer, encoding="utf-8", errors="replace", line_buffering=True)
    elif sys.stdout is None or isinstance(sys.stdout, io.TextIOWrapper):
        # Model output can be any text; it must not cause an error in a C locale.
        through = sys.stdout is not None and sys.stdout.write_through  # PYTHONUNBUFFERED
        writer = io.BufferedWriter(_Stdout())
        sys.stdout = io.TextIOWrapper(writer, encoding="utf-8", errors="replace", write_through=through)
    sys.stderr = _stderr(_Terminal if os.isatty(2) else io.TextIOWrapper)


def raw_stderr() -> io.TextIOWrapper:
    """Return stderr without the filter, for code that draws: progress bars and dim text."""
    return _stderr(io.TextIOWrapper) if isinstance(sys.stderr, _Terminal) else sys.stderr  # type: ignore[return-value]


def _stderr(kind: type[io.TextIOWrapper]) -> io.TextIOWrapper:
    raw: Any = _Unfailing(2)
    return kind(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
