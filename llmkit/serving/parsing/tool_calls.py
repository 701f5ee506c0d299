"""Find tool calls in an answer while it is generated.

The text is read one character at a time, so the result does not depend on the cuts. A call's name is sent as
soon as it is known, and its arguments as they arrive. Text that looked like a call, but is not a call, is
sent as text. White space before and after calls belongs neither to the text nor to the calls.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.serving.parsing.call_object import CallObject, ValueReader
from llmkit.serving.tools.family import ToolFamily

_SPACE = frozenset(" \t\r\n")
_ALPHABET = string.ascii_letters + string.digits
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PYTHON_TAG = "<|python_tag|>"
_PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>", re.S)


@dataclass(frozen=True)
class CallPiece:
    """A piece of a tool call.

    Attributes:
        index: number of the call in its answer.
        arguments: piece of the arguments, which are JSON if the model made no mistake.
        id, name: id and name of the call, only in its first piece.
    """

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


Piece = str | CallPiece


class ToolCallFilter:
    """Splitter of an answer into text and calls.

    Args:
        family: notation of the calls.
        functions: parameter schemas of the allowed functions, by name.
        parallel: allow more than one call; otherwise those after the first are dropped.
    """

    def __init__(self, family: ToolFamily, functions: Mapping[str, Any], *, parallel: bool = True) -> None:
        self._family, self._functions, self._parallel = family, functions, parallel
        self._opens = [one for one in (family.open, _PYTHON_TAG if not family.open else "") if one]
        self._state: _PlainText | _Between | _Object | _Named | _Xml = _PlainText(self)
        self._raw = ""  # text since the calls began, until one of them is certain
        self._index = -1
        self._out: list[Piece] = []
        self.bare = not family.open
        if self.bare:
            self._state = _Between(self, bare=True)

    def feed(self, text: str) -> list[Piece]:
        """Add a piece of the answer; return the part that can be sent now."""
        for character in text:
            if not isinstance(self._state, _PlainText):
                self._raw += character
            self._state.feed(character)
        return self._taken()

    def close(self) -> list[Piece]:
        """Return the remaining text at the end of the answer."""
        self._state.close()
        return self._taken()

    # Methods for the states.

    @property
    def family(self) -> ToolFamily:
        return self._family

    @property
    def opens(self) -> Sequence[str]:
        return self._opens

    def go(self, state: Any) -> None:
        """Enter a state."""
        self._state = state

    def begin(self, raw: str) -> None:
        """Begin calls, after the marker `raw`."""
        self._raw = raw
        self._state = _Between(self)

    def text(self, text: str) -> None:
        """Send text."""
        if text:
            self._out.append(text)

    def known(self, name: str) -> bool:
        """Return True if a name is allowed: after a marker any name, so that the client sees the mistake."""
        return name in self._functions or not self.bare

    def start(self, name: str) -> None:
        """Send the name of a call."""
        self._index += 1
        self._raw = ""
        identity = "".join(secrets.choice(_ALPHABET) for _ in range(self._family.id_length))
        prefix = "call_" if self._family.id_length > 9 else ""
        self._call(CallPiece(self._index, "", prefix + identity, name))

    def arguments(self, text: str) -> None:
        """Send a piece of the arguments of the current call."""
        if text:
            self._call(CallPiece(self._index, text))

    def schema(self, name: str) -> Any:
        """Return the parameter schema of a function."""
        return self._functions.get(name)

    def give_up(self, *, unsent: bool) -> None:
        """Return to text mode; the buffered text since the marker becomes text if none was sent."""
        raw, self._raw = self._raw, ""
        self._state = _PlainText(self, after_call=self._index >= 0)
        if unsent:
            self._state.plain(raw)

    def ended(self, calls: int) -> None:
        """End a call; `calls` calls of this region are complete."""
        self._raw = ""
        self._state = _Between(self, calls=calls)

    def feed_text(self, text: str) -> None:
        """Read the text after the calls again."""
        for character in text:
            if not isinstance(self._state, _PlainText):
                self._raw += character
            self._state.feed(character)

    def finish_text(self) -> None:
        """End the text that `give_up` began."""
        self._state.close()

    def _call(self, piece: CallPiece) -> None:
        if self._parallel or piece.index == 0:
            self._out.append(piece)

    def _taken(self) -> list[Piece]:
        found: list[Piece] = []
        for one in self._out:
            last = found[-1] if found else None
            if isinstance(one, str) and isinstance(last, str):
                found[-1] = last + one
            elif (
                isinstance(one, CallPiece)
                and isinstance(last, CallPiece)
                and one.index == last.index
                and one.name is None
                and last.name is None
            ):
                found[-1] = CallPiece(one.index, last.arguments + one.arguments)
            else:
                found.append(one)
        self._out = []
        return found


class _PlainText:
    """State in the text of the answer: white space, and a possible beginning of a marker, are kept."""

    def __init__(self, owner: ToolCallFilter, *, after_call: bool = False) -> None:
        self._owner, self._space, self._held, self._drop = owner, "", "", after_call

    def feed(self, character: str) -> None:
        self._held += character
        while self._held:
            if any(self._held == one for one in self._owner.opens):
                self._owner.begin(self._space + self._held)
                return
            if any(one.startswith(self._held) for one in self._owner.opens):
                return
            self.plain(self._held[0])
            self._held = self._held[1:]

    def plain(self, text: str) -> None:
        """Pass on text that is not a marker; white space is kept until the next text."""
        for character in text:
            if character in _SPACE:
                self._space += "" if self._drop else character
            else:
                self._owner.text(self._space + character)
                self._space, self._drop = "", False

    def close(self) -> None:
        self.plain(self._held)
        self._owner.text(self._space)
        self._held = self._space = ""


class _Between:
    """State before, between and after the calls of one region."""

    def __init__(self, owner: ToolCallFilter, *, calls: int = 0, bare: bool = False) -> None:
        self._owner, self._calls, self._bare, self._held = owner, calls, bare, ""
        family = owner.family
        skipped = (*owner.opens, family.item_open, family.item_close, family.before_name, family.after)
        self._skipped = frozenset(one for one in (*skipped, "```") if one)
        self._watched = [*self._skipped, *([family.close] if family.close else []), _FUNCTION]

    def feed(self, character: str) -> None:
        self._held += character
        if self._held == self._owner.family.close:
            self._owner.give_up(unsent=not self._calls)
        elif self._held == _FUNCTION and not self._bare:
            self._owner.go(_Xml(self._owner, self._calls))
        elif self._held in self._skipped:
            self._held = ""
        elif any(one.startswith(self._held) for one in self._watched):
            return
        else:
            self._other()

    def _other(self) -> None:
        held, self._held = self._held, ""
        first = held[0]
        if first in _SPACE or (first in ",;[]" and not (self._bare and not self._calls)):
            for one in held[1:]:
                self.feed(one)
        elif first == "{":
            self._owner.go(_Object(self._owner, self._calls, held))
        elif self._owner.family.separator and (first.isalnum() or first == "_"):
            self._owner.go(_Named(self._owner, self._calls, held))
        else:
            self._fail(held)

    def _fail(self, held: str) -> None:
        sent = bool(self._calls)
        self._owner.give_up(unsent=not sent)
        if sent:
            self._owner.feed_text(held)

    def close(self) -> None:
        self._owner.give_up(unsent=not self._calls)
        self._owner.finish_text()


class _Object:
    """State in a call as a JSON object."""

    def __init__(self, owner: ToolCallFilter, calls: int, first: str) -> None:
        self._owner, self._calls, self._object, self._sent = owner, calls, CallObject(), False
        for character in first:
            self.feed(character)

    def feed(self, character: str) -> None:
        self._object.feed(character)
        name = self._object.name
        if name is not None and not self._sent and not self._object.failed:
            if not self._owner.known(name):
                self._owner.give_up(unsent=True)
                return
            self._owner.start(name)
            self._sent = True
        if self._sent:
            self._owner.arguments(self._object.take())
        if self._object.failed:
            self._owner.give_up(unsent=not self._sent)
        elif self._object.done:
            self._owner.ended(self._calls + 1)

    def close(self) -> None:
        if not self._sent:
            self._owner.give_up(unsent=True)
            self._owner.finish_text()


class _Named:
    """State in a call whose name is before its arguments."""

    def __init__(self, owner: ToolCallFilter, calls: int, first: str) -> None:
        self._owner, self._calls, self._head = owner, calls, ""
        self._value: ValueReader | None = None
        for character in first:
            self.feed(character)

    def feed(self, character: str) -> None:
        if self._value is None:
            self._in_head(character)
            return
        inside = self._value.feed(character)
        if inside and self._value.text:
            self._owner.arguments(character)
        if self._value.done:
            self._owner.ended(self._calls + 1)
            if not inside:
                self._owner.feed_text(character)

    def _in_head(self, character: str) -> None:
        self._head += character
        separator = self._owner.family.separator
        found = self._head.find(separator)
        if found < 0 and character == "{":  # newer Mistral models may leave the separator out
            found, separator = len(self._head) - 1, ""
        if found < 0:
            return
        name = self._head[:found].split("[CALL_ID]")[0].strip()
        if not re.fullmatch(r"[\w.-]{1,64}", name):
            self._owner.give_up(unsent=True)
            return
        self._owner.start(name)
        self._value = ValueReader()
        for one in self._head[found + len(separator) :]:
            self.feed(one)

    def close(self) -> None:
        if self._value is None:
            self._owner.give_up(unsent=True)
            self._owner.finish_text()


class _Xml:
    """A call as ``<function=NAME><parameter=KEY>VALUE</parameter></function>``; it is sent as a unit."""

    def __init__(self, owner: ToolCallFilter, calls: int) -> None:
        self._owner, self._calls, self._text = owner, calls, ""

    def feed(self, character: str) -> None:
        self._text += character
        if not self._text.endswith(_FUNCTION_END):
            return
        name, bracket, body = self._text.removesuffix(_FUNCTION_END).partition(">")
        if not bracket or not name.strip():
            self._owner.give_up(unsent=True)
            return
        self._owner.start(name.strip())
        schema = self._owner.schema(name.strip())
        found = {key: typed(value, key, schema) for key, value in _PARAMETER.findall(body)}
        self._owner.arguments(json.dumps(found, ensure_ascii=False))
        self._owner.ended(self._calls + 1)

    def close(self) -> None:
        self._owner.give_up(unsent=True)
        self._owner.finish_text()


def typed(value: str, key: str, schema: Any) -> Any:
    """Convert a parameter from text to the type in its schema."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    declared = properties.get(key) if isinstance(properties, dict) else None
    kinds = declared.get("type") if isinstance(declared, dict) else None
    allowed: Collection[Any] = kinds if isinstance(kinds, list) else [kinds]
    if "string" in allowed:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
