"""YAML string tables: the texts among the values, in each of YAML's styles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from llmkit.errors import InputError
from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.segment import Parts
from llmkit.text.documents.tables.json_table import is_wanted, lines_of
from llmkit.text.documents.writer import TextWriter, Written

# The values of a front matter that readers see.
FRONT_MATTER_KEYS = (
    "title",
    "subtitle",
    "description",
    "summary",
    "excerpt",
    "abstract",
    "tagline",
    "caption",
)
_ESCAPE = re.compile(r"\\(?:x[\da-fA-F]{2}|u[\da-fA-F]{4}|U[\da-fA-F]{8}|.)", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "e": "\x1b", "_": "\xa0", "N": "\x85", " ": " "}
_SIMPLE |= {"a": "\a", "b": "\b", "f": "\f", "v": "\v", "L": "\u2028", "P": "\u2029", "/": "/"}
_PROPERTIES = re.compile(r"[&!]\S*\s+")
_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")


class QuotedWriter(TextWriter):
    """Writes text between quotation marks."""

    def __init__(self, quote: str) -> None:
        self.quote = quote

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        if self.quote == "'":
            return text.replace("'", "''")
        return json.dumps(text, ensure_ascii=False)[1:-1]


class PlainWriter(TextWriter):
    """Writes a scalar without quotation marks, or with them if YAML would read it as something else."""

    def __init__(self, *, flow: bool) -> None:
        self.flow = flow

    def finish(self, tokens: Sequence[Written]) -> list[str | int]:
        parts = super().finish(tokens)
        source = "".join(part if isinstance(part, str) else "x" for part in parts)
        if reads_as(f"[{source}]" if self.flow else f"k: {source}", " ".join(source.split())):
            return parts
        escape = {ord("\\"): "\\\\", ord('"'): '\\"'}
        return ['"', *(part.translate(escape) if isinstance(part, str) else part for part in parts), '"']


class BlockWriter(TextWriter):
    """Writes a line of a literal or folded scalar, without escapes."""


def reads_as(document: str, text: str) -> bool:
    """True if YAML reads a document with one value as that text."""
    import yaml

    try:
        events = list(yaml.parse(document, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return False
    scalars: list[Any] = [event for event in events if isinstance(event, yaml.ScalarEvent)]
    last = scalars[-1] if scalars else None
    if last is None or len(scalars) != (2 if document.startswith("k: ") else 1):
        return False
    resolver = yaml.resolver.Resolver()
    tag = resolver.resolve(yaml.ScalarNode, last.value, last.implicit)
    return last.value == text and tag.endswith(":str")


def read_yaml(
    source: str,
    builder: Builder,
    *,
    keys: Sequence[str] | None = None,
    first_line: int = 1,
    strict: bool = True,
) -> Parts:
    """Read a YAML document.

    Args:
        source: the document.
        builder: takes its segments.
        keys: paths of values to take; None takes all texts but those that look like names for programs.
        first_line: the number of the first line, for places.
        strict: raise an error if the source is no YAML; False leaves it as it is.

    Raises:
        InputError: no YAML.
    """
    import yaml

    try:
        scalars = list(_scalars(source))
    except (yaml.YAMLError, RecursionError) as error:
        if not strict:
            return (source,)
        problem = " ".join(str(error).split())
        raise InputError(f"the document is not YAML: {problem}") from error
    parts: list[str | int] = []
    at = 0
    for path, event, flow in scalars:
        start, end = event.start_mark.index, event.end_mark.index
        if not is_wanted(path, event.value, keys):
            continue
        where = f"line {event.start_mark.line + first_line} ({path})"
        new = _scalar(source[start:end], event, builder, where, flow=flow)
        if new is not None:
            parts += [source[at:start], *new]
            at = end
    return A.joined([*parts, source[at:]])


def _scalars(source: str) -> Iterator[tuple[str, Any, bool]]:
    """(path, event, inside brackets) of the values that are texts."""
    import yaml

    resolver = yaml.resolver.Resolver()
    stack: list[list[Any]] = []  # [kind, key or index, a key comes next, flow]
    for event in yaml.parse(source, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
            _advance(stack)
        elif isinstance(event, yaml.MappingStartEvent):
            stack.append(["map", "", True, bool(event.flow_style)])
        elif isinstance(event, yaml.SequenceStartEvent):
            stack.append(["list", 0, False, bool(event.flow_style)])
        elif isinstance(event, yaml.AliasEvent):
            _advance(stack)
        elif isinstance(event, yaml.ScalarEvent):
            if stack and stack[-1][2]:
                stack[-1][1], stack[-1][2] = event.value, False
                continue
            tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
            if tag in {"tag:yaml.org,2002:str", "!"}:
                flow = any(level[3] for level in stack)
                yield ".".join(str(level[1]) for level in stack), event, flow
            _advance(stack)


def _advance(stack: list[list[Any]]) -> None:
    if stack and stack[-1][0] == "map":
        # After a key that is a list or a map comes its value.
        stack[-1][2] = not stack[-1][2] if stack[-1][2] else True
    elif stack:
        stack[-1][1] += 1


def _scalar(raw: str, event: Any, builder: Builder, where: str, *, flow: bool) -> list[str | int] | None:
    properties = _PROPERTIES.match(raw)
    if properties:  # an anchor or a tag before the value
        inner = _scalar(raw[properties.end() :], event, builder, where, flow=flow)
        return None if inner is None else [properties.group(), *inner]
    style = event.style
    if style in {"|", ">"}:
        return _block(raw, builder, where, folded=style == ">")
    if style in {"'", '"'}:
        quote = raw.find(style)
        if quote < 0 or not raw.rstrip().endswith(style):
            return None
        end = len(raw.rstrip()) - 1
        atoms = list(_quoted(raw[quote + 1 : end], style))
        return [raw[: quote + 1], *lines_of(atoms, builder, QuotedWriter(style), where), raw[end:]]
    text = raw.rstrip()
    if "\n\n" in text or ("#" in text and "\n" in text):
        return None
    atoms = list(_wrapped(text))
    return [*builder.add(atoms, PlainWriter(flow=flow), where=where, kind="message"), raw[len(text) :]]


def _wrapped(text: str) -> Iterator[Atom]:
    last = 0
    for match in re.finditer(r"(?<![ \t])[ \t]*(?:\r\n|\r|\n)[ \t]*", text):
        if last < match.start():
            yield A.text(text[last : match.start()])
        yield A.line_break(match.group())
        last = match.end()
    if last < len(text):
        yield A.text(text[last:])


def _quoted(raw: str, quote: str) -> Iterator[Atom]:
    """Atoms of a quoted scalar. A blank line in it is a line break of the text."""
    inner = _ESCAPE.pattern if quote == '"' else "''"
    last = 0
    for match in re.finditer(rf"{inner}|(?<![ \t])[ \t]*(?:(?:\r\n|\r|\n)[ \t]*)+", raw, re.DOTALL):
        if last < match.start():
            yield A.text(raw[last : match.start()])
        found = match.group()
        if not found.strip():
            blank = found.count("\n") + found.count("\r") - found.count("\r\n") > 1
            yield A.char("\n", found) if blank else A.line_break(found)
        elif found == "''":
            yield A.char("'", found)
        elif found[1] in "\r\n":
            yield A.line_break(found, "")
        else:
            yield A.char(_unescaped(found), found)
        last = match.end()
    if last < len(raw):
        yield A.text(raw[last:])


def _unescaped(escape: str) -> str:
    if len(escape) > 2:
        return chr(min(int(escape[2:], 16), 0x10FFFF))
    return _SIMPLE.get(escape[1], escape[1])


def _block(raw: str, builder: Builder, where: str, *, folded: bool) -> list[str | int]:
    """A literal scalar: a segment a line. A folded one: a segment a paragraph."""
    header, rest = raw.split("\n", 1) if "\n" in raw else (raw, "")
    parts: list[str | int] = [header + "\n" if "\n" in raw else header]
    block: list[Atom] = []
    indent = len(rest) - len(rest.lstrip(" ")) if rest.strip() else 0
    ending = ""
    for match in _LINE.finditer(rest):
        line = match.group(1)
        text = line.strip(" \t")
        lead = line[: len(line) - len(line.lstrip(" \t"))]
        joins = folded and block and text and len(lead) == indent
        if joins:
            block += [A.line_break(ending + lead), A.text(line[len(lead) :])]
        else:
            parts += [*builder.add(block, BlockWriter(), where=where, kind="message"), ending, lead]
            block = [A.text(line[len(lead) :])] if text else []
            if folded and len(lead) > indent:
                parts += [*builder.add(block, BlockWriter(), where=where, kind="message")]
                block = []
        ending = match.group(2)
        if match.end() == len(rest):
            break
    parts += [*builder.add(block, BlockWriter(), where=where, kind="message"), ending]
    return parts
