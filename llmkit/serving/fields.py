"""Read the fields of a JSON object one by one, and refuse fields that were not read.

``null`` is the same as a missing field, because OpenAI's clients send it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from llmkit.errors import did_you_mean
from llmkit.serving.errors import ApiError, bad


class Fields:
    """The fields of a request.

    Args:
        body: the JSON value.
        where: its path in the request, for messages; empty for the whole body.

    Raises:
        ApiError: it is not an object.
    """

    def __init__(self, body: Any, where: str = "") -> None:
        if not isinstance(body, dict):
            raise bad(where or None, "must be a JSON object" if where else "the body must be a JSON object")
        self._body: dict[str, Any] = body
        self._where = f"{where}." if where else ""
        self._read: set[str] = set()

    def any(self, name: str) -> Any:
        """Return a field unchanged, or None."""
        self._read.add(name)
        return self._body.get(name)

    def path(self, name: str) -> str:
        """Return the path of a field."""
        return self._where + name

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.any(name)
        if value is None:
            return default
        return check_string(value, self.path(name))

    def boolean(self, name: str, default: bool = False) -> bool:
        value = self.any(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise bad(self.path(name), "must be true or false")
        return value

    def integer(self, name: str, low: int, high: int, default: int | None = None) -> int | None:
        value = self.any(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise bad(self.path(name), f"must be a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float) -> float | None:
        value = self.any(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise bad(self.path(name), f"must be a number from {low:g} to {high:g}")
        return float(value)

    def strings(self, name: str, most: int) -> tuple[str, ...]:
        """Return a field that is a string or a list of strings, none of them empty."""
        value = self.any(name)
        if value is None:
            return ()
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
            raise bad(self.path(name), "must be a string or a list of strings, none of them empty")
        if len(found) > most:
            raise bad(self.path(name), f"must not have more than {most} entries")
        return tuple(check_string(one, self.path(name)) for one in found)

    def choice(self, name: str, allowed: Collection[str]) -> str | None:
        value = self.any(name)
        if value is not None and (not isinstance(value, str) or value not in allowed):
            raise bad(self.path(name), f"must be one of {', '.join(sorted(allowed))}")
        return value

    def unsupported(self, neutral: Mapping[str, Collection[Any]]) -> None:
        """Refuse fields that the API has but this server does not support, except values without effect."""
        for name, values in neutral.items():
            value = self.any(name)
            if value is not None and not any(type(value) is type(one) and value == one for one in values):
                raise bad(
                    self.path(name), "is not supported by this server; omit it", "unsupported_parameter"
                )

    def ignore(self, *names: str) -> None:
        """Accept fields that do not affect the answer."""
        self._read.update(names)

    def end(self) -> None:
        """Refuse fields that were not read."""
        for name, value in self._body.items():
            if name not in self._read and value is not None:
                hint = did_you_mean(name, self._read)
                raise ApiError(
                    400,
                    f"unknown field `{self.path(name)}`{hint}",
                    param=self.path(name),
                    code="unknown_parameter",
                )


def check_string(value: Any, where: str) -> str:
    """Return a string that is valid UTF-8.

    Raises:
        ApiError: it is not a valid string.
    """
    if not isinstance(value, str):
        raise bad(where, "must be a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise bad(where, "contains half of a surrogate pair") from None
    return value
