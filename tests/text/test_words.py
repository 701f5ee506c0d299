"""Words in any script."""

from __future__ import annotations

import pytest

from llmkit.text.words import count_words, is_unspaced, search_terms, unicode_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's GPT-4, v2_final!", ["it", "s", "gpt", "4", "v2", "final"]),
        ("Das schöne Café", ["das", "schöne", "café"]),
        ("cafe\u0301", ["café"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("ＡＢＣ　ﾃｽﾄ", ["abc", "テ", "ス", "ト"]),
        ("東京・大阪、２０２４年", ["東", "京", "大", "阪", "2024", "年"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("สวัสดี", ["ส", "วั", "ส", "ดี"]),
        ("𠮷野家", ["𠮷", "野", "家"]),
        ("۱۲۳ год", ["۱۲۳", "год"]),
        ("", []),
    ],
)
def test_unicode_words(text: str, words: list[str]) -> None:
    assert unicode_words(text) == words


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n", 0),
        ("It's well-known -- so it is.", 6),
        ("“Schöne Grüße”, sagte er.", 4),
        ("東京・大阪、２０２４年。", 6),
        ("我用 GPT-4 写代码。", 6),
        ("हिन्दी भाषा", 2),
        ("สวัสดี", 4),
    ],
)
def test_words_are_counted_as_people_do(text: str, count: int) -> None:
    assert count_words(text) == count


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("GPT-4 says.", ["gpt", "4", "says"]),
        ("东京都, 東", ["东京", "京都", "都東"]),
        ("東 GPT", ["東", "gpt"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("Straße ΟΔΟΣ", ["strasse", "οδοσ"]),
        ("ネコ cat", ["ネコ", "cat"]),
        (" \t!? ", []),
        ("", []),
    ],
)
def test_terms_for_comparing_texts(text: str, terms: list[str]) -> None:
    assert search_terms(text) == terms


@pytest.mark.parametrize("character", ["猫", "ね", "ネ", "ก", "ခ", "ក", "ལ", "𠀀"])
def test_scripts_without_spaces(character: str) -> None:
    assert is_unspaced(f"in a {character}.")


@pytest.mark.parametrize("character", ["a", "é", "Я", "ع", "ह", "한", "🙂", "1", " "])
def test_scripts_with_spaces(character: str) -> None:
    assert not is_unspaced(character)
