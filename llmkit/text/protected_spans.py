"""Find parts of a text that a rewriting must keep: placeholders, tags, addresses, given terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llmkit.text.words import word_border

_PLACEHOLDERS = (
    r"(?:https?://|www\.)[^\s<>\"”»]*[^\s<>\"”».,;:!?)\]}'’]",
    r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"</?[A-Za-z][^<>]*>|&(?:#\d+|#x[\da-fA-F]+|\w+);",
    r"\{\{[^{}]*\}\}|\$?\{[^{}]*\}",
    r"%(?:\(\w+\)|\d+\$)?[-+0#]*\d*(?:\.\d+)?[sdiufFgGxXeEcr@](?![A-Za-z])",
)


class ProtectedSpans:
    """Finds parts to keep: `{name}`, `${x}`, `%s`, URLs, e-mail addresses, tags, and `terms`.

    A term counts where it has a `word_border` on both sides; case matters.
    """

    def __init__(self, terms: Sequence[str] = ()) -> None:
        longest_first = sorted(set(filter(None, terms)), key=lambda term: (-len(term), term))
        known = "|".join(map(re.escape, longest_first))
        whole = [f"{word_border()}(?:{known}){word_border()}"] if known else []
        self._pattern = re.compile("|".join([*whole, *_PLACEHOLDERS]))

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """Return (start, end) of each part to keep, in order."""
        return tuple(match.span() for match in self._pattern.finditer(text))

    def lost(self, text: str, result: str) -> list[str]:
        """Return the parts to keep that `result` has fewer times than `text`."""
        wanted = Counter(text[start:end] for start, end in self.spans(text))
        return [item for item, times in wanted.items() if result.count(item) < times]
