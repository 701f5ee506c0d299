"""Explanations against the model itself: random weights, and the effect of the words on real prompts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import llmkit
from llmkit import ExplainOptions
from llmkit.insight.explanation.faithfulness import compare
from tests.benchmarks.bench_explain import beginnings

Loaded = Callable[..., llmkit.LoadedModel]
TEXTS = [
    "Once upon a time there was a little girl named Lily who loved to play in the",
    "Tom had a red ball. He gave the ball to Lily, and she threw the",
    "The dog was very hungry, so he went to the kitchen to find some",
    "One day, a big bear came out of the forest and looked at the small",
    "Mom said that it was time for bed, but Ben wanted to read one more",
    "The bird sat on the tree and sang a song for all of her",
]


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))


@pytest.mark.parametrize("method", ["occlusion", pytest.param("ig", marks=pytest.mark.slow), "attnlrp"])
def test_random_weights_change_the_order(method: str) -> None:
    """Adebayo et al. 2018, arXiv:1810.03292: an explanation of the input alone would stay."""
    model = llmkit.load(llmkit.ModelSpec("stories", bundled=True))
    own = llmkit.explain(model, TEXTS, ExplainOptions(method=method, check=False))
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.model.parameters():
            if weight.dim() > 1:
                flat = weight.flatten()
                weight.copy_(flat[torch.randperm(flat.numel(), generator=draws)].view_as(weight))
    correlations = []
    for before in own:
        options = ExplainOptions(method=method, check=False, target=before.target)
        (after,) = llmkit.explain(model, before.text, options)
        pair = [ranks([unit.score for unit in one.units]) for one in (before, after)]
        correlations.append(float(np.corrcoef(*pair)[0, 1]))
    assert abs(float(np.mean(correlations))) < 0.3


@pytest.mark.slow
def test_the_default_beats_other_orders_on_real_prompts(loaded: Loaded, data_folder: Path) -> None:
    """On 200 beginnings of stories the words with high scores matter more than the latest or random words."""
    prompts = beginnings(data_folder, "tinystories", 200, 20)
    assert len(prompts) == 200
    found = llmkit.explain(loaded("stories"), prompts, ExplainOptions(orders=1))
    assert {one.method for one in found} == {"occlusion"}
    for against in ("position", "random"):
        gap = compare([one.comprehensiveness for one in found if one.comprehensiveness], against)
        assert gap.mean > 0
        assert gap.p < 0.01
