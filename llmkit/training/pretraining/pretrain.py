"""Train a language model from nothing: corpus files in, a standard Hugging Face folder out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.training import checkpoints
from llmkit.training.pretraining.card import card
from llmkit.training.pretraining.plan import (
    AUTO_CLASSES,
    DeviceChoice,
    PretrainInputs,
    PretrainPlan,
    load,
    plan,
    tokenise,
)
from llmkit.training.pretraining.recipe import PretrainRecipe
from llmkit.training.pretraining.result import PretrainResult
from llmkit.training.pretraining.token_file import Documents
from llmkit.training.pretraining.tokenize_corpus import TOKENIZER, counts_in, identities
from llmkit.training.recipe import DTYPES, arguments
from llmkit.training.run import UNFINISHED, Run, check_output, run_on_main_process

if TYPE_CHECKING:
    from llmkit.training.heldout import HeldOut
    from llmkit.training.trainer import Job, Step, SummedLossTrainer

__all__ = ["PretrainPlan", "PretrainRecipe", "PretrainResult", "plan", "pretrain"]


def pretrain(
    corpus: Sequence[str | Path],
    output: str | Path,
    recipe: PretrainRecipe | None = None,
    *,
    eval_data: str | Path | None = None,
    device: str = "auto",
    save_dtype: str = "float32",
    resume: bool = False,
    overwrite: bool = False,
    keep_checkpoints: bool = False,
    on_read: Callable[[int, int], None] = lambda documents, characters: None,
    on_plan: Callable[[PretrainPlan], None] = lambda plan: None,
    on_step: Callable[[Step], None] = lambda step: None,
    notice: Callable[[str], None] = lambda message: None,
) -> PretrainResult:
    """Train a model on the corpus and save it, with the weights that were best on the held-out documents.

    The corpus may be larger than memory: it is read once, and while the run lasts its token ids lie among the
    checkpoints, two bytes each (four where the tokenizer has more than 65,536).
    SIGINT and SIGTERM let the running step end and save a checkpoint before they take their usual way;
    `resume` goes on from there to the same weights that an uninterrupted run ends with.

    Args:
        corpus: text, tables of rows or data sets (see `corpus.Corpus`).
        output: the folder; checkpoints and metrics.jsonl stand in it while the run lasts.
        recipe: the options of the run.
        eval_data: held-out documents, in place of a share of the corpus.
        device: "auto", "cpu", "cuda" or "mps".
        save_dtype: "float32", "bfloat16" or "float16": of the finished weights.
        resume: go on from the newest whole checkpoint in `output`.
        overwrite: remove what an earlier run left in `output`.
        keep_checkpoints: leave them (pickle files among them) beside the finished model.
        on_read: called now and then with documents and characters read, before there is a plan.
        on_plan: called once, before training.
        on_step: called as training goes.
        notice: called with a sentence that the user should read.

    Raises:
        InputError: bad options or input, or an output that is neither empty nor to be resumed or overwritten.
        LLMKitError: the loss became infinite, or the disk is full.
    """
    from llmkit.training.trainer import no_bars

    recipe, output = recipe or PretrainRecipe(), Path(output)
    if save_dtype not in DTYPES:
        raise InputError(f"--save-dtype {save_dtype}: use {', '.join(DTYPES)}")
    place = DeviceChoice.of(recipe, device)
    check_output(output, resume=resume, overwrite=overwrite)
    if resume:
        checkpoints.check_run(output / "checkpoints", dataclasses.asdict(recipe))
    prepared, run = _begin(corpus, output, recipe, place, eval_data, resume, on_read, notice)
    on_plan(prepared.plan)
    began = time.monotonic()
    with no_bars():
        teacher = run.train(_job(prepared, run), on_step)
    seconds = time.monotonic() - began
    model = _as_saved(teacher, save_dtype)
    result = _result(model, prepared, run, teacher, seconds)
    with no_bars():
        run.finish(
            lambda folder: _write(model, prepared, result, save_dtype, _kept(output) / TOKENIZER, folder),
            last="config.json",
            keep_checkpoints=keep_checkpoints,
        )
    return result


def _kept(output: Path) -> Path:
    """Where the corpus's token ids lie while the run lasts."""
    return output / "checkpoints" / "corpus"


def _begin(
    corpus: Sequence[str | Path],
    output: Path,
    recipe: PretrainRecipe,
    place: DeviceChoice,
    eval_data: str | Path | None,
    resume: bool,
    on_read: Callable[[int, int], None],
    notice: Callable[[str], None],
) -> tuple[PretrainInputs, Run]:
    """Read the corpus, or find it read by the run that is resumed, and open the run's folder."""
    kept = _kept(output)
    with _unfinished(output) as unfinished:

        def read() -> Path:
            if resume and counts_in(kept, identities(corpus, eval_data)):
                return kept
            _clear(unfinished, output)
            tokenise(corpus, recipe, unfinished, eval_data=eval_data, on_read=on_read, notice=notice)
            return unfinished

        prepared = load(run_on_main_process(place.device, read), recipe, place)
        run = Run.open(
            output,
            {**dataclasses.asdict(recipe), "corpus": prepared.digest},
            prepared.plan.steps,
            device=place.device,
            resume=resume,
            notice=notice,
        )
        if run.main and unfinished.exists():
            shutil.rmtree(kept, ignore_errors=True)
            unfinished.rename(kept)
    return prepared, run


