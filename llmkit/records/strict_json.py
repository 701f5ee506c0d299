"""Strict JSON. Python's own module reads and writes NaN, and fails on half a surrogate pair.

Public: `dumps`, `finite`, `StrictDecoder`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_MAX_DEPTH = 200
_TOO_DEEP = f"nested more than {_MAX_DEPTH} levels deep"
_SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(value: Any) -> str:
    """Return one line of JSON in readable UTF-8, with the keys in their own order.

    Half a surrogate pair, which UTF-8 cannot encode, is written as its JSON escape.

    Raises:
        ValueError: the value contains NaN or Infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isascii():
        return text
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def finite(value: Any) -> Any:
    """Return a value as JSON in which numbers that are not finite are null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class StrictDecoder:
    """A JSON decoder that refuses values that `dumps` could not write.

    It refuses NaN, Infinity, numbers beyond a double, and nesting near Python's recursion limit.
    """

    def __init__(self) -> None:
        self._bad_number: str | None = None
        self._decoder = json.JSONDecoder(parse_constant=self._constant, parse_float=self._float)

    def decode(self, text: str, start: int = 0) -> tuple[Any, int, str | None]:
        """Decode the value that starts at `start`.

        Returns:
            The value, the position of its end, and the problem of its numbers, or None.

        Raises:
            ValueError: the text is not JSON; a `json.JSONDecodeError` gives the position, if it is known.
        """
        self._bad_number = None
        try:
            value, end = self._decoder.raw_decode(text, start)
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None
        brackets = text.count("{", start, end) + text.count("[", start, end)
        if brackets > _MAX_DEPTH and _deeper_than(value, _MAX_DEPTH):
            raise ValueError(_TOO_DEEP)
        return value, end, self._bad_number

    def _constant(self, name: str) -> None:
        self._bad_number = f"{name} is not JSON; write null"

    def _float(self, digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            self._bad_number = f"{digits[:40]} is too large a number"
        return value


def _deeper_than(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper_than(item, levels - 1) for item in value)
