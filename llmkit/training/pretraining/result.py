"""Result of a pretraining run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PretrainResult:
    """A finished run.

    Attributes:
        folder: the model's folder.
        steps: optimizer steps done, of which the kept weights may be an earlier one.
        tokens: training tokens seen.
        parameters: embeddings included, tied ones once.
        train_loss: nats a token, the last one reported.
        held_out_loss: nats a token of the kept weights on the held-out documents, in float32; None
            where there are none.
        perplexity: exp of it.
        bits_per_byte: of the held-out text.
        seconds: of training, in this process.
    """

    folder: Path
    steps: int
    tokens: int
    parameters: int
    train_loss: float
    held_out_loss: float | None
    perplexity: float | None
    bits_per_byte: float | None
    seconds: float
