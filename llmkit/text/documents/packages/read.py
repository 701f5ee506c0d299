"""Packages: the members with prose, and the rest as it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from llmkit.errors import InputError
from llmkit.text.documents.build import Builder
from llmkit.text.documents.document import Document, PackageMember, decode
from llmkit.text.documents.markup.html import declared_encoding, html_structure, read_html
from llmkit.text.documents.markup.tokens import tokenize
from llmkit.text.documents.packages.archive import Member, read_members, refuse_entities
from llmkit.text.documents.packages.docx import DocxReader
from llmkit.text.documents.packages.xml import OdtReader
from llmkit.text.documents.segment import Parts

_WORD = re.compile(r"\w+/(?:document\d*|header\d*|footer\d*|footnotes|endnotes|comments)\.xml")
_ODT = {"content.xml", "styles.xml"}
_NCX_TEXT = re.compile(r"(<(?:\w+:)?text\b[^>]*>)([^<]*)(</(?:\w+:)?text>)")
# A member that every document of the format has.
_NEEDED = {"docx": "[Content_Types].xml", "odt": "content.xml", "epub": "META-INF/container.xml"}


def read_package(data: bytes, format: str, builder: Builder) -> Document:
    """Read a Word, OpenDocument or EPUB document.

    Raises:
        InputError: see `read_members` and `refuse_entities`; or the archive is no document of the format.
    """
    members = read_members(data)
    names = {member.info.filename for member in members}
    if _NEEDED[format] not in names:
        raise InputError(f"the document has no {_NEEDED[format]}; it is not {format}")
    read: list[PackageMember] = []
    parts: list[str | int] = []
    for member in members:
        kind = _kind(member.info.filename, format)
        if kind is None:
            read.append(PackageMember(member))
            continue
        text, encoding = decode(member.content, declared_encoding(member.content))
        refuse_entities(text, member.info.filename)
        found = _read(text, kind, member.info.filename, builder)
        read.append(PackageMember(member, found, encoding))
        parts += found
    return Document(format, tuple(parts), tuple(builder.segments), members=tuple(read))


def _kind(name: str, format: str) -> str | None:
    """Return the name of the reader of a member; None for members without prose."""
    if format == "docx":
        return "docx" if _WORD.fullmatch(name) else None
    if format == "odt":
        return "odt" if name in _ODT else None
    if name.lower().endswith((".xhtml", ".html", ".htm")):
        return "xhtml"
    return "ncx" if name.lower().endswith(".ncx") else None


def _read(text: str, kind: str, name: str, builder: Builder) -> Parts:
    short = name.rpartition("/")[2]
    if kind == "docx":
        return DocxReader(builder, short.removesuffix(".xml")).read(text)
    if kind == "odt":
        return OdtReader(builder, short).read(text)
    if kind == "ncx":
        return tuple(_labels(text, builder, short))
    return read_html(text, builder, where=short, xml=True)


def _labels(text: str, builder: Builder, name: str) -> Iterator[str | int]:
    """The labels of a table of contents."""
    last = 0
    for match in _NCX_TEXT.finditer(text):
        yield text[last : match.start(2)]
        yield from read_html(match.group(2), builder, where=name, xml=True)
        last = match.end(2)
    yield text[last:]


def package_structure(data: bytes, format: str) -> list[str]:
    """The structure of a package: its members in order, those without prose whole."""
    found: list[str] = []
    for member in read_members(data):
        name = member.info.filename
        kind = _kind(name, format)
        found.append(name)
        if kind is None:
            found.append(hashlib.sha256(member.content).hexdigest())
            continue
        text, _ = decode(member.content, declared_encoding(member.content))
        if kind == "xhtml":
            found += html_structure(text, xml=True)
        elif kind == "docx":
            found += _word_structure(text)
        else:
            found += _xml_structure(text)
    return found


def _xml_structure(text: str) -> list[str]:
    """Paragraph by paragraph the tags; within one they may change their order."""
    found: list[str] = []
    inside: list[str] | None = None
    for token in tokenize(text, xml=True):
        if token.name in {"text:p", "text:h"}:
            found += [*sorted(inside or ()), token.source]
            inside = [] if token.kind == "open" else None
        elif token.name == "text:s":
            continue  # a space
        elif token.kind != "text" and inside is not None:
            inside.append(token.source)
        elif token.kind != "text":
            found.append(token.source)
    return found


_FORMAT_ONLY = {"w:r", "w:t", "w:rPr", "w:proofErr", "w:lastRenderedPageBreak"}


def _word_structure(text: str) -> list[str]:
    """Paragraphs, and in each the things that are in its runs; a format counts once however many runs."""
    found: list[str] = []
    inside: list[str] = []
    format_start = False
    formats: set[str] = set()
    current: list[str] = []
    for token in tokenize(text, xml=True):
        if token.kind == "text":
            continue
        if token.name == "w:p":
            found += [*sorted(inside), *sorted(formats), "w:p"]
            inside, formats = [], set()
        elif token.name == "w:rPr":
            format_start = token.kind == "open"
            if token.kind == "close":
                formats.add("".join(current))
                current = []
        elif format_start:
            current.append(token.source)
        elif token.name not in _FORMAT_ONLY:
            inside.append(token.source)
    return [*found, *sorted(inside)]


__all__ = ["Member", "package_structure", "read_package"]
