"""Read one tool call as JSON, a character at a time: ``{"name": ..., "arguments": {...}}``."""

from __future__ import annotations

import json
from enum import Enum, auto

NAMES = frozenset({"name", "tool_name"})
ARGUMENTS = frozenset({"arguments", "parameters"})
_SPACE = frozenset(" \t\r\n")


class ValueReader:
    """Reader that finds the end of one JSON value; it checks only brackets and strings.

    Attributes:
        text: the characters that belong to the value.
        done: the value is complete.
    """

    def __init__(self) -> None:
        self.text = ""
        self.done = False
        self._depth = 0
        self._in_string = self._escaped = False

    def feed(self, character: str) -> bool:
        """Read a character; return False if it follows the value, which is then complete."""
        if not self.text and character in _SPACE:
            return True
        if self._in_string:
            self._inside_string(character)
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]" or (self._depth == 0 and (character in ",;<`" or character in _SPACE)):
            if self._depth == 0:
                self.done = True
                return False
            self._depth -= 1
        self.text += character
        self.done = self._depth == 0 and not self._in_string and character in '"}]'
        return True

    def _inside_string(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == '"':
            self._in_string = False


class _CallPlace(Enum):
    OPEN = auto()
    KEY = auto()
    IN_KEY = auto()
    COLON = auto()
    VALUE = auto()


class CallObject:
    """Reader of the object of a call.

    The arguments are passed on unchanged, so they may be invalid JSON. Arguments inside a string are decoded.

    Attributes:
        name: name of the function; None until it is known.
        arguments: the arguments so far, for `take`.
        done: the object is complete.
        failed: it is not a call.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.done = self.failed = False
        self._place = _CallPlace.OPEN
        self._key = ""
        self._value = ValueReader()
        self._pending = ""
        self._seen = False  # the call has arguments

    def feed(self, character: str) -> None:
        """Read the next character; do not call it after `done` or `failed`."""
        if self._place is _CallPlace.VALUE:
            self._in_value(character)
        elif self._place is _CallPlace.IN_KEY:
            self._value.feed(character)
            if self._value.done:
                self._key = _loaded(self._value.text, "")
                self._place = _CallPlace.COLON
        elif character in _SPACE:
            return
        elif self._place is _CallPlace.OPEN and character == "{":
            self._place = _CallPlace.KEY
        elif self._place is _CallPlace.KEY and character == '"':
            self._value = ValueReader()
            self._value.feed(character)
            self._place = _CallPlace.IN_KEY
        elif self._place is _CallPlace.KEY and character == "}":
            self._end()
        elif self._place is _CallPlace.COLON and character == ":":
            self._value = ValueReader()
            self._place = _CallPlace.VALUE
        elif not (self._place is _CallPlace.KEY and character == ","):
            self.failed = True

    def take(self) -> str:
        """Return the arguments since the last call; empty before the name is known."""
        if self.name is None:
            return ""
        found, self._pending = self._pending, ""
        return found

    def _in_value(self, character: str) -> None:
        inside = self._value.feed(character)
        if self._key in ARGUMENTS and not self._seen and inside and self._value.text.startswith("{"):
            self._pending += character
        if not self._value.done:
            return
        self._place = _CallPlace.KEY
        text = self._value.text
        if self._key in NAMES and self.name is None:
            self.name = _loaded(text, None)
            self.failed = not self.name
        elif self._key in ARGUMENTS and not self._seen:
            self._seen = True
            if not text.startswith("{"):
                self._pending += "{}" if text == "null" else _loaded(text, text)
        if not inside and not self.failed:
            self.feed(character)

    def _end(self) -> None:
        self.done, self.failed = self.name is not None, self.name is None
        if not self._seen:
            self._pending += "{}"


def _loaded(text: str, default: str | None) -> str:
    """Return a JSON string's content; `default` if it is not a string."""
    try:
        found = json.loads(text)
    except ValueError:
        found = default
    return found if isinstance(found, str) else default  # type: ignore[return-value]
