"""Atoms: the source of a block of prose, in order, as a format's reader found it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llmkit.text.documents.segment import Parts

AtomKind = Literal["text", "char", "piece", "open", "close", "break"]


@dataclass(frozen=True, slots=True)
class Atom:
    """A stretch of source.

    Attributes:
        kind: `text` stands for itself; `char` shows a character written in another way; `piece` is
            protected; `open` and `close` are markup around a style; `break` is a line break.
        shown: text that a translator sees. A `piece` shown as "" gets a separate mark (`<x1/>`).
        source: text in the document.
        name: kind of piece or style; styles close the last open one of their name.
        firm: see `Break`.
    """

    kind: AtomKind
    shown: str
    source: Parts
    name: str = ""
    firm: bool = False


def text(content: str) -> Atom:
    """Plain text."""
    return Atom("text", content, (content,))


def char(shown: str, source: str) -> Atom:
    """A character that the document writes in another way."""
    return Atom("char", shown, (source,), "char") if shown != source else text(shown)


def piece(source: str | Parts, name: str, shown: str = "") -> Atom:
    """A protected piece."""
    return Atom("piece", shown, (source,) if isinstance(source, str) else source, name)


def opening(source: str | Parts, name: str) -> Atom:
    """Markup before a styled text."""
    return Atom("open", "", (source,) if isinstance(source, str) else source, name)


def closing(source: str | Parts, name: str) -> Atom:
    """Markup after a styled text."""
    return Atom("close", "", (source,) if isinstance(source, str) else source, name)


def line_break(source: str, shown: str = " ", *, firm: bool = False) -> Atom:
    """A line break that the text does not show, or shows as a space."""
    return Atom("break", shown, (source,), "", firm)


def source_of(atoms: Sequence[Atom]) -> Parts:
    """Return the source of atoms, with neighboring strings joined."""
    return joined([part for atom in atoms for part in atom.source])


def joined(parts: Sequence[str | int]) -> Parts:
    """Join neighboring strings among parts, and drop empty ones."""
    out: list[str | int] = []
    run: list[str] = []
    for part in [*parts, -1]:
        if isinstance(part, str):
            run.append(part)
            continue
        if any(run):
            out.append("".join(run))
        run = []
        out.append(part)
    return tuple(out[:-1])


def shown(atoms: Sequence[Atom]) -> str:
    """Return the text of atoms that a translator sees."""
    return "".join(atom.shown for atom in atoms)


class Cutter:
    """Cuts atoms at places of what is shown, from front to back.

    Args:
        atoms: text atoms are cut; the others are not, and belong to the part in which they begin.
        start: the place at which they begin.
    """

    def __init__(self, atoms: Sequence[Atom], start: int = 0) -> None:
        self.atoms = atoms
        self.place = start
        self.index = 0
        self.offset = 0  # characters of the current text atom that are gone

    def until(self, end: int, *, take: bool) -> list[Atom]:
        """The next atoms up to a place; `take` includes those without characters at that place."""
        out: list[Atom] = []
        while self.index < len(self.atoms):
            atom = self.atoms[self.index]
            size = len(atom.shown) - self.offset
            if self.place >= end and (size or not take):
                break
            if self.place + size > end and atom.kind == "text":
                out.append(text(atom.shown[self.offset : self.offset + end - self.place]))
                self.offset += end - self.place
                self.place = end
                break
            out.append(text(atom.shown[self.offset :]) if self.offset else atom)
            self.index, self.offset = self.index + 1, 0
            self.place += size
        return out

    def rest(self) -> list[Atom]:
        """All atoms that are left."""
        return self.until(sys.maxsize, take=True)


def pair(atoms: Sequence[Atom]) -> list[Atom]:
    """Nest `open` and `close` well: those without a partner become pieces `tag`."""
    out = list(atoms)
    stack: list[int] = []
    for i, atom in enumerate(atoms):
        if atom.kind == "open":
            stack.append(i)
        elif atom.kind == "close":
            depth = next(
                (d for d in range(len(stack) - 1, -1, -1) if atoms[stack[d]].name == atom.name), None
            )
            lone = [i] if depth is None else stack[depth + 1 :]
            for j in lone:
                out[j] = replace(atoms[j], kind="piece", name="tag")
            stack = stack if depth is None else stack[:depth]
    for j in stack:
        out[j] = replace(atoms[j], kind="piece", name="tag")
    return out


def partner(atoms: Sequence[Atom], first: int) -> int:
    """The index of the `close` that belongs to the `open` at `first`; the atoms are well nested."""
    depth = 0
    for i in range(first, len(atoms)):
        depth += {"open": 1, "close": -1}.get(atoms[i].kind, 0)
        if depth == 0:
            return i
    raise ValueError("atoms are not well nested")


def split_at_breaks(atoms: Sequence[Atom]) -> Iterator[tuple[list[Atom], Parts]]:
    """(atoms, source of the line break after them): cut at the pieces `break` that are in no style."""
    start = depth = 0
    paired = pair(atoms)
    for i, atom in enumerate(paired):
        depth += {"open": 1, "close": -1}.get(atom.kind, 0)
        if atom.kind == "piece" and atom.name == "break" and depth == 0:
            yield paired[start:i], atom.source
            start = i + 1
    yield paired[start:], ()
