"""Small pretraining runs for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from llmkit.training.pretraining.pretrain import pretrain
from llmkit.training.pretraining.recipe import PretrainRecipe
from llmkit.training.pretraining.result import PretrainResult
from llmkit.training.run import RunOptions, RunProgress

TINY = PretrainRecipe(
    params="20k",
    vocab_size=270,
    max_steps=12,
    lr=1e-2,
    batch_size=4,
    max_length=32,
    eval_steps=4,
    dtype="float32",
    optimizer="adamw",
)


def train(
    corpus: Path,
    output: Path,
    recipe: PretrainRecipe = TINY,
    *,
    progress: RunProgress | None = None,
    **options: Any,
) -> PretrainResult:
    return pretrain(corpus, output, recipe, RunOptions(**options), device="cpu", progress=progress)


def metrics(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def assert_same(output: Path, whole: Path) -> None:
    """Check that two runs have the same metrics, weights and files."""
    assert metrics(output) == metrics(whole)
    ours, theirs = load_file(output / "model.safetensors"), load_file(whole / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert {file.name for file in output.iterdir()} == {file.name for file in whole.iterdir()}
