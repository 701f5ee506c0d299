"""Mark the tokens of a context that are in a word of the question.

Small readers find an answer by the words around it. With these marks they need not learn to compare words
(Chen et al. 2017, "Reading Wikipedia to Answer Open-Domain Questions", section 3.2).

Public: `shared_marks`, `stem`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_WORD = re.compile(r"[^\W_]+")
# English inflections, longest first; the rest must have three letters or more.
_ENDINGS = ("ies", "ing", "ied", "es", "ed", "ly", "s", "y", "e")


def stem(word: str) -> str:
    """Return a word in lower case without its English inflection: the same for `move` and `moving`."""
    word = word.casefold()
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def shared_marks(question: str, context: str, ends: Iterable[int]) -> list[bool]:
    """Return for each token of the context True if its word has the stem of a word in the question.

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
