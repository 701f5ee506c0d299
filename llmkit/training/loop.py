"""`transformers.Trainer` as pretraining needs it: silent, resumable, judged on whole held-out documents."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.utils import logging

from llmkit.errors import LLMKitError
from llmkit.training.corpus import Blocks
from llmkit.training.heldout import HeldOut


@dataclass(frozen=True)
class Step:
    """Where a run stands; what its progress callback receives.

    Attributes:
        step: optimizer steps done, of `steps`.
        loss: training loss in nats a token, of the steps since the last report; None in a held-out report.
        tokens_per_second: since this process began.
        held_out: the held-out loss, where it was just measured.
    """

    step: int
    steps: int
    loss: float | None
    tokens_per_second: float
    held_out: HeldOut | None = None


class HeldOutTrainer(Trainer):
    """A Trainer whose evaluation is the token-exact loss over held-out documents, each from its own start.

    Trainer's own averages batches of packed blocks, in which most documents have lost their beginning.
    """

    measure: Callable[[], HeldOut]
    last_held_out: HeldOut | None = None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with self.compute_loss_context_manager():
            held_out = self.measure()
        metrics = {
            "eval_loss": held_out.loss,
            "eval_perplexity": held_out.perplexity,
            "eval_bits_per_byte": held_out.bits_per_byte,
        }
        self.last_held_out = held_out
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class Watch(TrainerCallback):
    """Writes metrics.jsonl, reports progress, and stops at a signal with a checkpoint."""

    def __init__(self, metrics: Path, tokens_per_step: int, on_step: Callable[[Step], None]) -> None:
        self.metrics = metrics
        self.tokens_per_step = tokens_per_step
        self.on_step = on_step
        self.stopped = False
        self.trainer: HeldOutTrainer
        self._start = (0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = (state.global_step, time.monotonic())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.stopped:
            control.should_save = control.should_training_stop = True
        elif state.global_step == state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs: dict[str, Any] = kwargs["logs"]
        if "train_runtime" in logs:
            return
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise LLMKitError(f"the training loss is {loss} at step {state.global_step}: try a smaller --lr")
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **logs}) + "\n")
        first, since = self._start
        speed = (state.global_step - first) * self.tokens_per_step / max(time.monotonic() - since, 1e-9)
        held_out = self.trainer.last_held_out if "eval_loss" in logs else None
        self.on_step(Step(state.global_step, state.max_steps, loss, speed, held_out))


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar on stderr for each checkpoint that it writes."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def stop_at_signals(watch: Watch) -> Iterator[None]:
    """Let SIGINT and SIGTERM end training after the running step, with a checkpoint; then let them through.

    An exception from a handler could come in the middle of an optimizer step, and what would be saved then
    is neither the step before nor the one after. A second signal does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        watch.stopped = True
        received.append(number)
        restore()

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])


def build_trainer(
    model: Any,
    train: Blocks,
    held_out: list[list[int]],
    watch: Watch,
    *,
    arguments: dict[str, Any],
    patience: int,
    measure: Callable[[], HeldOut],
) -> HeldOutTrainer:
    """A Trainer that prints nothing.

    Args:
        model: the model to train, in float32.
        train: packed blocks.
        held_out: token ids of the held-out documents; empty for none.
        watch: the callback that reports.
        arguments: fields of `TrainingArguments`.
        patience: held-out measurements without improvement after which training stops; 0 never.
        measure: gives the held-out loss of the model as it stands.
    """
    callbacks: list[TrainerCallback] = [watch]
    if patience and held_out:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=patience))
    trainer = HeldOutTrainer(
        model=model,
        args=TrainingArguments(disable_tqdm=True, report_to=[], **arguments),
        train_dataset=train,
        eval_dataset=held_out or None,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.measure = measure
    watch.trainer = trainer
    return trainer
