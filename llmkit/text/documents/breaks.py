"""The places of line breaks in a translation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from llmkit.text.documents.carry import Target, folded_places
from llmkit.text.documents.segment import Break, Parts, Segment

# (start, end, source, order): source replaces the characters start to end; order as in `ProtectedPiece`.
Placed = tuple[int, int, Parts, int]

_PAGE = 72  # characters of a line


def place_breaks(segment: Segment, target: Target) -> list[Placed] | None:
    """Put a segment's line breaks into its translation.

    The same text, or as many spaces, gives the same places. Else firm breaks go to the spaces at their share
    of the text, and the lines between them are filled up to the format's width or the longest line before.

    Returns:
        The breaks in order; None if there are too few words for the firm ones.
    """
    if not segment.breaks:
        return []
    same = folded_places(segment.text, target.text)
    if same is not None:
        return [(same[one.start], same[one.end], one.source, one.order) for one in segment.breaks]
    segment = replace(segment, breaks=tuple(one for one in segment.breaks if not one.joint))
    if not segment.breaks:
        return []
    spaces = _spaces(segment.text, [(piece.start, piece.end) for piece in segment.pieces])
    others = _spaces(target.text, [(start, end) for start, end, _ in target.pieces])
    if (
        target.firm is None
        and len(spaces) == len(others)
        and (placed := _ranked(segment, spaces, others)) is not None
    ):
        return placed
    return _filled(segment, target, others)


def _spaces(text: str, pieces: Sequence[tuple[int, int]]) -> list[int]:
    covered = {i for start, end in pieces for i in range(start, end)}
    return [i for i, character in enumerate(text) if character == " " and i not in covered]


def _ranked(segment: Segment, spaces: Sequence[int], others: Sequence[int]) -> list[Placed] | None:
    """Each break at the space of the same number."""
    rank = {place: i for i, place in enumerate(spaces)}
    placed = []
    for one in segment.breaks:
        if one.end > one.start and one.start in rank:
            at = others[rank[one.start]]
            placed.append((at, at + 1, one.source, one.order))
        elif one.end == one.start and one.start - 1 in rank:
            at = others[rank[one.start - 1]] + 1
            placed.append((at, at, one.source, one.order))
        elif one.firm or one.end == one.start:
            return None
    return placed


def _filled(segment: Segment, target: Target, spaces: Sequence[int]) -> list[Placed] | None:
    firm = [one for one in segment.breaks if one.firm]
    if target.firm is None:
        places = _shared(firm, segment, target, spaces)
    else:
        places = [(*at, one.source, one.order) for at, one in zip(target.firm, firm, strict=True)]
    if places is None:
        return None
    soft = [one for one in segment.breaks if not one.firm]
    width = segment.writer.width or _longest(segment)
    placed: list[Placed] = []
    borders = [0, *(place[1] for place in places), len(target.text)]
    for i, (start, end) in enumerate(itertools.pairwise(borders)):
        stop = places[i][0] if i < len(places) else end
        if soft or segment.writer.width:
            placed += _lines(segment, soft, spaces, start, stop, width)
        placed += places[i : i + 1]
    return placed


def _shared(
    firm: Sequence[Break], segment: Segment, target: Target, spaces: Sequence[int]
) -> list[Placed] | None:
    """Firm breaks at the spaces nearest to their share of the text."""
    free = list(spaces)
    placed: list[Placed] = []
    for left, one in zip(range(len(firm), 0, -1), firm, strict=True):
        if len(free) < left:
            return None
        at = one.start / max(len(segment.text), 1) * len(target.text)
        candidates = free[: len(free) - left + 1]
        best = min(candidates, key=lambda place: abs(place - at) - _pause(target.text, place))
        placed.append((best, best + 1, one.source, one.order))
        free = [place for place in free if place > best]
    return placed


def _pause(text: str, place: int) -> int:
    """Characters that a break may move to stand after a comma or a stop."""
    return 8 if text[place - 1 : place] in {",", ";", ":", ".", "!", "?", "–"} else 0


def _longest(segment: Segment) -> int:
    borders = [0, *(one.start for one in segment.breaks), len(segment.text)]
    longest = max(b - a for a, b in itertools.pairwise(borders))
    # Two short lines give little information about the width of the page.
    return longest if len(segment.breaks) > 1 else max(longest, _PAGE)


def _lines(
    segment: Segment, soft: Sequence[Break], spaces: Sequence[int], start: int, stop: int, width: int
) -> list[Placed]:
    """Fill lines of the text start to stop up to a width."""
    inside = [place for place in spaces if start < place < stop]
    shows_space = not soft or soft[0].end > soft[0].start
    # Two lines of a subtitle are about equally long; other lines are full.
    if segment.writer.width and stop - start > width:
        count = -(-(stop - start) // width)
        width = max(-(-(stop - start) // count) + 6, 1) if width > 20 else width
        width = min(width, segment.writer.width)
    placed: list[Placed] = []
    line = start
    for i, place in enumerate(inside):
        following = inside[i + 1] if i + 1 < len(inside) else stop
        if following - line > width:
            source = soft[min(len(placed), len(soft) - 1)].source if soft else ("\n",)
            at = place if shows_space else place + 1
            placed.append((at, place + 1, source, 0))
            line = place + 1
    return placed
