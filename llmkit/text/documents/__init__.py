"""Documents as segments of prose: parse a file, replace its segments, write it back.

Everything that is no prose (markup, code, keys, times, line ends) comes back byte for byte.

Callers: `tasks` (translation of files), `summarization` and `qa` (prose with its places), the command line
(names of formats).

Public names:

- `FORMATS`, `format_of(path)`: the table of formats, and the format that fits a file's name.
- `parse(data, format, ...) -> Document`: read a document. `Document.segments` are its segments;
  `Document.render(filled) -> bytes` writes it with segments replaced; `Document.prose()` gives texts with
  their places.
- `Segment`: `text` is what a translator reads. `pieces` are the spans of it that must come back unchanged
  (inline code, links' addresses, images, tags, placeholders, math, footnote marks). `styles` are the spans
  with inline markup around them (bold, italic, links). `marked()` is the text with the styles as markers
  `<g1>...</g1>`. `parts()` are the texts between pieces and borders of styles.
- `check_pieces(segment, text) -> PieceCheck`: compare the pieces in a translation with the segment's.
- `apply_inline(segment, text, alignment) -> Filled`: put the source of pieces and styles into a translation.
  Styles follow markers, else `alignment`, else the same words; else they go around the full text and
  `Filled.notice` says so. `Filled.parts` is None where that is impossible.
- `apply_parts(segment, texts) -> Filled`: the same for translations of `parts()`; no piece can get lost.
- `skeleton(data, format)`: the structure of a document without its prose. Input and output have equal ones.
- `render_checked(document, filled)`: render, compare skeletons, and leave out segments that break them.
- `terms`: `read_terms`, `read_glossary`, `GlossaryCheck`, for terms to keep or to translate in one way.

The caller decides between the fallbacks: translate again, translate in parts, or leave the segment alone.
"""

from __future__ import annotations

from llmkit.text.documents.apply import Filled, apply_inline, apply_parts
from llmkit.text.documents.check import PieceCheck, check_pieces
from llmkit.text.documents.document import Document
from llmkit.text.documents.formats import FORMATS, Format, format_of, parse, skeleton
from llmkit.text.documents.render import render_checked
from llmkit.text.documents.segment import Break, ProtectedPiece, Segment, Style

__all__ = [
    "FORMATS",
    "Break",
    "Document",
    "Filled",
    "Format",
    "PieceCheck",
    "ProtectedPiece",
    "Segment",
    "Style",
    "apply_inline",
    "apply_parts",
    "check_pieces",
    "format_of",
    "parse",
    "render_checked",
    "skeleton",
]
