"""JSON string tables: the texts among the values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from llmkit.errors import InputError
from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.segment import Parts
from llmkit.text.documents.writer import TextWriter

_DEEPEST = 500
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|\\u[\da-fA-F]{4}|\\.", re.DOTALL
)
# Texts that a program reads: file names, identifiers, colors.
_NO_PROSE = re.compile(r"\S*[/\\_@#=]\S*|[a-z]+(?:[-.:][\w-]+)+|[a-z]+[A-Z]\w*")


class StringWriter(TextWriter):
    """Writes text in a JSON string."""

    def __init__(self, *, ascii_only: bool = False) -> None:
        self.ascii_only = ascii_only

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        return json.dumps(text, ensure_ascii=self.ascii_only)[1:-1]


def read_json(source: str, builder: Builder, *, keys: Sequence[str] | None = None) -> Parts:
    """Read a JSON document.

    Args:
        source: the document.
        builder: takes its segments.
        keys: paths of values to take, such as `menu.*.label`; None takes all texts but those that look like
            names for programs.

    Raises:
        InputError: no JSON.
    """
    body = source.lstrip("\ufeff")
    try:
        json.loads(body)
    except ValueError as error:
        raise InputError(f"the document is not JSON: {error}") from error
    except RecursionError as error:
        raise InputError("the document is nested too deeply") from error
    # A file without any other letter than ASCII keeps to it.
    writer = StringWriter(ascii_only="\\u" in source and source.isascii())
    parts: list[str | int] = []
    at = 0
    for start, end, path in _strings(source):
        if not is_wanted(path, source[start + 1 : end - 1], keys):
            continue
        parts.append(source[at : start + 1])
        line = source.count("\n", 0, start) + 1
        raw = source[start + 1 : end - 1]
        parts += lines_of(list(_atoms(raw)), builder, writer, f"line {line} ({path})")
        at = end - 1
    return A.joined([*parts, source[at:]])


def is_wanted(path: str, text: str, keys: Sequence[str] | None) -> bool:
    """True if the value at a path is a text to translate."""
    if keys is not None:
        return any(fnmatchcase(path, key) for key in keys)
    return not _NO_PROSE.fullmatch(text) and not any(part.startswith(("@", "$")) for part in path.split("."))


def lines_of(atoms: Sequence[Atom], builder: Builder, writer: TextWriter, where: str) -> list[str | int]:
    """Parts of a text with a segment for each of its lines."""
    parts: list[str | int] = []
    block: list[Atom] = []
    for atom in [*atoms, None]:
        if atom is not None and (atom.kind == "break" or "\n" not in atom.shown):
            block.append(atom)
            continue
        parts += builder.add(block, writer, where=where, kind="message")
        block = []
        parts += () if atom is None else atom.source
    return parts


def _strings(source: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, path) of the strings that are values."""
    # An entry a level: the key or index at which it stands.
    stack: list[str | int] = []
    pending: tuple[int, int] | None = None
    expects_key = False
    kinds: list[str] = []
    for match in _TOKEN.finditer(source):
        token = match.group()
        if token in "{[":
            if len(stack) > _DEEPEST:
                raise InputError("the document is nested too deeply")
            kinds.append(token)
            stack.append("" if token == "{" else 0)
            expects_key = token == "{"
        elif token in "}]":
            kinds.pop()
            stack.pop()
            expects_key = False
        elif token == ",":
            if kinds[-1] == "[":
                stack[-1] = int(stack[-1]) + 1
            expects_key = kinds[-1] == "{"
        elif token == ":":
            expects_key = False
        elif token.startswith('"'):
            if expects_key and kinds and kinds[-1] == "{":
                pending = match.span()
                stack[-1] = json.loads(source[slice(*pending)], strict=False)
            else:
                yield match.start(), match.end(), ".".join(map(str, stack))


def _atoms(raw: str) -> Iterator[Atom]:
    last = 0
    for match in _ESCAPE.finditer(raw):
        if last < match.start():
            yield A.text(raw[last : match.start()])
        found = match.group()
        yield A.char(json.loads(f'"{found}"'), found)
        last = match.end()
    if last < len(raw):
        yield A.text(raw[last:])
