"""Compare the pieces of a translation with those of its segment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.text.documents.carry import Span, folded_places
from llmkit.text.documents.placeholders import Placeholders
from llmkit.text.documents.segment import Segment

_NEW_KINDS = {"placeholder", "url", "math"}
_PLAIN = Placeholders()


@dataclass(frozen=True)
class PieceCheck:
    """The difference between the pieces of a segment and of its translation.

    Attributes:
        lost: texts of pieces that the translation has fewer times.
        added: placeholders, addresses and code that it has more times.
        spans: (start, end) in the translation of each of the segment's pieces; empty if some are lost.
    """

    lost: tuple[str, ...]
    added: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def whole(self) -> bool:
        """True if the translation has the same pieces, each as often."""
        return not self.lost and not self.added


def check_pieces(segment: Segment, text: str) -> PieceCheck:
    """Find a segment's pieces in a translation of it.

    Args:
        segment: the segment.
        text: the translation.
    """
    shown = [segment.text[piece.start : piece.end] for piece in segment.pieces]
    wanted = Counter(shown)
    places = folded_places(segment.text, text)
    if places is not None:
        spans = [(places[piece.start], places[piece.end]) for piece in segment.pieces]
        if all(text[slice(*span)] == one for span, one in zip(spans, shown, strict=True)):
            return PieceCheck((), (), tuple(spans))
    found = _occurrences(text, wanted)
    lost = tuple(one for one, times in wanted.items() if len(found[one]) < times)
    spans = [] if lost else _spans(segment, shown, found, _occurrences(segment.text, wanted))
    return PieceCheck(lost, _added(segment, text, spans, lost), tuple(spans))


def _spans(
    segment: Segment, shown: list[str], found: dict[str, list[Span]], there: dict[str, list[Span]]
) -> list[Span]:
    """Return the place of each piece.

    If plain words look like a piece, it keeps its rank among them.
    """
    ranks = {one: {span: rank for rank, span in enumerate(spans)} for one, spans in there.items()}
    spans = []
    used: Counter[str] = Counter()
    for piece, one in zip(segment.pieces, shown, strict=True):
        rank = used[one]
        if len(found[one]) == len(there[one]):
            rank = ranks[one].get((piece.start, piece.end), rank)
        spans.append(found[one][rank])
        used[one] += 1
    return spans


def _occurrences(text: str, wanted: Counter[str]) -> dict[str, list[Span]]:
    """Return the places of each text; longer ones first, and none inside another."""
    found: dict[str, list[Span]] = {}
    covered = bytearray(len(text))
    for shown in sorted(wanted, key=lambda shown: (-len(shown), shown)):
        spans = found[shown] = []
        at = text.find(shown)
        while at >= 0:
            end = at + len(shown)
            if covered[at] or covered[end - 1]:
                at = text.find(shown, at + 1)
                continue
            spans.append((at, end))
            covered[at:end] = b"\1" * len(shown)
            at = text.find(shown, end)
    return found


def _added(
    segment: Segment,
    text: str,
    spans: list[Span],
    lost: tuple[str, ...],
) -> tuple[str, ...]:
    """Return protected spans that the translation has more often than the segment."""
    before = Counter(_protected(segment.text, ()))
    if not lost:
        # Spans inside a piece do not count as spans of the text around it.
        before = Counter(_protected(segment.text, [(piece.start, piece.end) for piece in segment.pieces]))
    added = Counter(_protected(text, spans)) - before
    return tuple(shown for shown in added if shown not in lost)


def _protected(text: str, pieces: Sequence[Span]) -> Iterator[str]:
    """The protected spans of a text that are in no piece."""
    covered = bytearray(len(text))
    for start, end in pieces:
        covered[start:end] = b"\1" * (end - start)
    for one in _PLAIN.find(text):
        if one.kind in _NEW_KINDS and not (covered[one.start] and covered[one.end - 1]):
            yield text[one.start : one.end]
