"""Result of a finetuning run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FinetuneResult:
    """A finished run.

    Attributes:
        folder: folder of the adapter or the model.
        steps: number of optimizer steps.
        kept_step: step whose weights are kept: the best of those measured, or the last.
        parameters, trained_parameters: all parameters with the adapter's, and the trained ones among them.
        train_loss: last reported training loss, in nats per target (or per pair).
        held_out_before, held_out_loss: loss on the held-out rows in nats per target (or per pair), before
            training and with the kept weights; None if nothing is held out.
        perplexity: exp of `held_out_loss`, for a language model.
        reward_accuracy_before, reward_accuracy, reward_margin: for preferences, measured on the held-out rows
            (see `heldout.HeldOut`). Before training the accuracy is 0.5 and the margin 0.
        peak_memory: peak in bytes: of this process on a CPU, of the allocated memory on a GPU.
        tokens_per_second: tokens read in training; the time includes held-out measurements.
        seconds: duration of training in this process.
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
