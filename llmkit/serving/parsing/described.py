"""Answers of models whose tokenizer describes them, parsed by transformers' parser."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from llmkit.serving.parsing.tool_calls import CallPiece

Described = tuple[str, str, tuple[CallPiece, ...]]
"""Text, thoughts, and pieces of calls."""
_CONTENT, _THOUGHTS, _CALLS = "content", ("reasoning_content", "reasoning", "thinking"), "tool_calls"


class DescribedAnswer:
    """Splitter of an answer by the tokenizer's `response_template`.

    Calls are sent as a unit at their end. A region that the parser refuses, such as a call with invalid JSON,
    is sent as text. The parser receives one character at a time, so that the result does not depend on the
    cuts.

    Args:
        template: the tokenizer's `response_template`.
        prompt: text of the prompt, special tokens included.
        tools: the tools, as JSON.
        parallel: allow more than one call; otherwise those after the first are dropped.
    """

    def __init__(self, template: Any, prompt: str, tools: Sequence[Any], *, parallel: bool = True) -> None:
        self._template, self._tools, self._parallel = template, list[Any](tools), parallel
        self._parser = self._new(prompt)
        self._region = ""  # text of calls, as generated
        self._field: str | None = None
        self._calls = 0
        for event in self._parser.initial_events:
            self._note(event)

    def feed(self, text: str) -> Described:
        """Add a piece of the answer; return the part that can be sent now."""
        found: list[Described] = []
        for character in text:
            try:
                events = self._parser.feed(character)
            except ValueError:
                found.append((self._region, "", ()))
                self._parser, self._region, self._field = self._new(""), "", None
                continue
            found += [self._read(event) for event in events]
        return _joined(found)

    def close(self) -> Described:
        """Return the remaining text at the end of the answer."""
        try:
            _, events = self._parser.finalize()
        except ValueError:
            return (self._region, "", ())
        return _joined([self._read(event) for event in events])

    def _new(self, prompt: str) -> Any:
        from transformers.utils.chat_parsing import ResponseParser

        return ResponseParser(self._template, prefix=prompt, tools=self._tools or None)

    def _note(self, event: dict[str, Any]) -> None:
        self._field = None if event["type"] == "region_close" else event["field"]

    def _read(self, event: dict[str, Any]) -> Described:
        self._note(event)
        kind, field = event["type"], event["field"]
        if kind == "region_open":
            self._region = ""
        if kind == "region_chunk":
            self._region += event["text"]
            if field == _CONTENT:
                return event["text"], "", ()
            if field in _THOUGHTS:
                return "", event["text"], ()
        if kind == "region_close" and field == _CALLS:
            return "", "", tuple(self._pieces(event["value"]))
        return "", "", ()

    def _pieces(self, value: Any) -> list[CallPiece]:
        found = []
        for one in value if isinstance(value, list) else [value]:
            function = one.get("function", one) if isinstance(one, dict) else {}
            name, arguments = function.get("name"), function.get("arguments", {})
            if not isinstance(name, str):
                continue
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            if self._parallel or self._calls == 0:
                found.append(CallPiece(self._calls, text, f"call_{secrets.token_hex(12)}", name))
            self._calls += 1
        return found


def _joined(found: Sequence[Described]) -> Described:
    text = "".join(one[0] for one in found)
    thoughts = "".join(one[1] for one in found)
    return text, thoughts, tuple(piece for one in found for piece in one[2])
