"""Markdown: blocks, inline markup, and text that looks like markup."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from llmkit.text.documents import apply_inline, parse
from tests.text.documents.samples import MARKDOWN, uppercased


def texts(source: str) -> list[str]:
    return [segment.text for segment in parse(source, "md").segments]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("# A *b* `c` #\n", ["A b `c`"]),
        ("Soft\n> lazy\n", ["Soft", "lazy"]),
        ("a soft\nbreak here\n", ["a soft break here"]),
        ("hard  \nbreak\\\nhere\n", ["hard", "break", "here"]),
        ("- [ ] task one\n- [x] **two**\n", ["task one", "two"]),
        ("> [!TIP]\n> Some help\n", ["Some help"]),
        ("| a | b \\| c |\n|---|---|\n| `x` | d |\n", ["a", "b | c", "d"]),
        ("[![alt](i.svg)](x) Text ![pic](p.png)\n", ["alt", "pic", "Text"]),
        ("A \\* star &amp; an &#233;\n", ["A * star & an é"]),
        ("One[^1] ^[two *three*]\n\n[^1]: Four\n", ["two three", "One", "Four"]),
        ("    code\n\n```\ncode\n```\n\n$$\nx\n$$\n\n<!-- c -->\n\n[a]: b 'c'\n", []),
        ("<div>\n<p>In <b>HTML</b></p>\n\n*Out*\n\n</div>\n", ["In HTML", "Out"]),
        ("---\ntitle: My page\ndate: 2020-01-01\n---\nText\n", ["My page", "Text"]),
        ("Head {#id .class}\n====\n", ["Head"]),
        ("## Head {#id}\n", ["Head"]),
        ("{ref}`a b` and {doc}`c` go\n", ["{ref}`a b` and {doc}`c` go"]),
        ("+---+---+\n| a | b |\n+---+---+\n", []),
        ("中文第一行\n第二行\n", ["中文第一行第二行"]),
    ],
)
def test_segments(source: str, found: list[str]) -> None:
    assert texts(source) == found


@pytest.mark.parametrize(
    "text",
    [
        "# no heading",
        "1. no list",
        "- no list",
        "> no quote",
        "``` no fence",
        "=====",
        "*no emphasis* and _none_ here",
        "[no](link) and [ref] and ![no](image)",
        "a < b & c; d",
        "a | b",
        "back\\slash and \\* more",
        "~~no~~ and ^[no]",
        "![x",
        "[^1]: no note",
    ],
)
@pytest.mark.parametrize(
    "frame", ["{}\n", "## {}\n", "- {}\n", "{}\n---\n", "| a |\n|---|\n| {} |\n", "a | b\n--|--\n{} | d\n"]
)
def test_text_that_looks_like_markup_is_escaped(text: str, frame: str) -> None:
    """The standard parser, without the code under test, reads the very text in the same block."""
    source = frame.format("Some text") + "\n[ref]: x\n"
    document = parse(source, "md")
    filled = [
        apply_inline(segment, f"{text} word" if segment.text == "Some text" else segment.text).parts
        for segment in document.segments
    ]
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    before = parser.parse(source)
    after = parser.parse(document.text(filled))
    assert [token.type for token in after] == [token.type for token in before]
    inline = next(token for token in after if token.type == "inline" and "word" in token.content)
    assert {token.type for token in inline.children or ()} <= {"text"}
    assert "".join(token.content for token in inline.children or ()) == f"{text} word"


def test_emphasis_inside_words_changes_its_marker() -> None:
    segment = parse("An _old_ word\n", "md").segments[0]
    assert apply_inline(segment, "Das <g1>alt</g1>e Wort").parts == ("Das *alt*e Wort",)


def test_short_links_keep_their_label() -> None:
    document = parse("See [The Docs] and [it][].\n\n[the docs]: a\n[it]: b\n", "md")
    (segment,) = document.segments
    filled = apply_inline(segment, "Siehe <g1>die Doku</g1> und <g2>it</g2>.")
    assert filled.parts == ("Siehe [die Doku][The Docs] und [it][].",)


def test_html_of_the_output_differs_in_prose_only() -> None:
    """Rendered by the standard parser, the input's HTML in capital letters is the output's."""
    source = "# A *b* `c`\n\n1. x [y](z)\n   - **k** <br> l\n\n| a | b |\n|---|---|\n| *c* | d |\n"
    document = parse(source, "md")
    parser = MarkdownIt("commonmark").enable("table")
    assert parser.render(document.text(uppercased(document))).upper() == parser.render(source).upper()
    assert MARKDOWN.count("\n") == document_lines()


def document_lines() -> int:
    document = parse(MARKDOWN, "md")
    return document.text(uppercased(document)).count("\n")


def test_deep_nesting_is_read() -> None:
    for source in (
        "> " * 3000 + "x y",
        "[" * 5000 + "x y" + "]" * 5000,
        "*" * 20000 + "x y",
        "- " * 2000 + "x",
    ):
        assert parse(source, "md").text() == source
