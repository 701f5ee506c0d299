"""Options that every training run has, their checks, and recipe files.

Public: `option`, `Schedule`, `SCHEDULERS`, `OPTIMIZERS`, `DTYPES`, `check_choice`, `read_recipe`,
`training_dtype`, `training_device`, `arguments`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from llmkit.errors import OptionError, check_seed, did_you_mean, one_line

# Our schedulers -> Trainer's. Cosine ends at a tenth of the peak, because small models still learn there.
SCHEDULERS: dict[str, tuple[str, dict[str, float]]] = {
    "cosine": ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
    "linear": ("linear", {}),
    "constant": ("constant_with_warmup", {}),
}
OPTIMIZERS = ("adamw", "muon")
DTYPES = ("float32", "bfloat16", "float16")
LARGEST = 2**31 - 1
_MAX_RECIPE = 1 << 20
REPORTS = ("tensorboard", "trackio", "wandb")


def option(default: Any, help: str, *, default_text: str | None = None, metavar: str | None = None) -> Any:
    """Declare a field of a recipe: its default and its help text, each stated once.

    The command line builds its flags from these fields (see `cli.common.recipe_flags.flags_of`).

    Args:
        default: value of the field if nothing is given.
        help: one sentence; other options in it stand in backticks.
        default_text: the default in words, if its value does not explain itself.
        metavar: name of the value in the help text.

    Returns:
        A dataclass field.
    """
    return field(default=default, metadata={"help": help, "default_text": default_text, "metavar": metavar})


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Options of every training run. The recipes inherit from it and add defaults.

    Attributes:
        epochs: passes over the training rows; not used if `max_steps` is given. None, in pretraining only,
            follows the corpus.
        max_steps: optimizer steps.
        lr: peak learning rate.
        optimizer: "adamw" (betas 0.9 and 0.95), or "muon" (see `optimizer.Muon`).
        scheduler: "cosine" (down to a tenth of the peak), "linear" (down to 0) or "constant".
        warmup: number of steps, or below 1 a share of all steps, in which the rate rises from 0.
        weight_decay: decay of matrices; norms and biases do not decay. None, in pretraining only, follows the
            corpus.
        batch_size: rows in a forward pass; None finds the largest that fits, or in pretraining follows the
            corpus.
        gradient_accumulation: forward passes in a step.
        max_length: maximum number of tokens in a row.
        save_steps: steps between checkpoints; None is `eval_steps`.
        eval_steps: steps between held-out measurements; None is half an epoch or more.
        early_stopping: measurements without improvement after which training stops; 0 is never.
        eval_split: share of rows to hold out if no held-out file is given.
        seed: seed of the split, new weights and the order of rows.
        dtype: "auto", "float32", "bfloat16" or "float16": precision of the forward and backward pass. Trained
            weights and the optimizer's state are float32.
        gradient_checkpointing: recompute activations in the backward pass: slower, with less memory.
        compile: compile the model with `torch.compile`.
        report_to: send the measurements to "tensorboard", "trackio" or "wandb" too.
        on_error: "fail" at a bad row, or "skip" it.
        limit: maximum number of rows or documents to read from each file; None is all.
        encoding: encoding of text files; None is UTF-8.
    """

    epochs: float | None
    max_steps: int | None = option(
        None, "Number of steps, in place of `epochs`.", default_text="from `epochs`"
    )
    lr: float | None
    optimizer: str = option("adamw", "Optimizer: adamw or muon.", metavar="NAME")
    scheduler: str = option("cosine", "Learning rate schedule: cosine, linear or constant.", metavar="NAME")
    warmup: float
    weight_decay: float | None
    batch_size: int | None
    gradient_accumulation: int = option(1, "Forward passes in a step.")
    max_length: int
    save_steps: int | None = option(None, "Steps between checkpoints.", default_text="as `eval_steps`")
    eval_steps: int | None = option(
        None, "Steps between held-out measurements.", default_text="half an epoch"
    )
    early_stopping: int = option(0, "Stop after N measurements without improvement; 0 is never.")
    eval_split: float = option(0.05, "Share of rows to hold out.")
    seed: int = option(42, "Seed of everything random.")
    dtype: str = option("auto", "Precision of training: auto, float32, bfloat16 or float16.", metavar="NAME")
    gradient_checkpointing: bool = option(False, "Use less memory and more time.")
    compile: bool = option(False, "Compile the model with torch.compile first.")
    report_to: str | None = option(
        None, "Send measurements to tensorboard, trackio or wandb too.", default_text="none", metavar="NAME"
    )
    on_error: str = option("fail", "At a bad row, stop or skip it.", metavar="fail|skip")
    limit: int | None = option(None, "Read only the first N rows of each file.", default_text="all")
    encoding: str | None = option(
        None,
        "Encoding of text files, such as utf-16, gb18030 or cp1252.",
        default_text="utf-8",
        metavar="NAME",
    )

    def check(self) -> None:
        """Refuse options that Trainer would refuse later with a worse explanation, or not at all.

        Raises:
            OptionError: naming the option.
        """
        self._check_numbers()
        check_choice("scheduler", self.scheduler, SCHEDULERS)
        check_choice("dtype", self.dtype, ("auto", *DTYPES))
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("on_error", self.on_error, ("fail", "skip"))
        if self.report_to is not None:
            check_choice("report_to", self.report_to, REPORTS)
        for name in (
            "batch_size",
            "gradient_accumulation",
            "limit",
            "max_steps",
            "save_steps",
            "eval_steps",
            "lr",
            "epochs",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise OptionError(name, f"must be above 0, not {value}")
        for name in ("warmup", "weight_decay", "early_stopping"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise OptionError(name, f"must be 0 or more, not {getattr(self, name)}")
        if self.max_length < 8:
            raise OptionError("max_length", f"must be 8 tokens or more, not {self.max_length}")
        check_share("eval_split", self.eval_split)
        if self.save_steps and self.eval_steps and self.save_steps % self.eval_steps:
            raise OptionError(
                "save_steps",
                f"({self.save_steps}) must be a multiple of `eval_steps` ({self.eval_steps}), so that the"
                " best weights measured are also saved",
            )

    def _check_numbers(self) -> None:
        """Refuse numbers that no library can use, such as infinity."""
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise OptionError(one.name, f"must be a finite number, not {value}")
            if isinstance(value, int) and abs(value) > LARGEST and one.name != "seed":
                raise OptionError(one.name, f"must be at most {LARGEST:,}")
        if self.epochs is not None and self.epochs > LARGEST:
            raise OptionError("epochs", f"must be at most {LARGEST:,}")
        check_seed(self.seed)


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """Refuse a value that is not among those allowed.

    Raises:
        OptionError: naming the option `name` and the allowed values.
    """
    if value not in allowed:
        raise OptionError(name, f"must be one of {', '.join(allowed)}, not {value!r}")


def check_share(name: str, value: float) -> None:
    """Refuse a value outside [0, 1).

    Raises:
        OptionError: naming the option `name`.
    """
    if not 0 <= value < 1:
        raise OptionError(name, f"must be a share from 0 to below 1, not {value}")


def read_recipe(file: str | Path, fields: Mapping[str, Collection[type]]) -> dict[str, Any]:
    """Read options from a YAML file.

    Args:
        file: `key: value` lines; a key is an option's name (`max_length` or `max-length`).
        fields: option -> types that its value may have.

    Returns:
        Option -> value, for each key of the file.

    Raises:
        InputError: the file is not YAML, or has a key or value that no option takes.
    """
    import yaml

    try:
        if Path(file).stat().st_size > _MAX_RECIPE:
            raise OptionError("config", f"{file}: larger than {_MAX_RECIPE >> 20} MiB")
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except RecursionError:
        raise OptionError("config", f"{file}: nested too deeply; write lines of `key: value`") from None
    except FileNotFoundError:
        raise OptionError("config", f"{file}: no such file") from None
    except OSError as error:
        raise OptionError("config", f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise OptionError("config", f"{file}: not YAML: {one_line(error)}") from None
    if not isinstance(values, dict):
        raise OptionError("config", f"{file}: write lines of `key: value`")
    found = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in fields:
            raise OptionError("config", f"{file}: no option {key!r}{did_you_mean(name, fields)}")
        try:
            found[name] = _typed(value, fields[name])
        except ValueError as error:
            raise OptionError("config", f"{file}: {key}: {error}") from None
    return found


def _typed(value: Any, types: Collection[type]) -> Any:
    """Convert a YAML value to one of the types that its option takes.

    Raises:
        ValueError: the value fits none of them.
    """
    if value is None and type(None) in types:
        return None
    if bool in types:
        if isinstance(value, bool):
            return value
        raise ValueError(f"{value!r} is neither true nor false")
    if list in types:  # an option that may be given several times
        pairs = [f"{key}={one}" for key, one in value.items()] if isinstance(value, dict) else value
        return [str(one) for one in (pairs if isinstance(pairs, list) else [pairs])]
    if isinstance(value, bool | list | dict):
        raise ValueError(f"{value!r} is not a single value")
    for number in (int, float):
        if number in types:
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{value} is not a finite number")
            try:
                # YAML 1.1 reads 2e-4, without a point, as text.
                found = number(value)
            except (TypeError, ValueError, OverflowError):
                continue
            if isinstance(value, float) and found != value:
                raise ValueError(f"{value!r} is not a whole number")
            return found
    for text in (str, Path):
        if text in types:
            return text(value)
    raise ValueError(f"{value!r} is not a number")


def training_dtype(requested: str, device: str) -> tuple[str, str]:
    """Choose the dtype of matrix products in training.

    Args:
        requested: "auto", or one of `DTYPES`.
        device: device to train on.

    Returns:
        Name of the dtype, and the reason for it.

    Raises:
        OptionError: the device does not compute in `requested`.
    """
    import torch

    from llmkit.runtime.device import cpu_has_bfloat16

    if requested == "float16" and not device.startswith("cuda"):
        raise OptionError(
            "dtype", f"float16 trains on a CUDA device only, and this device is {device}; use bfloat16"
        )
    if requested != "auto":
        return requested, "as requested"
    if device.startswith("cuda"):
        good = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        good = device == "cpu" and cpu_has_bfloat16()
    if good:
        return "bfloat16", "this device computes in it, at least about 1.5 times as fast as in float32"
    return "float32", "this device has no bfloat16 arithmetic"


def training_device(requested: str, weight_bytes: int) -> str:
    """Choose the device to train on.

    Args:
        requested: "auto", "cpu", "cuda" or "mps".
        weight_bytes: size of the model in training.

    Raises:
        OptionError: the device does not exist, or `requested` numbers a GPU, which Trainer does not support.
    """
    from llmkit.runtime.device import choose_device

    if requested.startswith("cuda:"):
        raise OptionError(
            "device",
            f"{requested}: training uses all visible GPUs; use device=cuda with"
            f" CUDA_VISIBLE_DEVICES={requested[5:]}",
        )
    return choose_device(requested, weight_bytes).device


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
    """Return the fields of `TrainingArguments`.

    Args:
        schedule: the options; its `lr` and `batch_size` are numbers.
        folder: folder of the checkpoints.
        steps: number of steps of the whole run.
        eval_steps: steps between held-out measurements; None if nothing is held out.
        save_steps: steps between checkpoints.
        device: result of `training_device`.
        dtype: result of `training_dtype`.
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
        "warmup_steps": _warmup_steps(schedule.warmup, steps),
        "weight_decay": schedule.weight_decay,
        "adam_beta2": 0.95,
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "use_cpu": device == "cpu",
        "seed": schedule.seed,
        "activation_checkpointing": schedule.gradient_checkpointing,
        "torch_compile": schedule.compile,
        "report_to": [schedule.report_to] if schedule.report_to else [],
        # A thousand points are enough for a curve, and Trainer keeps all of them in each checkpoint.
        "logging_steps": max(1, steps // 1000),
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": save_steps,
        # The best one, the newest, and the one before it in case the newest is incomplete.
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


def _warmup_steps(warmup: float, steps: int) -> int:
    """Return the steps of warmup. The first step has a rate of 0, so a single one would train nothing."""
    count = math.ceil(warmup * steps) if warmup < 1 else int(warmup)
    return count if count > 1 else 0
