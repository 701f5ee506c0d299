"""Train a language model from random weights: corpus files in, a standard Hugging Face folder out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.records.disk import cannot_write, writing
from llmkit.training import checkpoints
from llmkit.training.checkpoints import UNFINISHED
from llmkit.training.pretraining.architecture import architecture
from llmkit.training.pretraining.card import card, write_report
from llmkit.training.pretraining.fit import too_short
from llmkit.training.pretraining.plan import (
    AUTO_CLASSES,
    DeviceChoice,
    PretrainInputs,
    PretrainPlan,
    load,
    plan,
    tokenize,
)
from llmkit.training.pretraining.recipe import PretrainRecipe
from llmkit.training.pretraining.result import PretrainResult
from llmkit.training.pretraining.sampling import LONGEST, USUAL, SamplingSettings, choose_sampling
from llmkit.training.pretraining.token_file import Blocks, Documents
from llmkit.training.pretraining.tokenize_corpus import TOKENIZER, counts_in, identities
from llmkit.training.recipe import arguments
from llmkit.training.run import (
    RunOptions,
    RunProgress,
    SilentProgress,
    TrainingRun,
    locked_output,
    run_on_main_process,
)

if TYPE_CHECKING:
    from llmkit.training.heldout import HeldOut
    from llmkit.training.samples import SampleWriter
    from llmkit.training.trainer import Job, SummedLossTrainer

__all__ = ["PretrainPlan", "PretrainRecipe", "PretrainResult", "RunOptions", "plan", "pretrain"]


def pretrain(
    corpus: str | Path | Sequence[str | Path],
    output: str | Path,
    recipe: PretrainRecipe | None = None,
    options: RunOptions | None = None,
    *,
    device: str = "auto",
    command: str = "",
    progress: RunProgress | None = None,
) -> PretrainResult:
    """Train a model on the corpus and save the weights with the lowest loss on held-out documents.

    The corpus may be larger than memory: it is read once, and during the run its token ids are stored beside
    the checkpoints, in two bytes each (four if the tokenizer has more than 65,536).
    At SIGINT or SIGTERM the current step ends and a checkpoint is saved, then the signal takes effect. A
    resumed run ends with the same weights as an uninterrupted one.

    Args:
        corpus: file or files of text or rows, or datasets (see `corpus.Corpus`).
        output: folder of the model; during the run it holds the checkpoints and metrics.jsonl.
        recipe: options of the model and the training.
        options: held-out file, dtype of saved weights, resuming.
        device: "auto", "cpu", "cuda" or "mps".
        command: command that started the run, for report and card.
        progress: receives the amount of text read, the plan, each step and notices.

    Returns:
        The folder, with losses and sizes.

    Raises:
        InputError: an option or the corpus is bad, or the output is not empty and neither `resume` nor
            `overwrite` is set.
        LLMKitError: the loss became infinite, or the disk is full.
    """
    recipe, options, progress = (
        recipe or PretrainRecipe(),
        options or RunOptions(),
        progress or SilentProgress(),
    )
    files, output = [corpus] if isinstance(corpus, str | Path) else corpus, Path(output)
    choice = DeviceChoice.of(recipe, device)
    options.check(output)
    with locked_output(output):
        return _pretrain(files, output, recipe, choice, options, command, progress)


def _pretrain(
    files: Sequence[str | Path],
    output: Path,
    recipe: PretrainRecipe,
    choice: DeviceChoice,
    options: RunOptions,
    command: str,
    progress: RunProgress,
) -> PretrainResult:
    from llmkit.training.trainer import no_bars

    save_dtype = "float32" if options.save_dtype == "auto" else options.save_dtype
    if options.samples and architecture(recipe.arch).kind != "causal":
        raise OptionError("sample_every", f"needs a model that writes text; {recipe.arch} does not")
    if options.resume:
        checkpoints.check_run(output / "checkpoints", dataclasses.asdict(recipe), progress.notice)
    inputs, run = _begin(files, output, recipe, choice, options, progress)
    progress.planned(inputs.plan)
    if short := too_short(inputs.plan.steps, inputs.plan.steps_per_epoch, recipe.max_steps):
        progress.notice(short)
    started = time.monotonic()
    with no_bars():
        trainer = run.train(_job(inputs, run, options), progress)
    seconds = time.monotonic() - started
    model = _as_saved(trainer, save_dtype)
    result = _result(model, inputs, run, trainer, seconds)
    tokenizer = _token_folder(output) / TOKENIZER
    if run.main:
        with writing(output, output / "report.html", "the checkpoints are kept: resume=True tries again"):
            write_report(run.metrics, inputs, result, command)

    def write(folder: Path) -> None:
        _write(model, inputs, save_dtype, tokenizer, folder, progress.notice)
        (folder / "README.md").write_text(card(inputs, result, command), encoding="utf-8", errors="replace")

    with no_bars():
        run.finish(
            write,
            last="config.json",
            asked=asked_for(files, recipe, options),
            keep_checkpoints=options.keep_checkpoints,
        )
    return result


def asked_for(files: Sequence[str | Path], recipe: PretrainRecipe, options: RunOptions) -> dict[str, Any]:
    """Return the user's options, as JSON: they are known before the corpus is read."""
    return {
        "corpus": identities(files, options.eval_data),
        "save_dtype": options.save_dtype,
        **dataclasses.asdict(recipe),
    }


