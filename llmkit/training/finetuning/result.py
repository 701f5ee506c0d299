"""Result of a finetuning run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run.

    Attributes:
        folder: of the adapter or the model.
        steps: optimizer steps done.
        kept_step: the one whose weights are kept: the best of those measured, or the last.
        parameters, trained_parameters: of the model with its adapter, and of them those that were trained.
        train_loss: nats a target (or a pair), the last one reported.
        held_out_before, held_out_loss: nats a target (or a pair) on the held-out rows, before and with the
            kept weights; None where nothing is held out.
        perplexity: exp of `held_out_loss`, for a language model.
        reward_accuracy_before, reward_accuracy, reward_margin: of preferences, on the held-out rows: see
            `heldout.HeldOut`. Before, nothing has gained on anything: a half, and a margin of 0.
        peak_memory: bytes: the most that this process had on a CPU, that was allocated on a GPU.
        tokens_per_second: read while training, held-out measurements included in the time.
        seconds: of training, in this process.
    """

    folder: Path
    steps: int
    kept_step: int
    parameters: int
    trained_parameters: int
    train_loss: float
    held_out_before: float | None
    held_out_loss: float | None
    perplexity: float | None
    reward_accuracy_before: float | None
    reward_accuracy: float | None
    reward_margin: float | None
    peak_memory: int
    tokens_per_second: float
    seconds: float
