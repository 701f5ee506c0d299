"""Files have the permissions that the user's umask gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmkit.runtime.spec import ModelSpec
from llmkit.training.finetuning.finetune import FinetuneRecipe, finetune
from llmkit.training.merge import merge
from llmkit.training.pretraining.pretrain import PretrainRecipe, pretrain
from llmkit.training.run import RunOptions


@pytest.fixture(params=[pytest.param(0o022, id="022", marks=pytest.mark.slow), pytest.param(0o002, id="002")])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in folder.rglob("*")}


def test_results_have_the_permissions_of_the_umask(
    tiny_model: Callable[..., Path], stories: list[str], tmp_path: Path, umask: int
) -> None:
    """Model, adapter, merged model, and checkpoints that are kept."""
    rows, corpus = tmp_path / "rows.jsonl", tmp_path / "corpus.txt"
    rows.write_text("".join(f'{{"text": "dog {i} and cat"}}\n' for i in range(8)))
    corpus.write_text("\n\n".join(stories))
    spec, kept = ModelSpec(str(tiny_model("llama")), device="cpu"), RunOptions(keep_checkpoints=True)
    finetune(rows, tmp_path / "adapter", spec, FinetuneRecipe(max_steps=1, dtype="float32"), kept)
    recipe = PretrainRecipe(params="20k", vocab_size=270, max_length=32, max_steps=1, dtype="float32")
    pretrain(corpus, tmp_path / "model", recipe, device="cpu")
    merge(tmp_path / "adapter", tmp_path / "merged")
    found = modes(tmp_path)
    assert {"adapter/adapter_model.safetensors", "model/model.safetensors"} < found.keys()
    assert "merged/model.safetensors" in found
    for name, mode in found.items():
        whole = 0o777 if (tmp_path / name).is_dir() else 0o666
        assert mode == whole & ~umask, name
