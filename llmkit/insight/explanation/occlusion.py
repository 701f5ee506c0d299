"""Occlusion: the loss of score when a unit is removed (Zeiler and Fergus 2014, arXiv:1311.2901).

A fact about the model that needs no theory: "without this word, the log-probability falls by x".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

    from llmkit.insight.explanation.scorer import Scorer, UnitRemoval


def occlude(removal: UnitRemoval, units: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the loss of each part's score without each unit: [parts, units] in nats.

    Args:
        removal: the explained number.
        units: positions of each unit.
    """
    found = removal.scores([(), *units])
    return (found[0] - found[1:]).T


def occlude_prefix(scorer: Scorer, baseline: torch.Tensor, skip: int) -> np.ndarray:
    """Return the loss of each part's score without each earlier part of the target: [parts, parts].

    Args:
        scorer: of a target without a foil.
        baseline: [hidden], the embedding of the baseline token.
        skip: tokens of the prefix before the target's own.
    """
    import numpy as np
    import torch

    parts = len(scorer.rows)
    found = np.zeros((parts, parts))
    with torch.inference_mode():
        whole = scorer.scores(scorer.embeddings[None])[0].double().cpu().numpy()
        for column in range(parts - 1):
            prefix = scorer.prefix.clone()
            prefix[skip + column] = baseline
            changed = scorer.scores(scorer.embeddings[None], prefix[None])[0].double().cpu().numpy()
            # An earlier part does not see this one; what differs there is rounding.
            found[column + 1 :, column] = (whole - changed)[column + 1 :]
    return found
