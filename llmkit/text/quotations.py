"""Find a quotation in a text."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

# Characters that a model may exchange without misquoting its source.
_SAME = str.maketrans(
    {**dict.fromkeys("‘’‚‛`´", "'"), **dict.fromkeys("“”„‟«»", '"'), **dict.fromkeys("‐‑‒–—", "-")}
)


def find_quotation(quotation: str, text: str) -> tuple[int, int] | None:
    """Return (start, end) of `quotation` in `text`, in characters; None if it is not there.

    These differences are ignored: kind and length of white space, forms of quotation marks and dashes,
    case, and the encoding of accents. Every letter and digit must agree.
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
    """Return the text without those differences, and for each of its characters the span it came from."""
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
    """Return the span of each character together with the combining marks after it."""
    starts = [i for i, character in enumerate(text) if i == 0 or not unicodedata.combining(character)]
    return list(pairwise([*starts, len(text)]))
