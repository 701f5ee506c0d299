"""gettext message files: messages without a translation are segments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from llmkit.errors import InputError
from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.document import Group
from llmkit.text.documents.segment import Parts, has_letters
from llmkit.text.documents.writer import TextWriter

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")
_FIELD = re.compile(r"[ \t]*(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d{1,3})\])?[ \t]*(\".*\")[ \t]*$")
_STRING = re.compile(r"[ \t]*(\".*\")[ \t]*$")
_ESCAPE = re.compile(r"\\(?:[0-7]{1,3}|x[\da-fA-F]{2}|.)")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CHARSET = re.compile(rb'(?m)^"Content-Type:[^"\n]*charset=([\w-]+)')
# Shorter lines end because their writer wanted it; longer ones are broken to the width of a terminal.
_WRAPPED = 55


class MessageWriter(TextWriter):
    """Writes text in a string of C."""

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")


@dataclass
class _Field:
    """A keyword and its strings: places of the first quotation mark and of the end of the last."""

    keyword: str
    index: int | None
    start: int
    end: int
    line: int
    value: str


@dataclass
class _Entry:
    fields: list[_Field] = field(default_factory=list)

    def get(self, keyword: str) -> _Field | None:
        return next((one for one in self.fields if one.keyword == keyword), None)


def declared_charset(data: bytes) -> str | None:
    """The encoding that the header of a message file names."""
    match = _CHARSET.search(data[:65536])
    name = match.group(1).decode("ascii") if match else None
    return None if name == "CHARSET" else name


def read_po(source: str, builder: Builder) -> tuple[str | int | Group, ...]:
    """Read messages.

    Translations that are there stay, fuzzy ones and obsolete entries too. `msgstr[0]` of a message with
    plural forms translates `msgid`, the others `msgid_plural`.

    Args:
        source: the file.
        builder: takes its segments.

    Raises:
        InputError: there is no message in the file.
    """
    parts: list[str | int | Group] = []
    at = 0
    entries = list(_entries(source))
    if source.strip() and not entries:
        raise InputError("the document has no gettext messages")
    for entry in entries:
        message, plural = entry.get("msgid"), entry.get("msgid_plural")
        if message is None or not has_letters(message.value):
            continue
        targets = [one for one in entry.fields if one.keyword == "msgstr"]
        if any(one.value for one in targets):
            continue
        for target in targets:
            model = message
            if plural is not None and (target.index or len(targets) == 1):
                model = plural
            filled = _message(source, model, builder)
            if any(isinstance(part, int) for part in filled):
                parts += [source[at : target.start], Group(filled, source[target.start : target.end])]
                at = target.end
    return (*parts, source[at:])


def _entries(source: str) -> Iterator[_Entry]:
    entry, current = _Entry(), None
    for number, match in enumerate(_LINE.finditer(source), 1):
        line = match.group(1)
        found = _FIELD.match(line)
        string = _STRING.match(line)
        if found:
            keyword, index = found.group(1), found.group(2)
            if keyword in {"msgctxt", "msgid"} and entry.get("msgstr"):
                yield entry
                entry = _Entry()
            start, end = match.start() + found.start(3), match.start() + found.end(3)
            current = _Field(keyword, int(index) if index else None, start, end, number, found.group(3)[1:-1])
            entry.fields.append(current)
        elif string and current:
            current.end = match.start() + string.end(1)
            current.value += string.group(1)[1:-1]
        elif not line.lstrip().startswith("#"):
            current = None
    if entry.get("msgstr"):
        yield entry


def _message(source: str, model: _Field, builder: Builder) -> Parts:
    """The strings of a message as parts with segments in them."""
    parts: list[str | int] = ['"']
    block: list[Atom] = []

    def end_block() -> None:
        nonlocal block
        parts.extend(builder.add(block, MessageWriter(), where=f"line {model.line}", kind="message"))
        block = []

    atoms = list(_string_atoms(source[model.start + 1 : model.end - 1]))
    line: list[str] = []
    for i, atom in enumerate(atoms):
        if "\n" not in atom.shown:
            block.append(atom)
            line.append(atom.shown)
            continue
        if _is_wrapped("".join(line), A.shown(atoms[i + 1 : i + 4])):
            block.append(A.line_break(_source(atom)))
        else:
            end_block()
            parts += atom.source
        line = []
    end_block()
    return A.joined([*parts, '"'])


def _string_atoms(raw: str) -> Iterator[Atom]:
    """Yield atoms of a field's strings; `raw` is the source between its first and last quotation mark."""
    pattern = re.compile(_ESCAPE.pattern + r'|"[ \t]*(?:\r\n|\r|\n)(?:[ \t]*#[^\r\n]*(?:\r\n|\r|\n))*[ \t]*"')
    last = 0
    for match in pattern.finditer(raw):
        if last < match.start():
            yield A.text(raw[last : match.start()])
        found = match.group()
        yield A.line_break(found, "") if found.startswith('"') else A.char(_unescaped(found), found)
        last = match.end()
    if last < len(raw):
        yield A.text(raw[last:])


def _unescaped(escape: str) -> str:
    body = escape[1:]
    if body[0] == "x":
        return chr(int(body[1:], 16)) if len(body) == 3 else body
    if body[0] in "01234567":
        return chr(int(body, 8))
    return _SIMPLE.get(body, body)


def _is_wrapped(line: str, following: str) -> bool:
    """True if the line break after a line only keeps it to the width of a terminal."""
    goes_on = bool(following) and (following[0].isalnum() or following[0] in "\"'(%`")
    return goes_on and len(line) >= _WRAPPED and not line.startswith(" ")


def _source(atom: Atom) -> str:
    return "".join(part for part in atom.source if isinstance(part, str))
