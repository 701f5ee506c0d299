"""Finetune a model on rows of examples: files in, an adapter or a model's folder out."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.records.disk import writing
from llmkit.training.finetuning.plan import FinetuneInputs, FinetunePlan, prepare
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.finetuning.result import FinetuneResult
from llmkit.training.recipe import arguments
from llmkit.training.run import RunOptions, RunProgress, SilentProgress, TrainingRun, locked_output

if TYPE_CHECKING:
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.heldout import HeldOut
    from llmkit.training.trainer import Job, SummedLossTrainer

__all__ = ["FinetunePlan", "FinetuneRecipe", "FinetuneResult", "RunOptions", "finetune", "prepare"]


def finetune(
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    model: ModelSpec | str | Path,
    recipe: FinetuneRecipe | None = None,
    options: RunOptions | None = None,
    *,
    command: str = "",
    progress: RunProgress | None = None,
) -> FinetuneResult:
    """Train a model, or an adapter for it, and save the weights with the lowest held-out loss.

    The objective follows from the rows' columns (see `columns` and `encoding`). At SIGINT or SIGTERM the
    current step ends and a checkpoint is saved, then the signal takes effect. A resumed run ends with the
    same weights as an uninterrupted one.

    Args:
        data: file or files of rows, as `records.open_rows` takes them.
        output: folder of the result; during the run it holds the checkpoints and metrics.jsonl.
        model: folder or Hub id of the model, or a `ModelSpec`, whose dtype is not used.
        recipe: options of the training.
        options: held-out file, dtype of saved weights, resuming.
        command: command that started the run, for the model card.
        progress: receives the plan, each step and notices.

    Returns:
        The folder, with losses, sizes and speed.

    Raises:
        InputError: an option or a row is bad, or the output is not empty and neither `resume` nor `overwrite`
            is set.
        LLMKitError: the loss became infinite, or the disk is full.
    """
    from llmkit.runtime.spec import ModelSpec

    recipe, options, progress = (
        recipe or FinetuneRecipe(),
        options or RunOptions(),
        progress or SilentProgress(),
    )
    files, output = [data] if isinstance(data, str | Path) else data, Path(output)
    spec = model if isinstance(model, ModelSpec) else ModelSpec(str(model))
    options.check(output)
    with locked_output(output):
        return _finetune(files, output, spec, recipe, options, command, progress)


def _finetune(
    files: Sequence[str | Path],
    output: Path,
    spec: ModelSpec,
    recipe: FinetuneRecipe,
    options: RunOptions,
    command: str,
    progress: RunProgress,
) -> FinetuneResult:
    from llmkit.training.finetuning.report import write_report
    from llmkit.training.finetuning.sample_prompts import sample_writer

    inputs = prepare(files, spec, recipe, eval_data=options.eval_data, notice=progress.notice)
    samples = sample_writer(inputs, options)
    run = TrainingRun.open(
        output,
        _run_options(inputs),
        inputs.plan.steps,
        device=inputs.plan.device,
        resume=options.resume,
        notice=progress.notice,
    )
    if inputs.kind == "preference":
        progress.notice("the model scores each pair once before the first step")
    progress.planned(inputs.plan)
    inputs = _with_loss(inputs)
    started = time.monotonic()
    trainer = run.train(dataclasses.replace(_job(inputs, run), samples=samples), progress)
    result = _result(inputs, run, trainer, time.monotonic() - started)
    trained: Any = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if result.held_out_before is not None and (result.held_out_loss or 0) >= result.held_out_before:
        progress.notice("the held-out loss never fell below its value before training")
    if run.main:
        advice = "the checkpoints are kept: resume=True tries again"
        with writing(run.output, run.output / "report.html", advice):
            write_report(run.metrics, inputs, result, command)
    adapter = hasattr(trained, "peft_config")
    run.finish(
        lambda folder: _write(trained, inputs, result, options.save_dtype, command, folder),
        last="adapter_config.json" if adapter else "config.json",
        asked=asked_for(files, spec, recipe, options),
        keep_checkpoints=options.keep_checkpoints,
    )
    return result


def asked_for(
    files: Sequence[str | Path], spec: ModelSpec, recipe: FinetuneRecipe, options: RunOptions
) -> dict[str, Any]:
    """Return the user's options, as JSON: they are known before a model is loaded or a row is read."""
    from llmkit.records.read import identity_of
    from llmkit.runtime.loaded_model import fingerprints

    folders = [Path(name).expanduser() for name in (spec.name, spec.adapter or "") if name]
    return {
        "data": [identity_of(file) for file in files],
        "eval_data": None if options.eval_data is None else identity_of(options.eval_data),
        "save_dtype": options.save_dtype,
        "model": [spec.name, spec.revision, spec.adapter],
        "weights": [fingerprints(folder) if folder.exists() else None for folder in folders],
        **dataclasses.asdict(recipe),
    }


def _run_options(inputs: FinetuneInputs) -> dict[str, Any]:
    """Return everything that the run's weights depend on, as JSON."""
    loaded = inputs.loaded
    local = loaded.revision == "local" or loaded.adapter is not None
    weights = loaded.identity() if local else {}
    return {
        "data": inputs.fingerprint,
        "held-out rows": len(inputs.held_out),
        "model": loaded.spec.name,
        "weights": weights.get("weights"),
        "adapter": weights.get("adapter"),
        "attention": loaded.model.config._attn_implementation,
        **dataclasses.asdict(inputs.recipe),
    }


