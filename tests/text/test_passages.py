"""Passages: nothing of a text is lost, lines are counted right, and the fitting one comes first."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from llmkit.text.passages import ContextDocument, Library, split_passages


def test_pieces_make_up_the_text_and_keep_to_the_size() -> None:
    chance = random.Random(0)
    for _ in range(100):
        text = "".join(chance.choices("ab \n.。猫", [8, 8, 3, 1, 1, 1, 4], k=chance.randint(0, 400)))
        size = chance.randint(1, 60)
        pieces = split_passages(text, size)
        assert "".join(text[start:end] for start, end in pieces) == text
        assert all(0 < end - start <= size for start, end in pieces)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two.\n\nthree\nfour. five", "one two.\n\n"),
        ("one two three\nfour. five six", "one two three\n"),
        ("one two three. four five six", "one two three. "),
        ("one two three four five six", "one two three "),
        ("猫在椅子上睡觉猫在椅。子上睡觉花都开了", "猫在椅子上睡觉猫在椅。"),
        ("x" * 30, "x" * 16),
    ],
)
def test_a_piece_ends_where_the_text_breaks(text: str, first: str) -> None:
    start, end = split_passages(text, 16)[0]
    assert text[start:end] == first


def test_lines_are_counted_from_one_with_any_line_end() -> None:
    document = ContextDocument("x.txt", "a\nbb\r\n\ncc")
    assert [document.line(document.text.index(part)) for part in ("a", "bb", "cc")] == [1, 2, 4]


def test_the_fitting_passage_comes_first_and_equals_keep_their_order() -> None:
    library = Library(
        [
            ContextDocument("a.txt", "The moon is far away."),
            ContextDocument("b.txt", "   \n "),
            ContextDocument("c.txt", "Ships sail the sea. A captain commands a ship."),
            ContextDocument("d.txt", "The cat sleeps."),
        ]
    )
    assert [p.document.name for p in library.best("Who commands a SHIP?")] == ["c.txt", "a.txt", "d.txt"]
    assert [p.document.name for p in library.best("unknown words")] == ["a.txt", "c.txt", "d.txt"]
    assert [p.document.name for p in library.best("?!")] == ["a.txt", "c.txt", "d.txt"]


def test_chinese_passages_are_ranked() -> None:
    library = Library(
        [
            ContextDocument("a", "春天来了，花都开了。"),
            ContextDocument("b", "猫在椅子上睡觉。"),
            ContextDocument("c", "他去了市场。"),
        ]
    )
    assert library.best("谁在椅子上？")[0].document.name == "b"


def test_hindi_words_are_compared_whole() -> None:
    """Cut at their vowel signs, the question's two words would be five pieces that the first text has."""
    library = Library(
        [
            ContextDocument("pieces", "क त ब कह ँ क त ब कह ँ"),
            ContextDocument("words", "मेज पर एक किताब है, यहाँ।"),
        ]
    )
    assert library.best("किताब कहाँ है?")[0].document.name == "words"


def test_passages_without_a_word_keep_their_order() -> None:
    documents = [ContextDocument(str(i), text) for i, text in enumerate(["***", "!!!", "---"])]
    assert [passage.text for passage in Library(documents).best("moon?")] == ["***", "!!!", "---"]
    nearness = {"***": 0.0, "!!!": 1.0, "---": -1.0}

    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([[nearness.get(text, 1.0)] for text in texts])

    found = [passage.text for passage in Library(documents, embed=embed).best("moon?")]
    assert found == ["!!!", "***", "---"]


def test_two_rankings_become_one() -> None:
    texts = ["the moon is far", "a dog barks", "the sun and the moon", "cats sleep"]
    documents = [ContextDocument(str(i), text) for i, text in enumerate(texts)]
    # The encoder likes the dog best, then the far moon.
    vectors = {"moon?": [1.0, 0.0], **dict(zip(texts, [[0.8, 0.6], [1, 0], [0, 1], [0, 1]], strict=True))}

    def embed(given: Sequence[str]) -> np.ndarray:
        return np.array([vectors[text] for text in given])

    plain = [passage.text for passage in Library(documents).best("moon?")]
    fused = [passage.text for passage in Library(documents, embed=embed).best("moon?")]
    assert plain[0] in {texts[0], texts[2]}
    assert plain.index(texts[1]) >= 2
    # By hand: BM25 has b, 0, less than b, 0 (the third text is longer), and the cosines are 0.8, 1, 0, 0. So
    # 0.2 + 0.8 * 1.8 / 2 = 0.92, then 0 + 0.8 = 0.8, then at most 0.2 + 0.4, then 0.4.
    assert fused == [texts[0], texts[1], texts[2], texts[3]]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("sun?", ["three", "two", "one"]),  # no passage has the word: the vectors alone decide
        ("a?", ["three", "two", "one"]),  # two passages have it alike: neither is first for its place
    ],
)
def test_a_passage_gains_nothing_from_its_place(question: str, expected: list[str]) -> None:
    documents = [ContextDocument("f", text) for text in ("one a", "two a", "three")]
    nearness = {"one a": 0.1, "two a": 0.2, "three": 1.0}

    def embed(texts: Sequence[str]) -> np.ndarray:
        return np.array([[nearness.get(text, 1.0)] for text in texts])

    found = [passage.text.split()[0] for passage in Library(documents, embed=embed).best(question)]
    assert found == expected
