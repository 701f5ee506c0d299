"""All text formats: bytes come back, only prose changes, and the structure stays."""

from __future__ import annotations

import pytest

from llmkit.errors import InputError, OptionError
from llmkit.text.documents import FORMATS, format_of, parse, render_checked, skeleton
from tests.text.documents.samples import PO, TEXTS, identical, rubbish, uppercased

ALL = {**TEXTS, "po": PO}


@pytest.mark.parametrize("format", ALL)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_bytes_come_back(format: str, encoding: str) -> None:
    data = ALL[format].encode(encoding)
    document = parse(data, format)
    assert len(document.segments) > 1
    assert document.left_out == ()
    assert document.render() == data
    if format != "po":  # a message without a translation gets one
        assert document.render(identical(document)) == data


@pytest.mark.parametrize("format", TEXTS)
def test_only_prose_changes(format: str) -> None:
    source = TEXTS[format]
    document = parse(source, format)
    filled = uppercased(document)
    assert None not in filled
    output = document.text(filled)
    assert output != source
    assert output.casefold() == source.casefold()
    # Put back letter by letter: what stays is what a reader of the format would not translate.
    kept = [a for a, b in zip(source, output, strict=True) if a == b and a.islower()]
    assert len(kept) < len(source) / 2


@pytest.mark.parametrize("format", [*TEXTS, "po"])
@pytest.mark.parametrize("first", range(9))
def test_structure_stays_whatever_the_translator_returns(format: str, first: int) -> None:
    source = ALL[format]
    document = parse(source, format)
    filled = rubbish(document, first)
    output, left_out = render_checked(document, filled)
    assert skeleton(output, format) == skeleton(source, format)
    assert (output != source.encode()) == any(parts is not None for parts in filled)
    # Leaving segments alone is for the odd one that only the whole document shows to be wrong.
    assert len(left_out) <= 1


@pytest.mark.parametrize(
    ("format", "names"),
    [
        (
            "md",
            ["not prose", "cat.png", "https://a.example/x", "layout: post", "[^1]", "$x^2$", "not = prose"],
        ),
        (
            "html",
            [
                "color: red",
                "no prose",
                "a comment",
                "Ctrl",
                "x?a=1&amp;b=2",
                "Not this",
                "nor this",
                "code  block",
            ],
        ),
        ("srt", ["00:00:05,000 --> 00:00:06,000 X1:10", "{\\an8}", "♪"]),
        ("vtt", ["a comment\nthat stays", "::cue { color: red }", "<v Ann>", "<00:05.500>", "align:start"]),
        (
            "json",
            ['"title":', "https://a.example/b", "snake_case", "for translators", "{name}", "plural, one {"],
        ),
        ("yaml", ["plain:", "# end", "%{n}", "yes", "alias: *a", "&a "]),
    ],
)
def test_what_is_no_prose_stays(format: str, names: list[str]) -> None:
    document = parse(TEXTS[format], format)
    output = document.text(uppercased(document))
    for name in names:
        assert name in TEXTS[format]
        assert name in output


def test_formats_by_file_name() -> None:
    found = {
        name: format_of(f"x/{name}") for name in ("a.MD", "b.htm", "c.pot", "d.yml", "train.en", "e.pdf", "f")
    }
    assert found == {
        "a.MD": "md",
        "b.htm": "html",
        "c.pot": "po",
        "d.yml": "yaml",
        "train.en": None,
        "e.pdf": "pdf",
        "f": None,
    }
    assert all(one.suffixes and one.title for one in FORMATS.values())


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("rtf", b"x"),
        ("json", b'{"a": '),
        ("json", b"[" * 100_000),
        ("yaml", b"a: [1, 2"),
        ("yaml", b"a: *nowhere_defined\n\tb"),
        ("po", b"just text\n"),
        ("docx", b"no archive"),
        ("pdf", b"no pdf"),
        ("epub", "text"),
    ],
)
def test_bad_documents_are_refused_in_one_line(format: str, data: bytes | str) -> None:
    with pytest.raises(InputError) as error:
        parse(data, format)
    assert "\n" not in str(error.value)


def test_a_number_of_translations_that_does_not_fit() -> None:
    document = parse("One line", "txt")
    with pytest.raises(InputError):
        document.render([None, None])


def test_letters_that_an_encoding_lacks() -> None:
    page = '<meta charset="iso-8859-1"><p>caf\u00e9 one</p>'.encode("latin-1")
    document = parse(page, "html")
    assert document.encoding.name == "iso-8859-1"
    (segment,) = document.segments
    assert segment.text == "caf\u00e9 one"
    assert document.render([("\u0416\u00e9",)]).endswith(b"<p>&#1046;\xe9</p>")
    subtitle = "1\n00:00:01,000 --> 00:00:02,000\ncaf\u00e9\n".encode("cp1252")
    assert parse(subtitle, "srt").render([("\u0416",)]).decode("utf-8").endswith("\u0416\n")


def test_reading_gives_prose_with_places() -> None:
    prose = parse(TEXTS["md"], "md").prose()
    assert ("line 6", "Guide to the `tool`") in prose
    assert any(text == "A picture of a cat" for _, text in prose)
    assert not any("not prose" in text for _, text in prose)


@pytest.mark.parametrize(
    ("format", "encoding", "text"),
    [
        ("txt", "cp1251", "Мой дом.\n"),  # too short for a guess
        ("html", "cp1251", '<meta charset="utf-8"><p>Мой дом.</p>\n'),  # what it declares is wrong
        ("md", "utf-16", "My house.\n"),
        ("md", "gb18030", "房子。\n"),
        ("txt", "utf-8", "Größe\n"),
    ],
)
def test_the_encoding_that_is_given_is_taken(format: str, encoding: str, text: str) -> None:
    data = text.encode("utf-16-le" if encoding == "utf-16" else encoding)
    document = parse(data, format, encoding=encoding)
    assert document.text() == text
    assert document.render() == data


def test_a_wrong_encoding_is_refused_and_a_byte_order_mark_wins() -> None:
    with pytest.raises(InputError, match=r"0xf6 .* is not utf-8; give another `encoding`"):
        parse("Größe".encode("latin1"), "txt", encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        parse(b"a", "txt", encoding="klingon")
    assert caught.value.option == "encoding"
    marked = "\ufeffGröße".encode("utf-16-be")
    assert parse(marked, "txt", encoding="cp1252").render() == marked
