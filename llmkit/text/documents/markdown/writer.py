"""Write text into Markdown, and parse it again to check the result."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.text.documents.markdown.parser import inline_tokens, parser
from llmkit.text.documents.markup.tokens import structure_of_tag
from llmkit.text.documents.writer import TextWriter

if TYPE_CHECKING:
    from markdown_it.token import Token

_SPECIAL = re.compile(r"[\\`*_\[\]<>|~${}]|&(?=#?\w{1,40};)|!(?=\[)|\^(?=\[)")
_LINE_START = re.compile(r"(\d{1,9})?([#+\-=>:.)])")
# How a segment of each kind is written in a document of its own, and the token before its inline token.
_FRAMES = {
    "paragraph": ("", "", "paragraph_open"),
    "heading": ("# ", "", "heading_open"),
    "underlined heading": ("", "\n---\n", "heading_open"),
    "cell": ("| ", " |\n|---|\n", "th_open"),
    "first cell": ("| ", " |\n|---|\n", "th_open"),
    "alt": ("![", "](x)", "paragraph_open"),
    "note": ("^[", "]", "paragraph_open"),
}


@dataclass(frozen=True)
class MarkdownWriter(TextWriter):
    """Writes one block.

    Args:
        kind: `paragraph`, `heading`, `underlined heading`, `cell`, `first cell` (it begins its line), `alt`
            or `note`.
        env: link definitions of the document.
    """

    kind: str
    env: dict[str, Any]
    levels: int = 3

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        if level == 0:
            return text
        text = _SPECIAL.sub(r"\\\g<0>", text)
        if line_start:
            text = _LINE_START.sub(r"\1\\\2", text, count=1) if _LINE_START.match(text) else text
        elif self.kind == "heading":
            text = text.replace("#", "\\#")
        return text

    def markup(self, opening: str, closing: str, kind: str, shown: str, level: int) -> tuple[str, str]:
        kind, _, label = kind.partition(":")
        label = " ".join(label.split())
        if kind == "link" and label and " ".join(shown.split()).casefold() != label.casefold():
            return opening, f"][{label}]"
        if level == 2 and set(opening) == {"_"}:
            return opening.replace("_", "*"), closing.replace("_", "*")
        return opening, closing

    def accepts(self, before: str, source: str, text: str, pieces: Sequence[str]) -> bool:
        if before == source:
            return True
        old, new = self._tokens(before), self._tokens(source)
        if new is None and old is not None:
            return False
        old = inline_tokens(before, self.env) if old is None else old
        new = inline_tokens(source, self.env) if new is None else new
        return inline_structure(old) == inline_structure(new) and _says(new, text, pieces)

    def _tokens(self, source: str) -> list[Token] | None:
        """The inline tokens of the segment alone in a document; None if it is another block there."""
        first, last, opener = _FRAMES[self.kind]
        if self.kind == "first cell" and parser().parse(source, dict(self.env))[0].type != "paragraph_open":
            return None
        blocks = parser().parse(first + source + last, dict(self.env))
        types = [block.type for block in blocks[:5]]
        if opener not in types or ("cell" not in self.kind and len(blocks) != 3):
            return None
        tokens = inline_tokens(blocks[types.index(opener) + 1].content, self.env)
        if self.kind == "alt":
            return tokens[0].children or [] if tokens and tokens[0].type == "image" else None
        if self.kind == "note":
            return inline_tokens(source, self.env)
        return tokens


def inline_structure(tokens: Sequence[Token]) -> Counter[str]:
    """The inline markup of a block: a count for each kind, address, code and tag."""
    found: Counter[str] = Counter()
    for token in tokens:
        if token.type in {"text", "softbreak", "text_special"} or token.nesting < 0:
            continue
        detail = ""
        if token.type in {"code_inline", "math_inline", "math_inline_double"}:
            detail = token.content
        elif token.type == "html_inline":
            detail = structure_of_tag(token.content)
        elif token.type == "footnote_ref":
            detail = str(token.meta.get("label"))
        elif token.attrs:
            detail = str(token.attrs.get("href", token.attrs.get("src", "")))
        found[f"{token.type} {detail}".strip()] += 1
    return found


def _says(tokens: Sequence[Token], text: str, pieces: Sequence[str]) -> bool:
    """Compare the tokens' text with the translation, without white space and pieces.

    Some pieces (placeholders, addresses) are text to the parser and stay on both sides.
    """
    read = [token.content for token in tokens if token.type in {"text", "text_special"}]
    return _fits("".join("".join(read).split()), "".join(text.split()), ["".join(p.split()) for p in pieces])


def _fits(read: str, text: str, pieces: Sequence[str]) -> bool:
    """True if `read` is `text` with some of its pieces, which follow each other, left out."""
    if read == text:
        return True
    at = place = 0
    for piece in pieces:
        found = text.find(piece, place) if piece else -1
        if found < 0:
            continue
        before = text[place:found]
        if read[at : at + len(before)] != before:
            return False
        at += len(before)
        place = found + len(piece)
        inner = piece.strip("<>")  # an address in angle brackets
        if read.startswith(piece, at):
            at += len(piece)
        elif inner and read.startswith(inner, at):
            at += len(inner)
    return read[at:] == text[place:] or (len(pieces) > 0 and _loosely(read[at:], text[place:]))


def _loosely(read: str, text: str) -> bool:
    return read.replace("\\", "") == text.replace("\\", "")
