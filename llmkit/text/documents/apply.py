"""Write a translation with the source of its segment's pieces, styles and line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmkit.text.documents.atoms import joined
from llmkit.text.documents.breaks import Placed, place_breaks
from llmkit.text.documents.carry import Alignment, CarryError, Target, carry, take_markers
from llmkit.text.documents.check import check_pieces
from llmkit.text.documents.segment import Parts, ProtectedPiece, Segment, Style, has_letters
from llmkit.text.documents.writer import TextWriter, Written

_LINE_END = re.compile(r"(?<!\s)\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class Filled:
    """A segment's translation as source text.

    Attributes:
        parts: for `Document.render`; None if the translation cannot be in the document.
        notice: message for the user: a guess was made, or the reason why there are no parts.
    """

    parts: Parts | None
    notice: str | None = None


def apply_inline(segment: Segment, text: str, alignment: Alignment | None = None) -> Filled:
    """Write a translation in the place of a segment.

    Args:
        segment: the segment.
        text: the translation of `segment.text`, or of `segment.marked()`.
        alignment: pairs of ((start, end) in the segment's text, (start, end) in the translation), such as
            the words that the model's cross-attention connects; unused where the translation has markers.
    """
    plain, marked = take_markers(segment, text)
    if plain != text:
        alignment = None
    cleaned = _cleaned(segment, plain)
    if cleaned != plain:
        marked, alignment = _moved(plain, cleaned, marked), None
    check = check_pieces(segment, cleaned)
    if not check.whole:
        names = ", ".join([*check.lost, *check.added][:5])
        return Filled(None, f"{'lost' if check.lost else 'added'}: {names}")
    if not has_letters(cleaned):
        return Filled(None, "the translation has no letters")
    pieces = sorted(
        ((*span, piece) for span, piece in zip(check.spans, segment.pieces, strict=True)),
        key=lambda one: one[:2],
    )
    try:
        target = carry(segment, Target(cleaned, tuple(pieces)), alignment, marked)
    except CarryError as error:
        return Filled(None, str(error))
    return _written(segment, target)


def apply_parts(segment: Segment, texts: Sequence[str]) -> Filled:
    """Replace a segment by translations of `Segment.parts`; pieces and styles stay around them.

    Args:
        segment: the segment.
        texts: one for each part.
    """
    spans = segment.part_spans()
    if len(texts) != len(spans):
        return Filled(None, f"{len(texts)} translations for {len(spans)} parts")
    out: list[str] = []
    moved = [0] * (len(segment.text) + 1)
    last = size = 0
    for (start, end), new in zip(spans, texts, strict=True):
        new = _cleaned(segment, new).strip()
        if not has_letters(new):
            return Filled(None, "the translation of a part has no letters")
        for i in range(last, start + 1):
            moved[i] = size + i - last
        out += [segment.text[last:start], new]
        size += start - last + len(new)
        for i in range(start + 1, end + 1):
            moved[i] = size
        last = end
    for i in range(last, len(segment.text) + 1):
        moved[i] = size + i - last
    out.append(segment.text[last:])
    pieces = tuple((moved[piece.start], moved[piece.end], piece) for piece in segment.pieces)
    styles = tuple((moved[style.start], moved[style.end], style) for style in segment.styles)
    firm = tuple((moved[one.start], moved[one.end]) for one in segment.breaks if one.firm)
    target = Target("".join(out), pieces, styles, ordered=True, firm=firm or None)
    return _written(segment, target)


def _cleaned(segment: Segment, text: str) -> str:
    """Return one line without control characters, with the segment's own white space around it."""
    if _LINE_END.search(segment.text) is None:
        text = _LINE_END.sub(" ", text)
    if _CONTROL.search(segment.text) is None:
        text = _CONTROL.sub("", text)
    before, core = segment.text, text.strip()
    lead = before[: len(before) - len(before.lstrip())]
    return lead + core + before[len(before.rstrip()) :]


def _moved(plain: str, cleaned: str, marked: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Move spans to the cleaned text; return none if more than the white space around it differs."""
    shift = len(plain) - len(plain.lstrip()) - (len(cleaned) - len(cleaned.lstrip()))
    if plain.strip() != cleaned.strip():
        return {}
    size = len(cleaned.rstrip())
    return {i: (max(a - shift, 0), min(b - shift, size)) for i, (a, b) in marked.items()}


def _written(segment: Segment, target: Target) -> Filled:
    breaks = place_breaks(segment, target)
    if breaks is None:
        return Filled(None, "too few words for the lines")
    shown = [target.text[start:end] for start, end, _ in target.pieces]
    before = _original(segment)
    chars = list(_variants(segment, target))
    for level in range(segment.writer.levels):
        tokens = list(_tokens(segment, target, breaks, chars, level))
        if segment.writer.accepts(before, _plain(tokens), target.text, shown):
            notice = None
            if target.guessed:
                kinds = dict.fromkeys(kind.split(":")[0] for kind in target.guessed)
                notice = f"the place of {', '.join(kinds)} is a guess"
            return Filled(joined(segment.writer.finish(tokens)), notice)
    return Filled(None, "the translation would change the document's structure")


def _plain(tokens: Sequence[Written]) -> str:
    """Return tokens in the form that `TextWriter.accepts` reads."""
    return "".join(_break(parts) if role == "break" else _flat(parts) for parts, role in tokens)


def _original(segment: Segment) -> str:
    """Return the segment's own source in the form that `TextWriter.accepts` reads."""
    pieces = tuple((piece.start, piece.end, piece) for piece in segment.pieces)
    styles = tuple((style.start, style.end, style) for style in segment.styles)
    breaks = [(one.start, one.end, one.source, one.order) for one in segment.breaks]
    chars = [(one.start, one.end, one.source, one.order) for one in segment.variants]
    target = Target(segment.text, pieces, styles, ordered=True)
    return _plain(list(_tokens(replace(segment, writer=TextWriter()), target, breaks, chars, 0)))


def _break(parts: Parts) -> str:
    """Return a line break without the indentation of the next line."""
    return "\n" if any("\n" in part or "\r" in part for part in parts if isinstance(part, str)) else ""


def _flat(parts: Parts) -> str:
    """Return parts as text; the letter x stands for a segment inside."""
    return "".join(part if isinstance(part, str) else "x" for part in parts)


def _variants(segment: Segment, target: Target) -> Iterator[Placed]:
    """Yield the characters of a translation that keep the spelling of the segment's source."""
    for shown in dict.fromkeys(segment.text[one.start : one.end] for one in segment.variants):
        there = _outside(segment.text, shown, [(one.start, one.end) for one in segment.pieces])
        here = _outside(target.text, shown, [(start, end) for start, end, _ in target.pieces])
        variants = {one.start: one for one in segment.variants if segment.text[one.start : one.end] == shown}
        if len(there) == len(here):
            pairs: list[tuple[int, ProtectedPiece]] = [
                (place, variants[old]) for old, place in zip(there, here, strict=True) if old in variants
            ]
        elif len(there) == len(variants) and len({one.source for one in variants.values()}) == 1:
            pairs = [(place, next(iter(variants.values()))) for place in here]
        else:
            continue
        for place, one in pairs:
            yield place, place + len(shown), one.source, one.order


def _outside(text: str, shown: str, pieces: Sequence[tuple[int, int]]) -> list[int]:
    places = [match.start() for match in re.finditer(re.escape(shown), text)]
    return [at for at in places if not any(start <= at < end for start, end in pieces)]


def _tokens(
    segment: Segment, target: Target, breaks: Sequence[Placed], chars: Sequence[Placed], level: int
) -> Iterator[Written]:
    """Yield everything in a translation, in order."""
    text, writer = target.text, segment.writer
    last, line_start = 0, True
    for start, _, end, source, role in sorted(_events(segment, target, breaks, chars, level), key=_place):
        if start < last < end:
            continue
        if start > last:
            yield (writer.escape(text[last:start], level, line_start=line_start),), "text"
            line_start = False
        yield source, role
        line_start = role == "break" or (line_start and end == start)
        last = max(last, end)
    if last < len(text):
        yield (writer.escape(text[last:], level, line_start=line_start),), "text"


# (start, rank among those that start there, end, source, role).
_Event = tuple[int, tuple[int, int], int, Parts, str]


def _place(event: _Event) -> tuple[int, tuple[int, int]]:
    return event[:2]


def _events(
    segment: Segment, target: Target, breaks: Sequence[Placed], chars: Sequence[Placed], level: int
) -> Iterator[_Event]:
    """Yield everything in a translation besides its plain text.

    At one place, unless the order is the source's: closing markup, a line break without a space, opening
    markup, then what is there.
    """

    def rank(usual: tuple[int, int], order: int) -> tuple[int, int]:
        return (order, 0) if target.ordered else usual

    for i, (start, end, style) in enumerate(target.styles):
        opening, closing = _markup(style, target.text[start:end], segment.writer, level)
        yield start, rank((4 if start == end else 2, i), style.order), start, opening, "open"
        yield end, rank((5 if start == end else 0, -i), style.closing_order), end, closing, "close"
    for i, (start, end, source, order) in enumerate(breaks):
        yield start, rank((1 if start == end else 6, i), order), end, source, "break"
    for start, end, piece in target.pieces:
        yield start, rank((6, 0), piece.order), end, piece.source, piece.kind
    for start, end, source, order in chars:
        yield start, rank((6, 0), order), end, source, "char"


def _markup(style: Style, shown: str, writer: TextWriter, level: int) -> tuple[Parts, Parts]:
    opening, closing = style.opening, style.closing
    if all(isinstance(part, str) for part in (*opening, *closing)):
        before, after = writer.markup(_flat(opening), _flat(closing), style.kind, shown, level)
        return (before,), (after,)
    return opening, closing
