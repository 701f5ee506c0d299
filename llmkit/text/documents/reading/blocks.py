"""The prose of a document in blocks, each with its place and its kind."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmkit.text.documents.document import Document
from llmkit.text.documents.formats import parse
from llmkit.text.documents.segment import Segment
from llmkit.text.sentences import is_complete

_SPACE = re.compile(r"\s+")
_LINKS = ("link", "a", "autolink")
# Kinds of segments that are descriptions of pictures and not read as text.
_ASIDE = {"alt", "title", "attribute", "branch"}
# A paragraph that is mostly links is a menu or a list of references (Kohlschütter et al., Boilerplate
# Detection using Shallow Text Features, WSDM 2010, https://doi.org/10.1145/1718487.1718542).
_MOST_LINKED = 1 / 3
# What Project Gutenberg puts around its books.
_GUTENBERG = re.compile(r"^\*\*\* ?(START|END) OF TH[EI]S? PROJECT GUTENBERG [^\n]*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of prose.

    Attributes:
        text: its text on one line, without markup.
        place: line, page or paragraph, such as ``p. 12``.
        kind: ``paragraph``, ``heading``, ``cell``, ``cue``, ``message`` or ``navigation``.
        linked: share of its characters that are in links, 0 to 1.
    """

    text: str
    place: str
    kind: str
    linked: float = 0.0


def read_blocks(data: bytes, format: str, encoding: str | None = None) -> list[Block]:
    """Read the prose of a document; code, addresses, tags and descriptions of pictures are left out.

    Args:
        data: the file's bytes.
        format: a name in `FORMATS`.
        encoding: encoding of a text format; None takes the one that the bytes show.

    Raises:
        InputError: the document is damaged, or none of its format.
    """
    document = parse(data, format, reflow=True, encoding=encoding)
    found = [_block(segment) for segment in _in_order(document) if segment.kind not in _ASIDE]
    return [block for block in found if block.text]


def _in_order(document: Document) -> Iterator[Segment]:
    for number in document.numbers(document.parts):
        yield document.segments[number]


def _block(segment: Segment) -> Block:
    text, last, parts = segment.text, 0, []
    for piece in segment.pieces:
        # A piece without its own text is shown as a mark, such as <x1/>.
        if text.startswith("<x", piece.start):
            parts.append(text[last : piece.start])
            last = piece.end
    shown = _SPACE.sub(" ", "".join([*parts, text[last:]])).strip()
    links = [(one.start, one.end) for one in segment.styles if one.kind.split(":")[0] in _LINKS]
    linked = sum(end - start for start, end in links) / max(len(text), 1)
    return Block(shown, segment.where.removeprefix("document, "), segment.kind, min(linked, 1.0))


def running_text(blocks: Sequence[Block]) -> str:
    """Return the running text for a summary: headings and paragraphs, with a blank line between them.

    Tables, menus and paragraphs that are mostly links are left out. Cues of subtitles follow each other as
    one text. If there is nothing else, all blocks are used.
    """
    chosen = [
        block
        for block in blocks
        if block.kind not in {"cell", "navigation"}
        and (block.kind == "heading" or block.linked < _MOST_LINKED)
    ]
    if not any(block.kind != "heading" for block in chosen):
        chosen = list(blocks)
    parts = []
    chosen = _over_pages(chosen)
    for kind, group in itertools.groupby(chosen, key=lambda block: block.kind):
        parts.append((" " if kind == "cue" else "\n\n").join(block.text for block in group))
    return "\n\n".join(parts)


def _over_pages(blocks: Sequence[Block]) -> list[Block]:
    """Join a paragraph that the end of a page cuts inside a sentence with its rest on the next page."""
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.place != block.place
            and last.place.startswith("p. ")
            and last.kind == block.kind == "paragraph"
            and block.text[0].islower()
            and not is_complete(last.text)
        ):
            joined[-1] = replace(last, text=f"{last.text} {block.text}", place=block.place)
        else:
            joined.append(block)
    return joined


def without_license(text: str) -> str:
    """Return the text of a book without the license that Project Gutenberg puts around it."""
    marks = list(_GUTENBERG.finditer(text))
    start = next((mark.end() for mark in marks if mark.group(1) == "START"), 0)
    end = next((mark.start() for mark in marks if mark.group(1) == "END" and mark.start() > start), len(text))
    return text[start:end]
