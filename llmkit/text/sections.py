"""Cut a text that is longer than a model's context into parts that end with a paragraph or a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llmkit.text.sentences import split_sentences
from llmkit.text.unwrap import unwrapped

Count = Callable[[Sequence[str]], list[int]]

_BLANK_LINE = re.compile(r"\n\s*\n|\r\n\s*\r\n")
_LINE_END = re.compile(r"[\r\n]")
_FULL_ENOUGH = 3 / 4  # share of a part from which on it may end with a paragraph


@dataclass(frozen=True)
class _Unit:
    """A sentence, or a piece of one that is too long for a part: characters `start` to `end`."""

    start: int
    end: int
    size: int
    opens_paragraph: bool


def split_parts(text: str, *, count: Count, room: int, overlap: int = 0) -> list[tuple[int, int]]:
    """Split a text into parts of at most `room` tokens that contain all its words.

    Args:
        text: a text of any length.
        count: returns the number of tokens of each text.
        room: most tokens of a part, at least 1.
        overlap: most tokens that neighboring parts share: the last paragraph, or else the last sentences,
            of a part begin the next one.

    Returns:
        (start, end) of the parts in characters, in order; empty for a text of white space.
    """
    units = _units(text, count, room)
    if not units:
        return []
    limit = room
    while True:
        parts = [(units[a].start, units[b].end) for a, b in _pack(units, limit, min(overlap, limit // 2))]
        over = max(count([text[start:end] for start, end in parts])) - room
        # Text between sentences also costs tokens. A single unit fits, so the loop ends.
        if over <= 0 or limit <= 0:
            return parts
        limit -= over


def _pack(units: list[_Unit], limit: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last unit of each part."""
    first = 0
    while True:
        last, size = first, units[first].size
        ends, full = None, _FULL_ENOUGH * limit
        while last + 1 < len(units) and size + units[last + 1].size <= limit:
            last += 1
            size += units[last].size
            if size >= full and last + 1 < len(units) and units[last + 1].opens_paragraph:
                ends = last
        if last + 1 == len(units):
            yield first, last
            return
        last = last if ends is None else ends
        yield first, last
        first = _resume(units, first, last, min(overlap, limit - units[last + 1].size))


def _resume(units: list[_Unit], first: int, last: int, overlap: int) -> int:
    """Return the first unit of the part after first..last: up to `overlap` tokens before its end."""
    shared = 0
    begin = last + 1
    while begin - 1 > first and shared + units[begin - 1].size <= overlap:
        begin -= 1
        shared += units[begin].size
        if units[begin].opens_paragraph:
            break
    return begin


def _units(text: str, count: Count, room: int) -> list[_Unit]:
    spans = split_sentences(unwrapped(text))
    sizes = count([text[start:end] for start, end in spans]) if spans else []
    # Without a single blank line, each line is a paragraph.
    gap = _BLANK_LINE if _BLANK_LINE.search(text.strip()) else _LINE_END
    units: list[_Unit] = []
    before = 0
    for (start, end), size in zip(spans, sizes, strict=True):
        opens = gap.search(text, before, start) is not None
        before = end
        pieces = [(start, end, size)] if size <= room else list(_pieces(text, start, end, count, room))
        for i, (a, b, tokens) in enumerate(pieces):
            units.append(_Unit(a, b, tokens, opens and i == 0))
    return units


def _pieces(text: str, start: int, end: int, count: Count, room: int) -> Iterator[tuple[int, int, int]]:
    """Halve a sentence, between words where it has any, until each piece fits."""
    (size,) = count([text[start:end]])
    if size <= room or end - start < 2:
        yield start, end, size
        return
    middle = (start + end) // 2
    space = max(text.rfind(" ", start + 1, middle), text.rfind("\n", start + 1, middle))
    cut = space if space > 0 else middle
    yield from _pieces(text, start, cut, count, room)
    yield from _pieces(text, cut, end, count, room)