@contextlib.contextmanager
def _unfinished(output: Path) -> Iterator[Path]:
    """A place in the output, gone in the end: what is there stays until the corpus has proven good."""
    folder, there = output / UNFINISHED, output.exists()
    try:
        yield folder
    finally:
        if os.environ.get("RANK", "0") == "0":
            shutil.rmtree(folder, ignore_errors=True)
            if not there:
                with contextlib.suppress(OSError):
                    output.rmdir()


def _clear(folder: Path, output: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"-o {output}: cannot write there: {error.strerror}") from None


def _job(prepared: PretrainInputs, run: Run) -> Job:
    """A freshly initialised model and all that it is to be taught."""
    import transformers

    from llmkit.training.batches import Batches, Padded, Pairs, SingletonBatches
    from llmkit.training.loss import summed_loss
    from llmkit.training.trainer import Job

    recipe, plan = prepared.recipe, prepared.plan
    transformers.set_seed(recipe.seed)
    model = getattr(transformers, AUTO_CLASSES[prepared.kind]).from_config(
        prepared.config, trust_remote_code=False
    )
    padding = prepared.config.pad_token_id
    pairs = prepared.config.is_encoder_decoder
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    summed_loss(model)
    batches = Batches(
        SingletonBatches(len(prepared.train)),
        recipe.batch_size,
        recipe.gradient_accumulation,
        seed=recipe.seed,
        rank=int(os.environ.get("RANK", "0")),
        world=int(os.environ.get("WORLD_SIZE", "1")),
    )
    return Job(
        model=model,
        rows=prepared.train,
        batches=batches,
        collate=Pairs(padding, shift) if pairs and shift else Padded(padding),
        arguments=arguments(
            recipe,
            run.checkpoints,
            steps=plan.steps,
            eval_steps=plan.eval_steps if prepared.held_out else None,
            save_steps=plan.save_steps,
            device=plan.device,
            dtype=plan.dtype,
        ),
        measure=(lambda teacher: _measure(teacher.model, prepared)) if prepared.held_out else None,
        patience=recipe.early_stopping,
        optimizer=recipe.optimizer,
    )


def _as_saved(teacher: SummedLossTrainer, dtype: str) -> Any:
    """The trained model, rounded to the precision of the file and computing in float32."""
    import torch

    # accelerate wrapped the forward pass in autocast; without that wrapper it computes in float32 again.
    model: Any = teacher.accelerator.unwrap_model(teacher.model, keep_fp32_wrapper=False)
    return model.to(getattr(torch, dtype)).float()


def _result(
    model: Any, prepared: PretrainInputs, run: Run, teacher: SummedLossTrainer, seconds: float
) -> PretrainResult:
    """Measure the model as it is saved, and sum up the run."""
    held_out = _measure(model, prepared) if prepared.held_out else None
    causal = prepared.kind == "causal"
    return PretrainResult(
        folder=run.output,
        steps=teacher.state.global_step,
        tokens=round((teacher.state.epoch or 0) * prepared.plan.tokens),
        parameters=prepared.plan.parameters,
        train_loss=[row["loss"] for row in teacher.state.log_history if "loss" in row][-1],
        held_out_loss=held_out.loss if held_out else None,
        perplexity=held_out.perplexity if held_out and causal else None,
        bits_per_byte=held_out.bits_per_byte if held_out and causal else None,
        seconds=seconds,
    )


def _measure(model: Any, prepared: PretrainInputs) -> HeldOut:
    """The held-out loss: of whole documents for a causal model, else of blocks spoiled always alike."""
    from llmkit.training.batches import Padded, Pairs
    from llmkit.training.heldout import measure, measure_rows

    if prepared.kind == "causal":
        assert isinstance(prepared.held_out, Documents)
        return measure(
            model,
            prepared.held_out,
            boundary=prepared.boundary,
            context=prepared.recipe.max_length,
            utf8_bytes=prepared.held_out_bytes,
        )
    padding = prepared.config.pad_token_id
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    collate = Pairs(padding, shift) if prepared.config.is_encoder_decoder and shift else Padded(padding)
    return measure_rows(model, prepared.held_out, collate, prepared.recipe.batch_size)


def _write(
    model: Any, prepared: PretrainInputs, result: PretrainResult, dtype: str, tokenizer: Path, folder: Path
) -> None:
    """Write a standard Hugging Face folder."""
    import torch
    from transformers import GenerationConfig

    # Trainer turned the cache off for training; a finished model is for generating.
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = True
    if prepared.kind == "causal":
        boundary = prepared.boundary
        model.generation_config = GenerationConfig(
            bos_token_id=boundary, eos_token_id=boundary, pad_token_id=boundary
        )
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    # As it was made: what transformers loaded remembers where from.
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
    (folder / "README.md").write_text(card(prepared, result), encoding="utf-8")
