"""What every training run is told, whatever it teaches: its schedule, its precision, and a file of them.

Public: `Schedule`, `SCHEDULERS`, `OPTIMIZERS`, `DTYPES`, `read_recipe`, `training_dtype`, `arguments`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmkit.errors import InputError

# Our --scheduler to Trainer's; cosine ends at a tenth of the peak, where small models still learn.
SCHEDULERS: dict[str, tuple[str, dict[str, float]]] = {
    "cosine": ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
    "linear": ("linear", {}),
    "constant": ("constant_with_warmup", {}),
}
OPTIMIZERS = ("adamw", "muon")
DTYPES = ("float32", "bfloat16", "float16")
REPORTS = ("tensorboard", "trackio", "wandb")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long, how fast and in what steps a model is taught.

    Attributes:
        epochs: passes over the training rows; not used where `max_steps` is given.
        max_steps: optimizer steps.
        lr: peak learning rate.
        optimizer: "adamw" (betas 0.9 and 0.95), or "muon" (see `optimizer.Muon`).
        scheduler: "cosine" (to a tenth of the peak), "linear" (to 0) or "constant".
        warmup: steps, or below 1 a share of all steps, over which the rate rises from 0.
        weight_decay: on matrices, not on norms.
        batch_size: rows a forward pass.
        gradient_accumulation: forward passes a step.
        max_length: tokens of a row at most.
        save_steps: steps between checkpoints; by default those between held-out measurements.
        eval_steps: steps between held-out measurements; by default twice an epoch or fewer.
        early_stopping: measurements without improvement after which training stops; 0 never.
        eval_split: share held out where there is no file of held-out rows.
        seed: of the split, new weights and the order of rows.
        dtype: "auto", "float32", "bfloat16" or "float16": precision of the forward and backward pass; what is
            trained, and the optimizer, are float32.
        gradient_checkpointing: compute activations twice and keep none: slower, in less memory.
        compile: let `torch.compile` compile the model first.
        report_to: send the measurements to "tensorboard", "trackio" or "wandb" too.
        on_error: "fail" at a bad row, or "skip" it.
    """

    epochs: float = 4.0
    max_steps: int | None = None
    lr: float | None = 2e-3
    optimizer: str = "adamw"
    scheduler: str = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.1
    batch_size: int = 16
    gradient_accumulation: int = 1
    max_length: int = 512
    save_steps: int | None = None
    eval_steps: int | None = None
    early_stopping: int = 0
    eval_split: float = 0.05
    seed: int = 42
    dtype: str = "auto"
    gradient_checkpointing: bool = False
    compile: bool = False
    report_to: str | None = None
    on_error: str = "fail"

    def check(self) -> None:
        """Refuse what Trainer would refuse later with less of an explanation, or not at all.

        Raises:
            InputError: naming the flag.
        """
        for name, allowed in (
            ("scheduler", SCHEDULERS),
            ("dtype", ("auto", *DTYPES)),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in allowed:
                raise InputError(f"--{name} {getattr(self, name)}: use {', '.join(allowed)}")
        if self.on_error not in ("fail", "skip"):
            raise InputError(f"--on-error {self.on_error}: use fail or skip")
        if self.report_to not in (None, *REPORTS):
            raise InputError(f"--report-to {self.report_to}: use {', '.join(REPORTS)}")
        for name in (
            "batch_size",
            "gradient_accumulation",
            "max_steps",
            "save_steps",
            "eval_steps",
            "lr",
            "epochs",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{_flag(name)} {value}: more than 0")
        for name in ("warmup", "weight_decay", "early_stopping"):
            if getattr(self, name) < 0:
                raise InputError(f"{_flag(name)} {getattr(self, name)}: not below 0")
        if self.max_length < 8:
            raise InputError(f"--max-length {self.max_length}: at least 8 tokens")
        if not 0 <= self.eval_split < 1:
            raise InputError(f"--eval-split {self.eval_split}: a share from 0 up to 1")
        if self.save_steps and self.eval_steps and self.save_steps % self.eval_steps:
            raise InputError(
                f"--save-steps {self.save_steps}: a multiple of --eval-steps {self.eval_steps}, so that "
                "the best weights measured are weights saved"
            )


def read_recipe(file: str | Path, fields: Mapping[str, Collection[type]]) -> dict[str, Any]:
    """The options that a YAML file names, each under its flag's name (`max_length` or `max-length`).

    Args:
        file: `key: value` lines.
        fields: option -> the types that it may have.

    Raises:
        InputError: it is not YAML, or a key or value that no flag has.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"--config {file}: lines of `key: value` are wanted")
    found = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"--config {file}: no option {key!r}{hint}")
        try:
            found[name] = _typed(value, fields[name])
        except ValueError as error:
            raise InputError(f"--config {file}: {key}: {error}") from None
    return found


def _typed(value: Any, types: Collection[type]) -> Any:
    """A YAML value as one of the types that its flag has.

    Raises:
        ValueError: it is none of them.
    """
    if value is None and type(None) in types:
        return None
    if bool in types:
        if isinstance(value, bool):
            return value
        raise ValueError(f"{value!r} is neither true nor false")
    if list in types:  # a flag that may be given several times
        pairs = [f"{key}={one}" for key, one in value.items()] if isinstance(value, dict) else value
        return [str(one) for one in (pairs if isinstance(pairs, list) else [pairs])]
    if isinstance(value, bool | list | dict):
        raise ValueError(f"{value!r} is not what this flag takes")
    for number in (int, float):
        if number in types:
            try:
                # YAML 1.1 reads 2e-4, without a point, as text.
                found = number(value)
            except (TypeError, ValueError):
                continue
            if isinstance(value, float) and found != value:
                raise ValueError(f"{value!r} is not a whole number")
            return found
    for text in (str, Path):
        if text in types:
            return text(value)
    raise ValueError(f"{value!r} is no number")


def training_dtype(asked: str, device: str) -> tuple[str, str]:
    """The dtype that matrix products run in while training, with the reason.

    Raises:
        InputError: the device does not compute in what was asked for.
    """
    import torch

    from llmkit.runtime.device import cpu_has_bfloat16

    if asked == "float16" and not device.startswith("cuda"):
        raise InputError(
            f"--dtype float16: training in it needs a CUDA device, and this is {device}; use bfloat16"
        )
    if asked != "auto":
        return asked, "asked for"
    if device.startswith("cuda"):
        good = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        good = device == "cpu" and cpu_has_bfloat16()
    if good:
        return "bfloat16", "this device computes in it, about 1.5 times as fast as in float32 or better"
    return "float32", "this device has no bfloat16 arithmetic"


def training_device(asked: str, weight_bytes: int) -> str:
    """The device to train on.

    Raises:
        InputError: it is not there, or names one GPU, which is not how Trainer is told.
    """
    from llmkit.runtime.device import choose_device

    if asked.startswith("cuda:"):
        raise InputError(
            f"--device {asked}: training takes the GPUs that it sees; use --device cuda with "
            f"CUDA_VISIBLE_DEVICES={asked[5:]}"
        )
    return choose_device(asked, weight_bytes).device


def arguments(
    schedule: Schedule,
    folder: Path,
    *,
    steps: int,
    eval_steps: int | None,
    save_steps: int,
    device: str,
    dtype: str,
) -> dict[str, Any]:
    """The fields of `TrainingArguments`.

    Args:
        schedule: what was asked for; its lr is a number.
        folder: of the checkpoints.
        steps: of the whole run.
        eval_steps: steps between held-out measurements; None where nothing is held out.
        save_steps: steps between checkpoints.
        device: of `training_device`.
        dtype: of `training_dtype`.
    """
    scheduler, scheduler_kwargs = SCHEDULERS[schedule.scheduler]
    found: dict[str, Any] = {
        "output_dir": str(folder.resolve()),
        "max_steps": steps,
        "per_device_train_batch_size": schedule.batch_size,
        "gradient_accumulation_steps": schedule.gradient_accumulation,
        "learning_rate": schedule.lr,
        "lr_scheduler_type": scheduler,
        "lr_scheduler_kwargs": scheduler_kwargs,
        "warmup_steps": _warmup(schedule.warmup, steps),
        "weight_decay": schedule.weight_decay,
        "adam_beta2": 0.95,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": device == "cpu",
        "seed": schedule.seed,
        "activation_checkpointing": schedule.gradient_checkpointing,
        "torch_compile": schedule.compile,
        "report_to": [schedule.report_to] if schedule.report_to else [],
        # A thousand points draw any curve; Trainer keeps them all in each checkpoint.
        "logging_steps": max(1, steps // 1000),
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": save_steps,
        # The best one, the newest, and the one before it in case the newest is torn.
        "save_total_limit": 3,
        "disable_tqdm": True,
    }
    if eval_steps is not None:
        found |= {
            "eval_strategy": "steps",
            "eval_steps": eval_steps,
            "load_best_model_at_end": True,
            "metric_for_best_model": "loss",
            "greater_is_better": False,
        }
    return found


def _warmup(asked: float, steps: int) -> int:
    """Steps of warmup; the first of them has a rate of 0, so that one alone would teach nothing."""
    count = math.ceil(asked * steps) if asked < 1 else int(asked)
    return count if count > 1 else 0


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def options_of(recipe: Any) -> dict[str, Any]:
    """A recipe as JSON, for the file that a resumed run is held against."""
    return dataclasses.asdict(recipe)
