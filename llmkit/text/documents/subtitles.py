"""SubRip and WebVTT: sentences over one or several cues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.markup.tokens import references_escaped, text_atoms
from llmkit.text.documents.segment import Parts
from llmkit.text.documents.writer import TextWriter

WIDTH = 42  # characters of a line, as broadcasters and streaming services ask for
_MOST_JOINED = 6  # cues of one sentence
_LONGEST_PAUSE = 1.5  # seconds between two cues of one sentence

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_TIMING = re.compile(
    r"[ \t]*(?:(\d+):)?(\d{1,3}):(\d{1,2})[,.:](\d{1,3})[ \t]*-->[ \t]*"
    r"(?:(\d+):)?(\d{1,3}):(\d{1,2})[,.:](\d{1,3})(?=[ \t\r\n]|$)"
)
_MARKUP = re.compile(
    r"(?P<style></?(?:i|b|u|s|font|c|v|lang|ruby|rt)(?:[.\s][^<>]*)?>)"
    r"|(?P<tag><\d[\d:.]*>|\{\\[^{}]*\}|\{[a-zA-Z]:[^{}]*\})"
    r"|(?P<note>[♪♫#]+(?=\s|$)|(?<!\S)[♪♫#]+)",
    re.IGNORECASE,
)
# A speaker's dash or name begins a line; it is no part of the sentence.
_SPEAKER = re.compile(r"(?:<[^<>]*>|\{\\[^{}]*\})*[ \t]*(?:[-–—‐][ \t]*(?=\S)|>>+[ \t]*)")
_SENTENCE_END = re.compile(r"[.?!…:;。！？؟♪♫)\]\"”»]\s*$")
_FRESH = re.compile(r"\s*(?:[-–—‐♪♫\[(#]|>>)")


@dataclass(frozen=True)
class _Cue:
    """The text of a cue: its place, times in seconds, and line number."""

    start: int
    end: int
    begins: float
    ends: float
    line: int


class SubtitleWriter(TextWriter):
    """Writes lines of a cue; what would begin another cue or a tag is written in another way."""

    width = WIDTH

    def __init__(self, format: str) -> None:
        self.vtt = format == "vtt"

    levels = 2

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        text = references_escaped(text) if self.vtt else text
        if level == 0:
            return text
        text = text.replace("-->", "→")
        if self.vtt:
            return text.replace("<", "&lt;")
        return text.replace("<", "‹").replace("{\\", "(")

    def accepts(self, before: str, source: str, text: str, pieces: Sequence[str]) -> bool:
        pattern = _VTT_MARKUP if self.vtt else _SRT_MARKUP
        same = sorted(pattern.findall(before.lower())) == sorted(pattern.findall(source.lower()))
        return same and all(line.strip() for line in source.split("\n"))


_VTT_MARKUP = re.compile(r"<[A-Za-z/\d]|-->")
_SRT_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|-->|\{\\")


def read_subtitles(source: str, builder: Builder, format: str) -> Parts:
    """Read SubRip or WebVTT.

    A sentence over several cues is one segment, if the pauses between them are short. Its line breaks and
    the numbers and times between its cues are its breaks.

    Args:
        source: the file.
        builder: takes its segments.
        format: `srt` or `vtt`.
    """
    writer = SubtitleWriter(format)
    parts: list[str | int] = []
    at = 0
    block: list[Atom] = []
    line = joined = 0
    last: _Cue | None = None

    def end_block() -> None:
        nonlocal block, joined
        if block:
            parts.extend(builder.add(block, writer, where=f"line {line}", kind="cue"))
        block, joined = [], 0

    for cue in _cues(source):
        utterances = list(_utterances(source[cue.start : cue.end], cue.start, format))
        for i, (start, end, atoms) in enumerate(utterances):
            gap = source[at:start]
            if i == 0 and last and block and joined < _MOST_JOINED and _goes_on(block, last, cue, atoms):
                joined += 1
                block, gap, atoms = _bridged(block, gap, atoms)
                block += [A.line_break(gap, firm=True), *atoms]
            else:
                end_block()
                parts.append(gap)
                line = cue.line + source[cue.start : start].count("\n")
                block = atoms
            at = end
        last = cue
    end_block()
    return A.joined([*parts, source[at:]])


def _cues(source: str) -> Iterator[_Cue]:
    """The cues of a file; a cue's text ends at a blank line, or before the number of the next cue."""
    lines = list(_LINE.finditer(source))
    timings = [i for i, match in enumerate(lines) if _TIMING.match(match.group(1))]
    for k, i in enumerate(timings):
        stop = timings[k + 1] if k + 1 < len(timings) else len(lines)
        first = last = i + 1
        while last < stop and lines[last].group(1).strip():
            last += 1
        if last == stop < len(lines) and last - 1 >= first and lines[last - 1].group(1).strip().isdigit():
            last -= 1
        timing = _TIMING.match(lines[i].group(1))
        if first < last and timing:
            begins, ends = _seconds(timing.groups()[:4]), _seconds(timing.groups()[4:])
            yield _Cue(lines[first].start(), lines[last - 1].end(1), begins, ends, first + 1)


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, parts = (int(group or 0) for group in groups)
    return hours * 3600 + minutes * 60 + seconds + parts / 1000


