"""Parts of a long text: each fits, together they are the text, and they meet where paragraphs do."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from llmkit.text.sections import split_parts


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def paragraph(number: int, sentences: int) -> str:
    return " ".join(f"This is sentence {number}-{i} of it." for i in range(sentences))


def parts_of(text: str, room: int, overlap: int = 0) -> list[str]:
    return [text[a:b] for a, b in split_parts(text, count=words, room=room, overlap=overlap)]


def test_a_text_that_fits_is_one_part() -> None:
    assert parts_of("  One sentence. Another one.\n", 10) == ["One sentence. Another one."]
    assert parts_of(" \n ", 10) == []


def test_parts_end_where_paragraphs_do() -> None:
    text = "\n\n".join(paragraph(i, 3) for i in range(4))  # 4 paragraphs of 18 words
    assert parts_of(text, 40) == ["\n\n".join(text.split("\n\n")[:2]), "\n\n".join(text.split("\n\n")[2:])]


def test_neighbours_share_the_last_paragraph() -> None:
    paragraphs = [paragraph(i, 1) for i in range(9)]  # 6 words each
    assert parts_of("\n\n".join(paragraphs), 30, 8) == [
        "\n\n".join(paragraphs[0:5]),
        "\n\n".join(paragraphs[4:9]),
    ]


def test_inside_a_long_paragraph_they_share_its_last_sentences() -> None:
    sentences = paragraph(0, 9).split(". ")
    first, second, *_ = parts_of(paragraph(0, 9), 30, 13)
    assert first.endswith("0-4 of it.")
    assert second.startswith("This is sentence 0-3 of it.")
    assert len(sentences) == 9


def test_a_sentence_that_no_part_holds_is_cut_between_words() -> None:
    text = "Short one. " + " ".join(f"word{i}" for i in range(100)) + "."
    parts = parts_of(text, 16)
    assert max(words(parts)) <= 16
    assert " ".join(parts).split() == text.split()


def test_a_word_that_no_part_holds_is_cut() -> None:
    text = "x" * 100
    parts = split_parts(text, count=characters, room=30)
    assert "".join(text[a:b] for a, b in parts) == text
    assert all(b - a <= 30 for a, b in parts)


@pytest.mark.parametrize("seed", range(20))
def test_every_part_fits_and_nothing_is_left_out(seed: int) -> None:
    chance = random.Random(seed)
    text = chance.choice(["", " ", "\n\n"])
    for _ in range(chance.randint(1, 60)):
        text += " ".join("wörd" * chance.randint(1, 4) for _ in range(chance.randint(1, 30)))
        text += chance.choice([". ", "! ", ".\n", ".\n\n", "。", "\r\n\r\n", ".\n \n\n"])
    room, overlap = chance.randint(1, 80), chance.randint(0, 40)
    parts = split_parts(text, count=characters, room=room, overlap=overlap)
    seen = 0
    for start, end in parts:
        assert end - start <= room
        assert text[seen:start].strip() == ""
        assert end > seen
        if start < seen:
            assert seen - start <= overlap + room // 4
        seen = end
    assert text[seen:].strip() == ""
