"""The cards' scores again, from the shipped weights and the data that LLMKIT_DATA names."""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import run

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
# Beam search parts ways where two tokens are nearly alike to another processor, and sampling sooner.
TOLERANCE = {
    "bleu": 0.5,
    "chrf": 0.3,
    "squad_exact": 0.5,
    "squad_f1": 0.5,
    "accuracy": 0.08,
    "perplexity": 0.02,
    "word_perplexity": 0.05,
    "bits_per_byte": 0.001,
}

sys.path.insert(0, str(EXAMPLES))
make = importlib.import_module("make_models")
sys.path.remove(str(EXAMPLES))
TATOEBA = os.environ.get("LLMKIT_TATOEBA")
CASES = {f"{name}: {one.dataset}": (name, one) for name, found in make.EVALUATIONS.items() for one in found}


@pytest.fixture(scope="module")
def work(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make.prepare(data_folder, folder, [name for name in make.EVALUATIONS if name != "translator" or TATOEBA])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_card_s_scores_come_out_again(work: Path, case: str) -> None:
    name, evaluation = CASES[case]
    if name == "translator" and not TATOEBA:
        pytest.skip("LLMKIT_TATOEBA is not set")
    if name == "storyteller":
        make.ask_for_words(name, work, "asked")
    result = run("eval", *evaluation.of(name), work / evaluation.file, "--json", "-q")
    assert result.code == 0, result.err
    told: dict[Any, Any] = make.scores_of(make.PACKAGE / name / "README.md")
    for score in json.loads(result.out)["scores"]:
        value, _ = told[evaluation.dataset, score["name"]]
        assert score["score"] == pytest.approx(value, abs=TOLERANCE[score["name"]])
