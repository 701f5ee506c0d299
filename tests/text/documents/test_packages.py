"""Word, OpenDocument, EPUB and PDF; archives that lie."""

from __future__ import annotations

import io
import zipfile

import pytest
from lxml import etree

from llmkit.errors import InputError
from llmkit.text.documents import Document, apply_inline, parse, render_checked, skeleton
from llmkit.text.documents.packages import archive
from tests.text.documents.samples import identical, rubbish, uppercased

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
T = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:office="urn:o" xmlns:draw="urn:d"'

DOCX = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<w:document {W}><w:body>
<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r w:rsidR="1"><w:t>A head</w:t></w:r>
  <w:proofErr w:type="x"/><w:r w:rsidR="2"><w:t>ing</w:t></w:r></w:p>
<w:p><w:r><w:t xml:space="preserve">Plain text </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>bold</w:t></w:r>
  <w:r><w:t xml:space="preserve"> and &lt;more&gt; </w:t></w:r>
  <w:hyperlink r:id="r1"><w:r><w:t>a link</w:t></w:r></w:hyperlink><w:r><w:footnoteReference w:id="1"/></w:r>
  <w:r><w:t>.</w:t></w:r></w:p>
<w:p><w:r><w:tab/><w:t>Tab first</w:t><w:br/><w:t>new line</w:t></w:r></w:p>
<w:p><w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>PAGE</w:instrText></w:r>
  <w:r><w:fldChar w:fldCharType="end"/></w:r><w:r><w:t xml:space="preserve"> pages here</w:t></w:r></w:p>
<w:p/><w:p><w:r><w:t>12</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>In a cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
</w:body></w:document>"""

ODT = f"""<?xml version="1.0" encoding="UTF-8"?>
<office:document-content {T}><office:body>
<text:h text:outline-level="1">A <text:span text:style-name="B">big</text:span> heading</text:h>
<text:p>Text with<text:s text:c="2"/>spaces, <text:a href="x">a link</text:a><text:note>
<text:note-citation>1</text:note-citation><text:note-body><text:p>The note &amp; more</text:p>
</text:note-body></text:note> and<text:line-break/>a break</text:p>
<text:p/></office:body></office:document-content>"""

XHTML = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Chapter &amp; verse</title></head>
<body><p>Some <em>text</em> here&#160;now</p><pre>code</pre></body></html>"""

NCX = "<ncx><navMap><navPoint><navLabel><text>First chapter</text></navLabel></navPoint></navMap></ncx>"


