"""What a finetuning run is told (its recipe) and what follows from it before a step is taken (its plan)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.training.finetuning.encoding import CHAT_TEMPLATE, encoder, kind_of
from llmkit.training.finetuning.examples import Examples, ReadOptions, Source, bad_rows, encode, read_source
from llmkit.training.finetuning.languages import set_languages
from llmkit.training.finetuning.prompt_layout import PromptLayout, layout_of
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.packing import pack
from llmkit.training.recipe import training_device, training_dtype

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.batches import Batches

# Rows a step where --batch-size auto chooses how many of them go through the model at once.
AUTO_ROWS = 16


@dataclass(frozen=True)
class FinetunePlan:
    """What a run will do.

    Attributes:
        objective: what the rows are for, and (`learns`) how this model learns it.
        rows: read; of them `held_out_rows` are not learnt from.
        skipped, dropped, truncated: rows left out as bad, rows with nothing left to learn, examples cut.
        examples, tokens, learnt_tokens: of the training rows, in one pass.
        packed_rows: rows that the examples were packed into; None where they are not.
        parameters, trained_parameters: of the model, its adapter included.
        batch_size, gradient_accumulation: rows a forward pass, forward passes a step.
        memory: estimated bytes at the peak; None where there is no telling.
    """

    objective: str
    learns: str
    rows: int
    held_out_rows: int
    skipped: int
    dropped: int
    truncated: int
    examples: int
    tokens: int
    learnt_tokens: int
    packed_rows: int | None
    parameters: int
    trained_parameters: int
    batch_size: int
    gradient_accumulation: int
    steps: int
    steps_per_epoch: int
    eval_steps: int
    save_steps: int
    lr: float
    device: str
    dtype: str
    reason: str
    memory: int | None


@dataclass(frozen=True)
class FinetuneInputs:
    """A run that is ready to start.

    Attributes:
        loaded: the model, with its adapter, and its tokenizer.
        kind: of `encoding.kind_of`.
        train, held_out: examples.
        batches: the order of the training examples.
        collate: examples to inputs.
        fingerprint: of the data.
        reading: what was found in the files.
        layout: of the prompts; None where there is nothing to tell of it.
    """

    plan: FinetunePlan
    recipe: FinetuneRecipe
    loaded: LoadedModel
    kind: str
    train: Examples
    held_out: Examples
    batches: Batches
    collate: Callable[[Sequence[Any]], Any]
    fingerprint: str
    reading: ReadOptions
    layout: PromptLayout | None


def prepare(
    data: Sequence[str | Path],
    spec: ModelSpec,
    recipe: FinetuneRecipe,
    *,
    eval_data: str | Path | None = None,
    notice: Callable[[str], None] = lambda message: None,
) -> FinetuneInputs:
    """Read and check the rows, load the model, and count: all but the training.

    Raises:
        InputError: a bad option or row, or rows that this model cannot learn from.
    """
    from llmkit.training.finetuning import preferences
    from llmkit.training.finetuning.model_setup import check_attention, load_for_training, trained

    recipe.check()
    device = training_device(spec.device, 0)
    dtype, reason = training_dtype(recipe.dtype, device)
    check_attention(spec, device)
    source, held = _sources(data, recipe, eval_data)
    preferences.check(recipe, source.columns.objective)
    fingerprint = source.fingerprint()
    loaded, flattens = load_for_training(replace(spec, device=device), recipe, dtype, source.columns, notice)
    kind = kind_of(source.columns, "encoder" if loaded.spec.task == "question-answering" else _kind(loaded))
    if loaded.tokenizer.chat_template is None and source.talks:
        loaded.tokenizer.chat_template = CHAT_TEMPLATE
        notice("the tokenizer has no chat template; it gets a plain one (`User: ...`, `Assistant: ...`)")
    length = min(recipe.max_length, loaded.context_length or recipe.max_length)
    set_languages(loaded, recipe.languages, kind, source.columns)
    told: dict[str, Any] = {"languages": recipe.languages, "source_prefix": recipe.source_prefix}
    marked = getattr(loaded.model.config, "shared_words_type", None)
    turn = encoder(source.columns, kind, loaded.tokenizer, length, shared_words_type=marked, **told)
    train = encode(source, turn, on_error=recipe.on_error)
    held_out = encode(held, turn, on_error=recipe.on_error)
    for reading in (train.reading, held_out.reading):
        for line in bad_rows(reading.skipped, len(reading.skipped)):
            notice(line)
    if recipe.packing and not flattens:
        raise InputError(
            f"--packing: {type(_bare(loaded.model)).__name__} cannot keep packed examples apart; without it"
            " rows of like length go together"
        )
    recipe, memory = _sized(loaded, kind, train, recipe, flattens, length, dtype)
    collate = _collator(loaded, kind, flattens, length)
    batches = _batches(train, recipe, length, grouped=not flattens)
    plan = _plan(train, held_out, source, kind, recipe, batches, device, dtype, reason)
    parameters, trainable = trained(loaded.model)
    plan = replace(plan, parameters=parameters, trained_parameters=trainable, memory=memory)
    layout = layout_of(source.columns, kind, loaded.tokenizer, **told)
    if layout is not None:
        notice(f"prompts are laid out as {layout.quoted}{layout.conditions}; lay yours out so, too")
    return FinetuneInputs(
        plan, recipe, loaded, kind, train, held_out, batches, collate, fingerprint, source.reading, layout
    )


def _kind(loaded: LoadedModel) -> str:
    return "seq2seq" if loaded.is_encoder_decoder else "causal"


def _sources(
    data: Sequence[str | Path], recipe: FinetuneRecipe, eval_data: str | Path | None
) -> tuple[Source, Source]:
    options: dict[str, Any] = {"mapping": dict(recipe.mapping), "on_error": recipe.on_error}
    source = read_source(data, objective=recipe.objective, **options)
    if eval_data is None:
        return source.split(recipe.eval_split, recipe.seed)
    held = read_source([eval_data], objective=source.columns.objective, **options)
    return source, held


def _sized(
    loaded: LoadedModel,
    kind: str,
    train: Examples,
    recipe: FinetuneRecipe,
    flattens: bool,
    length: int,
    dtype: str,
) -> tuple[FinetuneRecipe, int | None]:
    """The recipe with a batch size, and the memory that it takes at its largest batch.

    `--batch-size auto` takes the largest divisor of the rows of a step that fits; the rest is accumulated, so
    the steps, and what is learnt in them, stay what they were.
    """
    from llmkit.training.batches import sides
    from llmkit.training.memory import available, peak

    def estimate(rows: int) -> int | None:
        if recipe.packing:
            longest = [length] * rows
        elif kind == "preference":
            longest = [len(side.ids) for i in train.longest(rows) for side in sides(train[i])]
        else:
            lengths = train.lengths
            longest = [lengths[i] for i in train.longest(rows)]
        return peak(
            loaded,
            longest,
            flattens=flattens,
            dtype=dtype,
            checkpointing=recipe.gradient_checkpointing,
            pairs=kind == "preference",
        )

    if recipe.batch_size:
        return recipe, estimate(recipe.batch_size)
    room = available(loaded.device)
    for rows in (n for n in range(AUTO_ROWS, 0, -1) if AUTO_ROWS % n == 0):
        memory = estimate(rows)
        if memory is None or memory <= room or rows == 1:
            more = AUTO_ROWS // rows * recipe.gradient_accumulation
            return replace(recipe, batch_size=rows, gradient_accumulation=more), memory
    raise AssertionError


def _collator(loaded: LoadedModel, kind: str, flattens: bool, length: int) -> Callable[[Sequence[Any]], Any]:
    from llmkit.training.batches import Flattened, Padded, Pairs, Preferences, Spans

    padding, on_cpu = loaded.tokenizer.pad_token_id, loaded.device.type == "cpu"
    up_to = length if on_cpu else 0
    if kind == "spans":
        return Spans(padding, up_to)
    if kind == "seq2seq":
        return Pairs(padding, _shift(loaded), up_to)
    beside = Flattened(few_shapes=on_cpu) if flattens else Padded(padding, up_to)
    return Preferences(beside) if kind == "preference" else beside


def _bare(model: Any) -> Any:
    """The model under its adapter."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _shift(loaded: LoadedModel) -> Callable[[Any], Any]:
    """From labels to what the decoder reads: as the model itself does it, or one place later."""
    import torch

    model = _bare(loaded.model)
    own: Callable[[Any], Any] | None = getattr(model, "prepare_decoder_input_ids_from_labels", None)
    start = model.config.decoder_start_token_id
    if own is None and start is None:
        raise InputError(f"{type(model).__name__} does not tell what its decoder reads; it cannot be taught")
    return own or (lambda labels: torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1]], dim=1))


