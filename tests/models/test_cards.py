"""The cards' scores again, from the shipped weights and the data that LLMKIT_DATA names.

LLMKIT_TATOEBA and LLMKIT_QUESTIONS name more data; tests that need them are skipped without.
"""

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
# Of a threshold that is chosen on the rows, and of an answer or none, more.
OTHERS = 1.0

sys.path.insert(0, str(EXAMPLES))
make, judge = map(importlib.import_module, ("make_models", "judge"))
sys.path.remove(str(EXAMPLES))
TATOEBA, QUESTIONS = (os.environ.get(name) for name in ("LLMKIT_TATOEBA", "LLMKIT_QUESTIONS"))
CASES = {f"{name}: {one.dataset}": (name, one) for name, found in make.EVALUATIONS.items() for one in found}


@pytest.fixture(scope="module")
def work(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    # What is learnt beside LLMKIT_DATA decides nothing about what is held out there.
    (folder / "none.txt").write_text("")
    (folder / "none").mkdir()
    (folder / "none" / "qamr.jsonl").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLMKIT_TINYSTORIES", str(folder / "none.txt"))
        patch.setenv("LLMKIT_QUESTIONS", QUESTIONS or str(folder / "none"))
        wanted = [name for name in make.EVALUATIONS if name != "translator" or TATOEBA]
        make.prepare(data_folder, folder, wanted)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_card_s_scores_come_out_again(work: Path, case: str) -> None:
    name, evaluation = CASES[case]
    if name == "translator" and not TATOEBA:
        pytest.skip("LLMKIT_TATOEBA is not set")
    if evaluation.file == "reader/squad2_test.jsonl" and not QUESTIONS:
        pytest.skip("LLMKIT_QUESTIONS is not set")
    if name == "storyteller":
        judge.ask_for_words(name, work, "asked")
    result = run("eval", *evaluation.of(name), work / evaluation.file, "--json", "-q")
    assert result.code == 0, result.err
    told: dict[Any, Any] = make.scores_of(make.PACKAGE / name / "README.md")
    for score in json.loads(result.out)["scores"]:
        value, _ = told[evaluation.dataset, score["name"]]
        assert score["score"] == pytest.approx(value, abs=TOLERANCE.get(score["name"], OTHERS))
