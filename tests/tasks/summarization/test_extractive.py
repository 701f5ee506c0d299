"""Extractive summaries: the text's own sentences, within the bounds, in any script."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import InputError
from llmkit.tasks.summarization.extractive import SummaryLength, extract
from llmkit.tasks.summarization.ranking import lead_weights
from llmkit.text.words import count_words

NEWS = (
    "Heavy snow fell on the city of Bern last night. The snow closed the roads of the city for hours."
    " My aunt prefers tea. Buses and trams of the city stood still in the snow until noon."
    " A bakery gave away bread. The city sent ploughs to clear the snow from the roads."
)
CHINESE = (
    "昨天夜里，北京下了一场大雪。大雪使北京的道路交通陷入瘫痪。我的阿姨喜欢喝茶。"
    "北京派出了扫雪车清理道路上的大雪。面包店免费送面包。"
)


def test_sentences_are_the_texts_own_and_in_its_order() -> None:
    found = extract(NEWS, SummaryLength(max_words=40))
    assert found.spans == sorted(found.spans)
    assert found.text == " ".join(NEWS[start:end] for start, end in found.spans)
    assert 20 <= count_words(found.text) <= 40


def test_what_the_text_is_about_is_picked_and_what_stands_apart_is_not() -> None:
    text = extract(NEWS, SummaryLength(max_words=40)).text
    assert "snow" in text
    assert "aunt" not in text
    assert "bakery" not in text


def test_scripts_without_spaces() -> None:
    found = extract(CHINESE, SummaryLength(max_words=30))
    assert found.text == "".join(CHINESE[start:end] for start, end in found.spans)
    assert "大雪" in found.text
    assert "阿姨" not in found.text
    assert count_words(found.text) <= 30


def test_nothing_is_said_twice() -> None:
    twice = NEWS + " " + NEWS
    found = extract(twice, SummaryLength(max_words=50))
    sentences = [twice[start:end] for start, end in found.spans]
    assert len(set(sentences)) == len(sentences)


def test_embeddings_decide_where_they_are_given() -> None:
    # The first sentence (the aunt) lies between all others, which point away from one another.
    around = [[1, 0, 0], [1, 1, 0], [1, -1, 0], [1, 0, 1], [1, 0, -1], [-1, 0, 0]]

    def embed(sentences: Sequence[str]) -> np.ndarray:
        assert [sentence.split()[0] for sentence in sentences] == ["My", "Heavy", "The", "Buses", "A", "The"]
        vectors = np.array(around, dtype=float)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    aunt = "My aunt prefers tea to coffee at any hour."
    text = f"{aunt} {NEWS.replace(' My aunt prefers tea.', '')}"
    assert extract(text, SummaryLength(max_words=10), embed).text == aunt
    assert "aunt" not in extract(text, SummaryLength(max_words=10)).text


def test_lines_that_are_no_sentences_are_left_out() -> None:
    text = f"Weather\n\n{NEWS}\n\n- snow on the roads of the city\n- buses and trams of Bern\n"
    found = extract(text, SummaryLength(min_words=1000))
    assert found.sentences == [sentence.strip() + "." for sentence in NEWS[:-1].split(".")]
    assert found.bullets == "\n".join(f"- {sentence}" for sentence in found.sentences)
    assert extract("- snow on the roads\n- buses and trams", SummaryLength(min_words=99)).sentences == [
        "- snow on the roads",
        "- buses and trams",
    ]


def test_the_lead_weighs_more_in_a_short_text_than_in_a_long_one() -> None:
    same = [
        f"Sentence number {'abcdefghij'[i % 10]} says as much as all of the others do." for i in range(2000)
    ]
    ranks = lead_weights(10), lead_weights(2000)
    assert ranks[0][0] == 3
    assert ranks[0][9] < 1.2
    assert ranks[1][0] == pytest.approx(1.1)
    assert extract(" ".join(same), SummaryLength(max_words=12)).text == same[0]


def test_embeddings_that_say_the_same_are_not_both_taken() -> None:
    text = "".join(f"Here is sentence number {i} of this short text. " for i in range(5))
    vectors = np.array([[1, 0.0], [1, 0], [1, 0], [0, 1], [0, 1]])
    found = extract(text, SummaryLength(max_words=18), lambda sentences: vectors)
    assert "number 0" in found.text
    assert "number 3" in found.text


@pytest.mark.parametrize("text", ["Only one sentence stands here.", NEWS])
def test_embeddings_without_a_direction(text: str) -> None:
    found = extract(text, None, lambda sentences: np.zeros((len(sentences), 1)))
    assert found.text in text


def test_a_page_that_breaks_lines_does_not_break_sentences() -> None:
    wrapped = (
        "Heavy snow fell on the city of Bern last night, and it closed all\n"
        "of the roads of the city for hours on end. My aunt prefers to drink\n"
        "tea. Buses and trams of the city stood still in the heavy snow until\n"
        "noon, when the ploughs of the city cleared the roads of the snow.\n"
    )
    found = extract(wrapped, SummaryLength(max_words=25))
    assert found.text in wrapped
    assert found.text.endswith(".")
    assert found.text[0].isupper()


@pytest.mark.parametrize("bounds", itertools.product([None, 10, 40], [None, 12, 45], [None, 0.2, 0.6]))
def test_bounds(bounds: tuple[int | None, int | None, float | None]) -> None:
    least, most, ratio = bounds
    if least and most and least > most:
        with pytest.raises(InputError, match="`min_words` is 40, more than max_words=12"):
            SummaryLength(*bounds)
        return
    words = count_words(extract(NEWS, SummaryLength(*bounds)).text)
    if most is not None:
        assert words <= most
    elif least is not None:
        assert words >= least
    elif ratio is not None:
        assert words <= ratio * count_words(NEWS) + 1


def test_by_default_a_third_and_no_more_than_150_words() -> None:
    assert count_words(extract(NEWS).text) <= count_words(NEWS) / 3 + 1
    book = " ".join(f"The {a} {b} saw the {c}." for a, b, c in itertools.permutations(NEWS.split()[:14], 3))
    assert 75 <= count_words(extract(book).text) <= 150


def test_a_sentence_of_its_own_is_its_summary() -> None:
    assert extract("Just this one sentence here").text == "Just this one sentence here"
    assert extract(NEWS, SummaryLength(min_words=1000)).text == NEWS


@pytest.mark.parametrize("text", ["", " \n\t ", "\u3000"])
def test_an_empty_text(text: str) -> None:
    with pytest.raises(InputError, match="the text is empty"):
        extract(text)


def test_a_limit_that_no_sentence_keeps() -> None:
    with pytest.raises(InputError, match=r"no sentence has 3 words or fewer \(the shortest has 4\)"):
        extract(NEWS, SummaryLength(max_words=3))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"min_words": 0}, "`min_words`"), ({"max_words": 0}, "`max_words`"), ({"ratio": 1.0}, "`ratio`")],
)
def test_bounds_that_cannot_be(options: dict[str, float], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SummaryLength(**options)  # type: ignore[arg-type]


def test_texts_without_a_word_to_go_by() -> None:
    for text in ("!!! ... ???", "a a. a a. a a.", "1. 2. 3."):
        assert extract(text).text


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from llmkit.tasks.summarization.extractive import extract;"
        "print(extract(sys.argv[1]).text);"
        "print([m for m in ('torch', 'transformers', 'datasets', 'tokenizers', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, NEWS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [extract(NEWS).text, "[]"]


def test_a_novel(data_folder: Path) -> None:
    novel = (data_folder / "lm" / "sherlock.txt").read_text(encoding="utf-8")
    found = extract(novel, SummaryLength(max_words=300))
    assert 150 <= count_words(found.text) <= 300
    assert all(len(novel[start:end].split()) >= 8 for start, end in found.spans)
