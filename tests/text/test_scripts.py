"""What a search compares, in scripts with spaces and without."""

from __future__ import annotations

import pytest

from llmkit.text.scripts import UNSPACED, search_terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The cat's HAT, 42!", ["the", "cat", "s", "hat", "42"]),
        ("Straße ΟΔΟΣ", ["strasse", "οδοσ"]),
        ("猫在椅子上", ["猫在", "在椅", "椅子", "子上"]),
        ("猫。", ["猫"]),
        ("ネコ cat", ["ネコ", "cat"]),
        (" \t!? ", []),
        ("", []),
    ],
)
def test_search_terms(text: str, terms: list[str]) -> None:
    assert search_terms(text) == terms


@pytest.mark.parametrize("character", ["猫", "ね", "ネ", "ก", "ခ", "ក", "ལ", "𠀀"])
def test_scripts_without_spaces(character: str) -> None:
    assert UNSPACED.search(character)


@pytest.mark.parametrize("character", ["a", "é", "Я", "ع", "ह", "한", "🙂", "1"])
def test_scripts_with_spaces(character: str) -> None:
    assert not UNSPACED.search(character)
