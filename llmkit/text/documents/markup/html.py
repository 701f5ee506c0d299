"""HTML: blocks of prose between tags; all tags stay as they are."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence

from llmkit.text.documents import atoms as A
from llmkit.text.documents.atoms import Atom
from llmkit.text.documents.build import Builder
from llmkit.text.documents.markup.tokens import (
    MarkupWriter,
    StrictWriter,
    Token,
    attribute_parts,
    attributes,
    code_merged,
    structure_of_tag,
    tag_atom,
    text_atoms,
    tokenize,
)
from llmkit.text.documents.segment import Parts

# Elements within a sentence; every other tag ends a block.
INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "br",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "img",
        "ins",
        "kbd",
        "label",
        "mark",
        "nobr",
        "q",
        "rb",
        "rp",
        "rt",
        "ruby",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ]
)
# Elements whose content is no prose.
_SKIPPED = frozenset(
    [
        "script",
        "style",
        "pre",
        "textarea",
        "math",
        "svg",
        "object",
        "xmp",
        "iframe",
        "noembed",
        "noframes",
        "template",
    ]
)
_NAVIGATION = frozenset(["nav", "footer", "aside", "form", "menu", "dialog"])
_CONTAINERS = frozenset(["div", "section", "ul", "ol", "header", "table"])
_NAVIGATION_NAMES = frozenset(
    [
        *("navigation", "banner", "contentinfo", "search", "complementary", "nav", "navbar", "breadcrumb"),
        *("breadcrumbs", "sidebar", "footer", "cookie", "menu", "toc", "table-of-contents"),
    ]
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([\w.:-]{1,40})")


def declared_encoding(data: bytes) -> str | None:
    """The encoding that an HTML or XML document names."""
    head = data[:4096]
    match = _XML_ENCODING.match(head) or _CHARSET.search(head)
    return match.group(1).decode("ascii") if match else None


def read_html(source: str, builder: Builder, *, where: str | None = None, xml: bool = False) -> Parts:
    """Read HTML, or a part of it.

    Args:
        source: the markup.
        builder: takes its segments.
        where: the place of all of it; None counts lines.
        xml: it is XHTML: names have lower case, and every `&` and `<` in text is a reference.

    Returns:
        The parts of the markup.
    """
    reader = _HtmlReader(builder, where, xml=xml)
    for token in tokenize(source, xml=xml):
        reader.take(token)
    return reader.finish()


class _HtmlReader:
    def __init__(self, builder: Builder, where: str | None, *, xml: bool) -> None:
        self.builder = builder
        self.fixed_where = where
        self.xml = xml
        self.line = self.block_line = 1
        self.blank = True  # the block has no text yet
        self.writer: MarkupWriter = StrictWriter() if xml else MarkupWriter()
        self.parts: list[str | int] = []
        self.block: list[Atom] = []
        self.kind = "paragraph"
        # The element in which nothing is translated, and how many of its name are open.
        self.skipping: tuple[str, int] | None = None
        self.skipped: list[str] = []
        # The element of navigation that is open, and how many of its name.
        self.outside: tuple[str, int] | None = None

    @property
    def where(self) -> str:
        return self.fixed_where or f"line {self.block_line}"

    def take(self, token: Token) -> None:
        if self.blank:
            self.block_line = self.line
            self.block_line += token.source[: len(token.source) - len(token.source.lstrip())].count("\n")
        if self.skipping is not None:
            self._skip(token)
        elif token.kind == "text":
            self.block += text_atoms(token.source)
            self.blank &= not token.source.strip()
        elif token.kind == "other":
            self.block.append(A.piece(token.source, "note"))
        elif token.kind == "open" and _is_skipped(token):
            if token.name not in INLINE:
                self._end_block()
            self.skipping = (token.name, 1)
            self.skipped = [token.source]
        elif token.name in INLINE:
            self.block.append(self._inline(token))
        else:
            self._end_block()
            self._follow_navigation(token)
            self.kind = _kind(token) if self.outside is None else "navigation"
            self.parts += attribute_parts(token.source, self.builder, self.where, strict=self.xml)
        self.line += token.source.count("\n")

    def _follow_navigation(self, token: Token) -> None:
        """Note where an element of navigation begins and ends."""
        if self.outside is None:
            if token.kind == "open" and _is_navigation(token):
                self.outside = (token.name, 1)
        elif token.name == self.outside[0]:
            depth = self.outside[1] + {"open": 1, "close": -1}.get(token.kind, 0)
            self.outside = (token.name, depth) if depth else None

    def _inline(self, token: Token) -> Atom:
        parts = attribute_parts(token.source, self.builder, self.where, strict=self.xml)
        return tag_atom(token.source, parts)

    def _skip(self, token: Token) -> None:
        name, depth = self.skipping or ("", 0)
        self.skipped.append(token.source)
        if token.name == name:
            depth += {"open": 1, "close": -1}.get(token.kind, 0)
        self.skipping = (name, depth)
        if depth == 0:
            self._end_skipped()

    def _end_skipped(self) -> None:
        name, _ = self.skipping or ("", 0)
        source = "".join(self.skipped)
        self.skipping, self.skipped = None, []
        if name in INLINE:
            texts = "".join(token.source for token in tokenize(source, xml=self.xml) if token.kind == "text")
            self.block.append(A.piece(source, "term", " ".join(html.unescape(texts).split())))
        else:
            self.parts.append(source)

    def _end_block(self) -> None:
        """A block of prose, cut at line breaks that are in no style."""
        atoms, self.block, self.blank = code_merged(self.block), [], True
        for block, between in A.split_at_breaks(atoms):
            self._add(block)
            self.parts += between

    def _add(self, atoms: Sequence[Atom]) -> None:
        if atoms:
            self.parts += self.builder.add(atoms, self.writer, where=self.where, kind=self.kind)

    def finish(self) -> Parts:
        if self.skipping is not None:
            self._end_skipped()
        self._end_block()
        return A.joined(self.parts)


def _is_skipped(token: Token) -> bool:
    if token.name in _SKIPPED:
        return True
    if "translate" not in token.source and "class" not in token.source:
        return False
    found = attributes(token.source)
    return found.get("translate", "").lower() == "no" or "notranslate" in found.get("class", "").split()


def _is_navigation(token: Token) -> bool:
    """Return True for menus, footers and the like, which a reader of the text skips."""
    if token.name in _NAVIGATION:
        return True
    if not any(name in token.source for name in ("role", "class", "id")) or token.name not in _CONTAINERS:
        return False
    found = attributes(token.source)
    words = {*found.get("role", "").split(), *found.get("class", "").lower().split()}
    return bool(_NAVIGATION_NAMES & {*words, found.get("id", "").lower()})


def _kind(token: Token) -> str:
    if token.kind != "open":
        return "paragraph"
    if re.fullmatch(r"h[1-6]|title", token.name):
        return "heading"
    return "cell" if token.name in {"td", "th"} else "paragraph"


def html_structure(source: str, *, xml: bool = False) -> list[str]:
    """The structure of HTML: block by block its tags; tags within a sentence may change their order.

    Text counts only where it is no prose.
    """
    found: list[str] = []
    inline: Counter[str] = Counter()
    skipping: tuple[str, int] | None = None
    for token in tokenize(source, xml=xml):
        tag = structure_of_tag(token.source)
        if skipping is not None:
            name, depth = skipping
            if token.name == name:
                depth += {"open": 1, "close": -1}.get(token.kind, 0)
            inline[token.source] += 1
            skipping = (name, depth) if depth else None
        elif token.kind == "text":
            continue
        elif token.kind == "other" or token.name in INLINE:
            inline[tag] += 1
            if token.kind == "open" and _is_skipped(token):
                skipping = (token.name, 1)
        else:
            found += [*sorted(inline.elements()), tag]
            inline = Counter()
            if token.kind == "open" and _is_skipped(token):
                skipping = (token.name, 1)
    return [*found, *sorted(inline.elements())]