def _with_loss(inputs: FinetuneInputs) -> FinetuneInputs:
    """Patch the model with its loss. Score preference pairs while the model is still untrained."""
    from llmkit.training.finetuning.preferences import BETA, patch_forward_with_dpo_loss, score
    from llmkit.training.loss import patch_forward_with_span_loss, patch_forward_with_summed_loss

    recipe, plan, model = inputs.recipe, inputs.plan, inputs.loaded.model
    if inputs.kind == "spans":
        patch_forward_with_span_loss(model)
    elif inputs.kind != "preference":
        patch_forward_with_summed_loss(model, recipe.label_smoothing)
    else:
        patch_forward_with_dpo_loss(model, recipe.dpo_beta or BETA)
        train, held_out = (
            score(model, rows, which, inputs.collate, plan.batch_size, plan.dtype)
            for rows, which in (
                (inputs.train, inputs.batches.first_rows(plan.steps)),
                (inputs.held_out, range(len(inputs.held_out))),
            )
        )
        return dataclasses.replace(inputs, train=train, held_out=held_out)
    return inputs


def _job(inputs: FinetuneInputs, run: TrainingRun) -> Job:
    from transformers import set_seed

    from llmkit.training.trainer import Job

    recipe, plan, model = inputs.recipe, inputs.plan, inputs.loaded.model
    set_seed(recipe.seed)
    if recipe.gradient_checkpointing:
        model.config.use_cache = False
    resolved = dataclasses.replace(
        recipe,
        lr=plan.lr,
        batch_size=plan.batch_size,
        gradient_accumulation=plan.gradient_accumulation,
    )
    return Job(
        model=model,
        rows=inputs.train,
        batches=inputs.batches,
        collate=inputs.collate,
        arguments={
            **arguments(
                resolved,
                run.checkpoints,
                steps=plan.steps,
                eval_steps=plan.eval_steps if len(inputs.held_out) else None,
                save_steps=plan.save_steps,
                device=plan.device,
                dtype=plan.dtype,
            ),
            # DDP warns that searching for parameters without a gradient takes time.
            "ddp_find_unused_parameters": inputs.kind not in ("causal", "preference"),
            "eval_on_start": run.start is None and bool(len(inputs.held_out)),
        },
        measure=(lambda trainer: _measure(trainer, inputs)) if len(inputs.held_out) else None,
        patience=recipe.early_stopping,
        optimizer=recipe.optimizer,
    )


def _measure(trainer: SummedLossTrainer, inputs: FinetuneInputs) -> HeldOut:
    from llmkit.training.heldout import measure_rows

    accelerator = trainer.accelerator
    return measure_rows(
        trainer.model_wrapped,
        inputs.held_out,
        inputs.collate,
        inputs.plan.batch_size,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        reduce=lambda total: accelerator.reduce(total, "sum") if accelerator.num_processes > 1 else total,
    )


def _result(
    inputs: FinetuneInputs, run: TrainingRun, trainer: SummedLossTrainer, seconds: float
) -> FinetuneResult:
    from llmkit.training.memory import measured_peak

    state, plan = trainer.state, inputs.plan
    best = state.best_metric
    before = None
    if run.main and run.metrics.exists():
        first = json.loads(run.metrics.read_text(encoding="utf-8").partition("\n")[0])
        before = first.get("eval_loss") if first["step"] == 0 else None
    kept = [row for row in state.log_history if "eval_reward_accuracy" in row]
    kept = kept[:1] + [row for row in kept if row["step"] == state.best_global_step][-1:]
    rewards = [(row["eval_reward_accuracy"], row["eval_reward_margin"]) for row in kept]
    unit_is_token = inputs.kind not in ("spans", "preference")
    return FinetuneResult(
        folder=run.output,
        steps=state.global_step,
        kept_step=state.best_global_step or state.global_step,
        parameters=plan.parameters,
        trained_parameters=plan.trained_parameters,
        train_loss=[row["loss"] for row in state.log_history if "loss" in row][-1],
        held_out_before=before,
        held_out_loss=best,
        perplexity=math.exp(min(best, 700.0)) if best is not None and unit_is_token else None,
        reward_accuracy_before=rewards[0][0] if rewards else None,
        reward_accuracy=rewards[-1][0] if rewards else None,
        reward_margin=rewards[-1][1] if rewards else None,
        peak_memory=measured_peak(trainer.args.device),
        tokens_per_second=trainer.tokens / max(seconds, 1e-9),
        seconds=seconds,
    )


def _write(
    model: Any, inputs: FinetuneInputs, result: FinetuneResult, save_dtype: str, command: str, folder: Path
) -> None:
    """Write a standard folder of an adapter or model, with its tokenizer and card."""
    import torch

    from llmkit.runtime.peft import base_model
    from llmkit.training.finetuning.model_setup import base_name
    from llmkit.training.finetuning.report import card

    loaded = inputs.loaded
    if hasattr(model, "peft_config"):
        model.save_pretrained(folder)
        for adapter in model.peft_config.values():
            adapter.base_model_name_or_path, adapter.revision = base_name(loaded)
            adapter.save_pretrained(str(folder))
        if inputs.new_ends:
            # `save_pretrained` refuses settings that the base model may have.
            base_model(model).generation_config.to_json_file(folder / "generation_config.json")
    else:
        if hasattr(model.config, "use_cache"):
            model.config.use_cache = True
        dtype = loaded.stored_dtype if save_dtype == "auto" else save_dtype
        model.to(getattr(torch, dtype)).save_pretrained(folder)
    if loaded.spec.task == "text-generation" and not loaded.is_encoder_decoder:
        loaded.tokenizer.padding_side = "left"
    loaded.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card(inputs, result, command), encoding="utf-8", errors="replace")
