"""Typed look-ups in a GGUF file's metadata."""

from __future__ import annotations

import math
from typing import Any

from llmkit.errors import InputError
from llmkit.formats.gguf.header import Header


class Values:
    """Metadata of one file; a key without a prefix gets that of the architecture.

    A value may be an array with one entry per layer; all entries must then be equal.

    Args:
        header: of the file.
    """

    def __init__(self, header: Header) -> None:
        self.header = header

    def _find(self, key: str) -> Any:
        metadata = self.header.metadata
        value = metadata.get(key, metadata.get(f"{self.header.architecture}.{key}"))
        if value is None or not hasattr(value, "dtype"):
            return value
        if len(value) == 0 or not (value == value[0]).all():
            raise InputError(f"{self.header.path}: {key} differs between layers, which is not supported")
        return value[0].item()

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number of at least 0.

        Raises:
            InputError: the key is missing and has no default, or its value is no such number.
        """
        value = self._find(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise self._wrong(key, value, "a whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a finite number. A number in 32 bits becomes the shortest decimal with the same 32 bits."""
        import numpy as np

        value = self._find(key)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(key, value, "a number")
        short = float(str(np.float32(value)))
        return short if np.float32(short) == value else float(value)

    def string(self, key: str, default: str | None = None) -> str:
        """A string."""
        value = self._find(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._find(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false")
        return value

    def optional(self, key: str) -> int | None:
        """A whole number, or None where the key is missing."""
        return None if self._find(key) is None else self.integer(key)

    def _wrong(self, key: str, value: Any, what: str) -> InputError:
        if value is None:
            return InputError(f"{self.header.path}: incomplete: its metadata lacks {key}")
        return InputError(f"{self.header.path}: damaged: {key} is {str(value)[:40]}, not {what}")
