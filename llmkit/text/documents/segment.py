"""A segment: prose for a translator, and what its source has besides that text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from llmkit.text.documents.writer import TextWriter

# Source text; a number stands for the segment with that number.
Parts = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ProtectedPiece:
    """A span of a segment's text that represents protected source text.

    Attributes:
        start, end: characters of the segment's text.
        source: what the document has there.
        kind: `code`, `placeholder`, `url`, `image`, `tag`, `math`, `footnote`, `term`; `char` is a character
            that the document writes in another way (`&amp;`, `\\*`), which may also be written plainly.
        order: its rank in the source among everything that is no plain text.
    """

    start: int
    end: int
    source: Parts
    kind: str
    order: int = 0


@dataclass(frozen=True, slots=True)
class Style:
    """A span of a segment's text with markup around it. Styles nest and never cross.

    Attributes:
        start, end: characters of the segment's text.
        opening, closing: the markup before and after it.
        kind: its name, such as `strong`, `em` or `link`.
        order, closing_order: ranks of both in the source, as in `ProtectedPiece`.
    """

    start: int
    end: int
    opening: Parts
    closing: Parts
    kind: str
    order: int = 0
    closing_order: int = 0


@dataclass(frozen=True, slots=True)
class Break:
    """A line break in the source that is a space, or nothing, in the segment's text.

    Attributes:
        start, end: characters of the segment's text: one space or none.
        source: the line break, with the indentation or quotation mark of the next line.
        firm: it must come back (the border between two cues of a subtitle).
        joint: it only divides text of one format, and may be left out.
        order: as in `ProtectedPiece`.
    """

    start: int
    end: int
    source: Parts
    firm: bool = False
    joint: bool = False
    order: int = 0


@dataclass(frozen=True, slots=True)
class Segment:
    """Prose between two borders of a document: a paragraph, heading, table cell, cue or message.

    Attributes:
        number: its place in `Document.segments`.
        where: line or page, such as `line 12`.
        kind: `paragraph`, `heading`, `cell`, `alt`, `cue`, `message`, ...
        text: one line of text, without markup.
        pieces: spans that must come back, in order; they do not overlap.
        styles: spans with markup, outer ones first.
        variants: pieces of the kind `char`.
        breaks: line breaks, in order.
        source: the document's own text of the segment.
        writer: how the format writes text.
    """

    number: int
    where: str
    kind: str
    text: str
    pieces: tuple[ProtectedPiece, ...]
    styles: tuple[Style, ...]
    variants: tuple[ProtectedPiece, ...]
    breaks: tuple[Break, ...]
    source: Parts
    writer: TextWriter = field(repr=False, compare=False)

    def marked(self) -> str:
        """The text with each style as a pair of markers: `Read the <g1>manual</g1>`."""
        borders: list[tuple[int, int, int, str]] = []
        for i, style in enumerate(self.styles):
            borders.append((style.start, 1, i, f"<g{i + 1}>"))
            borders.append((style.end, 0, -i, f"</g{i + 1}>"))
        text, parts, last = self.text, [], 0
        for position, _, _, marker in sorted(borders):
            parts += [text[last:position], marker]
            last = position
        return "".join([*parts, text[last:]])

    def parts(self) -> list[str]:
        """The texts between pieces and borders of styles that have letters, without white space around."""
        return [self.text[start:end] for start, end in self.part_spans()]

    def part_spans(self) -> list[tuple[int, int]]:
        """(start, end) of the `parts()` in the segment's text."""
        return list(self._part_spans())

    def _part_spans(self) -> Iterator[tuple[int, int]]:
        cuts = {0, len(self.text)}
        cuts |= {border for style in self.styles for border in (style.start, style.end)}
        cuts |= {border for piece in self.pieces for border in (piece.start, piece.end)}
        cuts |= {border for one in self.breaks if one.firm for border in (one.start, one.end)}
        inside = {piece.start for piece in self.pieces if piece.end > piece.start}
        ordered = sorted(cuts)
        for start, end in itertools.pairwise(ordered):
            part = self.text[start:end]
            if start not in inside and has_letters(part):
                yield start + len(part) - len(part.lstrip()), start + len(part.rstrip())


_LETTER = re.compile(r"[^\W\d_]")


def has_letters(text: str) -> bool:
    """True if there is a letter of any script in it."""
    return _LETTER.search(text) is not None