def _token_folder(output: Path) -> Path:
    """Return the folder of the corpus's token ids during the run."""
    return output / "checkpoints" / "corpus"


def _begin(
    corpus: Sequence[str | Path],
    output: Path,
    recipe: PretrainRecipe,
    choice: DeviceChoice,
    options: RunOptions,
    progress: RunProgress,
) -> tuple[PretrainInputs, TrainingRun]:
    """Read the corpus, or find the token ids of the run to resume, and open the run's folder."""
    stored, eval_data = _token_folder(output), options.eval_data
    with _unfinished_folder(output) as unfinished:

        def read() -> Path:
            if options.resume and counts_in(stored, identities(corpus, eval_data)):
                return stored
            _make_empty(unfinished, output)
            tokenize(
                corpus,
                recipe,
                unfinished,
                eval_data=eval_data,
                on_read=progress.read,
                notice=progress.notice,
            )
            return unfinished

        inputs = load(run_on_main_process(choice.device, read), recipe, choice)
        run = TrainingRun.open(
            output,
            {**dataclasses.asdict(recipe), "corpus": inputs.digest},
            inputs.plan.steps,
            device=choice.device,
            resume=options.resume,
            notice=progress.notice,
        )
        if run.main and unfinished.exists():
            shutil.rmtree(stored, ignore_errors=True)
            unfinished.rename(stored)
    return inputs, run


@contextlib.contextmanager
def _unfinished_folder(output: Path) -> Iterator[Path]:
    """Yield a folder in the output for the corpus, and remove it at the end.

    The files of an earlier run stay until the whole corpus has been read without an error.
    """
    folder, existed = output / UNFINISHED, output.exists()
    try:
        yield folder
    finally:
        if os.environ.get("RANK", "0") == "0":
            shutil.rmtree(folder, ignore_errors=True)
            if not existed:
                with contextlib.suppress(OSError):
                    output.rmdir()


def _make_empty(folder: Path, output: Path) -> None:
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(output, error, option="output") from None


def _job(inputs: PretrainInputs, run: TrainingRun, options: RunOptions) -> Job:
    """Initialize a new model, and gather everything that its training needs."""
    import transformers

    from llmkit.training.batches import Batches, SingletonBatches
    from llmkit.training.loss import patch_forward_with_summed_loss
    from llmkit.training.trainer import Job

    recipe, plan = inputs.recipe, inputs.plan
    transformers.set_seed(recipe.seed)
    model = getattr(transformers, AUTO_CLASSES[inputs.kind]).from_config(
        inputs.config, trust_remote_code=False
    )
    collate = _collator(model, inputs)
    patch_forward_with_summed_loss(model)
    batches = Batches(
        SingletonBatches(len(inputs.train)),
        plan.batch_size,
        recipe.gradient_accumulation,
        seed=recipe.seed,
        rank=int(os.environ.get("RANK", "0")),
        world=int(os.environ.get("WORLD_SIZE", "1")),
    )
    return Job(
        model=model,
        rows=inputs.train,
        batches=batches,
        collate=collate,
        arguments=arguments(
            recipe,
            run.checkpoints,
            steps=plan.steps,
            eval_steps=plan.eval_steps if inputs.held_out else None,
            save_steps=plan.save_steps,
            device=plan.device,
            dtype=plan.dtype,
        ),
        measure=(lambda trainer: _measure(trainer.model, inputs)) if inputs.held_out else None,
        patience=recipe.early_stopping,
        optimizer=recipe.optimizer,
        samples=_samples(inputs, options) if options.samples else None,
    )


