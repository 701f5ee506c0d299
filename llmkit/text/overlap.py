"""Which tokens of a context stand in a word that the question has too.

Small readers find an answer by the words around it; told which words those are, they need not learn to
compare words first (Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain Questions", section 3.2).

Public: `shared_marks`, `stem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
# English inflections, longest first; what is left has three letters or more.
_ENDINGS = ("ies", "ing", "ied", "es", "ed", "ly", "s", "y", "e")


def stem(word: str) -> str:
    """A word in lower case without its English inflection: crude, the same for `move` and `moving`."""
    word = word.casefold()
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def shared_marks(question: str, context: str, ends: Iterable[int]) -> list[bool]:
    """Whether each token of the context stands in a word whose stem is one of the question's.

    Args:
        question: any text.
        context: any text; in scripts without spaces a clause counts as a word, so that little is marked.
        ends: past-the-last character of each token; 0 for one that has none.
    """
    asked = {stem(word) for word in _WORD.findall(question)}
    inside = bytearray(len(context) + 1)
    for match in _WORD.finditer(context):
        if stem(match[0]) in asked:
            inside[match.start() + 1 : match.end() + 1] = b"\1" * (match.end() - match.start())
    return [bool(inside[end]) for end in ends]
