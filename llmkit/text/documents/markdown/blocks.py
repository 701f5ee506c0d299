"""Markdown documents: blocks of prose and their places in the source."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.text.documents.atoms import joined, split_at_breaks
from llmkit.text.documents.build import Builder
from llmkit.text.documents.markdown.inline import InlineReader
from llmkit.text.documents.markdown.parser import parser
from llmkit.text.documents.markdown.writer import MarkdownWriter
from llmkit.text.documents.markup.html import read_html
from llmkit.text.documents.segment import Parts

if TYPE_CHECKING:
    from markdown_it.token import Token

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
# Beginnings of a paragraph that are no prose: a task's box, the name of an alert, a definition's colon, an
# admonition or a container.
_MARK = re.compile(
    r"(?:\[[ xX]\][ \t]+|\[![A-Za-z]+\][ \t]*(?=\n|$)|:[ \t]+|(?:!!!|\?\?\?\+?|:::+|\.\.)[^\n]*(?=\n|$))"
)
# A table drawn with lines, which this parser does not know.
_GRID = re.compile(r"\+[-=:]+\+[-=+:]*(?:\n|$)")
# The parser's time grows with the square of their number.
_MOST_BRACKETS = 1000
_CLOSER = re.compile(r"\n[ \t]*:::+[ \t]*$")
_CLOSING_MARKS = re.compile(r"[ \t]*(?:#+[ \t]*)?")
_ATTRIBUTES = re.compile(r"(?<![ \t])[ \t]*\{:?[ \t]*[#.][^{}\n]*\}[ \t]*$")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the source: its place, and its text without and with the characters that end it."""

    start: int
    text: str
    end: int


def source_lines(source: str) -> list[Line]:
    """The lines of a source, as the parser counts them."""
    lines: list[Line] = []
    for match in _LINE.finditer(source):
        if match.start() == len(source) and lines:
            break
        lines.append(Line(match.start(), match.group(1).replace("\0", "\ufffd"), match.end()))
    return lines


def read_markdown(source: str, builder: Builder) -> tuple[Parts, list[str]]:
    """Read Markdown.

    Args:
        source: the document.
        builder: takes its segments.

    Returns:
        The document's parts, and a sentence for each block that is left as it is.
    """
    env: dict[str, Any] = {}
    tokens = parser().parse(source, env)
    reader = _MarkdownReader(source, source_lines(source), env, builder)
    parts: list[str | int] = []
    at = 0
    for start, end, new in reader.blocks(tokens):
        if start < at:
            reader.left_out.append(f"{reader.where(start)}: a block could not be found in the source")
            continue
        parts += [source[at:start], *new]
        at = end
    return joined([*parts, source[at:]]), reader.left_out