def _samples(inputs: PretrainInputs, options: RunOptions) -> SampleWriter:
    from llmkit.training.samples import SampleWriter

    tokenizer, prompts = inputs.tokenizer, options.prompt or ("",)
    return SampleWriter(
        every=options.sample_every or inputs.plan.eval_steps,
        prompts=[(text, tokenizer(text)["input_ids"] or [inputs.boundary]) for text in prompts],
        decode=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
        seed=inputs.recipe.seed,
        settings=_generation(inputs.boundary, USUAL),
        context=inputs.recipe.max_length,
    )


def _generation(boundary: int, sampling: SamplingSettings) -> dict[str, Any]:
    """Return the settings of generation of a causal model.

    A small model repeats itself in greedy decoding, and sampled from its whole distribution it invents words.
    """
    ids = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), boundary)
    return {**ids, "do_sample": True, **dataclasses.asdict(sampling), "top_k": 0}


def _collator(model: Any, inputs: PretrainInputs) -> Any:
    from llmkit.training.batches import Padded, Pairs

    padding = inputs.config.pad_token_id
    shift = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    return Pairs(padding, shift) if inputs.config.is_encoder_decoder and shift else Padded(padding)


def _as_saved(trainer: SummedLossTrainer, dtype: str) -> Any:
    """Return the trained model, rounded to the dtype of the file and computing in float32."""
    import torch

    # accelerate wrapped the forward pass in autocast; without that wrapper it computes in float32 again.
    model: Any = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    return model.to(getattr(torch, dtype)).float()


def _result(
    model: Any, inputs: PretrainInputs, run: TrainingRun, trainer: SummedLossTrainer, seconds: float
) -> PretrainResult:
    """Measure the model in its saved form, and summarize the run."""
    held_out = _measure(model, inputs) if inputs.held_out else None
    causal = inputs.kind == "causal"
    return PretrainResult(
        folder=run.output,
        steps=trainer.state.global_step,
        kept_step=trainer.state.best_global_step or trainer.state.global_step,
        tokens=round((trainer.state.epoch or 0) * inputs.plan.tokens),
        parameters=inputs.plan.parameters,
        train_loss=[row["loss"] for row in trainer.state.log_history if "loss" in row][-1],
        held_out_loss=held_out.loss if held_out else None,
        perplexity=held_out.perplexity if held_out and causal else None,
        bits_per_byte=held_out.bits_per_byte if held_out and causal else None,
        seconds=seconds,
    )


def _measure(model: Any, inputs: PretrainInputs) -> HeldOut:
    """Measure the held-out loss: of whole documents for a causal model, else of blocks with fixed noise."""
    from llmkit.training.heldout import measure, measure_rows

    if inputs.kind == "causal":
        assert isinstance(inputs.held_out, Documents)
        return measure(
            model,
            inputs.held_out,
            boundary=inputs.boundary,
            context=inputs.recipe.max_length,
            utf8_bytes=inputs.held_out_bytes,
        )
    return measure_rows(model, inputs.held_out, _collator(model, inputs), inputs.plan.batch_size)


def _sampling(model: Any, inputs: PretrainInputs) -> SamplingSettings:
    """Choose the settings of sampling by the corpus, or by the middle of a long one."""
    assert isinstance(inputs.train, Blocks)
    tokens = inputs.train.tokens
    start = max(0, len(tokens) - LONGEST) // 2
    text = tokens[start : start + LONGEST].tolist()

    def decode(ids: list[int]) -> str:
        return str(inputs.tokenizer.decode(ids, skip_special_tokens=True))

    return choose_sampling(model, text, decode, inputs.boundary, inputs.recipe.seed)


def _write(
    model: Any,
    inputs: PretrainInputs,
    dtype: str,
    tokenizer: Path,
    folder: Path,
    notice: Callable[[str], None],
) -> None:
    """Write a standard Hugging Face folder, without its card."""
    import torch
    from transformers import GenerationConfig

    # Trainer turned the cache off for training.
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = True
    if inputs.kind == "causal":
        sampling = USUAL
        if not too_short(inputs.plan.steps, 1):
            notice("comparing sampling settings, for generation_config.json")
            sampling = _sampling(model, inputs)
        model.generation_config = GenerationConfig(**_generation(inputs.boundary, sampling))
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    # Copy the original files: a tokenizer that transformers loaded remembers its path.
    shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
