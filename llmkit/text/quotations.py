"""Is a quotation really in the text, and where?"""

from __future__ import annotations

import unicodedata
from itertools import pairwise

# What a model may write differently from its source without misquoting it.
_SAME = str.maketrans(
    {**dict.fromkeys("‘’‚‛`´", "'"), **dict.fromkeys("“”„‟«»", '"'), **dict.fromkeys("‐‑‒–—", "-")}
)


def find_quotation(quotation: str, text: str) -> tuple[int, int] | None:
    """Where `quotation` stands in `text`, as (start, end) characters of `text`; None if it does not.

    White space of any kind and length, forms of quotation marks and dashes, capitals, and how an accent is
    encoded make no difference; every letter and digit must agree.
    """
    wanted, _ = _folded(quotation)
    wanted = wanted.strip()
    if not wanted:
        return None
    folded, places = _folded(text)
    at = folded.find(wanted)
    if at < 0:
        return None
    return places[at][0], places[at + len(wanted) - 1][1]


def _folded(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text with those differences removed, and for each of its characters the place it came from."""
    characters: list[str] = []
    places: list[tuple[int, int]] = []
    for i, end in _graphemes(text):
        piece = text[i:end]
        if piece.isspace():
            if characters and characters[-1] == " ":
                places[-1] = (places[-1][0], end)
                continue
            piece = " "
        for character in unicodedata.normalize("NFC", piece).casefold().translate(_SAME):
            characters.append(character)
            places.append((i, end))
    return "".join(characters), places


def _graphemes(text: str) -> list[tuple[int, int]]:
    """Each character together with the combining marks after it."""
    starts = [i for i, character in enumerate(text) if i == 0 or not unicodedata.combining(character)]
    return list(pairwise([*starts, len(text)]))
