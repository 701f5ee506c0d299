"""XML with paragraphs: OpenDocument text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.markup.tokens import StrictWriter, Token, text_atoms, tokenize
from llmkit.text.documents.segment import Parts

_BLOCKS = {"text:p": "paragraph", "text:h": "heading"}
_STYLES = {"text:span", "text:a", "text:ruby", "text:ruby-base", "text:meta"}
_SKIPPED = {"text:tracked-changes", "office:scripts"}


def element_end(tokens: Sequence[Token], start: int) -> int:
    """The index after the closing tag of the element that opens at `start`."""
    name, depth = tokens[start].name, 0
    for i in range(start, len(tokens)):
        if tokens[i].name == name:
            depth += {"open": 1, "close": -1}.get(tokens[i].kind, 0)
            if depth == 0:
                return i + 1
    return len(tokens)


@dataclass
class OdtReader:
    """Reads the paragraphs of OpenDocument XML."""

    builder: Builder
    name: str
    paragraphs: int = 0

    def read(self, source: str) -> Parts:
        """The parts of an XML document."""
        return A.joined(self._sequence(list(tokenize(source, xml=True))))

    def _sequence(self, tokens: Sequence[Token]) -> list[str | int]:
        parts: list[str | int] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.kind == "open" and token.name in _BLOCKS:
                end = element_end(tokens, i)
                parts += [token.source, *self._block(tokens[i + 1 : end - 1], _BLOCKS[token.name])]
                parts += [one.source for one in tokens[end - 1 : end]]
                i = end
            elif token.kind == "open" and token.name in _SKIPPED:
                end = element_end(tokens, i)
                parts += [one.source for one in tokens[i:end]]
                i = end
            else:
                parts.append(token.source)
                i += 1
        return parts

    def _block(self, tokens: Sequence[Token], kind: str) -> Parts:
        self.paragraphs += 1
        where = f"{self.name}, paragraph {self.paragraphs}"
        atoms: list[Atom] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            i += 1
            if token.kind == "text":
                atoms += text_atoms(token.source)
            elif token.name in _STYLES and token.kind == "open":
                atoms.append(A.opening(token.source, token.name))
            elif token.name in _STYLES and token.kind == "close":
                atoms.append(A.closing(token.source, token.name))
            elif token.kind == "open":
                end = element_end(tokens, i - 1)
                inner = self._sequence(tokens[i - 1 : end])
                atoms.append(A.piece(A.joined(inner), "footnote" if token.name == "text:note" else "image"))
                i = end
            elif token.name == "text:s":
                atoms.append(A.char(" ", token.source))
            else:
                name = {"text:line-break": "break", "text:tab": "break"}.get(token.name, "tag")
                atoms.append(A.piece(token.source, name))
        parts: list[str | int] = []
        for block, between in A.split_at_breaks(atoms):
            parts += [*self.builder.add(block, StrictWriter(), where=where, kind=kind), *between]
        return A.joined(parts)
