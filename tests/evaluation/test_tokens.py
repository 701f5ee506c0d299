"""Words in any script."""

from __future__ import annotations

import pytest

from llmkit.evaluation.tokens import ascii_words, dropped_share, main_script, unicode_words


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
def test_unicode_words(text, words):
    assert unicode_words(text) == words


def test_ascii_words_are_those_of_rouge_score():
    from rouge_score.tokenize import tokenize

    for text in ["It's GPT-4, v2_final!", "schön 北京 x", "\u212aelvin İstanbul", "  ", "a\tb\nc"]:
        assert ascii_words(text) == tokenize(text, None)


def test_share_of_letters_that_ascii_words_drop():
    assert dropped_share(["abcd"]) == 0
    assert dropped_share(["abc北 123"]) == 0.25
    assert dropped_share(["мир"]) == 1
    assert dropped_share(["123 ..."]) == 0


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain words", "spaced"),
        ("Привет", "spaced"),
        ("我们写代码", "han"),
        ("東京へ行く", "kana"),
        ("ไทย", "unspaced"),
    ],
)
def test_main_script(text, script):
    assert main_script([text]) == script
