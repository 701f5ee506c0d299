"""Result of a pretraining run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PretrainResult:
    """A finished run.

    Attributes:
        folder: the model's folder.
        steps: number of optimizer steps.
        kept_step: step whose weights are kept: the best of those measured, or the last.
        tokens: number of training tokens read.
        parameters: number of parameters, embeddings included, tied ones once.
        train_loss: last reported training loss in nats per token.
        held_out_loss: loss of the kept weights on the held-out documents in nats per token, in float32; None
            without held-out documents.
        perplexity: exp of `held_out_loss`, for a causal model.
        bits_per_byte: bits per byte of held-out text, for a causal model.
        seconds: duration of training in this process.
    """

    folder: Path
    steps: int
    kept_step: int
    tokens: int
    parameters: int
    train_loss: float
    held_out_loss: float | None
    perplexity: float | None
    bits_per_byte: float | None
    seconds: float
