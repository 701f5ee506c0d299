"""Teach a model that there is from rows of examples: files in, an adapter or a model's folder out."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.training.finetuning.plan import FinetuneInputs, FinetunePlan, prepare
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.finetuning.result import FinetuneResult
from llmkit.training.recipe import DTYPES, arguments
from llmkit.training.run import Run, check_output

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.heldout import HeldOut
    from llmkit.training.trainer import Job, Step, SummedLossTrainer

__all__ = ["FinetunePlan", "FinetuneRecipe", "FinetuneResult", "finetune", "prepare"]


def finetune(
    data: Sequence[str | Path],
    output: str | Path,
    spec: ModelSpec,
    recipe: FinetuneRecipe | None = None,
    *,
    eval_data: str | Path | None = None,
    save_dtype: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    keep_checkpoints: bool = False,
    command: str = "",
    on_plan: Callable[[FinetunePlan], None] = lambda plan: None,
    on_step: Callable[[Step], None] = lambda step: None,
    notice: Callable[[str], None] = lambda message: None,
) -> FinetuneResult:
    """Train a model, or an adapter on it, and save it with the weights that were best on the held-out rows.

    What is learnt follows from the rows' columns (see `columns` and `encoding`). SIGINT and SIGTERM let the
    running step end and save a checkpoint before they take their usual way; `resume` goes on from there to
    the same weights that an uninterrupted run ends with.

    Args:
        data: files of rows, as `records.open_rows` takes them.
        output: the folder; checkpoints and metrics.jsonl stand in it while the run lasts.
        spec: the model; its dtype is not used.
        recipe: the options of the run.
        eval_data: a file of held-out rows, in place of a share of the data.
        save_dtype: of a whole model's weights: "auto" (as it was stored), "float32", "bfloat16" or "float16".
        resume: go on from the newest whole checkpoint in `output`.
        overwrite: remove what an earlier run left in `output`.
        keep_checkpoints: leave them (pickle files among them) beside the finished model.
        command: for the card: how the run was started.
        on_plan: called once, before training.
        on_step: called as training goes.
        notice: called with a sentence that the user should read.

    Raises:
        InputError: bad options or rows, or an output that is neither empty nor to be resumed or overwritten.
        LLMKitError: the loss became infinite, or the disk is full.
    """
    from llmkit.training.finetuning.report import write_report

    recipe, output = recipe or FinetuneRecipe(), Path(output)
    if save_dtype not in ("auto", *DTYPES):
        raise InputError(f"--save-dtype {save_dtype}: use auto, {', '.join(DTYPES)}")
    check_output(output, resume=resume, overwrite=overwrite)
    prepared = prepare(data, spec, recipe, eval_data=eval_data, notice=notice)
    run = Run.open(
        output,
        _options(prepared, recipe),
        prepared.plan.steps,
        device=prepared.plan.device,
        resume=resume,
        notice=notice,
    )
    if prepared.kind == "preference":
        notice("before the first step each pair is scored once by the model as it is")
    on_plan(prepared.plan)
    prepared = _with_loss(prepared)
    began = time.monotonic()
    teacher = run.train(_job(prepared, run), on_step)
    result = _result(prepared, run, teacher, time.monotonic() - began)
    model: Any = teacher.accelerator.unwrap_model(teacher.model, keep_fp32_wrapper=False)
    if result.held_out_before is not None and (result.held_out_loss or 0) >= result.held_out_before:
        notice("the held-out loss never fell below what it was before training")
    if run.main:
        write_report(run.metrics, prepared, result, command)
    adapter = hasattr(model, "peft_config")
    run.finish(
        lambda folder: _write(model, prepared, result, save_dtype, command, folder),
        last="adapter_config.json" if adapter else "config.json",
        keep_checkpoints=keep_checkpoints,
    )
    return result


def _options(prepared: FinetuneInputs, recipe: FinetuneRecipe) -> dict[str, Any]:
    """What makes this run this run, as JSON."""
    loaded = prepared.loaded
    weights = loaded.identity() if loaded.revision == "local" else {}
    return {
        "data": prepared.fingerprint,
        "held-out rows": len(prepared.held_out),
        "model": loaded.spec.name,
        "weights": weights.get("weights"),
        "attention": loaded.model.config._attn_implementation,
        **dataclasses.asdict(recipe),
    }


def _with_loss(prepared: FinetuneInputs) -> FinetuneInputs:
    """Give the model its loss; and pairs what they are compared with, while the model is what it was."""
    from llmkit.training.finetuning.preferences import BETA, preference_loss, score
    from llmkit.training.loss import summed_loss, summed_span_loss

    recipe, plan, model = prepared.recipe, prepared.plan, prepared.loaded.model
    if prepared.kind == "spans":
        summed_span_loss(model)
    elif prepared.kind != "preference":
        summed_loss(model, recipe.label_smoothing)
    else:
        preference_loss(model, recipe.dpo_beta or BETA)
        train, held_out = (
            score(model, rows, which, prepared.collate, recipe.batch_size, plan.dtype)
            for rows, which in (
                (prepared.train, prepared.batches.met(plan.steps)),
                (prepared.held_out, range(len(prepared.held_out))),
            )
        )
        return dataclasses.replace(prepared, train=train, held_out=held_out)
    return prepared


def _job(prepared: FinetuneInputs, run: Run) -> Job:
    from transformers import set_seed

    from llmkit.training.trainer import Job

    recipe, plan, model = prepared.recipe, prepared.plan, prepared.loaded.model
    set_seed(recipe.seed)
    if recipe.gradient_checkpointing:
        model.config.use_cache = False
    return Job(
        model=model,
        rows=prepared.train,
        batches=prepared.batches,
        collate=prepared.collate,
        arguments={
            **arguments(
                dataclasses.replace(recipe, lr=plan.lr),
                run.checkpoints,
                steps=plan.steps,
                eval_steps=plan.eval_steps if len(prepared.held_out) else None,
                save_steps=plan.save_steps,
                device=plan.device,
                dtype=plan.dtype,
            ),
            # A warning of DDP's says that looking for parameters without a gradient costs time.
            "ddp_find_unused_parameters": prepared.kind not in ("causal", "preference"),
            "eval_on_start": run.start is None and bool(len(prepared.held_out)),
        },
        measure=(lambda teacher: _measure(teacher, prepared)) if len(prepared.held_out) else None,
        patience=recipe.early_stopping,
        optimizer=recipe.optimizer,
    )


def _measure(teacher: SummedLossTrainer, prepared: FinetuneInputs) -> HeldOut:
    from llmkit.training.heldout import measure_rows

    accelerator = teacher.accelerator
    return measure_rows(
        teacher.model_wrapped,
        prepared.held_out,
        prepared.collate,
        prepared.recipe.batch_size,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        reduce=lambda total: accelerator.reduce(total, "sum") if accelerator.num_processes > 1 else total,
    )


def _result(prepared: FinetuneInputs, run: Run, teacher: SummedLossTrainer, seconds: float) -> FinetuneResult:
    from llmkit.training.memory import measured_peak

    state, plan = teacher.state, prepared.plan
    best = state.best_metric
    before = None
    if run.main and run.metrics.exists():
        first = json.loads(run.metrics.read_text(encoding="utf-8").partition("\n")[0])
        before = first.get("eval_loss") if first["step"] == 0 else None
    kept = [row for row in state.log_history if "eval_reward_accuracy" in row]
    kept = kept[:1] + [row for row in kept if row["step"] == state.best_global_step][-1:]
    rewards = [(row["eval_reward_accuracy"], row["eval_reward_margin"]) for row in kept]
    told = prepared.kind not in ("spans", "preference")
    return FinetuneResult(
        folder=run.output,
        steps=state.global_step,
        kept_step=state.best_global_step or state.global_step,
        parameters=plan.parameters,
        trained_parameters=plan.trained_parameters,
        train_loss=[row["loss"] for row in state.log_history if "loss" in row][-1],
        held_out_before=before,
        held_out_loss=best,
        perplexity=_exp(best) if best is not None and told else None,
        reward_accuracy_before=rewards[0][0] if rewards else None,
        reward_accuracy=rewards[-1][0] if rewards else None,
        reward_margin=rewards[-1][1] if rewards else None,
        peak_memory=measured_peak(teacher.args.device),
        tokens_per_second=teacher.tokens / max(seconds, 1e-9),
        seconds=seconds,
    )


def _exp(value: float) -> float:
    import math

    return math.exp(min(value, 700.0))


def _write(
    model: Any, prepared: FinetuneInputs, result: FinetuneResult, save_dtype: str, command: str, folder: Path
) -> None:
    """Write a standard adapter's or model's folder, with its tokenizer and card."""
    import torch

    from llmkit.training.finetuning.model_setup import base_name
    from llmkit.training.finetuning.report import card

    loaded = prepared.loaded
    if hasattr(model, "peft_config"):
        model.save_pretrained(folder)
        for adapter in model.peft_config.values():
            adapter.base_model_name_or_path, adapter.revision = base_name(loaded)
            adapter.save_pretrained(str(folder))
    else:
        if hasattr(model.config, "use_cache"):
            model.config.use_cache = True
        dtype = _stored_dtype(prepared) if save_dtype == "auto" else save_dtype
        model.to(getattr(torch, dtype)).save_pretrained(folder)
    if loaded.spec.task == "text-generation" and not loaded.is_encoder_decoder:
        loaded.tokenizer.padding_side = "left"
    loaded.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card(prepared, result, command), encoding="utf-8")


def _stored_dtype(prepared: FinetuneInputs) -> str:
    from llmkit.runtime.checkpoint import inspect_checkpoint

    loaded = prepared.loaded
    spec = loaded.spec
    return inspect_checkpoint(
        loaded.folder, spec.name, task=spec.task, allow_bin=spec.allow_bin, trusted=spec.trust_remote_code
    ).stored
