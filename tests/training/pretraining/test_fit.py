"""What a recipe leaves open follows the corpus."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmkit.training.pretraining.fit import fit, too_short, vocabulary
from llmkit.training.pretraining.plan import plan
from llmkit.training.pretraining.recipe import PretrainRecipe
from tests.training.helpers import Recorder
from tests.training.pretraining.runs import TINY, train

Facts = tuple[int, float, int, float]


@pytest.mark.parametrize(
    ("tokens", "vocab_size", "found"),
    [
        (20_000, 1024, (400_000, 8, 1, 1.0)),
        (150_000, 8192, (3_000_000, 8, 2, 1.0)),
        (10_000_000, 8192, (3_000_000, 6, 16, 0.14)),
        (25_000_000, 8192, (3_000_000, 2, 16, 0.1)),
        (1_000_000_000, 8192, (3_000_000, 1, 16, 0.1)),
        (100, 50_000, (12_800_000, 8, 1, 1.0)),
    ],
)
def test_the_model_and_the_passes_follow_the_corpus(tokens: int, vocab_size: int, found: Facts) -> None:
    made = fit(PretrainRecipe(), tokens, vocab_size)
    assert (int(made.params or 0), made.epochs, made.batch_size, made.weight_decay) == found


def test_what_is_given_stays() -> None:
    given = PretrainRecipe(
        params="1m", vocab_size=300, epochs=0.5, batch_size=3, weight_decay=0.0, max_length=64
    )
    assert fit(given, 5000, 300) == given
    assert vocabulary(given, ["text"]) == 300


def test_the_vocabulary_follows_the_text_and_a_given_size_of_the_model() -> None:
    assert vocabulary(PretrainRecipe(), ["word " * 10]) == 512
    assert vocabulary(PretrainRecipe(), ["word " * 30_000]) == 2048
    assert vocabulary(PretrainRecipe(), ["國" * 300_000]) == 4096
    assert vocabulary(PretrainRecipe(), ["word " * 10**6]) == 8192
    assert vocabulary(PretrainRecipe(params="200k"), ["word " * 10**6]) == 1024


@pytest.mark.parametrize(
    ("steps", "each", "most", "facts"),
    [
        (300, 10, None, None),
        (20, 100, None, "epochs=3"),
        (20, 10, None, "epochs=30"),
        (5, 5, None, "give more text$"),
        (5, 10, 5, "raise `max_steps` to 300"),  # epochs would change nothing
    ],
)
def test_a_plan_that_is_too_short_to_learn_is_told(
    steps: int, each: int, most: int | None, facts: str | None
) -> None:
    told = too_short(steps, each, most)
    assert (told is None) if facts is None else re.search(facts, told or "")


def test_one_text_is_one_document_whose_end_is_held_out(tmp_path: Path, stories: list[str]) -> None:
    """With nothing given but the file, and then trained with a small recipe."""
    book = tmp_path / "book.txt"
    book.write_text("\n\n".join(stories * 20), encoding="utf-8")
    found = plan([book], PretrainRecipe(), device="cpu")
    assert (found.documents, found.held_out_documents) == (1, 1)
    assert found.steps == 8 * found.steps_per_epoch
    recorder = Recorder()
    result = train(book, tmp_path / "out", TINY, progress=recorder)
    assert any("12 steps are too few for a model to learn" in told for told in recorder.notices)
    card = (result.folder / "README.md").read_text(encoding="utf-8")
    assert "| ends of documents held out | 1 |" in card
    assert "The held-out texts are the ends of the training documents" in card
    assert f"| selected weights | step {result.kept_step} of 12 |" in card


def test_a_run_that_follows_the_corpus_is_resumed(
    write_corpus: Callable[..., Path], stories: list[str], tmp_path: Path
) -> None:
    recipe = replace(TINY, params=None, vocab_size=None, batch_size=None, max_steps=3)
    first = train(write_corpus(stories), tmp_path / "out", recipe, keep_checkpoints=True)
    longer = replace(recipe, max_steps=4)
    again = train(write_corpus(stories), tmp_path / "out", longer, resume=True)
    assert (first.steps, again.steps, again.parameters) == (3, 4, first.parameters)
