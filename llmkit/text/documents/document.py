"""A parsed document: parts that stay and segments that are replaced."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmkit.errors import InputError, OptionError
from llmkit.text.documents.packages.archive import Member, write_members
from llmkit.text.documents.segment import Parts, Segment
from llmkit.text.encodings import guess

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that are written only if all their segments are filled; if not, `otherwise` is written."""

    parts: Parts
    otherwise: str


@dataclass(frozen=True)
class Encoding:
    """The encoding of a document's bytes.

    Attributes:
        name: a codec of Python.
        mark: the byte order mark before the text, or nothing.
    """

    name: str
    mark: bytes = b""


@dataclass(frozen=True)
class PackageMember:
    """A file in a package; one with prose has parts.

    Attributes:
        member: as it was read.
        parts: as in `Document`; None writes the member as it is.
        encoding: of its text.
    """

    member: Member
    parts: Parts | None = None
    encoding: Encoding = Encoding("utf-8")


@dataclass(frozen=True)
class Document:
    """A document as parts.

    Attributes:
        format: a name in `FORMATS`.
        parts: source text, numbers of segments, and groups, in order.
        segments: all segments, inner ones (texts in an image or a tag) after or before the one around them.
        encoding: of the bytes that were read and are written.
        left_out: a sentence for each part that the reader cannot parse and leaves as it is.
        members: the files of a package.
    """

    format: str
    parts: tuple[str | int | Group, ...]
    segments: tuple[Segment, ...]
    encoding: Encoding = Encoding("utf-8")
    left_out: tuple[str, ...] = ()
    members: tuple[PackageMember, ...] | None = None

    def render(self, filled: Sequence[Parts | None] | None = None) -> bytes:
        """Write the document.

        Args:
            filled: for each segment what `apply_inline` gave (`Filled.parts`); None leaves its source.

        Raises:
            InputError: not one entry a segment, or a format that is only read.
        """
        if self.format == "pdf":
            raise InputError("PDF is only read; choose another format for the output")
        if self.members is not None:
            return self._package(filled)
        return encode(self.text(filled), self.encoding, self.format)

    def _package(self, filled: Sequence[Parts | None] | None) -> bytes:
        filled = self._checked(filled)
        out = []
        for one in self.members or ():
            content = one.member.content
            if one.parts is not None:
                text = "".join(self._written(one.parts, filled))
                content = encode(text, one.encoding, "html")
            out.append(Member(one.member.info, content))
        return write_members(out)

    def _checked(self, filled: Sequence[Parts | None] | None) -> Sequence[Parts | None]:
        filled = [None] * len(self.segments) if filled is None else filled
        if len(filled) != len(self.segments):
            raise InputError(f"{len(filled)} translations for {len(self.segments)} segments")
        return filled

    def text(self, filled: Sequence[Parts | None] | None = None) -> str:
        """The document of `render` as text."""
        return "".join(self._written(self.parts, self._checked(filled)))

    def _written(self, parts: Sequence[str | int | Group], filled: Sequence[Parts | None]) -> Iterator[str]:
        for part in parts:
            if isinstance(part, str):
                yield part
            elif isinstance(part, Group):
                whole = all(filled[number] is not None for number in self.numbers(part.parts))
                yield from self._written(part.parts, filled) if whole else iter((part.otherwise,))
            else:
                new = filled[part]
                yield from self._written(self.segments[part].source if new is None else new, filled)

    def numbers(self, parts: Sequence[str | int | Group]) -> Iterator[int]:
        """The numbers of all segments in parts, inner ones included."""
        for part in parts:
            if isinstance(part, Group):
                yield from self.numbers(part.parts)
            elif isinstance(part, int):
                yield part
                yield from self.numbers(self.segments[part].source)

    def prose(self) -> list[tuple[str, str]]:
        """(place, text) of the segments in the order of the document, for reading without translating."""
        segments = (self.segments[number] for number in self.numbers(self.parts))
        return [(segment.where, segment.text) for segment in segments if segment.text]


def decode(data: bytes, declared: str | None = None) -> tuple[str, Encoding]:
    """Decode a document; encoding the text again returns the same bytes.

    Args:
        data: the bytes.
        declared: the encoding that the document names, if any; taken where it fits and the bytes have no
            byte order mark.

    Returns:
        The text, and its encoding: by byte order mark, as declared, UTF-8, as `guess` finds it, or else
        Windows-1252 or Latin-1.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            text = _exact(data[len(mark) :], name)
            if text is not None:
                return text, Encoding(name, mark)
    for candidate in (declared, "utf-8", _guessed(data), "cp1252"):
        text = _exact(data, candidate) if candidate else None
        if candidate and text is not None:
            return text, Encoding(candidate)
    return data.decode("latin-1"), Encoding("latin-1")


def decode_as(data: bytes, name: str) -> tuple[str, Encoding]:
    """Decode a document in the encoding that the user names; a byte order mark wins over it.

    Args:
        data: the bytes.
        name: a codec of Python.

    Raises:
        OptionError: there is no such encoding of text.
        InputError: the bytes are no text in it.
    """
    if any(data.startswith(mark) for mark, _ in _MARKS):
        return decode(data)
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        bad = f"byte 0x{data[error.start]:02x} at {error.start}"
        raise InputError(f"{bad} is not {name}; give another `encoding`") from None
    except LookupError:
        raise OptionError(
            "encoding", f"must be an encoding such as utf-16, gb18030 or cp1252, not {name}"
        ) from None
    # Python's `utf-16` writes a mark where there was none.
    exact = next((one for one in (name, f"{name}-le") if _exact(data, one) is not None), name)
    return text, Encoding(exact)


def _guessed(data: bytes) -> str | None:
    """Return the likely encoding of a text of Asia or Russia; None for UTF-8 and for Western Europe."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        sample = data[max(0, error.start - 512) : error.start + 65536]
        found = guess(sample)
        # A few umlauts side by side, as in an alphabet, are no evidence.
        least = {"gb18030": 8, "cp932": 8, "cp1251": 30}.get(found)
        return found if least is not None and sum(byte >= 0x80 for byte in sample) >= least else None
    return None


def _exact(data: bytes, name: str) -> str | None:
    try:
        text = data.decode(name)
        return text if text.encode(name) == data else None
    except (UnicodeError, LookupError):
        return None


def encode(text: str, encoding: Encoding, format: str) -> bytes:
    """Encode a document; letters that its encoding lacks become references (HTML) or make it UTF-8."""
    try:
        return encoding.mark + text.encode(encoding.name)
    except UnicodeEncodeError:
        if format == "html":
            return encoding.mark + text.encode(encoding.name, "xmlcharrefreplace")
    if format == "po":
        text = re.sub(r'(?m)^("Content-Type:[^"\n]*charset=)[\w-]+', r"\1UTF-8", text, count=1)
    return text.encode("utf-8", "replace")
