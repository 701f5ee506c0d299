"""Train a language model from nothing: corpus files in, a standard Hugging Face folder out."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, LLMKitError
from llmkit.training import checkpoints
from llmkit.training.card import card
from llmkit.training.corpus import fingerprint
from llmkit.training.plan import DTYPES, SCHEDULERS, Plan, Prepared, Recipe, prepare

if TYPE_CHECKING:
    from llmkit.training.heldout import HeldOut
    from llmkit.training.loop import HeldOutTrainer, Step, Watch

__all__ = ["Plan", "PretrainResult", "Recipe", "prepare", "pretrain"]

# What pretraining writes into its folder; --overwrite removes these and nothing else.
_OURS = (
    "checkpoints",
    "metrics.jsonl",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
)


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


def pretrain(
    corpus: Sequence[str | Path],
    output: str | Path,
    recipe: Recipe | None = None,
    *,
    eval_data: str | Path | None = None,
    device: str = "auto",
    save_dtype: str = "float32",
    resume: bool = False,
    overwrite: bool = False,
    keep_checkpoints: bool = False,
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_step: Callable[[Step], None] = lambda step: None,
    notice: Callable[[str], None] = lambda message: None,
) -> PretrainResult:
    """Train a model on the corpus and save it, with the weights that were best on the held-out documents.

    SIGINT and SIGTERM let the running step end and save a checkpoint before they take their usual way;
    `resume` goes on from there to the same weights that an uninterrupted run ends with.

    Args:
        corpus: text or JSONL files (see `corpus.read_documents`).
        output: the folder; checkpoints and metrics.jsonl stand in it while the run lasts.
        recipe: the options of the run.
        eval_data: a file of held-out documents, in place of a share of the corpus.
        device: "auto", "cpu", "cuda" or "mps".
        save_dtype: "float32", "bfloat16" or "float16": of the finished weights.
        resume: go on from the newest whole checkpoint in `output`.
        overwrite: remove what an earlier run left in `output`.
        keep_checkpoints: leave them (pickle files among them) beside the finished model.
        on_plan: called once, before training.
        on_step: called as training goes.
        notice: called with a sentence that the user should read.

    Raises:
        InputError: bad options or input, or an output that is neither empty nor to be resumed or overwritten.
        LLMKitError: the loss became infinite.
    """
    import torch

    from llmkit.training.loop import no_bars

    recipe, output = recipe or Recipe(), Path(output)
    if save_dtype not in DTYPES:
        raise InputError(f"--save-dtype {save_dtype}: use {', '.join(DTYPES)}")
    _check_output(output, resume=resume, overwrite=overwrite)
    prepared = prepare(corpus, recipe, eval_data=eval_data, device=device)
    run = {
        "corpus": fingerprint([*corpus, *([eval_data] if eval_data else [])]),
        **dataclasses.asdict(recipe),
    }
    folder = _open_output(output, run, resume=resume)
    start = _starting_point(folder, prepared.plan.steps, notice) if resume else None
    on_plan(prepared.plan)
    began = time.monotonic()
    trainer = _train(prepared, output, start, on_step)
    seconds = time.monotonic() - began
    # What is measured is what is saved: rounded to the precision of the file, computed in float32.
    # accelerate wrapped the forward pass in autocast; without that wrapper it computes in float32 again.
    model: Any = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    model.to(getattr(torch, save_dtype)).float()
    held_out = _measure(model, prepared) if prepared.held_out else None
    result = PretrainResult(
        folder=output,
        steps=trainer.state.global_step,
        tokens=round((trainer.state.epoch or 0) * prepared.plan.tokens),
        parameters=prepared.plan.parameters,
        train_loss=[row["loss"] for row in trainer.state.log_history if "loss" in row][-1],
        held_out_loss=held_out.loss if held_out else None,
        perplexity=held_out.perplexity if held_out else None,
        bits_per_byte=held_out.bits_per_byte if held_out else None,
        seconds=seconds,
    )
    with no_bars():
        _save(model, prepared, result, save_dtype)
    if not keep_checkpoints:
        shutil.rmtree(folder)
    return result


def _check_output(output: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse an output that is in the way; nothing is touched yet."""
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if output.exists() and not output.is_dir():
        raise InputError(f"-o {output}: is a file; the model needs a folder")
    if output.is_dir() and any(output.iterdir()) and not (resume or overwrite):
        raise InputError(f"-o {output}: not empty; --resume goes on with its run, --overwrite starts anew")


def _open_output(output: Path, run: dict[str, Any], *, resume: bool) -> Path:
    """The checkpoints' folder: made for `run`, or where one is resumed, checked to be of this `run`."""
    folder = output / "checkpoints"
    if resume:
        checkpoints.check_run(folder, run)
        return folder
    try:
        for name in _OURS:
            if (output / name).is_dir():
                shutil.rmtree(output / name)
            else:
                (output / name).unlink(missing_ok=True)
        folder.mkdir(parents=True)
        checkpoints.write_run(folder, run)
    except OSError as error:
        raise InputError(f"-o {output}: cannot write there: {error.strerror}") from None
    return folder


