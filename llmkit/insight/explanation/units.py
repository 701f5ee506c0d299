"""Units of a text: its tokens, words or sentences, each with its tokens."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.text.sentences import split_sentences
from llmkit.text.words import is_unspaced

# A word with its inner apostrophes and hyphens, or a run of other marks.
_WORDS = re.compile(r"\w+(?:['’.\-]\w+)*|[^\w\s]+")


@dataclass(frozen=True)
class TokenSpan:
    """A token's place in the input of the model, and its characters in the text."""

    position: int
    start: int
    end: int


@dataclass(frozen=True)
class UnitSpan:
    """A unit: characters of the text of a part, and the positions of its tokens."""

    text: str
    start: int
    end: int
    positions: tuple[int, ...]
    part: str = "text"


def find_units(text: str, tokens: Sequence[TokenSpan], kind: str, part: str = "text") -> list[UnitSpan]:
    """Group the tokens of a text.

    Pieces of one character (byte tokens) always belong together. White space belongs to the unit before it.

    Args:
        text: the text.
        tokens: its tokens in order; each belongs to exactly one unit.
        kind: ``token``, ``word`` or ``sentence``.
        part: name of the text.
    """
    groups: list[list[TokenSpan]] = []
    last: object = None
    reached = 0  # end of the characters that the current group holds
    starts = _starts(text, kind)
    for token in tokens:
        start, end = _trimmed(text, token)
        # The word or sentence that the token begins in; None if each token is a separate unit.
        alone = kind == "token" or (kind == "word" and is_unspaced(text[start:end]))
        key = None if alone else bisect_right(starts, start)
        # A piece of a character that the group holds already, or white space, opens no group.
        inside = bool(groups) and (start < reached or end <= start)
        blank = kind != "token" and not text[token.start : token.end].strip()
        if groups and (inside or blank or (key is not None and key == last)):
            groups[-1].append(token)
        else:
            groups.append([token])
            last = key
        if end > start:
            reached = max(reached, end)
    return [_unit(text, group, part) for group in _without_blank_start(text, groups, kind)]


def _starts(text: str, kind: str) -> list[int]:
    """Return where the words or sentences of a text begin."""
    if kind == "word":
        return [match.start() for match in _WORDS.finditer(text)]
    return [start for start, _ in split_sentences(text)] if kind == "sentence" else []


def _trimmed(text: str, token: TokenSpan) -> tuple[int, int]:
    piece = text[token.start : token.end]
    if not piece.strip():
        return token.start, token.end
    return token.start + len(piece) - len(piece.lstrip()), token.start + len(piece.rstrip())


def _without_blank_start(text: str, groups: list[list[TokenSpan]], kind: str) -> list[list[TokenSpan]]:
    """Put white space in front of the first word into that word's unit."""
    if kind != "token" and len(groups) > 1 and not _shown(text, groups[0]).strip():
        return [[*groups[0], *groups[1]], *groups[2:]]
    return groups


def _shown(text: str, group: Sequence[TokenSpan]) -> str:
    return text[min(one.start for one in group) : max(one.end for one in group)]


def _unit(text: str, group: Sequence[TokenSpan], part: str) -> UnitSpan:
    start, end = min(one.start for one in group), max(one.end for one in group)
    start, end = _trimmed(text, TokenSpan(0, start, end))
    return UnitSpan(text[start:end], start, end, tuple(one.position for one in group), part)
