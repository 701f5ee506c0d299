"""`transformers.Trainer`, made silent, exact to the token and resumable.

Public: `Step`, `Job`, `SummedLossTrainer`, `MetricsCallback`, `no_bars`, `stop_at_signals`.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import rotate_checkpoints
from transformers.utils import logging

from llmkit.errors import LLMKitError
from llmkit.records.disk import writing
from llmkit.training.batches import Batches, RowDataset, count_targets
from llmkit.training.checkpoints import metrics_line, write_manifest
from llmkit.training.encoded import IGNORED
from llmkit.training.heldout import HeldOut
from llmkit.training.optimizer import Muon, muon_groups
from llmkit.training.samples import SampleText, SampleWriter


@dataclass(frozen=True)
class Step:
    """State of a run, as a progress callback receives it.

    Attributes:
        step: number of optimizer steps done.
        steps: number of steps of the whole run.
        loss: training loss in nats per token (or per pair) since the last report; None in a held-out report.
        learning_rate: rate of the last step.
        gradient_norm: norm before clipping at 1.
        tokens_per_second: tokens read by all processes since this process began, without padding.
        memory: bytes that this process has on a CPU, or its peak allocation on a GPU.
        seconds_left: estimated seconds of training left; None before the first step.
        held_out: the held-out loss, if it was just measured.
    """

    step: int
    steps: int
    loss: float | None
    learning_rate: float | None
    gradient_norm: float | None
    tokens_per_second: float
    memory: int
    seconds_left: float | None
    held_out: HeldOut | None = None


@dataclass(frozen=True)
class Job:
    """Model, data and arguments of a training run.

    Attributes:
        model: returns ``{"loss": sum}`` for its inputs and `labels` (see `loss`).
        rows: dataset of training examples.
        batches: order of the examples, with rank and world size of this process.
        collate: turns a list of examples into the model's inputs, `labels` among them.
        arguments: fields of `TrainingArguments`.
        measure: takes the trainer and returns the held-out loss; None without held-out rows.
        patience: held-out measurements without improvement after which training stops; 0 is never.
        optimizer: one of `recipe.OPTIMIZERS`.
        samples: writes texts at some steps; None writes none.
    """

    model: Any
    rows: Any
    batches: Batches
    collate: Callable[[Sequence[Any]], dict[str, torch.Tensor]]
    arguments: dict[str, Any]
    measure: Callable[[SummedLossTrainer], HeldOut] | None = None
    patience: int = 0
    optimizer: str = "adamw"
    samples: SampleWriter | None = None


class SummedLossTrainer(Trainer):
    """A Trainer whose loss is exact to the token and whose checkpoints appear only when complete.

    The loss of a step is the sum over all its targets (or pairs), in all forward passes and processes,
    divided by their number. `evaluate` calls the job's own measurement.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, job: Job, callback: MetricsCallback) -> None:
        callbacks: list[TrainerCallback] = [callback]
        if job.patience and job.measure:
            callbacks.append(EarlyStoppingCallback(early_stopping_patience=job.patience))
        args = TrainingArguments(**job.arguments)
        args._n_gpu = min(1, args.n_gpu)  # several GPUs need several processes; DataParallel is never used
        super().__init__(
            model=job.model,
            args=args,
            train_dataset=job.rows,
            # Trainer only checks that it is not None.
            eval_dataset=[0] if job.measure else None,
            data_collator=job.collate,
            callbacks=callbacks,
        )
        self.remove_callback(PrinterCallback)
        self.job = job
        self.tokens = 0
        self.last_held_out: HeldOut | None = None
        callback.trainer = self

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        if self.optimizer is None and self.job.optimizer == "muon":
            trained: Any = self.model if model is None else model
            decayed = self.get_decay_parameter_names(trained)
            self.optimizer = Muon(
                muon_groups(trained, decayed, self.args.weight_decay),
                lr=self.args.learning_rate,
                betas=(self.args.adam_beta1, self.args.adam_beta2),
            )
        return super().create_optimizer(model)

    def get_train_dataloader(self) -> Any:
        # accelerate would shard the batches again and pad the last; they are sharded already.
        return torch.utils.data.DataLoader(
            RowDataset(self.job.rows),  # type: ignore[arg-type]
            batch_sampler=self.job.batches,
            collate_fn=self.job.collate,
            pin_memory=self.args.device.type == "cuda",
        )

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """Return the batches of a step, and their number of targets summed over all processes."""
        found = []
        for _ in range(num_batches):
            batch = next(epoch_iterator, None)
            if batch is None:
                break
            found.append(batch)
        counts = [0, 0]
        for batch in found:
            counts[0] += count_targets(batch)
            mask = batch.get("attention_mask")
            counts[1] += batch["input_ids"].numel() if mask is None else int(mask.sum())
            if "decoder_input_ids" in batch:
                counts[1] += int((batch["labels"] != IGNORED).sum())
        total = torch.tensor(counts, device=device)
        if self.args.world_size > 1:
            total = self.accelerator.reduce(total, "sum")
        self.tokens += int(total[1])
        return found, total[0].clamp(min=1)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        # Gradients are averaged over processes; the factor turns the average into a sum.
        return model(**inputs)["loss"] * (self.args.world_size / num_items_in_batch)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        assert self.job.measure is not None
        with self.compute_loss_context_manager():
            held_out = self.job.measure(self)
        metrics = {"eval_loss": held_out.loss}
        if held_out.accuracy is None:
            metrics["eval_perplexity"] = held_out.perplexity
        else:
            metrics["eval_reward_accuracy"] = held_out.accuracy
            metrics["eval_reward_margin"] = held_out.margin or 0.0
        if held_out.utf8_bytes is not None:
            metrics["eval_bits_per_byte"] = held_out.bits_per_byte
        self.last_held_out = held_out
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint under another name, rename it when it is complete, then delete an older one."""
        folder, limit = Path(str(self.args.output_dir)), self.args.save_total_limit
        unfinished, name = folder / "unfinished", f"checkpoint-{self.state.global_step}"
        main = self.is_world_process_zero()
        if main:
            shutil.rmtree(unfinished, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.args.output_dir, self.args.save_total_limit = str(unfinished), None
        advice = "this checkpoint is not saved, earlier ones are; resume=True continues from the newest"
        try:
            with writing(unfinished, folder / name, advice):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                self._set_best_checkpoint(folder, coming=name)
                if main:
                    self.state.save_to_json(str(unfinished / name / "trainer_state.json"))
                    write_manifest(unfinished / name)
                    _sync(unfinished / name)
                    shutil.rmtree(folder / name, ignore_errors=True)
                    (unfinished / name).replace(folder / name)
        except Exception:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        finally:
            self.args.output_dir, self.args.save_total_limit = str(folder), limit
        if main:
            rotate_checkpoints(str(folder), limit, self.state.best_model_checkpoint)
        self.accelerator.wait_for_everyone()

    def _set_best_checkpoint(self, folder: Path, coming: str | None = None) -> None:
        """Set the path of the best checkpoint; the folder may have been moved after it was written."""
        best = f"checkpoint-{self.state.best_global_step}"
        exists = self.state.best_global_step and (best == coming or (folder / best).is_dir())
        self.state.best_model_checkpoint = str(folder / best) if exists else None


class MetricsCallback(TrainerCallback):
    """Write metrics.jsonl, report progress, and stop at a signal with a checkpoint."""

    def __init__(
        self,
        metrics: Path,
        on_step: Callable[[Step], None],
        on_sample: Callable[[SampleText], None] = lambda sample: None,
    ) -> None:
        self.metrics = metrics
        self.on_step = on_step
        self.on_sample = on_sample
        self.stopped = False
        self.trainer: SummedLossTrainer
        self._start = (0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._start = (state.global_step, time.monotonic())
        self.trainer._set_best_checkpoint(Path(args.output_dir))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        epoch = math.floor((state.epoch or 0) + 1e-9)
        self.trainer.job.batches.set_epoch(epoch)
        if hasattr(self.trainer.job.rows, "set_epoch"):
            self.trainer.job.rows.set_epoch(epoch)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._write_samples(state)
        stopped = torch.tensor(int(self.stopped), device=args.device)
        if args.world_size > 1:  # a signal may reach one process a step before another
            stopped = self.trainer.accelerator.reduce(stopped, "sum")
        if stopped:
            self.stopped = control.should_save = control.should_training_stop = True
        elif state.global_step == state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs: dict[str, Any] = kwargs["logs"]
        if "train_runtime" in logs:
            return
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise LLMKitError(f"the training loss is {loss} at step {state.global_step}; try a smaller `lr`")
        if not state.is_world_process_zero:
            return
        self._append(state.global_step, logs)
        first, since = self._start
        passed, done = time.monotonic() - since, state.global_step - first
        self.on_step(
            Step(
                step=state.global_step,
                steps=state.max_steps,
                loss=loss,
                learning_rate=logs.get("learning_rate"),
                gradient_norm=logs.get("grad_norm"),
                tokens_per_second=self.trainer.tokens / max(passed, 1e-9),
                memory=_memory(args.device),
                seconds_left=passed / done * (state.max_steps - state.global_step) if done else None,
                held_out=self.trainer.last_held_out if "eval_loss" in logs else None,
            )
        )

    def _write_samples(self, state: Any) -> None:
        writer = self.trainer.job.samples
        if writer is None or not state.is_world_process_zero:
            return
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        for sample in writer.write(model, state.global_step, state.max_steps):
            row = {"prompt": sample.prompt, "sample": sample.text}
            # A checkpoint keeps the log, and a resumed run takes it from there.
            state.log_history.append({"step": state.global_step, **row})
            self._append(state.global_step, row)
            self.on_sample(sample)

    def _append(self, step: int, row: dict[str, Any]) -> None:
        advice = "resume=True continues from the newest checkpoint"
        with (
            writing(self.metrics.parent, self.metrics, advice),
            self.metrics.open("a", encoding="utf-8") as file,
        ):
            file.write(metrics_line(step, row))


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import psutil

    return int(psutil.Process().memory_info().rss)


def _sync(folder: Path) -> None:
    """Flush every file of a folder to the disk, so that the folder can be renamed safely."""
    for path in [*(p for p in folder.rglob("*") if p.is_file()), folder]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


@contextlib.contextmanager
def no_bars() -> Iterator[None]:
    """Turn off the progress bar that transformers draws for each checkpoint."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def stop_at_signals(callback: MetricsCallback) -> Iterator[None]:
    """At SIGINT, SIGTERM or SIGHUP, end training after the current step with a checkpoint; raise it again.

    An exception from a handler could interrupt an optimizer step and leave weights between two steps. A
    second signal takes effect at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: FrameType | None) -> None:
        callback.stopped = True
        received.append(number)
        restore()

    for number in before:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])
