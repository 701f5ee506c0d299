"""Word documents: paragraphs of runs, each run a stretch of text with one format."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.markup.tokens import StrictWriter, Token, text_atoms, tokenize
from llmkit.text.documents.packages.xml import element_end
from llmkit.text.documents.segment import Parts
from llmkit.text.documents.writer import Written

_STYLES = {"w:hyperlink", "w:ins", "w:smartTag", "w:moveTo"}
# Tags between two runs of one format that mean nothing: marks of the spelling checker and of printing.
_NOTHING = {"w:proofErr", "w:lastRenderedPageBreak", "w:noProof"}
_RSID = re.compile(r'\sw:rsid\w*="[^"]*"')
_ALONE = re.compile(r" \d+$")
_FIELD_TYPE = re.compile(r'w:fldCharType="(\w+)"')
_SPACE = ' xml:space="preserve"'


@dataclass
class _WordRun:
    """A run: source before and after its text, the atoms of the text, and the format.

    A run without text has no atoms, and all of it is `opening`.
    """

    opening: str
    atoms: list[Atom]
    closing: str
    format: str
    parts: Parts = ()


@dataclass
class RunWriter(StrictWriter):
    """Writes a paragraph; text outside styled runs gets runs of the default format.

    Args:
        wraps: (opening, closing, text) of the paragraph's own usual runs, in order.
    """

    wraps: list[tuple[str, str, str]] = field(default_factory=list)
    quote: str = ""

    def finish(self, tokens: Sequence[Written]) -> list[str | int]:
        out: list[str | int] = []
        group: list[str | int] = []
        depth = number = 0

        def end_group() -> None:
            nonlocal group, number
            if group:
                opening, closing, text = self.wraps[min(number, len(self.wraps) - 1)]
                out.extend([_spaced(opening, text, group), *group, closing])
                number += 1
            group = []

        for parts, role in tokens:
            if depth == 0 and self.wraps and role not in _OUTER:
                group += parts
                continue
            end_group()
            out += parts
            depth += {"open": 1, "close": -1}.get(role, 0)
        end_group()
        return out


def _spaced(opening: str, text: str, group: Sequence[str | int]) -> str:
    """The opening with the order to keep white space, where the text around its ends needs it now."""
    new = "".join(part for part in group if isinstance(part, str))
    needs = new != new.strip() and (text == text.strip())
    return opening[:-1] + _SPACE + ">" if needs and opening.endswith("<w:t>") else opening


@dataclass
class DocxReader:
    """Reads the paragraphs of a part of a Word document."""

    builder: Builder
    name: str
    paragraphs: int = 0
    alone: int = 0

    def read(self, source: str) -> Parts:
        """The parts of an XML document."""
        return A.joined(self._sequence(list(tokenize(source, xml=True))))

    def _sequence(self, tokens: Sequence[Token]) -> list[str | int]:
        parts: list[str | int] = []
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if token.kind == "open" and token.name == "w:p":
                end = element_end(tokens, i)
                parts += [token.source, *self._paragraph(tokens[i + 1 : end - 1])]
                parts += [one.source for one in tokens[end - 1 : end]]
                i = end
            else:
                parts.append(token.source)
                i += 1
        return parts

    def _paragraph(self, tokens: Sequence[Token]) -> Parts:
        self.paragraphs += 1
        head = 0
        if tokens and tokens[0].name == "w:pPr":
            head = element_end(tokens, 0) if tokens[0].kind == "open" else 1
        items = _absorbed(self._items(tokens[head:]))
        usual = _usual(items)
        writer = RunWriter()
        atoms = list(_atoms(items, usual, writer))
        where = f"{self.name}, paragraph {self.paragraphs}"
        heading = any(
            'w:val="Heading' in token.source or 'w:val="Title"' in token.source for token in tokens[:head]
        )
        kind = "heading" if heading else "paragraph"
        before = [token.source for token in tokens[:head]]
        written: list[Written] = [(atom.source, _ROLES.get(atom.kind, atom.name)) for atom in atoms]
        whole = A.joined(writer.finish(written))
        parts = self.builder.add(atoms, writer, where=where, kind=kind, whole=whole)
        return A.joined([*before, *parts])

    def _items(self, tokens: Sequence[Token]) -> Iterator[_WordRun | Atom]:
        """Runs, markup around runs, and everything else in a paragraph as pieces."""
        i = 0
        while i < len(tokens):
            token = tokens[i]
            end = element_end(tokens, i) if token.kind == "open" and token.name not in _STYLES else i + 1
            if token.name in _STYLES and token.kind == "open":
                yield A.opening(token.source, token.name)
            elif token.name in _STYLES and token.kind == "close":
                yield A.closing(token.source, token.name)
            elif token.name == "w:r" and token.kind == "open":
                field_end = _field_end(tokens, i, end)
                if field_end > end:
                    end = field_end
                    yield A.piece(A.joined(self._sequence(tokens[i:end])), "field")
                else:
                    yield self._run(tokens[i:end])
            elif token.name in _NOTHING or (token.kind == "text" and not token.source.strip()):
                yield A.line_break(token.source, "")
            else:
                yield A.piece(A.joined(self._sequence(tokens[i:end])), "tag")
            i = end

    def _run(self, tokens: Sequence[Token]) -> _WordRun:
        texts = [i for i, token in enumerate(tokens) if token.name == "w:t" and token.kind == "open"]
        nested = any(token.name == "w:p" for token in tokens)
        head = element_end(tokens, 1) if tokens[1].name == "w:rPr" and tokens[1].kind == "open" else 1
        format = "".join(_RSID.sub("", token.source) for token in tokens[1:head])
        if not texts or nested:
            return _WordRun("", [], "", format, A.joined(self._sequence(tokens)))
        first, last = texts[0], element_end(tokens, texts[-1])
        around = [*tokens[head:first], *tokens[last:-1]]
        if any(token.name not in _NOTHING for token in around if token.kind != "text"):
            # A tab or a note stands next to the text; no other run may take this one's place.
            self.alone += 1
            format += f" {self.alone}"
        opening = "".join(token.source for token in tokens[: first + 1])
        closing = "".join(token.source for token in tokens[last - 1 :])
        atoms: list[Atom] = []
        i = first + 1
        while i < last - 1:
            if tokens[i].kind == "text":
                atoms += text_atoms(tokens[i].source, collapse=False)
                i += 1
                continue
            # From the end of one text to the begin of the next: a tab, a line break.
            end = next(j for j in range(i, last) if tokens[j].name == "w:t" and tokens[j].kind == "open") + 1
            atoms.append(A.piece("".join(token.source for token in tokens[i:end]), "inner"))
            i = end
        return _WordRun(opening, atoms, closing, format)


def _field_end(tokens: Sequence[Token], start: int, end: int) -> int:
    """The end of the run in which a field ends that begins in the run start to end; else `end`."""
    depth = 0
    for i in range(start, len(tokens)):
        if tokens[i].name == "w:fldChar" and tokens[i].kind != "close":
            match = _FIELD_TYPE.search(tokens[i].source)
            depth += {"begin": 1, "end": -1}.get(match.group(1) if match else "", 0)
        if i + 1 >= end and depth <= 0 and tokens[i].name == "w:r" and tokens[i].kind == "close":
            return i + 1
        if i + 1 == end and depth == 0:
            return end
    return end


def _absorbed(items: Iterable[_WordRun | Atom]) -> list[_WordRun | Atom]:
    """The items with white space and meaningless marks (atoms `break`) made part of their neighbors."""
    out: list[_WordRun | Atom] = []
    waiting: Parts = ()
    for item in items:
        if isinstance(item, Atom) and item.kind == "break":
            if out:
                out[-1] = _extended(out[-1], (), item.source)
            else:
                waiting = (*waiting, *item.source)
        else:
            out.append(_extended(item, waiting, ()))
            waiting = ()
    return out


def _extended(item: _WordRun | Atom, before: Parts, after: Parts) -> _WordRun | Atom:
    """The item with more source around it."""
    if isinstance(item, Atom):
        return replace(item, source=A.joined([*before, *item.source, *after]))
    if not item.atoms:
        return replace(item, parts=A.joined([*before, *item.parts, *after]))
    return replace(
        item,
        opening="".join(map(str, before)) + item.opening,
        closing=item.closing + "".join(map(str, after)),
    )


def _usual(items: Sequence[_WordRun | Atom]) -> str | None:
    """The format of most of a paragraph's text outside links."""
    sizes: Counter[str] = Counter()
    depth = 0
    for item in items:
        if isinstance(item, Atom):
            depth += {"open": 1, "close": -1}.get(item.kind, 0)
        elif item.atoms and depth == 0 and not _ALONE.search(item.format):
            sizes[item.format] += len(A.shown(item.atoms))
    return sizes.most_common(1)[0][0] if sizes else None


