"""What must come through a translation."""

from __future__ import annotations

import pytest

from llmkit.text.protected_spans import ProtectedSpans


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Hi {name}, {{user.id}} and ${cost}: {0} {}", ["{name}", "{{user.id}}", "${cost}", "{0}", "{}"]),
        ("%s of %d, %(name)s, %1$s, %.2f%%", ["%s", "%d", "%(name)s", "%1$s", "%.2f"]),
        ("50% discount, 5 %sure", []),
        ("See https://a.io/x?y=1&z=(2), or www.b.org.", ["https://a.io/x?y=1&z=(2", "www.b.org"]),
        ("Write to me@mail.example.com.", ["me@mail.example.com"]),
        ('<b>Bold</b> &amp; <a href="x y">k', ["<b>", "</b>", "&amp;", '<a href="x y">']),
        ("if 1 < 2 > 0", []),
        ("Plain text.", []),
    ],
)
def test_placeholders_are_known(text: str, kept: list[str]) -> None:
    assert [text[start:end] for start, end in ProtectedSpans().spans(text)] == kept


@pytest.mark.parametrize(
    ("term", "text", "times"),
    [
        ("IT", "IT is not ITEM, nor it; IT_x or IT-2", 3),
        ("C++", "C++ and C+++", 2),
        (".NET", "the .NET and x.NET", 2),
        ("微信", "我用微信支付", 1),
        ("카카오톡", "카카오톡에서", 1),
        ("a.b", "a.b axb", 1),
        ("New York", "New York, New Yorker", 1),
        # Letters of a script without spaces, and Korean particles, do not belong to a Latin word.
        ("GPU", "这个GPU很快，GPUの値段、GPU는", 3),
        ("GPU", "两个GPUs", 0),
    ],
)
def test_terms_are_words_of_their_own(term: str, text: str, times: int) -> None:
    assert len(ProtectedSpans([term]).spans(text)) == times


def test_the_longest_term_wins() -> None:
    text = "New York City"
    assert [text[a:b] for a, b in ProtectedSpans(["New York", "New York City"]).spans(text)] == [
        "New York City"
    ]


def test_what_is_lost_is_counted() -> None:
    keeper = ProtectedSpans(["Acme"])
    assert keeper.lost("{a} {a} Acme", "{a} Acme {a}!") == []
    assert keeper.lost("{a} {a} Acme", "{a} ACME") == ["{a}", "Acme"]
