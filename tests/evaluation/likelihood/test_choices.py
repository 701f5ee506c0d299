"""Choices by likelihood: what a model finds more probable, in all layouts that the field's sets have."""

from __future__ import annotations

import json

import pytest

from llmkit.errors import RowError
from llmkit.evaluation import score_rows
from llmkit.evaluation.likelihood.choices import (
    measure_choices,
    measure_pairs,
    minimal_pairs,
    multiple_choice,
)
from llmkit.evaluation.likelihood.loss import Loss
from llmkit.evaluation.likelihood.windowing import windowing
from llmkit.evaluation.metric import Example
from llmkit.records.rows import Row
from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec


@pytest.fixture(scope="module")
def stories():
    return load(ModelSpec(name="stories", dtype="float32", device="cpu"))


@pytest.fixture
def tiny(tiny_model):
    def get(family, **options):
        name = str(tiny_model(family, **options))
        task = "fill-mask" if family == "bert" else "text-generation"
        return load(ModelSpec(name=name, task=task, dtype="float32", device="cpu"))

    return get


def rows(*data):
    return [Row(index, one, f"x.jsonl:{index + 1}") for index, one in enumerate(data)]


def scores_of(metric, found):
    return {one.name: one.score for one in score_rows([metric], found, resamples=10).scores}


def test_by_hand(stories):
    """The whole likelihood takes the short one, the likelihood per token the second, per byte the third."""
    losses = [Loss(2.0, 1, 1, 2, 0), Loss(3.0, 6, 3, 4, 0), Loss(6.0, 6, 3, 60, 0)]
    for right, expected in enumerate(["accuracy", "accuracy_per_token", "accuracy_per_byte"]):
        found = scores_of(multiple_choice(stories, windowing(stories)), [Example(losses, [right])])
        assert {name for name, value in found.items() if value} == {expected}
    pair = [Loss(6.0, 6, 3, 60, 0), Loss(2.0, 1, 1, 2, 0)]
    assert scores_of(minimal_pairs(stories, windowing(stories)), [Example(pair)]) == {
        "accuracy": 0,
        "accuracy_per_token": 1,
    }


def test_equally_probable_is_not_right(stories):
    same = [Loss(2.0, 1, 1, 2, 0)] * 2
    found = scores_of(minimal_pairs(stories, windowing(stories)), [Example(same)])
    assert found == {"accuracy": 0, "accuracy_per_token": 0}


def test_likelihoods_of_choices(tiny):
    """Each choice scored by itself after its question, one token at a time."""
    import torch

    loaded = tiny("llama", bos=False)
    loaded.model.double()
    question, choices = "The cat sat on the mat and", ["looked at the moon.", "春天来了。", "x"]
    data = {"question": question, "choices": choices, "answer": 1}
    (found,) = measure_choices(loaded, rows(data), windowing(loaded, given=True))
    for choice, loss in zip(choices, found.prediction, strict=True):
        ids = loaded.tokenizer(f"{question} {choice}")["input_ids"]
        given = len(loaded.tokenizer(question)["input_ids"])
        with torch.no_grad():
            logits = torch.log_softmax(loaded.model(torch.tensor([ids])).logits[0], -1)
        expected = -sum(logits[place - 1, ids[place]].item() for place in range(given, len(ids)))
        assert loss.nll == pytest.approx(expected, rel=1e-9)
        assert (loss.tokens, loss.bytes) == (len(ids) - given, len(choice.encode()))
    best = min(range(3), key=lambda i: found.prediction[i].nll)
    assert found.data["prediction"] == choices[best]
    assert found.references == [1]
    assert [one["nll"] for one in found.data["losses"]] == [one.nll for one in found.prediction]


@pytest.mark.parametrize(
    ("data", "right"),
    [
        ({"question": "q", "choices": ["a", "b"], "answer": 1}, 1),  # MMLU
        ({"ctx": "q", "endings": ["a", "b", "c", "d"], "label": "2"}, 2),  # HellaSwag
        ({"goal": "q", "sol1": "a", "sol2": "b", "label": 0}, 0),  # PIQA
        ({"question": "q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "1"}, 0),  # ARC
        ({"question_stem": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}, 1),
        ({"question": "q", "choices": ["yes", "no"], "answer": "no"}, 1),
        ({"question": "q", "choices": ["a", "b", "c"], "answer": "C"}, 2),
    ],
)
def test_layouts_of_the_fields_sets(tiny, data, right):
    loaded = tiny("gpt2")
    (found,) = measure_choices(loaded, rows(data), windowing(loaded, given=True))
    assert found.references == [right]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"question": "q", "choices": ["a", "b"], "answer": 2},
            "the answer 2 in column 'answer'",
        ),
        # `int` reads neither a raised digit nor thousands of digits.
        ({"question": "q", "choices": ["a", "b"], "answer": "\u00b9"}, "the answer '\u00b9' in column"),
        ({"question": "q", "choices": ["a", "b"], "answer": "1" * 5000}, "is not one of the choices"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "column 'choices'"),
        ({"question": "q", "choices": ["a", ""], "answer": 0}, "a choice of 'choices'"),
        ({"question": "q", "choices": ["a", "b"]}, "no column answer or label"),
        ({"question": "q", "answer": 0}, "its columns are question, answer; give one with `field`"),
        ({"choices": ["a", "b"], "answer": 0}, "no column question or question_stem"),
        (
            {"question": "q", "choices": ["a", "b"], "answer": None},
            "the answer None in column 'answer'",
        ),
    ],
)
def test_broken_rows(tiny, data, message):
    loaded = tiny("gpt2")
    fine = {"question": "q", "choices": ["a", "b"], "answer": 0}
    with pytest.raises(RowError) as caught:
        list(measure_choices(loaded, rows(fine, data), windowing(loaded, given=True)))
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.jsonl:2: ")


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_pairs_are_scored_separately(tiny, family):
    """A sentence's loss does not depend on which other sentences are in the batch."""
    loaded = tiny(family)
    loaded.model.double()
    pairs = [("The dog lived.", "The dog live."), ("Tom and Lily went to the park.", "Tom go."), ("a", "bb")]
    data = [{"sentence_good": good, "sentence_bad": bad} for good, bad in pairs]
    how = windowing(loaded)
    together = [loss.nll for one in measure_pairs(loaded, rows(*data), how) for loss in one.prediction]
    for index, one in enumerate(data):
        (alone,) = measure_pairs(loaded, rows(one), how, batch_size=1)
        assert [loss.nll for loss in alone.prediction] == pytest.approx(together[2 * index : 2 * index + 2])


def test_grammar_is_found(stories, data_folder):
    """A model that learned English finds what BLiMP calls grammatical more often than not."""
    path = data_folder / "mc/blimp/irregular_past_participle_verbs.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()[:200]
    found = measure_pairs(stories, rows(*map(json.loads, lines)), windowing(stories))
    (first, _) = score_rows([minimal_pairs(stories, windowing(stories))], found, resamples=200).scores
    assert first.low > 0.5