def _utterances(text: str, base: int, format: str) -> Iterator[tuple[int, int, list[Atom]]]:
    """Yield (start, end, atoms) of the words of each speaker in a cue; a dash begins the words of another."""
    start: int | None = None
    atoms: list[Atom] = []
    ending = ""
    end = 0
    for match in _LINE.finditer(text):
        if match.start() == len(text) and start is not None:
            break
        speaker = _SPEAKER.match(match.group(1))
        skip = speaker.end() if speaker else 0
        # Tags before a dash belong to the sentence's style: keep them with it.
        content = match.group(1)
        if start is None or speaker:
            if start is not None:
                yield base + start, base + end, atoms
            start, atoms = match.start(), []
            if speaker:
                atoms = [*_line_atoms(content[:skip], format, dashes=True)]
                content = content[skip:]
        else:
            atoms.append(A.line_break(ending))
        atoms += _line_atoms(content, format)
        ending, end = match.group(2), match.end(1)
    if start is not None:
        yield base + start, base + end, atoms


def _line_atoms(line: str, format: str, *, dashes: bool = False) -> Iterator[Atom]:
    last = 0
    for match in _MARKUP.finditer(line):
        yield from _text(line[last : match.start()], format, dashes=dashes)
        found = match.group()
        if match.lastgroup == "style":
            name = (re.search(r"[a-zA-Z]+", found) or match).group().lower()
            yield A.closing(found, name) if found.startswith("</") else A.opening(found, name)
        else:
            yield A.piece(found, match.lastgroup or "tag")
        last = match.end()
    yield from _text(line[last:], format, dashes=dashes)


def _text(text: str, format: str, *, dashes: bool) -> Iterator[Atom]:
    if dashes and text:
        yield A.piece(text, "note")
    elif format == "vtt":
        yield from text_atoms(text, collapse=False)
    elif text:
        yield A.text(text)


def _goes_on(block: Sequence[Atom], last: _Cue, cue: _Cue, atoms: Sequence[Atom]) -> bool:
    """True if a cue continues the sentence of the one before it."""
    before = A.shown([atom for atom in block if atom.kind != "piece"]).rstrip()
    after = A.shown([atom for atom in atoms if atom.kind != "piece"]).lstrip()
    if not before or not after or any(atom.name == "note" for atom in (block[-1], atoms[0])):
        return False
    voice = atoms[0] if atoms[0].name == "v" else None
    if voice and voice.source not in [atom.source for atom in block if atom.name == "v"][-1:]:
        return False
    if _FRESH.match(after) or cue.begins - last.ends > _LONGEST_PAUSE or cue.begins < last.begins:
        return False
    if before.endswith(("...", "…")):
        return after[0].islower() or after.startswith(("...", "…"))
    return not _SENTENCE_END.search(before)


def _bridged(block: list[Atom], gap: str, atoms: list[Atom]) -> tuple[list[Atom], str, list[Atom]]:
    """Markup that ends in one cue and begins again in the next becomes part of the gap between them."""
    block, atoms = list(block), list(atoms)
    closers, openers = [], []
    if atoms[0].kind == "open" and atoms[0].name == "v" and block[-1].name != "v":
        # A voice that speaks on; its tag needs no end.
        return block, gap + _source(atoms[0]), atoms[1:]
    while block and atoms and block[-1].kind == "close" and atoms[0].kind == "open":
        if block[-1].name != atoms[0].name:
            break
        closers.append(_source(block.pop()))
        openers.append(_source(atoms.pop(0)))
    return block, "".join(reversed(closers)) + gap + "".join(openers), atoms


def _source(atom: Atom) -> str:
    return "".join(part for part in atom.source if isinstance(part, str))
