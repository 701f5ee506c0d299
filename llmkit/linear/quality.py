"""How much a model changed by quantization: Kullback-Leibler divergence on held-out text.

Perplexity is no judge: it can fall under a bad quantization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Divergence:
    """How far a model's next-token distributions are from the original's.

    Attributes:
        mean: mean over tokens of KL(original || model) = sum p (log p - log q), in nats.
        largest: of a token.
        same_top: share of tokens whose most probable next token is the same.
        tokens: how many.
    """

    mean: float
    largest: float
    same_top: float
    tokens: int


def divergence(
    original: Callable[[torch.Tensor], torch.Tensor],
    changed: Callable[[torch.Tensor], torch.Tensor],
    batches: Iterable[torch.Tensor],
) -> Divergence:
    """Compare two models on the same texts.

    Args:
        original: gives the logits (texts, tokens, vocabulary) of token ids (texts, tokens).
        changed: the same of the changed model.
        batches: token ids of texts that neither training nor calibration saw, without padding.

    Raises:
        ValueError: there is no batch.
    """
    total, largest, same, tokens = 0.0, 0.0, 0, 0
    with torch.inference_mode():
        for ids in batches:
            p = original(ids).to(torch.float32).log_softmax(-1)
            q = changed(ids).to(torch.float32).log_softmax(-1)
            each = (p.exp() * (p - q)).sum(-1)
            total += float(each.double().sum())
            largest = max(largest, float(each.max()))
            same += int((p.argmax(-1) == q.argmax(-1)).sum())
            tokens += each.numel()
    if not tokens:
        raise ValueError("there are no texts to compare the models on")
    return Divergence(total / tokens, largest, same / tokens, tokens)
