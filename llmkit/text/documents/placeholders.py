"""Spans of a message that are meant for a program: placeholders, URLs, math and others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.text.protected_spans import ProtectedSpans

_EXTRA = re.compile(
    r"(?P<math>\\\((?:(?!\\\)).){1,500}\\\)|\\\[(?:(?!\\\]).){1,500}\\\])"
    r"|(?P<note>\{%.{0,300}?%\}|<%.{0,300}?%>|\{#.{0,300}?#\})"  # templates
    r"|(?P<placeholder>"
    r"\{\{.{0,300}?\}\}"
    r"|%(?:\(\w+\)|\d+\$|<\w+>|\{\w+\})?[-+0#]*(?:\d+|\*)?(?:\.(?:\d+|\*))?"
    r"(?:(?:hh|ll|[hlLqjzt])?[diouxXeEfFgGaAcspn]|[r@])(?![^\W\d_])|%\(\w+\)[a-z]|%%|%L?\d+\b|%\{\w+\}"
    r"|%[-+0#]*\d*\.\d+[a-zA-Z]|(?<!\d)%[ds](?=[a-z]{1,2}\b)"  # a unit follows
    r"|%[A-Z][A-Z0-9_]+%"  # Windows
    r"|\$\w*\{[^{}]{1,300}\}|\$\([A-Za-z_]\w*\)|\$[A-Za-z_]\w*|@\w+@"
    r"|(?<![:\w]):[a-z][a-z0-9]*(?:[_+-][a-z0-9]+)*:(?![:\w])"  # :emoji:
    r"|@:(?:\w+:)?(?:\([^()]{1,100}\)|[\w.]+)"  # linked messages
    r")"
    r"|(?P<url>\b[a-z][a-z0-9+.-]{1,20}://[^\s<>\"”»]*[^\s<>\"”».,;:!?)\]}'’*_|`])",
    re.DOTALL,
)
_BRANCHING = re.compile(r"\{\s*[\w.]+\s*,\s*(?:plural|select|selectordinal)\s*,")
_BRANCH = re.compile(r"\s*(?:offset:\s*\d+\s*)?(?:=\d+|[\w-]+)\s*\{")
_MOST_BRANCHES = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A protected span.

    Attributes:
        start, end: characters of the text.
        kind: `placeholder`, `url`, `math`, `term`, or `note` for a template's statement.
        branches: spans of messages inside it (ICU plurals and selects), in order.
    """

    start: int
    end: int
    kind: str
    branches: tuple[tuple[int, int], ...] = ()


class Placeholders:
    """Finds placeholders, URLs, e-mail addresses, math and given terms in plain text.

    Args:
        keep: terms that must come through as they are.
    """

    def __init__(self, keep: Sequence[str] = ()) -> None:
        self._terms = set(keep)
        self._spans = ProtectedSpans([term for term in keep if term.strip()])

    def find(self, text: str) -> list[Found]:
        """Protected spans in order; of two that overlap the longer one."""
        if not text.strip():
            return []
        found = list(_messages(text))
        found += [Found(*match.span(), match.lastgroup or "placeholder") for match in _EXTRA.finditer(text)]
        for start, end in self._spans.spans(text):
            found.append(Found(start, end, self._kind(text[start:end])))
        taken: list[Found] = []
        covered = bytearray(len(text))
        for one in sorted(found, key=lambda one: (one.start - one.end, one.start)):
            # Longer ones are in: one that overlaps them does so at its first or last character.
            if not covered[one.start] and not covered[one.end - 1]:
                taken.append(one)
                covered[one.start : one.end] = b"\1" * (one.end - one.start)
        return sorted(taken, key=lambda one: one.start)

    def _kind(self, span: str) -> str:
        if span in self._terms:
            return "term"
        if re.match(r"https?://|www\.", span):
            return "url"
        return "placeholder"


def _messages(text: str) -> Iterator[Found]:
    """ICU messages with branches: `{n, plural, one {# file} other {# files}}`."""
    position = 0
    while (head := _BRANCHING.search(text, position)) is not None:
        end = head.end()
        branches: list[tuple[int, int]] = []
        while (branch := _BRANCH.match(text, end)) is not None and len(branches) < _MOST_BRANCHES:
            close = _closing_brace(text, branch.end())
            if close is None:
                break
            branches.append((branch.end(), close))
            end = close + 1
        tail = re.compile(r"\s*\}").match(text, end)
        position = head.end()
        if branches and tail:
            yield Found(head.start(), tail.end(), "placeholder", tuple(branches))
            position = tail.end()


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.start()
    return None
