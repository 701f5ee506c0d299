"""Words as metrics compare them."""

from __future__ import annotations

import pytest

from llmkit.evaluation.metrics.tokens import dropped_share, main_script
from llmkit.text.words import ascii_words


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
