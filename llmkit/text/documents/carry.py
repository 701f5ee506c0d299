"""The places of styles in a translation."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from llmkit.text.documents.segment import ProtectedPiece, Segment, Style
from llmkit.text.words import is_unspaced, word_border

Span = tuple[int, int]
# Pairs of spans: characters of the segment's text, characters of the translation.
Alignment = Sequence[tuple[Span, Span]]

_MARKER = re.compile(r"(?<!\s)\s*<\s*(/?)\s*g(\d{1,4})\s*>\s*", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_MOST_STYLES = 100


class CarryError(Exception):
    """The styles do not fit into the translation."""


@dataclass(frozen=True)
class Target:
    """A translation with the places of everything that its source needs.

    Attributes:
        text: the translation, one line.
        pieces: (start, end, piece), in order.
        styles: (start, end, style); they nest.
        guessed: kinds of the styles whose place is a guess.
        ordered: everything is in the order of the segment's source.
        firm: (start, end) of the segment's firm breaks; None if they have no place yet.
    """

    text: str
    pieces: tuple[tuple[int, int, ProtectedPiece], ...]
    styles: tuple[tuple[int, int, Style], ...] = ()
    guessed: tuple[str, ...] = ()
    ordered: bool = False
    firm: tuple[Span, ...] | None = None


def take_markers(segment: Segment, text: str) -> tuple[str, dict[int, Span]]:
    """Take the markers of `Segment.marked` out of a translation.

    Returns:
        The text without markers, and the span of each style by its index; empty unless each marker came back
        once and the pairs nest.
    """
    if "g" not in text.lower() or not segment.styles or _MARKER.search(segment.text):
        return text, {}
    out, last, starts, spans, stack = [], 0, {}, {}, []
    sound = True
    size = 0
    for match in _MARKER.finditer(text):
        closes, number = bool(match.group(1)), int(match.group(2)) - 1
        before = text[last : match.start()]
        raw = match.group()
        # Spaces stay outside the styled text.
        left = raw[: len(raw) - len(raw.lstrip())]
        right = raw[len(raw.rstrip()) :]
        out.append(before)
        size += len(before)
        if not closes:
            out.append(left or right)
            size += len(left or right)
            sound &= number not in starts
            starts[number] = size
            stack.append(number)
        else:
            sound &= bool(stack) and stack.pop() == number
            spans[number] = (starts.get(number, 0), size)
            out.append(right or left)
            size += len(right or left)
        last = match.end()
    out.append(text[last:])
    if not sound or stack or set(spans) != set(range(len(segment.styles))):
        spans = {}
    return "".join(out), spans


def carry(segment: Segment, target: Target, alignment: Alignment | None, marked: dict[int, Span]) -> Target:
    """Find the place of each style of a segment in its translation.

    In this order: the same text gives the same places; markers; aligned words; the styled words are in
    the translation as they are; else a style goes around the full text, or, if there are several, around
    the words at the same share of the text.

    Args:
        segment: the segment.
        target: the translation with the places of its pieces.
        alignment: pairs of spans.
        marked: from `take_markers`.

    Raises:
        CarryError: there are too few words for the styles, or styles cross.
    """
    same = folded_places(segment.text, target.text)
    if same is not None:
        spans = [(same[style.start], same[style.end]) for style in segment.styles]
        return replace(_placed(segment, target, dict(enumerate(spans))), ordered=True)
    if not segment.styles:
        return target
    if len(segment.styles) > _MOST_STYLES:
        raise CarryError(f"more than {_MOST_STYLES} places with markup in one text")
    if marked:
        return _placed(segment, target, {i: _grown(target, span) for i, span in marked.items()})
    anchors = list(alignment or [])
    for start, end, piece in target.pieces:
        anchors.append(((piece.start, piece.end), (start, end)))
    placer = _Placer(segment, target, anchors, aligned=bool(alignment))
    placer.place(range(len(segment.styles)), (0, len(segment.text)), (0, len(target.text)))
    placed = _placed(segment, target, placer.spans)
    return replace(placed, guessed=tuple(dict.fromkeys(placer.guessed)))


def folded_places(text: str, other: str) -> list[int] | None:
    """For each character border of a text its place in another that differs in upper and lower case only."""
    if text == other:
        return list(range(len(text) + 1))
    if text.casefold() != other.casefold():
        return None
    ends = [0]
    for character in other:
        ends.append(ends[-1] + len(character.casefold()))
    places, size = [0], 0
    for character in text:
        size += len(character.casefold())
        places.append(min(bisect_left(ends, size), len(other)))
    return places


def _placed(segment: Segment, target: Target, spans: dict[int, Span]) -> Target:
    styles = tuple((*spans[i], style) for i, style in enumerate(segment.styles))
    for (start, end, _), style in zip(styles, segment.styles, strict=True):
        if start >= end and style.start < style.end:
            raise CarryError("too few words for the markup")
    return replace(target, styles=styles)


def _grown(target: Target, span: Span) -> Span:
    """Grow a span over the pieces that it cuts, and drop white space at its ends."""
    start, end = span
    for first, last, _ in target.pieces:
        if first < start < last:
            start = first
        if first < end < last:
            end = last
    part = target.text[start:end]
    if not part.strip():
        return start, start
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _whole_words(text: str, start: int, end: int) -> Span:
    """The span without half words at its ends, in scripts that have spaces."""
    while 0 < start < end and _joins(text[start - 1]) and _joins(text[start]):
        start -= 1
    while start < end < len(text) and _joins(text[end - 1]) and _joins(text[end]):
        end += 1
    return start, end


def _joins(character: str) -> bool:
    return character.isalnum() and not is_unspaced(character)


class _Placer:
    """Places the styles of one segment, outer ones first."""

    def __init__(self, segment: Segment, target: Target, anchors: Alignment, *, aligned: bool) -> None:
        self.segment = segment
        self.target = target
        self.anchors = anchors
        self.aligned = aligned
        self.spans: dict[int, Span] = {}
        self.guessed: list[str] = []

    def place(self, indices: Iterable[int], source: Span, room: Span) -> None:
        """Place the outermost of some styles within a range of the translation, then those inside them."""
        groups = self._outermost(indices)
        spans: dict[int, Span] = {}
        for i in groups:
            found = self._covering(i, source, room) or self._found(i, room)
            if found is not None:
                spans[i] = found
        spans = _apart(spans)
        for i in (i for i in groups if i not in spans):
            spans[i] = self._guess(i, source, room, spans, alone=len(groups) == 1)
            self.guessed.append(self.segment.styles[i].kind)
        spans = self._with_pieces(spans, room)
        for i, inner in groups.items():
            self.spans[i] = spans[i]
            style = self.segment.styles[i]
            self.place(inner, (style.start, style.end), spans[i])

    def _outermost(self, indices: Iterable[int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        last = None
        for i in indices:
            style = self.segment.styles[i]
            if last is not None and style.start < self.segment.styles[last].end:
                groups[last].append(i)
            else:
                groups[i] = []
                last = i
        return groups

    def _covering(self, i: int, source: Span, room: Span) -> Span | None:
        """Return the full range for a style around all of the source but white space."""
        style = self.segment.styles[i]
        rest = self.segment.text[source[0] : style.start] + self.segment.text[style.end : source[1]]
        span = _grown(self.target, room)
        return span if not rest.strip() and span[0] < span[1] else None

    def _found(self, i: int, room: Span) -> Span | None:
        style = self.segment.styles[i]
        if self.aligned:
            ends = [
                to
                for of, to in self.anchors
                if style.start <= of[0] and of[1] <= style.end and room[0] <= to[0] and to[1] <= room[1]
            ]
            if ends:
                span = _whole_words(self.target.text, min(a for a, _ in ends), max(b for _, b in ends))
                span = _grown(self.target, span)
                return span if span[0] < span[1] else None
        words = self.segment.text[style.start : style.end].strip()
        if not any(character.isalnum() for character in words):
            return None
        pattern = re.compile(word_border() + re.escape(words) + word_border())
        there = [match.start() for match in pattern.finditer(self.segment.text)]
        here = [match.span() for match in pattern.finditer(self.target.text)]
        start = self.segment.text.index(words, style.start)
        if len(there) == len(here) and start in there:
            span = _grown(self.target, here[there.index(start)])
            return span if room[0] <= span[0] and span[1] <= room[1] else None
        return None

    def _guess(self, i: int, source: Span, room: Span, taken: dict[int, Span], *, alone: bool) -> Span:
        style = self.segment.styles[i]
        if alone and not style.kind.startswith("run"):
            span = _grown(self.target, room)
            if span[0] < span[1]:
                return span
            raise CarryError("too few words for the markup")
        words = [
            match.span()
            for match in _WORD.finditer(self.target.text, *room)
            if all(match.end() <= a or b <= match.start() for a, b in taken.values())
        ]
        if not words:
            raise CarryError("too few words for the markup")
        # The words at the same share of the text, and at least one.
        scale = (room[1] - room[0]) / max(source[1] - source[0], 1)
        first = room[0] + (style.start - source[0]) * scale
        last = room[0] + (style.end - source[0]) * scale
        inside = [word for word in words if first <= (word[0] + word[1]) / 2 <= last] if alone else []
        if inside and len(inside) < len(words):
            return inside[0][0], inside[-1][1]
        return min(words, key=lambda word: abs(word[0] - first))

    def _with_pieces(self, spans: dict[int, Span], room: Span) -> dict[int, Span]:
        """Grow each span over the pieces that belong in it, and out of words' middles."""
        grown = {}
        for i, (start, end) in spans.items():
            style = self.segment.styles[i]
            for a, b, piece in self.target.pieces:
                if style.start <= piece.start and piece.end <= style.end:
                    start, end = min(start, a), max(end, b)
            start, end = _grown(self.target, (max(start, room[0]), min(end, room[1])))
            grown[i] = (start, end)
        ordered = sorted(grown.values())
        if any(a[1] > b[0] for a, b in itertools.pairwise(ordered)):
            raise CarryError("markup would cross")
        return grown


def _apart(spans: dict[int, Span]) -> dict[int, Span]:
    """Return the spans that overlap no earlier one; the first word decides which is earlier."""
    kept: dict[int, Span] = {}
    for i, span in sorted(spans.items(), key=lambda item: item[1]):
        if all(span[0] >= other[1] or span[1] <= other[0] for other in kept.values()):
            kept[i] = span
    return kept
