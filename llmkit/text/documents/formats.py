"""The table of formats, and the way from a document's bytes to its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import InputError
from llmkit.text.documents.build import Builder
from llmkit.text.documents.document import Document, Encoding, Group, decode, decode_as
from llmkit.text.documents.placeholders import Placeholders


@dataclass(frozen=True)
class Format:
    """A format of documents.

    Attributes:
        name: as `parse` takes it.
        title: its name for readers.
        suffixes: of file names, in lower case.
        written: a document can be written; False for those that are only read.
        package: several files in one (a zip archive).
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    written: bool = True
    package: bool = False


FORMATS = {
    one.name: one
    for one in (
        Format("txt", "plain text", (".txt", ".text")),
        Format("md", "Markdown", (".md", ".markdown", ".mdown", ".mkd")),
        Format("html", "HTML", (".html", ".htm", ".xhtml")),
        Format("srt", "SubRip subtitles", (".srt",)),
        Format("vtt", "WebVTT subtitles", (".vtt",)),
        Format("po", "gettext messages", (".po", ".pot")),
        Format("json", "JSON string table", (".json", ".arb")),
        Format("yaml", "YAML string table", (".yaml", ".yml")),
        Format("docx", "Word document", (".docx",), package=True),
        Format("odt", "OpenDocument text", (".odt",), package=True),
        Format("epub", "EPUB book", (".epub",), package=True),
        Format("pdf", "PDF", (".pdf",), written=False),
    )
}


def format_of(path: str | Path) -> str | None:
    """Return the name of the format that fits a file's name; None if no format does.

    >>> format_of("docs/Guide.MD"), format_of("train.en")
    ('md', None)
    """
    suffix = Path(path).suffix.lower()
    return next((one.name for one in FORMATS.values() if suffix in one.suffixes), None)


def parse(
    data: bytes | str,
    format: str,
    *,
    keep: Sequence[str] = (),
    reflow: bool = False,
    keys: Sequence[str] | None = None,
    encoding: str | None = None,
) -> Document:
    """Read a document.

    Args:
        data: the file's bytes, or its text.
        format: a name in `FORMATS`.
        keep: terms that must come through as they are.
        reflow: plain text has paragraphs with lines broken to a width; False takes each line for itself.
        keys: JSON and YAML: paths of the values to translate, such as `menu.*.label`; None takes all texts.
        encoding: encoding of the bytes of a text format; None takes the one that the bytes show. Packages
            and PDF have their own.

    Raises:
        InputError: an unknown format, or a document that is none of its format.
        OptionError: there is no such encoding.
    """
    if format not in FORMATS:
        raise InputError(f"unknown document format {format!r}; formats are {', '.join(FORMATS)}")
    builder = Builder(Placeholders(keep))
    if FORMATS[format].package or format == "pdf":
        if isinstance(data, str):
            raise InputError(f"a {FORMATS[format].title} is read from bytes, not from text")
        return _package(data, format, builder)
    text, found = data if isinstance(data, str) else "", Encoding("utf-8")
    if isinstance(data, bytes):
        declared = _declared(data, format) if encoding is None else None
        text, found = decode(data, declared) if encoding is None else decode_as(data, encoding)
    parts, left_out = _read(text, format, builder, reflow=reflow, keys=keys)
    return Document(format, parts, tuple(builder.segments), found, tuple(left_out))


def _read(
    text: str, format: str, builder: Builder, *, reflow: bool, keys: Sequence[str] | None
) -> tuple[tuple[str | int | Group, ...], list[str]]:
    """The parts of a text, and a sentence for each part that is left as it is."""
    if format == "md":
        from llmkit.text.documents.markdown.blocks import read_markdown

        return read_markdown(text, builder)
    if format == "html":
        from llmkit.text.documents.markup.html import read_html

        return read_html(text, builder, xml=text.lstrip().startswith("<?xml")), []
    if format in {"srt", "vtt"}:
        from llmkit.text.documents.subtitles import read_subtitles

        return read_subtitles(text, builder, format), []
    if format == "po":
        from llmkit.text.documents.tables.po import read_po

        return read_po(text, builder), []
    if format == "json":
        from llmkit.text.documents.tables.json_table import read_json

        return read_json(text, builder, keys=keys), []
    if format == "yaml":
        from llmkit.text.documents.tables.yaml_table import read_yaml

        return read_yaml(text, builder, keys=keys), []
    from llmkit.text.documents.plain import read_plain

    return read_plain(text, builder, reflow=reflow), []


def _package(data: bytes, format: str, builder: Builder) -> Document:
    if format == "pdf":
        from llmkit.text.documents.pdf import read_pdf

        return read_pdf(data, builder)
    from llmkit.text.documents.packages.read import read_package

    return read_package(data, format, builder)


def _declared(data: bytes, format: str) -> str | None:
    if format == "html":
        from llmkit.text.documents.markup.html import declared_encoding

        return declared_encoding(data)
    if format == "po":
        from llmkit.text.documents.tables.po import declared_charset

        return declared_charset(data)
    return None


def skeleton(data: bytes | str, format: str) -> list[str]:
    """The structure of a document without its prose, for comparing a translation with its source.

    Args:
        data: the document.
        format: a name in `FORMATS` of a format that is written.

    Raises:
        InputError: as `parse`.
    """
    from llmkit.text.documents.structure import structure_of

    if format not in FORMATS or not FORMATS[format].written:
        raise InputError(f"documents of the format {format!r} are not written")
    return structure_of(data, format, None if isinstance(data, str) else _declared(data, format))
