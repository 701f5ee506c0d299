"""Measure the change of a model by quantization: Kullback-Leibler divergence on held-out text.

Perplexity is not reliable for this: a bad quantization can lower it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Divergence:
    """Divergence of a model's next-token distributions from the original's.

    Attributes:
        mean: mean over tokens of KL(original || model) = sum p (log p - log q), in nats.
        largest: largest KL of one token, in nats.
        same_top: share of tokens whose most probable next token is the same.
        tokens: number of tokens.
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
        original: returns the logits (texts, tokens, vocabulary) of token ids (texts, tokens).
        changed: the same for the quantized model.
        batches: token ids of texts that are in neither training nor calibration data, without padding.

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
