"""The embedded story model is what its card says."""

import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llmkit.models.bundled import embedded_folder
from llmkit.runtime.load import LoadedModel, load
from llmkit.runtime.spec import ModelSpec
from llmkit.training.heldout import measure
from llmkit.training.pretraining.corpus import Corpus
from llmkit.training.pretraining.tokenizer import encode


@pytest.fixture(scope="module")
def folder() -> Path:
    found = embedded_folder("stories")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def stories_model() -> LoadedModel:
    return load(ModelSpec(name="stories", task="text-generation", device="cpu", dtype="float32"))


def test_it_is_small_half_precision_and_holds_no_pickle(folder: Path) -> None:
    assert {file.name for file in folder.iterdir()} == {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    weights = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert sum(tensor.numel() for tensor in weights.values()) == 4_877_568
    assert (folder / "model.safetensors").stat().st_size < 10_000_000


def test_it_prefers_a_story_to_its_words_in_another_order(stories_model: LoadedModel) -> None:
    story = "Once upon a time, there was a little girl who loved to play in the park with her dog."
    other = " ".join(reversed(story.split()))
    model, tokenizer = stories_model.model, stories_model.tokenizer
    scores = [
        measure(model, encode(tokenizer, [text]), boundary=0, context=512, utf8_bytes=len(text))
        for text in (story, other)
    ]
    assert scores[0].bits_per_byte < 1 < 2 < scores[1].bits_per_byte


@pytest.mark.slow
def test_the_card_tells_the_held_out_loss(
    folder: Path,
    stories_model: LoadedModel,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "examples" / "models"))
    monkeypatch.delitem(sys.modules, "prepare_stories", raising=False)
    from prepare_stories import prepare

    # Stories of another file are never held out.
    more = tmp_path / "more.txt"
    more.touch()
    prepare(data_folder, more, tmp_path)
    held_out = list(Corpus([tmp_path / "stories_heldout.txt"]))
    scored = measure(
        stories_model.model,
        encode(stories_model.tokenizer, held_out),
        boundary=0,
        context=512,
        utf8_bytes=sum(len(story.encode()) for story in held_out),
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    row = re.search(r"\| this model \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", card)
    assert row is not None
    expected = (scored.loss, scored.perplexity, scored.bits_per_byte)
    assert [float(number) for number in row.groups()] == pytest.approx(expected, abs=1e-3)
