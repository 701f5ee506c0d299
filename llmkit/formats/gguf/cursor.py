"""Read numbers and strings from the beginning of a file, within its size."""

from __future__ import annotations

import struct
from typing import BinaryIO

from llmkit.errors import InputError

_WINDOW = 1 << 20


class Cursor:
    """Position in a little-endian file; each read moves it forward.

    Args:
        file: opened for reading in binary mode.
        size: bytes in the file.
        name: the file's name, for messages.
    """

    def __init__(self, file: BinaryIO, size: int, name: str) -> None:
        self.file = file
        self.size = size
        self.name = name
        self._buffer = b""
        self._at = 0  # offset in the buffer
        self._start = 0  # offset of the buffer in the file

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._start + self._at

    @property
    def left(self) -> int:
        """Bytes between here and the end of the file."""
        return self.size - self.position

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes.

        Raises:
            InputError: the file ends before; `what` names the part that is truncated.
        """
        if count > self.left:
            raise InputError(
                f"{self.name}: cut off or damaged: {what} at byte {self.position} needs {count} bytes, and"
                f" {self.left} are left"
            )
        end = self._at + count
        if end > len(self._buffer):
            self._start += self._at
            self._buffer = self._buffer[self._at :] + self.file.read(max(_WINDOW, count))
            self._at, end = 0, count
            if len(self._buffer) < count:
                raise InputError(f"{self.name}: the file became shorter while it was read")
        data = self._buffer[self._at : end]
        self._at = end
        return data

    def number(self, code: str, what: str) -> int | float | bool:
        """One number, by its letter in Python's struct module."""
        (value,) = struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))
        return value

    def string(self, what: str, *, limit: int) -> str:
        """A string of UTF-8: its length in 8 bytes, then the bytes.

        Args:
            what: names the string in messages.
            limit: the longest length accepted, in bytes.

        Raises:
            InputError: too long, truncated, or not UTF-8.
        """
        length = int(self.number("Q", what))
        if length > limit:
            raise InputError(
                f"{self.name}: damaged: {what} at byte {self.position} claims {length} bytes, more than the"
                f" {limit} that are accepted"
            )
        try:
            return self.take(length, what).decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{self.name}: damaged: {what} at byte {self.position} is not UTF-8") from None