def _atoms(items: Sequence[_WordRun | Atom], usual: str | None, writer: RunWriter) -> Iterator[Atom]:
    """Atoms of a paragraph. Neighboring runs of one format are one, with a joint between them."""
    depth = i = 0
    while i < len(items):
        item = items[i]
        if isinstance(item, Atom):
            depth += {"open": 1, "close": -1}.get(item.kind, 0)
            yield item
            i += 1
            continue
        if not item.atoms:
            yield A.piece(item.parts, "tag")
            i += 1
            continue
        merged, i = _merged(items, i)
        if depth == 0 and item.format == usual:
            writer.wraps.append((merged.opening, merged.closing, A.shown(merged.atoms)))
            yield from merged.atoms
        else:
            name = f"run{i}"
            yield A.opening(merged.opening, name)
            yield from merged.atoms
            yield A.closing(merged.closing, name)


def _merged(items: Sequence[_WordRun | Atom], i: int) -> tuple[_WordRun, int]:
    """The run at `i` with those of its format that follow, and the index after them."""
    first = items[i]
    assert isinstance(first, _WordRun)
    run = _WordRun(first.opening, list(first.atoms), first.closing, first.format)
    i += 1
    for j in range(i, len(items)):
        item = items[j]
        if not isinstance(item, _WordRun):
            break
        if not item.atoms or item.format != run.format:
            break
        joint = run.closing + item.opening
        run.atoms += [Atom("break", "", (joint,), "joint"), *item.atoms]
        run.closing, i = item.closing, j + 1
    return run, i


# Roles of what has runs of its own around it.
_OUTER = {"open", "close", "tag", "mark", "field"}
_ROLES = {"text": "text", "char": "char", "break": "break", "open": "open", "close": "close"}