def _starting_point(folder: Path, steps: int, notice: Callable[[str], None]) -> Path | None:
    """The checkpoint to go on from; metrics.jsonl is cut back to it."""
    start = checkpoints.newest_whole(folder, steps, notice)
    step = checkpoints.step_of(start) if start else 0
    checkpoints.cut_metrics(folder.parent / "metrics.jsonl", step)
    notice(f"resuming after step {step}" if start else "no whole checkpoint: starting from the beginning")
    return start


def _train(
    prepared: Prepared, output: Path, start: Path | None, on_step: Callable[[Step], None]
) -> HeldOutTrainer:
    """Run the training; the Trainer's model then has the best weights."""
    from llmkit.training.loop import no_bars, stop_at_signals

    with no_bars():
        trainer, watch = _trainer(prepared, output, on_step)
        with stop_at_signals(watch):
            trainer.train(resume_from_checkpoint=str(start) if start else None)
    return trainer


def _trainer(
    prepared: Prepared, output: Path, on_step: Callable[[Step], None]
) -> tuple[HeldOutTrainer, Watch]:
    """A Trainer over a freshly initialised model, and the callback that watches it."""
    from transformers import AutoModelForCausalLM, set_seed

    from llmkit.training.loop import Watch, build_trainer

    recipe = prepared.recipe
    set_seed(recipe.seed)
    model = AutoModelForCausalLM.from_config(prepared.config)
    tokens_per_step = recipe.batch_size * recipe.gradient_accumulation * recipe.max_length
    watch = Watch(output / "metrics.jsonl", tokens_per_step, on_step)
    trainer = build_trainer(
        model,
        prepared.train,
        prepared.held_out,
        watch,
        arguments=_arguments(prepared, output),
        patience=recipe.early_stopping,
        measure=lambda: _measure(model, prepared),
    )
    return trainer, watch


def _arguments(prepared: Prepared, output: Path) -> dict[str, Any]:
    """The recipe as fields of `TrainingArguments`."""
    recipe, plan = prepared.recipe, prepared.plan
    scheduler, scheduler_kwargs = SCHEDULERS[recipe.scheduler]
    arguments: dict[str, Any] = {
        "output_dir": str(output.resolve() / "checkpoints"),
        "max_steps": plan.steps,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "learning_rate": recipe.lr,
        "lr_scheduler_type": scheduler,
        "lr_scheduler_kwargs": scheduler_kwargs,
        "warmup_steps": recipe.warmup,
        "weight_decay": recipe.weight_decay,
        "adam_beta2": 0.95,
        "bf16": plan.dtype == "bfloat16",
        "fp16": plan.dtype == "float16",
        "use_cpu": plan.device == "cpu",
        "seed": recipe.seed,
        # A thousand points draw any curve; Trainer keeps them all in each checkpoint.
        "logging_steps": max(1, plan.steps // 1000),
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": plan.save_steps,
        # The best one, the newest, and the one before it in case the newest is torn.
        "save_total_limit": 3,
    }
    if prepared.held_out:
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": plan.eval_steps,
            "load_best_model_at_end": True,
            "metric_for_best_model": "loss",
            "greater_is_better": False,
        }
    return arguments


def _measure(model: Any, prepared: Prepared) -> HeldOut:
    from llmkit.training.heldout import measure

    return measure(
        model,
        prepared.held_out,
        boundary=prepared.boundary,
        context=prepared.recipe.max_length,
        utf8_bytes=prepared.held_out_bytes,
    )


def _save(model: Any, prepared: Prepared, result: PretrainResult, dtype: str) -> None:
    """Write the finished folder; config.json comes last, so that a folder with one is a whole model."""
    import torch
    from transformers import GenerationConfig

    output, unfinished = result.folder, result.folder / "checkpoints" / "finished"
    # Trainer turned the cache off for training; a finished model is for generating.
    model.config.use_cache = True
    boundary = prepared.boundary
    model.generation_config = GenerationConfig(
        bos_token_id=boundary, eos_token_id=boundary, pad_token_id=boundary
    )
    try:
        model.to(getattr(torch, dtype)).save_pretrained(unfinished)
        prepared.tokenizer.save_pretrained(unfinished)
        (unfinished / "README.md").write_text(card(prepared, result), encoding="utf-8")
        for file in sorted(unfinished.iterdir(), key=lambda file: file.name == "config.json"):
            # safetensors makes its file readable by its owner alone; a model is not a secret.
            shutil.copymode(unfinished.parent / checkpoints.RUN_FILE, file)
            file.replace(output / file.name)
    except OSError as error:
        raise LLMKitError(f"-o {output}: {error.strerror or error}") from None
