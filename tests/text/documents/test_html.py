"""HTML: tokens that are the source, and text between them."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from llmkit.text.documents import apply_inline, parse
from llmkit.text.documents.markup.tokens import tokenize
from tests.text.documents.samples import HTML, RUBBISH


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>One <b>two</b> three<p>four", ["One two three", "four"]),
        ("<p>a&nbsp;b &amp; c &lt;d", ["a\xa0b & c <d"]),
        ("one<br>two <i>x<br>y</i>", ["one", "two x<x1/>y"]),
        ("<img alt='A cat' src=x><input title=\"Go & see\" value=no>", ["A cat", "Go & see"]),
        ("<code>a</code> <script>b</script><style>c</style><pre>d</pre><svg><text>e</text></svg>", []),
        ("Run <code>a <b>b</b></code> now", ["Run `a b` now"]),
        ("<p translate=no>a</p><b class='x notranslate'>b</b> <b>c d</b>", ["b c d"]),
        ("<title>T &amp; t</title><h1>H</h1>", ["T & t", "H"]),
        ("<!-- <p>no</p> --> yes <![CDATA[no]]> and <?php no ?>", ["yes <x1/> and"]),
        ("a < b and c > d <3", ["a < b and c > d <3"]),
        ("<a href='x>y'>link</a> <a href=\"unclosed>z</a>", ["link z"]),
        (
            "<p>{{ x }} {% if y %}Hello <b>{{ name }}</b>{% endif %}</p>",
            ["{{ x }} {% if y %}Hello {{ name }}"],
        ),
        ("<ul><li>a b<li>c d</ul>", ["a b", "c d"]),
        ("<p>tag <x-y>custom</x-y> end", ["tag", "custom", "end"]),
    ],
)
def test_segments(source: str, found: list[str]) -> None:
    document = parse(source, "html")
    assert [segment.text for segment in document.segments] == found
    assert document.text() == source


@pytest.mark.parametrize(
    "text", [*RUBBISH[:-1], "<script>alert(1)</script> x", "</p> y", "a &lt; b &copy; c", "<!-- z"]
)
def test_a_translation_is_text_to_another_parser(text: str) -> None:
    """Python's own parser finds the same tags, and the translation as text."""
    source = '<p id="1">One <b>two</b></p><img alt="three four">'

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.tags: list[str] = []
            self.text: list[str] = []
            self.alt: list[str | None] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.append(tag)
            self.alt += [value for name, value in attrs if name == "alt"]

        def handle_data(self, data: str) -> None:
            self.text.append(data)

    document = parse(source, "html")
    filled = [
        apply_inline(segment, f"<g1>{text}</g1>" if segment.styles else text) for segment in document.segments
    ]
    reader = Reader()
    reader.feed(document.text([one.parts for one in filled]))
    reader.close()
    assert reader.tags == ["p", "b", "img"]
    wanted = " ".join(text.split())
    for one, read in zip(filled, [reader.alt[0], "".join(reader.text)], strict=True):
        assert (read == wanted) == (one.parts is not None)


def test_tokens_are_the_source_in_linear_time() -> None:
    for source in (
        HTML,
        "<" * 50_000,
        "<a " * 30_000,
        "<!--" * 30_000,
        "<a '" * 20_000,
        "&" * 50_000,
        "</" * 50_000,
    ):
        assert "".join(token.source for token in tokenize(source)) == source
