"""Tokens of HTML and XML: stretches of the source that together are all of it."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.segment import Parts, has_letters
from llmkit.text.documents.writer import TextWriter

_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'=<>`]+)|[^\s"'<>/=]+""")
_NAME = re.compile(r"</?([A-Za-z][^\s/>]*)")
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")
_VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)
# Elements whose content is for programs.
CODE = frozenset(["code", "kbd", "samp", "var", "tt"])
TRANSLATED_ATTRIBUTES = ("alt", "title")


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of markup.

    Attributes:
        kind: `text`, `open`, `close`, `empty` (a tag without content) or `other` (comment, declaration).
        source: all its characters.
        name: of the element, in lower case; as it is in XML.
        start: its place.
    """

    kind: str
    source: str
    name: str
    start: int


def tokenize(source: str, *, xml: bool = False) -> Iterator[Token]:
    """Cut markup into tokens; in linear time, and without an error for any text.

    Args:
        source: HTML or XML.
        xml: names keep their case, and no element has a separate content kind.
    """
    at = text = 0
    last = source.rfind(">")
    while (at := source.find("<", at)) >= 0:
        end, kind = _markup_end(source, at, last)
        if end < 0:
            at += 1
            continue
        if text < at:
            yield Token("text", source[text:at], "", text)
        token = _tag(source[at:end], kind, at, xml=xml)
        yield token
        at = text = end
        if not xml and token.kind == "open" and token.name in _RAW:
            closing = _RAW[token.name].search(source, at)
            end = closing.start() if closing else len(source)
            if at < end:
                yield Token("text", source[at:end], "", at)
            at = text = end
    if text < len(source):
        yield Token("text", source[text:], "", text)


# Elements whose content is text, not markup.
_RAW = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes", "plaintext")
}
_TAG_END = re.compile(r"""[^"'>]*+(?:"[^"]*+"[^"'>]*+|'[^']*+'[^"'>]*+)*+>""")


def _markup_end(source: str, at: int, last: int) -> tuple[int, str]:
    """The end of the markup that begins at a `<`, and its kind; -1 if none begins there.

    `last` is the place of the last `>`.
    """
    for opener, closer in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")):
        if source.startswith(opener, at):
            end = source.find(closer, at + len(opener))
            return (end + len(closer) if end >= 0 else len(source)), "other"
    following = source[at + 1 : at + 2]
    if following == "!":
        return _declaration_end(source, at), "other"
    name_at = at + 2 if following == "/" else at + 1
    if not (source[name_at : name_at + 1].isalpha() or source[name_at : name_at + 1] in {"_", ":"}):
        return -1, ""
    if at > last:
        return -1, ""
    match = _TAG_END.match(source, name_at)
    if match is None:
        # A quotation mark without a partner: the tag ends at the next `>`.
        end = source.find(">", name_at)
        return (end + 1, "tag") if end >= 0 else (-1, "")
    return match.end(), "tag"


def _declaration_end(source: str, at: int) -> int:
    depth = 0
    for match in re.compile(r"[\[\]>]").finditer(source, at):
        depth += {"[": 1, "]": -1}.get(match.group(), 0)
        if match.group() == ">" and depth <= 0:
            return match.end()
    return len(source)


def _tag(source: str, kind: str, at: int, *, xml: bool) -> Token:
    match = _NAME.match(source) if kind == "tag" else None
    if match is None:
        return Token("other", source, "", at)
    name = match.group(1) if xml else match.group(1).lower()
    if source.startswith("</"):
        return Token("close", source, name, at)
    empty = source.endswith("/>") or (not xml and name in _VOID)
    return Token("empty" if empty else "open", source, name, at)


def attributes(tag: str) -> dict[str, str]:
    """The attributes of a tag by name in lower case, references resolved."""
    found: dict[str, str] = {}
    for name, value, _, _ in attribute_spans(tag):
        found.setdefault(name, html.unescape(value))
    return found


def attribute_spans(tag: str) -> Iterator[tuple[str, str, int, int]]:
    """(name in lower case, raw value, start, end of the value without quotes) in a tag."""
    head = _NAME.match(tag)
    for match in _ATTRIBUTE.finditer(tag, head.end() if head else 0):
        value = match.group(3)
        if value is None:
            yield match.group().lower(), "", match.end(), match.end()
            continue
        start, end = match.span(3)
        if value[0] in "\"'":
            start, end = start + 1, end - 1
        yield match.group(1).lower(), tag[start:end], start, end


class MarkupWriter(TextWriter):
    """Writes text between tags or, with a quotation mark, in an attribute.

    A `<` that begins no tag stays one where it can.
    """

    levels = 2

    def __init__(self, quote: str = "") -> None:
        self.quote = quote

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        text = references_escaped(text)
        if level:
            text = text.replace("<", "&lt;")
        if self.quote == '"':
            text = text.replace('"', "&quot;")
        elif self.quote == "'":
            text = text.replace("'", "&#39;")
        return text

    def accepts(self, before: str, source: str, text: str, pieces: Sequence[str]) -> bool:
        if before == source or (before.count("<") == source.count("<") == 0):
            return True
        return _tags(before) == _tags(source)


def _tags(source: str) -> Counter[str]:
    return Counter(structure_of_tag(token.source) for token in tokenize(source) if token.kind != "text")


def references_escaped(text: str) -> str:
    """Text in which what looks like a reference (`&amp;`) is written so that it is none."""

    def literal(match: re.Match[str]) -> str:
        found = match.group()
        return found if html.unescape(found) == found else "&amp;" + found[1:]

    return _REFERENCE.sub(literal, text)


class StrictWriter(MarkupWriter):
    """Writes text in XML, where every `&` and `<` is a reference."""

    levels = 1

    def escape(self, text: str, level: int, *, line_start: bool) -> str:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "]]&gt;")
        if self.quote:
            text = text.replace(self.quote, "&quot;" if self.quote == '"' else "&#39;")
        return text

    def accepts(self, before: str, source: str, text: str, pieces: Sequence[str]) -> bool:
        return True


def text_atoms(source: str, *, collapse: bool = True) -> Iterator[Atom]:
    """Atoms of a text between tags: references are characters, line breaks with their indentation spaces."""
    last = 0
    pattern = _PIECES if collapse else _REFERENCE
    for match in pattern.finditer(source):
        found = match.group()
        if found.startswith("&"):
            shown = html.unescape(found)
            if shown == found or "\n" in shown:
                continue
            atom = A.char(shown, found)
        else:
            atom = A.line_break(found)
        if last < match.start():
            yield A.text(source[last : match.start()])
        yield atom
        last = match.end()
    if last < len(source):
        yield A.text(source[last:])


_PIECES = re.compile(_REFERENCE.pattern + r"|(?<![ \t])[ \t]*[\r\n][ \t\r\n\f]*")


def attribute_parts(
    tag: str,
    builder: Builder,
    where: str,
    *,
    names: Sequence[str] = TRANSLATED_ATTRIBUTES,
    strict: bool = False,
) -> Parts:
    """A tag with segments in the values of some attributes."""
    parts: list[str | int] = []
    last = 0
    for name, value, start, end in attribute_spans(tag):
        if name in names and has_letters(value) and tag[start - 1] in "\"'":
            writer = (StrictWriter if strict else MarkupWriter)(tag[start - 1])
            parts += [tag[last:start], *builder.add(list(text_atoms(value)), writer, where=where, kind=name)]
            last = end
    return A.joined([*parts, tag[last:]])


def tag_atom(source: str, parts: Parts | None = None) -> Atom:
    """The atom of a tag or comment inside prose."""
    token = next(iter(tokenize(source)), None)
    parts = parts or (source,)
    if token is None or token.kind in {"other", "text"}:
        return A.piece(parts, "note")
    if token.kind == "open":
        return A.opening(parts, token.name)
    if token.kind == "close":
        return A.closing(parts, token.name)
    return A.piece(parts, "break" if token.name == "br" else "image" if token.name == "img" else "tag")


def code_merged(atoms: Sequence[Atom], names: frozenset[str] = CODE) -> list[Atom]:
    """The atoms with each element for code as one piece, shown as Markdown shows code."""
    out: list[Atom] = []
    paired = A.pair(atoms)
    i = 0
    while i < len(paired):
        atom = paired[i]
        if atom.kind == "open" and atom.name in names:
            end = A.partner(paired, i)
            inner = paired[i : end + 1]
            shown = " ".join(A.shown(inner).split())
            out.append(A.piece(A.source_of(inner), "code", f"`{shown}`" if shown else ""))
            i = end + 1
        else:
            out.append(atom)
            i += 1
    return out


def structure_of_tag(tag: str) -> str:
    """A tag without the texts in its attributes."""
    out, last = [], 0
    for name, _, start, end in attribute_spans(tag):
        if name in TRANSLATED_ATTRIBUTES and tag[start - 1 : start] in {'"', "'"}:
            out.append(tag[last:start])
            last = end
    return "".join([*out, tag[last:]])
