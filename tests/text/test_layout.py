"""Passages of a text and what stands around them."""

from __future__ import annotations

import random

import pytest

from llmkit.text.layout import lay_out

PIECES = (
    *("One two. Three!", "Dr. No said: yes", "今天好。走吧！", "- item", "12) Step", "# Title", "> quote"),
    *("—", "3.5", " ", "  ", "\t", "\n", "\n\n", "\r\n", "\r", "\u2028", "\u3000", "\f", "🙂", "e\u0301"),
    *("a", ".", "…", "**b**"),
)


@pytest.mark.parametrize("lines", [False, True])
def test_any_text_comes_back_byte_for_byte(lines: bool) -> None:
    chance = random.Random(1)
    for _ in range(500):
        text = "".join(chance.choices(PIECES, k=chance.randint(0, 25)))
        longest = chance.randint(1, 12)
        layout = lay_out(text, lines=lines)
        cut = layout.cut(lambda passages, longest=longest: [len(p) > longest for p in passages])
        for one in (layout, cut):
            assert one.filled(one.passages) == text
        assert all(len(passage) <= max(longest, 2) for passage in cut.passages)
        assert all(passage == passage.strip() for passage in layout.passages)


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("One. Two.\n\n  Three", ["One.", "Two.", "Three"]),
        ("- One. Two.\n* Three\n2. Four\n## Five\n> > Six", ["One.", "Two.", "Three", "Four", "Five", "Six"]),
        ("— Who? — Me.", ["Who?", "— Me."]),
        ("---\n42\n3.5 %\n🙂\n\n", []),
        ("In 1999. 42! Yes", ["In 1999.", "Yes"]),
        ("", []),
    ],
)
def test_passages_are_sentences_without_bullets_and_numbers(text: str, passages: list[str]) -> None:
    assert lay_out(text).passages == passages


def test_passages_may_be_lines() -> None:
    assert lay_out(" - One. Two.\nThree.", lines=True).passages == ["One. Two.", "Three."]


@pytest.mark.parametrize(
    ("text", "longest", "parts"),
    [
        ("First one. Second two.", 12, ["First one.", "Second two."]),
        ("when it rains, we stay in", 16, ["when it rains,", "we stay in"]),
        ("one two three four", 10, ["one two", "three four"]),
        ("下雨的时候，我们不出去", 7, ["下雨的时候，", "我们不出去"]),
        ("abcdefgh", 4, ["abcd", "efgh"]),
        ("ae\u0301\u0301\u0301\u0301b", 6, ["a", "e\u0301\u0301\u0301\u0301b"]),
        ("e\u0301\u0301", 1, ["e\u0301\u0301"]),
    ],
)
def test_a_long_passage_is_cut_where_it_hurts_least(text: str, longest: int, parts: list[str]) -> None:
    cut = lay_out(text).cut(lambda passages: [len(passage) > longest for passage in passages])
    assert cut.passages == parts


def test_spaces_between_sentences_follow_the_language_written() -> None:
    chinese = lay_out("好。走吧！\n你呢？")
    assert chinese.filled(["Good.", "Go!", "You?"], spaces=True) == "Good. Go!\nYou?"
    english = lay_out("Good. Go!\nYou?  Yes.")
    assert english.filled(["好。", "走吧！", "你呢？", "是。"], spaces=False) == "好。走吧！\n你呢？  是。"


def test_ranges_can_be_taken_out_of_passages() -> None:
    text = "Ask Anna. Go now."
    assert lay_out(text).without([(4, 12)]).passages == ["Ask", "now."]
    assert lay_out(text).without([(0, 8)]).passages == ["Go now."]
    assert lay_out(text).without([]).passages == ["Ask Anna.", "Go now."]