def package(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            stored = name == "mimetype"
            target.writestr(name, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return out.getvalue()


PACKAGES = {
    "docx": package(
        {"[Content_Types].xml": "<Types/>", "word/document.xml": DOCX, "word/media/a.png": b"\x89PNG\0"}
    ),
    "odt": package(
        {"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": ODT, "meta.xml": "<m/>"}
    ),
    "epub": package(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<c/>",
            "a/b.xhtml": XHTML,
            "toc.ncx": NCX,
        }
    ),
}


def members(data: bytes) -> list[tuple[str, int, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        return [(info.filename, info.compress_type, source.read(info)) for info in source.infolist()]


def read(format: str) -> Document:
    return parse(PACKAGES[format], format)


@pytest.mark.parametrize("format", PACKAGES)
def test_members_come_back(format: str) -> None:
    document = read(format)
    before = members(PACKAGES[format])
    assert members(document.render()) == before
    assert members(document.render(identical(document))) == before
    after = members(document.render(uppercased(document)))
    assert [one[:2] for one in after] == [one[:2] for one in before]
    changed = [new[0] for new, old in zip(after, before, strict=True) if new != old]
    assert changed == [name for name in [one[0] for one in before] if name in _WITH_PROSE]


_WITH_PROSE = {"word/document.xml", "content.xml", "a/b.xhtml", "toc.ncx"}


@pytest.mark.parametrize(
    ("format", "found"),
    [
        (
            "docx",
            [
                "A heading",
                "Plain text bold and <more> a link<x1/>.",
                "Tab first<x1/>new line",
                "<x1/> pages here",
                "In a cell",
            ],
        ),
        ("odt", ["A big heading", "The note & more", "Text with spaces, a link<x1/> and", "a break"]),
        ("epub", ["Chapter & verse", "Some text here\xa0now", "First chapter"]),
    ],
)
def test_segments(format: str, found: list[str]) -> None:
    assert [segment.text for segment in read(format).segments] == found


@pytest.mark.parametrize("format", PACKAGES)
@pytest.mark.parametrize("first", range(9))
def test_structure_stays_and_xml_is_sound(format: str, first: int) -> None:
    document = read(format)
    output, left_out = render_checked(document, rubbish(document, first))
    assert skeleton(output, format) == skeleton(PACKAGES[format], format)
    assert len(left_out) <= 1
    for name, _, content in members(output):
        if name in _WITH_PROSE:
            etree.fromstring(content.replace(b"r:id", b"id"))


def test_runs_move_with_their_words() -> None:
    document = read("docx")
    segment = document.segments[1]
    assert [style.kind.rstrip("0123456789") for style in segment.styles] == ["run", "w:hyperlink", "run"]
    text = "Ein <g1>fetter</g1> Text <more> <g2><g3>Link</g3></g2><x1/>."
    (source,) = apply_inline(segment, text).parts or ("",)
    root = etree.fromstring(f"<w:p {W} xmlns:r='r'>{source}</w:p>")
    runs = [
        ("".join(run.itertext()), run.find(f"{{{root.nsmap['w']}}}rPr") is not None)
        for run in root.iter(f"{{{root.nsmap['w']}}}r")
    ]
    assert runs == [
        ("Ein ", False),
        ("fetter", True),
        (" Text <more> ", False),
        ("Link", False),
        ("", False),
        (".", False),
    ]
    keep = [
        node.get("{http://www.w3.org/XML/1998/namespace}space")
        for node in root.iter(f"{{{root.nsmap['w']}}}t")
    ]
    assert keep[0] == keep[2] == "preserve"


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04 broken",
        package({"a.txt": "x"}),
        package({"[Content_Types].xml": "x", "../evil.xml": "x"}),
        package({"[Content_Types].xml": "x", "/etc/passwd": "x"}),
        package({"[Content_Types].xml": "x", "C:\\x": "x"}),
        package(
            {
                "[Content_Types].xml": "x",
                "word/document.xml": '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><w:p>&c;</w:p>',
            }
        ),
    ],
)
def test_hostile_packages_are_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as error:
        parse(data, "docx")
    assert "\n" not in str(error.value)


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = package({"[Content_Types].xml": b"\0" * 3_000_000})
    with pytest.raises(InputError, match="unpacks"):
        archive.read_members(bomb, most_bytes=2_000_000)
    # A size in the directory that lies changes nothing.
    lying = bomb.replace((3_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lying != bomb
    with pytest.raises(InputError):
        archive.read_members(lying, most_bytes=2_000_000)


def pdf(text: str) -> bytes:
    """A PDF of two pages by hand; the second says the text again in capital letters."""
    streams = [f"BT /F1 12 Tf 72 700 Td ({line}) Tj ET".encode() for line in (text, text.upper())]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R 4 0 R] /Count 2 >>",
        *(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 7 0 R >> >> >>" % (5 + i)
            for i in range(2)
        ),
        *(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream) for stream in streams),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table)
    return out + b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)


def test_pages_of_a_pdf_are_places() -> None:
    document = parse(pdf("Hello to the page"), "pdf")
    assert document.prose() == [("p. 1", "Hello to the page"), ("p. 2", "HELLO TO THE PAGE")]
    with pytest.raises(InputError, match="only read"):
        document.render()


def test_a_pdf_without_text() -> None:
    with pytest.raises(InputError, match="OCR"):
        parse(pdf(""), "pdf")