def _batches(train: Examples, recipe: FinetuneRecipe, length: int, *, grouped: bool) -> Batches:
    from llmkit.training.batches import Batches, SingletonBatches

    lengths = train.lengths
    units = pack(lengths, length) if recipe.packing else SingletonBatches(len(train))
    return Batches(
        units,
        recipe.batch_size,
        recipe.gradient_accumulation,
        lengths=lengths if grouped else None,
        seed=recipe.seed,
        rank=int(os.environ.get("RANK", "0")),
        world=int(os.environ.get("WORLD_SIZE", "1")),
    )


def _plan(
    train: Examples,
    held_out: Examples,
    source: Source,
    kind: str,
    recipe: FinetuneRecipe,
    batches: Batches,
    device: str,
    dtype: str,
    reason: str,
) -> FinetunePlan:
    steps = recipe.max_steps or math.ceil(recipe.epochs * batches.steps)
    # Twice an epoch, but no more than twenty times in all: of few rows an epoch is soon over.
    seldom = max(1, batches.steps // 2, math.ceil(steps / 20))
    eval_steps = min(steps, recipe.eval_steps or recipe.save_steps or seldom)
    reading = train.reading
    usual = (2e-4 if recipe.lora else 2e-5) / (4 if kind == "preference" else 1)
    return FinetunePlan(
        objective=source.columns.objective,
        learns=kind,
        rows=reading.rows,
        held_out_rows=held_out.reading.rows,
        skipped=len(reading.skipped) + len(held_out.reading.skipped),
        dropped=reading.dropped + held_out.reading.dropped,
        truncated=reading.truncated + held_out.reading.truncated,
        examples=len(train),
        tokens=train.tokens,
        learnt_tokens=train.learnt,
        packed_rows=len(batches.units) if recipe.packing else None,
        parameters=0,
        trained_parameters=0,
        batch_size=recipe.batch_size,
        gradient_accumulation=recipe.gradient_accumulation,
        steps=steps,
        steps_per_epoch=batches.steps,
        eval_steps=eval_steps,
        save_steps=recipe.save_steps or eval_steps,
        lr=recipe.lr or usual,
        device=device,
        dtype=dtype,
        reason=reason,
        memory=None,
    )
