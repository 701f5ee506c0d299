"""Broken documents: nothing crashes and no byte gets lost."""

from __future__ import annotations

import random

import pytest

from llmkit.errors import InputError
from llmkit.text.documents import parse, render_checked, skeleton
from tests.text.documents.samples import PO, TEXTS, identical, rubbish

ALL = {**TEXTS, "po": PO}
BITS = [
    *"*_`[]<>|#$~\\&{}\"'-=:!^%\n\r\t\0 ",
    "**", "```\n", "](x)", "![", "<b>", "</b>", "<!--", "-->", "\n\n", "> ", "- ", "1. ", "    ", "$$",
    "^[", "[^1]", "&amp;", "\r\n", "---\n", "|---|\n", "{{x}}", "%s", "[x]: y\n", "<p>", "</p>", "<code>",
    "<script>", "</script>", '<img alt="x y">', "<br>", "<![CDATA[", "]]>", "<title>", "♪", "- ", "...",
    "00:00:01,000 --> 00:00:02,000\n", "<i>", "</i>", "{\\an8}", "<v Bob>", 'msgid "', 'msgstr ""\n', "\\n",
    "ü", "中", "\u2028", "e\u0301", "\ufeff", "ß",
]  # fmt: skip


def mutated(source: str, chance: random.Random) -> str:
    start = chance.randrange(max(len(source) - 800, 1))
    text = source[start : start + chance.randrange(50, 800)]
    for _ in range(chance.randrange(1, 12)):
        at, kind = chance.randrange(len(text) + 1), chance.random()
        if kind < 0.6:
            text = text[:at] + chance.choice(BITS) + text[at:]
        elif kind < 0.8:
            text = text[:at] + text[at + chance.randrange(1, 20) :]
        else:
            other = chance.randrange(len(text) + 1)
            text = text[:at] + text[other : other + chance.randrange(60)] + text[at:]
    return text


def check(format: str, number: int) -> bool:
    """Take one broken document through; False if its format refuses it."""
    source = mutated(ALL[format], random.Random(f"{format} {number}"))
    try:
        document = parse(source, format)
    except InputError:
        return False
    assert document.text() == source
    if format != "po":
        assert document.text(identical(document)) == source
    if number % 5 == 0 and format != "txt":
        output, _ = render_checked(document, rubbish(document, number))
        assert skeleton(output, format) == skeleton(source, format)
    return True


@pytest.mark.parametrize("format", ALL)
def test_broken_documents(format: str) -> None:
    read = [check(format, number) for number in range(150)]
    assert any(read)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["md", "html", "srt", "vtt", "po"])
def test_ten_thousand_broken_documents(format: str) -> None:
    assert sum(check(format, number) for number in range(10_000)) > 5_000
