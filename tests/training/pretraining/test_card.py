"""The card of a pretrained model says what was made, and only what was measured."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from llmkit.training.pretraining.pretrain import pretrain
from llmkit.training.pretraining.recipe import PretrainRecipe
from llmkit.training.pretraining.result import PretrainResult

TINY = PretrainRecipe(params="20k", vocab_size=270, max_length=32, batch_size=4, max_steps=2, dtype="float32")


def made(corpus: Path, folder: Path, recipe: PretrainRecipe) -> tuple[PretrainResult, str]:
    result = pretrain([corpus], folder, recipe, device="cpu")
    return result, (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arch", "tag", "more"),
    [("llama", "text-generation", {}), ("bert", "fill-mask", {"params": "60k", "vocab_size": 400})],
)
def test_it_says_what_was_made_and_measured(
    stories: list[str],
    write_corpus: Callable[..., Path],
    tmp_path: Path,
    arch: str,
    tag: str,
    more: dict[str, str | int],
) -> None:
    recipe = PretrainRecipe(**{**vars(TINY), "arch": arch, **more})
    result, text = made(write_corpus(stories), tmp_path / "a model", recipe)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {"library_name": "transformers", "pipeline_tag": tag}
    assert body.startswith("\n# a model\n")
    assert f"A {arch} language model of {result.parameters:,} parameters" in body
    assert "| training documents | 57 (" in body
    assert "| held-out documents | 3 |" in body
    assert f"| held-out loss | {result.held_out_loss:.4f} nats/token |" in body
    # A loss of corrupted blocks is no perplexity.
    assert ("perplexity" in body) == ("bits per byte" in body) == (arch == "llama")
    assert "| learning rate | 0.003 (cosine, warmup 0.05) |" in body
    assert f"| selected weights | step {result.kept_step} of 2 |" in body


def test_without_held_out_documents_it_claims_nothing(
    stories: list[str], write_corpus: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = PretrainRecipe(**{**vars(TINY), "eval_split": 0.0})
    _, text = made(write_corpus(stories), tmp_path / "out", recipe)
    assert "| training documents | 60 (" in text
    assert "| held-out" not in text
