"""Distinct n-grams and repetition."""

from __future__ import annotations

import pytest

from llmkit.errors import InputError
from llmkit.evaluation import examples, make, score_rows


def scores(metric, predictions):
    found = score_rows([metric], examples(predictions), resamples=10).scores
    return {one.name: one.score for one in found}


def test_by_hand():
    # a b a b: 2 of 4 words, {ab, ba} of 3 pairs, {aba, bab} of 2 triples; one word alone has no pair.
    found = scores(make("distinct"), ["a b A b", "word"])
    assert found == pytest.approx({"distinct_1": (0.5 + 1) / 2, "distinct_2": 2 / 3, "distinct_3": 1})
    found = scores(make("repetition"), ["a b A b", "word"])
    assert found == pytest.approx({"repetition_2": 1 / 3, "repetition_3": 0, "repetition_4": 0})


def test_scripts_without_spaces_have_words_too():
    assert scores(make("repetition", orders=[2]), ["哈哈哈哈"]) == pytest.approx({"repetition_2": 2 / 3})


def test_what_no_text_is_long_enough_for_is_left_out():
    assert scores(make("distinct"), ["one two", ""]) == {"distinct_1": 1, "distinct_2": 1}


def test_texts_too_short_for_anything():
    with pytest.raises(
        InputError, match="repetition has nothing to score: the texts are empty, or too short"
    ):
        scores(make("repetition"), ["one", ""])


def test_signature_names_no_references():
    (found,) = score_rows([make("distinct", orders=[1])], examples(["x"]), resamples=2).scores
    assert found.signature.startswith("level:text|tok:unicode|")


def test_an_order_is_at_least_one():
    with pytest.raises(InputError, match="each must be at least 1"):
        make("distinct", orders=[0])
