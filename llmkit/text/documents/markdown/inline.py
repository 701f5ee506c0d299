"""Inline Markdown as atoms."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.markdown.parser import RuleMatch, trace_inline
from llmkit.text.documents.markdown.writer import MarkdownWriter
from llmkit.text.documents.markup.tokens import attribute_parts, code_merged, tag_atom
from llmkit.text.documents.segment import Parts
from llmkit.text.words import is_unspaced

_SPACES = re.compile(r"(?<![ \t])[ \t]+$")
_ROLE = re.compile(r"\{[\w:+.-]{1,60}\}$")


@dataclass
class InlineReader:
    """Reads inline source.

    Args:
        source: the document.
        env: from the parse of the document.
        builder: takes the segments inside images and footnotes.
        where: the place of the block.
    """

    source: str
    env: dict[str, Any]
    builder: Builder
    where: str

    def read(self, content: str, bounds: Sequence[int]) -> list[Atom]:
        """Atoms of inline source.

        Args:
            content: the parser's content of the block.
            bounds: for each border between characters of `content` its place in the document.
        """
        matches = sorted(trace_inline(content, self.env), key=lambda one: (one.start, -one.end))
        walk = _Walk(self, content, bounds, matches)
        return code_merged(list(walk.atoms(0, len(content))))

    def nested(self, content: str, bounds: Sequence[int], kind: str) -> Parts:
        """A separate segment inside a piece: an image's description, a footnote in the text."""
        inner = InlineReader(self.source, self.env, self.builder, self.where)
        atoms = inner.read(content, bounds)
        return self.builder.add(atoms, MarkdownWriter(kind, self.env), where=self.where, kind=kind)


class _Walk:
    def __init__(
        self, reader: InlineReader, content: str, bounds: Sequence[int], matches: Sequence[RuleMatch]
    ) -> None:
        self.reader = reader
        self.content = content
        self.bounds = bounds
        self.matches = matches
        self.next = 0

    def source(self, start: int, end: int) -> str:
        return self.reader.source[self.bounds[start] : self.bounds[end]]

    def atoms(self, start: int, stop: int) -> list[Atom]:
        """Atoms of the characters start to stop."""
        out: list[Atom] = []
        position = start
        while self.next < len(self.matches) and self.matches[self.next].start < stop:
            match = self.matches[self.next]
            self.next += 1
            if match.start < position:
                continue
            out += self._literal(position, match.start)
            at = match.start
            if match.rule in {"newline", "escape"} and "break" in "".join(
                token.type for token in match.tokens
            ):
                at -= _take(out, _SPACES)
            elif match.rule == "backticks":
                at -= _take(out, _ROLE)
            out += self._matched(match, at)
            position = match.end
        return [*out, *self._literal(position, stop)]

    def _literal(self, start: int, end: int) -> Iterator[Atom]:
        run = start
        for i in range(start, end):
            source = self.source(i, i + 1)
            if source != self.content[i]:
                yield A.text(self.content[run:i])
                yield A.char(self.content[i], source)
                run = i + 1
        if run < end:
            yield A.text(self.content[run:end])

    def _matched(self, match: RuleMatch, start: int) -> Iterator[Atom]:
        kinds = {token.type for token in match.tokens}
        source = self.source(start, match.end)
        shown = self.content[start : match.end]
        rule = match.rule
        if rule == "newline" or (rule == "escape" and "hardbreak" in kinds):
            yield from self._line_break(match, start, source, hard="hardbreak" in kinds)
        elif rule == "escape":
            yield A.char(shown[1:], source)
        elif rule == "entity":
            yield A.char(html.unescape(shown), source)
        elif rule == "backticks" and "code_inline" in kinds:
            yield A.piece(source, "code", " ".join(shown.split()))
        elif rule in {"emphasis", "strikethrough"}:
            yield from self._delimiters(match)
        elif rule == "link":
            yield from self._link(match)
        elif rule == "image":
            yield A.piece(self._image(match), "image")
        elif rule == "autolink":
            yield A.piece(source, "url", shown)
        elif rule == "html_inline":
            yield tag_atom(source, attribute_parts(source, self.reader.builder, self.reader.where))
        elif rule == "footnote_inline":
            inner = self._nested(match.start + 2, match.end - 1, "note")
            first, last = self.source(match.start, match.start + 2), self.source(match.end - 1, match.end)
            yield A.piece(A.joined([first, *inner, last]), "footnote")
        elif rule == "footnote_ref":
            yield A.piece(source, "footnote", shown)
        elif kinds & {"math_inline", "math_inline_double"}:
            yield A.piece(source, "math", " ".join(shown.split()))
        else:
            yield from self._literal(match.start, match.end)

    def _nested(self, start: int, end: int, kind: str) -> Parts:
        return self.reader.nested(self.content[start:end], self.bounds[start : end + 1], kind)

    def _line_break(self, match: RuleMatch, start: int, source: str, *, hard: bool) -> Iterator[Atom]:
        if hard:
            yield A.piece(source, "break")
            return
        around = self.content[max(start - 1, 0) : start], self.content[match.end : match.end + 1]
        yield A.line_break(source, "" if all(part and is_unspaced(part) for part in around) else " ")

    def _delimiters(self, match: RuleMatch) -> Iterator[Atom]:
        """Markers of emphasis: some open or close a style, others are text."""
        size = match.end - match.start
        if match.rule == "strikethrough":
            found, widths = [match.tokens[-1].type], {0: size}
        else:
            found, widths = [token.type for token in match.tokens[-size:]], {}
        i = 0
        while i < len(found):
            kind, width = found[i], widths.get(i, 1)
            if found[i + 1 : i + 2] == ["strong_open"]:
                kind, width = "strong_open", 2
            elif kind == "strong_close":
                width = 2
            source = self.source(match.start + i, match.start + i + width)
            name, _, side = kind.partition("_")
            if side == "open":
                yield A.opening(source, name)
            elif side == "close":
                yield A.closing(source, name)
            else:
                yield A.text(source)
            i += width

    def _link(self, match: RuleMatch) -> Iterator[Atom]:
        label_end = match.label_end
        label = self.content[match.start + 1 : label_end]
        closing = self.content[label_end : match.end]
        name = f"link:{label}" if closing in {"]", "[]"} else "link"
        yield A.opening(self.source(match.start, match.start + 1), name)
        yield from self.atoms(match.start + 1, label_end)
        yield A.closing(self.source(label_end, match.end), name)

    def _image(self, match: RuleMatch) -> Parts:
        start, end = match.start + 2, match.label_end
        shortcut = self.content[end : match.end] in {"]", "[]"}
        if shortcut or not start < end:
            return (self.source(match.start, match.end),)
        inner = self._nested(start, end, "alt")
        return A.joined([self.source(match.start, start), *inner, self.source(end, match.end)])


def _take(atoms: list[Atom], pattern: re.Pattern[str]) -> int:
    """Take the end of the last text that matches away; return its length."""
    if not atoms or atoms[-1].kind != "text":
        return 0
    text = atoms[-1].shown
    found = pattern.search(text)
    if found is None:
        return 0
    atoms[-1] = A.text(text[: found.start()])
    return len(text) - found.start()