class _MarkdownReader:
    def __init__(self, source: str, lines: Sequence[Line], env: dict[str, Any], builder: Builder) -> None:
        self.source = source
        self.lines = lines
        self.env = env
        self.builder = builder
        self.left_out: list[str] = []

    def where(self, line: int) -> str:
        return f"line {line + 1}"

    def blocks(self, tokens: Sequence[Token]) -> Iterator[tuple[int, int, Parts]]:
        """(start, end, parts) of the blocks that have prose."""
        cells: tuple[int, list[tuple[int, int]]] = (-1, [])
        quoted = 0
        for i, token in enumerate(tokens):
            quoted += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
            if token.type == "html_block" and token.map and not quoted:
                yield from self._html(token)
            elif token.type == "front_matter" and token.map:
                yield from self._front_matter(token)
            if token.type != "inline" or not token.map:
                continue
            opener = tokens[i - 1].type
            if opener in {"th_open", "td_open"}:
                line = token.map[0]
                if cells[0] != line:
                    cells = line, list(_cells(self.lines[line].text))
                yield from self._cell(token, cells[1])
            elif token.content:
                kind = "heading" if opener == "heading_open" else "paragraph"
                yield from self._paragraph(token, kind, marks=tokens[i - 1].markup.startswith("#"))

    def _paragraph(self, token: Token, kind: str, *, marks: bool) -> Iterator[tuple[int, int, Parts]]:
        first, last = token.map or (0, 0)
        content = token.content
        if _GRID.match(content):
            return
        bounds = self.bounds(content, first, last, heading=marks)
        if bounds is None:
            self.left_out.append(f"{self.where(first)}: a {kind} could not be found in the source")
            return
        start, end = 0, len(content)
        mark = _MARK.match(content) if kind == "paragraph" else None
        if mark:
            start = mark.end()
        tail = (_CLOSER if kind == "paragraph" else _ATTRIBUTES).search(content, start)
        if tail:
            end = tail.start()
        if content.count("[") > _MOST_BRACKETS:
            self.left_out.append(f"{self.where(first)}: a {kind} with too many brackets")
        elif start < end:
            frame = kind if marks or kind == "paragraph" else "underlined heading"
            yield from self._prose(content[start:end], bounds[start : end + 1], first, kind, frame)

    def _cell(self, token: Token, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int, Parts]]:
        first = (token.map or (0, 0))[0]
        if not spans:
            return  # the parser adds cells that a short row lacks
        start, end = spans.pop(0)
        line = self.lines[first]
        content, bounds = _unescaped(line.text[start:end], line.start + start)
        if content != token.content:
            self.left_out.append(f"{self.where(first)}: a table cell could not be found in the source")
        elif content:
            frame = "cell" if "|" in line.text[:start] else "first cell"
            yield from self._prose(content, bounds, first, "cell", frame)

    def _prose(
        self, content: str, bounds: Sequence[int], line: int, kind: str, frame: str
    ) -> Iterator[tuple[int, int, Parts]]:
        reader = InlineReader(self.source, self.env, self.builder, self.where(line))
        known = len(self.builder.segments)
        atoms = reader.read(content, bounds)
        start, end = bounds[0], bounds[-1]
        whole = "".join(str(part) for atom in atoms for part in atom.source if isinstance(part, str))
        if known == len(self.builder.segments) and whole != self.source[start:end]:
            self.left_out.append(f"{self.where(line)}: a {kind} could not be parsed")
            return
        writer = MarkdownWriter(frame, self.env)
        parts: list[str | int] = []
        for block, between in split_at_breaks(atoms):
            parts += [*self.builder.add(block, writer, where=self.where(line), kind=kind), *between]
        yield start, end, joined(parts)

    def bounds(self, content: str, first: int, last: int, *, heading: bool) -> list[int] | None:
        """For each border between characters of a block's content its place in the source."""
        bounds: list[int] = []
        rows = content.split("\n")
        if len(rows) > last - first:
            return None
        for i, row in enumerate(rows):
            line = self.lines[first + i]
            core = row.lstrip(" \t")
            if i == len(rows) - 1:
                core = core.rstrip(" \t")
                row = row.rstrip(" \t") if not heading else row
            text = line.text
            if heading:
                opener = re.match(r"[^#]*#{1,6}[ \t]+", text)
                at = opener.end() if opener else -1
                if not text.startswith(row, at) or not _CLOSING_MARKS.fullmatch(text, at + len(row)):
                    return None
            elif text.rstrip(" \t").endswith(core.rstrip(" \t")):
                at = len(text.rstrip(" \t")) - len(core.rstrip(" \t"))
            else:
                return None
            pad = len(row) - len(row.lstrip(" \t")) if not heading else 0
            exact = text[max(at - pad, 0) : at] == row[:pad]
            for j in range(pad):
                bounds.append(line.start + (at - pad + j if exact else at))
            bounds += range(line.start + at, line.start + at + len(row) - pad)
        final = self.lines[first + len(rows) - 1].start + at + len(row) - pad
        return [*bounds_with_breaks(content, bounds), final]

    def _html(self, token: Token) -> Iterator[tuple[int, int, Parts]]:
        first, last = token.map or (0, 0)
        end = self.lines[last - 1].end
        # In a list the first line begins with the item's mark.
        start = self.source.find("<", self.lines[first].start)
        parts = read_html(self.source[start:end], self.builder, where=self.where(first))
        yield start, end, parts

    def _front_matter(self, token: Token) -> Iterator[tuple[int, int, Parts]]:
        from llmkit.text.documents.tables.yaml_table import FRONT_MATTER_KEYS, read_yaml

        first, last = token.map or (0, 0)
        if last - first < 3:
            return
        start, end = self.lines[first + 1].start, self.lines[last - 1].start
        parts = read_yaml(
            self.source[start:end], self.builder, keys=FRONT_MATTER_KEYS, first_line=first + 2, strict=False
        )
        yield start, end, parts


def bounds_with_breaks(content: str, bounds: list[int]) -> list[int]:
    """Bounds with an entry for each line break of the content, at the end of the line before it."""
    out: list[int] = []
    taken = iter(bounds)
    for character in content:
        out.append(out[-1] + 1 if character == "\n" and out else next(taken, bounds[-1] if bounds else 0))
    return out


def _cells(line: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the cells of a table's row, without white space around; escaped bars divide nothing."""
    prefix = re.match(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*", line)
    start = prefix.end() if prefix else 0
    end = len(line.rstrip())
    borders = [i for i in range(start, end) if line[i] == "|" and line[i - 1 : i] != "\\"]
    edges = [start - 1, *borders, end]
    spans = [(a + 1, b) for a, b in itertools.pairwise(edges)]
    if spans and not line[slice(*spans[0])].strip() and borders and borders[0] == start:
        spans.pop(0)
    if spans and spans[-1][0] >= end:
        spans.pop()
    for a, b in spans:
        part = line[a:b]
        core = part.strip()
        begin = a + (part.find(core) if core else 0)
        yield begin, begin + len(core)


def _unescaped(cell: str, start: int) -> tuple[str, list[int]]:
    """The parser's content of a cell, with its borders' places: it takes the backslash before a bar away."""
    content, bounds, i = [], [], 0
    while i < len(cell):
        bounds.append(start + i)
        if cell.startswith("\\|", i):
            i += 1
        content.append(cell[i])
        i += 1
    return "".join(content), [*bounds, start + len(cell)]
