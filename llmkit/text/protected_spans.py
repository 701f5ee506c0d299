"""Parts of a text that must come through a rewriting unharmed: placeholders, tags, addresses, given terms."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from llmkit.text.words import is_unspaced

_PLACEHOLDERS = (
    r"(?:https?://|www\.)[^\s<>\"”»]*[^\s<>\"”».,;:!?)\]}'’]",
    r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"</?[A-Za-z][^<>]*>|&(?:#\d+|#x[\da-fA-F]+|\w+);",
    r"\{\{[^{}]*\}\}|\$?\{[^{}]*\}",
    r"%(?:\(\w+\)|\d+\$)?[-+0#]*\d*(?:\.\d+)?[sdiufFgGxXeEcr@](?![A-Za-z])",
)


class ProtectedSpans:
    """Finds what must come through: `{name}`, `${x}`, `%s`, URLs, e-mail addresses, tags, and `terms`.

    A term counts where it stands as a word of its own (in scripts without spaces, anywhere); upper and
    lower case differ.
    """

    def __init__(self, terms: Sequence[str] = ()) -> None:
        longest_first = sorted(set(terms), key=lambda term: (-len(term), term))
        self._pattern = re.compile("|".join([*map(_term, longest_first), *_PLACEHOLDERS]))

    def spans(self, text: str) -> tuple[tuple[int, int], ...]:
        """(start, end) of what is to be kept, in order."""
        return tuple(match.span() for match in self._pattern.finditer(text))

    def lost(self, text: str, result: str) -> list[str]:
        """What is to be kept in `text` and stands fewer times in `result`."""
        wanted = Counter(text[start:end] for start, end in self.spans(text))
        return [item for item, times in wanted.items() if result.count(item) < times]


def _term(term: str) -> str:
    before = r"(?<![^\W_])" if _stands_alone(term[0]) else ""
    after = r"(?![^\W_])" if _stands_alone(term[-1]) else ""
    return f"{before}{re.escape(term)}{after}"


def _stands_alone(letter: str) -> bool:
    """Whether no other letter may touch this one; Korean has spaces, but its particles touch the word."""
    return letter.isalnum() and not is_unspaced(letter) and not "\uac00" <= letter <= "\ud7a3"
