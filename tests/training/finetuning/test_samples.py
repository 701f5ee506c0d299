"""Texts that a model writes while it is finetuned: their prompts, and a run that they do not change."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.plan import prepare
from llmkit.training.finetuning.sample_prompts import sample_writer
from llmkit.training.run import RunOptions
from tests.training.finetuning.runs import QUICK, same, train
from tests.training.helpers import Recorder, refuses

TinyModel = Callable[..., Path]
Rows = Callable[..., Path]


def test_samples_change_nothing(tiny_model: TinyModel, rows: Rows, tmp_path: Path) -> None:
    data, model, progress = rows(), tiny_model("llama"), Recorder()
    train(data, tmp_path / "plain", model)
    train(data, tmp_path / "sampled", model, progress=progress, sample_every=5, prompt=("Say dog", ""))
    assert same(tmp_path / "sampled", tmp_path / "plain")
    assert [(one.step, one.prompt) for one in progress.samples] == [
        (step, prompt) for step in (5, 10) for prompt in ("Say dog", "")
    ]


@pytest.mark.parametrize(
    ("kind", "family", "given", "read"),
    [
        ("messages", "llama", "Say dog", "Say dog"),
        ("messages", "llama", None, "Say "),
        ("completion", "llama", "Say dog", "Say dog"),
        ("completion", "llama", None, "Say "),
        ("pairs", "llama", "The dog.", "The dog.\n\n"),
        ("pairs", "t5", "The dog.", "The dog."),
        ("pairs", "t5", None, "The "),
        ("text", "llama", "", ""),
    ],
)
def test_a_prompt_has_the_layout_of_the_rows(
    tiny_model: TinyModel, rows: Rows, kind: str, family: str, given: str | None, read: str
) -> None:
    spec = ModelSpec(str(tiny_model(family, chat=kind == "messages")), device="cpu")
    inputs = prepare([rows(kind)], spec, QUICK)
    options = RunOptions(prompt=() if given is None else (given,), sample_every=7)
    writer = sample_writer(inputs, options)
    assert writer is not None
    assert writer.every == 7
    ((prompt, ids),) = writer.prompts
    text = inputs.loaded.tokenizer.decode(list(ids), skip_special_tokens=False)
    assert read in text
    assert given is None or prompt == given
    if kind == "messages":  # the user's turn, and the beginning of the answer
        assert not text.startswith("Say")
        assert not text.rstrip().endswith(prompt)
    assert [one.prompt for one in writer.write(inputs.loaded.model, 14, 20)] == [prompt]
    assert not list(writer.write(inputs.loaded.model, 15, 20))


def test_a_reader_writes_nothing(tiny_model: TinyModel, rows: Rows, tmp_path: Path) -> None:
    with refuses("sample_every", "extractive"):
        train(rows("answers"), tmp_path / "out", tiny_model("bert"), sample_every=1)
