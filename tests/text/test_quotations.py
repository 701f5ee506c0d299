"""A quotation is found if it says the same, and only then; its place is exact in the original."""

from __future__ import annotations

import pytest

from llmkit.text.quotations import find_quotation


@pytest.mark.parametrize(
    ("quotation", "text", "place"),
    [
        ("the cat sat", "Then the cat sat down.", "the cat sat"),
        ("The Cat\tsat", "Then the cat\r\n   sat down.", "the cat\r\n   sat"),
        ("\"Where to?\" - 'Home'", "He said: “Where to?” — ‘Home’.", "“Where to?” — ‘Home’"),
        ("caf\u00e9 noir", "un cafe\u0301 noir 🙂", "cafe\u0301 noir"),
        ("cafe\u0301", "un caf\u00e9 noir", "caf\u00e9"),
        ("strasse 5", "Die Straße 5 🙂", "Straße 5"),
        ("猫在椅子上", "春天。猫在椅子上睡觉。", "猫在椅子上"),
        ("the end", "it was\n\nThe End", "The End"),
        (" end ", "the end", "end"),
    ],
)
def test_found(quotation: str, text: str, place: str) -> None:
    found = find_quotation(quotation, text)
    assert found is not None
    assert text[slice(*found)] == place


@pytest.mark.parametrize(
    ("quotation", "text"),
    [
        ("the cat sat", "the cats sat"),
        ("in 1991", "in 1992"),
        ("cafe", "caf\u00e9"),
        ("a dog", ""),
        ("", "a dog"),
        (" \n", "a dog"),
    ],
)
def test_not_found(quotation: str, text: str) -> None:
    assert find_quotation(quotation, text) is None
