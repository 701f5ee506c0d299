"""Exact match, F1, SQuAD and accuracy, on the cases in which scorers differ."""

from __future__ import annotations

import math

import pytest

from llmkit.errors import InputError, RowError
from llmkit.evaluation import Example, examples, make, score_rows
from llmkit.evaluation.metrics.answers import normalize_answer, token_f1


def scores(metric, predictions, references, **columns):
    found = score_rows([metric], examples(predictions, references, **columns), resamples=10).scores
    return {one.name: one.score for one in found}


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The  Cat", "cat"),
        ("a", ""),
        ("an apple a day", "apple day"),
        ("another theory, Ana", "another theory ana"),
        ("the-end", "theend"),  # punctuation goes first, so that this is no article
        ("U.S.A.", "usa"),
        ("it's", "its"),
        ("“curly” quotes — stay", "“curly” quotes — stay"),  # only ASCII punctuation goes
        ("«The» end", "« » end"),  # a word boundary is enough to be an article
        ("Ünïcode CAFÉ", "ünïcode café"),
        ("a\u00a0b", "b"),
        ("1,000", "1000"),
    ],
)
def test_normalize_answer(answer, normal):
    assert normalize_answer(answer) == normal


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("the cat sat", "cat", 2 * (1 / 2) * 1 / (1 / 2 + 1)),
        ("cat cat", "cat", 2 / 3),
        ("dog", "cat", 0),
        ("", "cat", 0),
        ("a", "the", 1),
        ("", "", 1),
    ],
)
def test_token_f1(prediction, reference, expected):
    assert token_f1(prediction, reference) == pytest.approx(expected)


def test_squad_takes_the_best_answer_of_each_kind():
    found = scores(
        make("squad"), ["the Denver Broncos", "x y"], [["Denver", "Denver Broncos!"], ["y z", "q"]]
    )
    assert found == pytest.approx({"squad_exact": 50, "squad_f1": 75})


def test_the_two_versions_differ_on_empty_answers():
    # Both are empty once "the" is gone: an exact match in both versions, an F1 of 0 in 1.1 and of 1 in 2.0.
    assert scores(make("squad"), ["the"], ["a"]) == {"squad_exact": 100, "squad_f1": 0}
    assert scores(make("squad_v2"), ["the"], [[""]])["squad_v2_f1"] == 100
    assert scores(make("f1"), ["the"], ["a"]) == {"f1": 1}


def test_squad_v2_with_and_without_answers():
    found = scores(
        make("squad_v2"),
        ["Paris", "", "in Rome", ""],
        [["Paris"], [], ["Rome", "rome italy"], ["Oslo"]],
    )
    assert found == pytest.approx(
        {
            "squad_v2_exact": 50,
            "squad_v2_f1": 100 * (1 + 1 + 2 / 3 + 0) / 4,
            "squad_v2_HasAns_exact": 100 / 3,
            "squad_v2_HasAns_f1": 100 * (1 + 2 / 3 + 0) / 3,
            "squad_v2_NoAns_exact": 100,
            "squad_v2_NoAns_f1": 100,
        }
    )


def test_squad_v2_leaves_out_what_there_is_none_of():
    assert set(scores(make("squad_v2"), ["x"], ["x"])) == {
        "squad_v2_exact",
        "squad_v2_f1",
        "squad_v2_HasAns_exact",
        "squad_v2_HasAns_f1",
    }


def test_squad_v2_threshold():
    rows = (["Paris", "Rome"], [["Paris"], []])
    probabilities = [0.1, 0.9]
    assert scores(make("squad_v2"), *rows, no_answer_probability=probabilities)["squad_v2_exact"] == 50
    strict = make("squad_v2", threshold=0.5)
    assert scores(strict, *rows, no_answer_probability=probabilities)["squad_v2_exact"] == 100
    # A probability equal to the threshold is not above it.
    at = make("squad_v2", threshold=0.9)
    assert scores(at, *rows, no_answer_probability=probabilities)["squad_v2_exact"] == 50


def test_squad_v2_best_threshold_by_hand():
    # Sorted by probability: right answer (+1), right (+1), a wrong guess at nothing (-1), a half-right F1.
    # From 1 point (one row has no answer): 2, 3, 2, and at last 2 exact, 2 + 2/3 in F1.
    found = scores(
        make("squad_v2"),
        ["in Rome", "guess", "b", "c"],
        [["Rome"], [], ["b"], ["x", "c"]],
        no_answer_probability=[0.8, 0.5, 0.3, 0.2],
    )
    assert found["squad_v2_best_exact"] == 75
    assert found["squad_v2_best_exact_threshold"] == 0.3
    assert found["squad_v2_best_f1"] == 75
    assert found["squad_v2_best_f1_threshold"] == 0.3


def test_squad_v2_best_threshold_may_answer_nothing():
    found = scores(make("squad_v2"), ["x"], [[]], no_answer_probability=[0.4])
    assert (found["squad_v2_best_exact"], found["squad_v2_best_exact_threshold"]) == (100, 0)


def test_a_probability_must_be_a_number_in_every_row():
    with pytest.raises(RowError, match="row 1: no_answer_probability is 'high'"):
        scores(make("squad_v2"), ["x"], [[]], no_answer_probability=["high"])
    with pytest.raises(InputError, match="no_answer_probability is missing in 1 of 2 rows"):
        scores(make("squad_v2"), ["x", "y"], [[], []], no_answer_probability=[0.3, None])


def test_exact_match_with_and_without_normalization():
    rows = (["The cat.", "dog"], ["cat", ["Dog", "dog"]])
    assert scores(make("exact_match"), *rows) == {"exact_match": 0.5}
    assert scores(make("exact_match", normalize=True), *rows) == {"exact_match": 1}


def test_accuracy_over_labels():
    assert scores(make("accuracy"), ["a", "b", "c"], ["a", "x", ["y", "c"]]) == pytest.approx(
        {"accuracy": 2 / 3}
    )
    assert scores(make("accuracy"), [1, 2, 3.0], [1, 0, 3]) == pytest.approx({"accuracy": 2 / 3})
    assert scores(make("accuracy"), [True, False], [True, True]) == {"accuracy": 0.5}


@pytest.mark.parametrize(
    ("prediction", "reference", "message"),
    [
        ("1", 1, "of different kinds (int and str)"),
        (True, 1, "of different kinds (bool and int)"),
        (math.nan, 1, "the prediction is nan, not a label"),
        (0.5, 1, "the prediction is 0.5, not a label"),
        (None, 1, "the prediction is None, not a label"),
        (1, None, "the reference is None, not a label"),
    ],
)
def test_labels_that_cannot_be_equal(prediction, reference, message):
    with pytest.raises(RowError) as caught:
        score_rows([make("accuracy")], [Example(prediction, [reference], where="p.csv:17")])
    assert str(caught.value).startswith("p.csv:17: ")
    assert message in str(caught.value)
