"""Segments out of atoms."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.placeholders import Placeholders
from llmkit.text.documents.segment import Break, Parts, ProtectedPiece, Segment, Style, has_letters
from llmkit.text.documents.writer import TextWriter

# Pieces that say nothing within a sentence: at a segment's border they stay outside it.
_OUTSIDE = {"image", "tag", "footnote", "note"}


@dataclass
class Builder:
    """Collects a document's segments.

    Args:
        placeholders: finds protected spans in plain text.
    """

    placeholders: Placeholders
    segments: list[Segment] = field(default_factory=list)

    def add(
        self, atoms: Sequence[Atom], writer: TextWriter, *, where: str, kind: str, whole: Parts | None = None
    ) -> Parts:
        """Make a segment of a block's atoms.

        Args:
            atoms: all of the block.
            writer: writes its text.
            where, kind: see `Segment`.
            whole: source of the block, where the writer adds to the atoms; all of it is the segment.
                None leaves white space, images and markup at both ends outside.

        Returns:
            The block's parts: source text and the number of the segment in between; the source alone where
            there is no prose in the block.
        """
        found = [atom for atom in A.pair(_merged(atoms)) if atom.source or atom.shown]
        found = list(_edged(list(self._protected(_collapsed(found), writer, where))))
        first, last = _trimmed(found) if whole is None else (0, len(found))
        inner = found[first:last]
        if not has_letters(A.shown([atom for atom in inner if atom.kind != "piece"])):
            return A.source_of(found) if whole is None else whole
        number = len(self.segments)
        self.segments.append(_segment(inner, number, writer, where, kind, whole))
        return A.joined([*A.source_of(found[:first]), number, *A.source_of(found[last:])])

    def _protected(self, atoms: Sequence[Atom], writer: TextWriter, where: str) -> Iterator[Atom]:
        """The atoms with placeholders in the text made pieces."""
        run: list[Atom] = []
        for atom in [*atoms, None]:
            if atom is not None and atom.kind != "piece":
                run.append(atom)
                continue
            yield from self._run(run, writer, where)
            run = []
            if atom is not None:
                yield atom

    def _run(self, run: list[Atom], writer: TextWriter, where: str) -> Iterator[Atom]:
        text = A.shown(run)
        borders, position = [], 0
        for atom in run:
            if atom.kind in {"open", "close"} or atom.firm:
                borders.append(position)
            position += len(atom.shown)
        cutter = A.Cutter(run)
        for found in self.placeholders.find(text):
            border = bisect_right(borders, found.start)
            if border < len(borders) and borders[border] < found.end:
                continue  # markup begins or ends inside it
            yield from cutter.until(found.start, take=True)
            inside = cutter.until(found.end, take=False)
            source = A.source_of(inside)
            if found.branches:
                source = self._branches(inside, found.start, found.branches, writer, where)
            yield A.piece(source, found.kind, A.shown(inside))
        yield from cutter.rest()

    def _branches(
        self,
        inside: Sequence[Atom],
        base: int,
        branches: Sequence[tuple[int, int]],
        writer: TextWriter,
        where: str,
    ) -> Parts:
        """The source of a message with branches (ICU), each branch a separate segment."""
        parts: list[str | int] = []
        cutter = A.Cutter(inside, base)
        for start, end in branches:
            parts += A.source_of(cutter.until(start, take=True))
            branch = cutter.until(end, take=False)
            parts += self.add(branch, writer, where=where, kind="branch")
        return A.joined([*parts, *A.source_of(cutter.rest())])


def _merged(atoms: Sequence[Atom]) -> list[Atom]:
    """The same atoms with neighboring text as one."""
    out: list[Atom] = []
    for kind, group in groupby(atoms, key=lambda atom: atom.kind):
        run = list(group)
        out += [A.text(A.shown(run))] if kind == "text" else run
    return out


def _edged(atoms: Sequence[Atom]) -> Iterator[Atom]:
    """The same atoms with the white space around each text as a separate text."""
    for atom in atoms:
        if atom.kind == "text":
            core = atom.shown.strip()
            start = atom.shown.find(core) if core else len(atom.shown)
            pieces = (atom.shown[:start], core, atom.shown[start + len(core) :])
            yield from (A.text(part) for part in pieces if part)
        else:
            yield atom


def _collapsed(atoms: Sequence[Atom]) -> list[Atom]:
    """Styles around nothing but pieces become pieces: a link around an image, an empty anchor."""
    out: list[Atom] = []
    i = 0
    while i < len(atoms):
        if atoms[i].kind != "open":
            out.append(atoms[i])
            i += 1
            continue
        end = A.partner(atoms, i)
        inner = _collapsed(atoms[i + 1 : end])
        texts = A.shown([atom for atom in inner if atom.kind != "piece"])
        pieces = [atom for atom in inner if atom.kind == "piece"]
        if any(character.isalnum() for character in texts):
            out += [atoms[i], *inner, atoms[end]]
        else:
            one = len(pieces) == 1 and not texts.strip()
            name, shown = (
                (pieces[0].name, pieces[0].shown) if one else ("tag", texts.strip() and A.shown(inner))
            )
            if name == "inner" or (not pieces and texts.strip()):
                name = "mark"
            out.append(A.piece(A.source_of([atoms[i], *inner, atoms[end]]), name, " ".join(shown.split())))
        i = end + 1
    return out


def _trimmed(atoms: Sequence[Atom]) -> tuple[int, int]:
    """The range of atoms without white space, images and tags at both ends or a style around all."""
    first, last = 0, len(atoms)
    while first < last:
        if _is_outside(atoms[first]):
            first += 1
        elif _is_outside(atoms[last - 1]):
            last -= 1
        elif _wraps(atoms[first]) and A.partner(atoms, first) == last - 1:
            first, last = first + 1, last - 1
        else:
            break
    return first, last


def _wraps(atom: Atom) -> bool:
    """True if it opens a style that may stay outside; the closing of a short link depends on its text."""
    return atom.kind == "open" and not atom.name.startswith("link:")


def _is_outside(atom: Atom) -> bool:
    if atom.kind == "piece":
        return atom.name in _OUTSIDE
    return atom.kind in {"text", "char", "break"} and not atom.shown.strip()


def _segment(
    atoms: Sequence[Atom], number: int, writer: TextWriter, where: str, kind: str, whole: Parts | None
) -> Segment:
    parts: list[str] = []
    pieces, variants, breaks = [], [], []
    styles: list[Style | None] = []
    stack: list[tuple[int, Atom, int, int]] = []
    position = marks = 0
    for order, atom in enumerate(atoms):
        shown = atom.shown
        if atom.kind == "piece" and not shown:
            marks += 1
            shown = f"<x{marks}/>"
        end = position + len(shown)
        if atom.kind == "piece":
            pieces.append(ProtectedPiece(position, end, atom.source, atom.name, order))
        elif atom.kind == "char":
            variants.append(ProtectedPiece(position, end, atom.source, "char", order))
        elif atom.kind == "break":
            breaks.append(Break(position, end, atom.source, atom.firm, atom.name == "joint", order))
        elif atom.kind == "open":
            stack.append((len(styles), atom, position, order))
            styles.append(None)
        elif atom.kind == "close":
            place, opener, start, first = stack.pop()
            styles[place] = Style(start, position, opener.source, atom.source, opener.name, first, order)
        parts.append(shown)
        position = end
    return Segment(
        number=number,
        where=where,
        kind=kind,
        text="".join(parts),
        pieces=tuple(pieces),
        styles=tuple(style for style in styles if style is not None),
        variants=tuple(variants),
        breaks=tuple(breaks),
        source=A.source_of(atoms) if whole is None else whole,
        writer=writer,
    )
