"""The metrics as modules of `evaluate`: loaded by path, offline, and combined."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmkit.errors import InputError
from llmkit.evaluation import examples, make, score_rows
from llmkit.evaluation.modules import path
from llmkit.evaluation.registry import of_predictions

PREDICTIONS = ["the cat sat", "a dog ran home"]
REFERENCES = [["the cat sat down", "a cat"], ["the dog ran home"]]


@pytest.fixture
def load(evaluate_folder):
    """`evaluate.load`, by the metric's name."""
    import evaluate

    return lambda name: evaluate.load(path(), name, cache_dir=str(evaluate_folder / "cache"))


@pytest.mark.parametrize("name", [name for name in of_predictions() if name != "bertscore"])
def test_each_gives_its_own_scores(load, name):
    metric = make(name)
    references = REFERENCES if metric.needs_references else None
    expected = score_rows([metric], examples(PREDICTIONS, references), resamples=1).scores
    inputs = {"predictions": PREDICTIONS} | ({"references": references} if references else {})
    assert load(name).compute(**inputs) == {one.name: one.score for one in expected}


def test_combined(load):
    import evaluate

    both = evaluate.combine([load("bleu"), load("rouge")])
    found = both.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert set(found) == {"bleu", "rouge1", "rouge2", "rougeL", "rougeLsum"}
    for prediction, reference in zip(PREDICTIONS, REFERENCES, strict=True):
        both.add(prediction=prediction, reference=reference)
    assert both.compute() == found
    prefixed = evaluate.combine([load("bleu"), load("rouge")], force_prefix=True)
    found = prefixed.compute(predictions=PREDICTIONS, references=REFERENCES)
    assert {"bleu_bleu", "rouge_rouge1"} <= set(found)


def test_one_reference_a_row_and_options(load):
    rouge = load("rouge")
    found = rouge.compute(predictions=["running home"], references=["runs home"], stemmer=True)
    assert found["rouge1"] == 1


def test_labels(load):
    accuracy = load("accuracy")
    assert accuracy.compute(predictions=[1, 0, 1], references=[1, 1, 1]) == {"accuracy": pytest.approx(2 / 3)}
    assert accuracy.compute(predictions=["a"], references=["a"]) == {"accuracy": 1}


def test_perplexity(load, tiny_model):
    found = load("perplexity").compute(predictions=["One day."], model_id=str(tiny_model("gpt2")), window=16)
    assert set(found) == {"perplexity", "word_perplexity", "bits_per_byte"}


@pytest.mark.parametrize(("name", "known"), [("blue", "bleu"), (None, "rouge")])
def test_a_name_that_is_none(load, name, known):
    with pytest.raises(InputError, match=known):
        load(name)


def test_the_package_alone_needs_no_evaluate():
    code = (
        "import sys, llmkit.evaluation.modules; print({'evaluate', 'datasets', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
