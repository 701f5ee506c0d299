"""Which tokens stand in words that question and context share."""

import pytest

from llmkit.text.overlap import shared_marks, stem


@pytest.mark.parametrize(
    ("one", "other"),
    [("move", "moved"), ("Moving", "moves"), ("city", "cities"), ("quick", "quickly"), ("ÉTÉ", "été")],
)
def test_inflections_of_a_word_are_one(one: str, other: str) -> None:
    assert stem(one) == stem(other)


@pytest.mark.parametrize(("one", "other"), [("is", "it"), ("bed", "be"), ("king", "k"), ("car", "cart")])
def test_short_words_keep_their_letters(one: str, other: str) -> None:
    assert stem(one) != stem(other)


def test_tokens_are_marked_by_the_word_they_stand_in() -> None:
    context = "The dogs barked. A cat"
    #        The dog s barked . A cat, as a tokenizer may cut it
    ends = [3, 7, 8, 15, 16, 18, 22]
    assert shared_marks("Which dog barks?", context, ends) == [False, True, True, True, False, False, False]


def test_a_token_without_characters_and_an_empty_context_have_no_marks() -> None:
    assert shared_marks("a", "", [0, 0]) == [False, False]
    assert shared_marks("", "a b", [0, 1, 3]) == [False, False, False]
