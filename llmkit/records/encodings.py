"""Text files in encodings other than UTF-8: read them as UTF-8, and name the likely encoding of a bad byte.

Public: `check_encoding`, `as_utf8`, `not_utf8`, `named`.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any, cast

from llmkit.errors import InputError, OptionError
from llmkit.records.rows import Row
from llmkit.text.encodings import guess

_CHUNK = 1 << 16
# UTF-8 never contains the byte 0xff, so it marks bytes that cannot be decoded.
_MARK = "\udcff"
_BAD = "byte 0xff is not UTF-8"
_ADVICE = re.compile(r"; give the encoding, e.g. encoding=\w+")


def check_encoding(encoding: str | None) -> str | None:
    """Return the codec's name of an encoding; None for UTF-8.

    Raises:
        OptionError: Python has no such text encoding.
    """
    if encoding is None:
        return None
    try:
        found = codecs.lookup(encoding)
        known = found._is_text_encoding and found.incrementaldecoder is not None
    except (LookupError, ValueError):
        known = False
    if not known:
        raise OptionError(
            "encoding", f"must be an encoding such as utf-16, gb18030 or cp1252, not {encoding}"
        )
    return None if found.name in ("utf-8", "utf-8-sig") else found.name


def as_utf8(stream: IO[bytes], encoding: str | None) -> io.BufferedReader:
    """Return a stream of another encoding as UTF-8. Bytes that cannot be decoded become the byte 0xff.

    Args:
        stream: the bytes.
        encoding: name from `check_encoding`; None returns the stream itself.
    """
    if encoding is None:
        return cast(io.BufferedReader, stream)
    return io.BufferedReader(_Utf8(stream, encoding))


def named(rows: Iterator[Row], encoding: str | None) -> Iterator[Row]:
    """Yield rows that were read through `as_utf8`; an error about a bad byte names the encoding.

    Raises:
        InputError: as reading the rows.
    """
    if encoding is None:
        yield from rows
        return
    try:
        for row in rows:
            yield row if row.error is None else replace(row, error=_renamed(row.error, encoding))
    except InputError as error:
        if _BAD not in str(error):
            raise
        raise InputError(_renamed(str(error), encoding)) from None


def not_utf8(data: bytes, at: int) -> str:
    """Return the message for a byte of another encoding.

    Args:
        data: a part of the text, at best the whole line.
        at: index of the byte.
    """
    near = data[max(0, at - 512) : at + 4096]
    return f"byte 0x{data[at]:02x} is not UTF-8; give the encoding, e.g. encoding={guess(near)}"


def _renamed(message: str, encoding: str) -> str:
    if _BAD not in message:
        return message
    return _ADVICE.sub("", message.replace(_BAD, f"bytes that are not {encoding}"))


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _MARK, error.end


codecs.register_error("llmkit-mark", _mark)


class _Utf8(io.RawIOBase):
    """A stream of another encoding as UTF-8, one chunk in memory."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream, self._encoding = stream, encoding
        self._start()

    def _start(self) -> None:
        self._decoder = codecs.getincrementaldecoder(self._encoding)("llmkit-mark")
        self._ready = memoryview(b"")
        self._at_end = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go back to the start; other positions are not supported."""
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only seek(0)")
        self._stream.seek(0)
        self._start()
        return 0

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._at_end:
            data = self._stream.read(_CHUNK)
            self._at_end = not data
            text = self._decoder.decode(data, final=self._at_end)
            self._ready = memoryview(text.encode("utf-8", "surrogateescape"))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
