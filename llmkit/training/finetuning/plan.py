"""Inputs and plan of a finetuning run: read the rows, load the model, and resolve the options.

Public: `prepare`, `FinetuneInputs`, `FinetunePlan`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import OptionError
from llmkit.runtime.peft import base_model
from llmkit.training.finetuning.conversations import CHAT_TEMPLATE
from llmkit.training.finetuning.encode_rows import encode_both, prompt_options
from llmkit.training.finetuning.encoding import kind_of
from llmkit.training.finetuning.end_tokens import set_ends
from llmkit.training.finetuning.examples import Examples, Source, read_source
from llmkit.training.finetuning.languages import set_languages, translation_prefix
from llmkit.training.finetuning.prompt_layout import PromptLayout, layout_of
from llmkit.training.finetuning.recipe import FinetuneRecipe
from llmkit.training.packing import pack
from llmkit.training.recipe import training_device, training_dtype

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec
    from llmkit.training.batches import Batches
    from llmkit.training.finetuning.columns import Columns

# Rows in a step if `batch_size` is None; the number of rows in a forward pass is then chosen.
AUTO_ROWS = 16


@dataclass(frozen=True)
class FinetunePlan:
    """Counts, sizes and choices of a run, resolved before training.

    Attributes:
        objective: objective that the rows' columns give (see `columns.ROLES`).
        kind: training of this model for it (see `encoding.kind_of`).
        rows: rows read for training.
        held_out_rows: rows held out.
        skipped, dropped, truncated: bad rows left out, rows without any target, and examples cut to fit.
        examples, tokens, target_tokens: examples, tokens and targets of the training rows, in one pass.
        packed_rows: rows that the examples were packed into; None without packing.
        parameters, trained_parameters: all parameters with the adapter's, and the trained ones among them.
        batch_size, gradient_accumulation: rows in a forward pass, and forward passes in a step.
        memory: estimated bytes at the peak; None if it cannot be estimated.
    """

    objective: str
    kind: str
    rows: int
    held_out_rows: int
    skipped: int
    dropped: int
    truncated: int
    examples: int
    tokens: int
    target_tokens: int
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
        plan: the plan.
        recipe: the options, as given.
        loaded: the model with its adapter and tokenizer.
        kind: result of `encoding.kind_of`.
        train, held_out: examples.
        batches: order of the training examples.
        collate: turns a list of examples into the model's inputs.
        fingerprint: hash of the data.
        columns: objective and columns of the rows.
        layout: layout of the prompts; None if there is nothing to report about it.
        new_ends: training ends answers with tokens at which the given model does not stop.
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
    columns: Columns
    layout: PromptLayout | None
    new_ends: bool


@dataclass(frozen=True)
class _Setup:
    """A model with the data encoded for it, before the batch size is known.

    Attributes:
        source: the training rows' columns.
        flattens: rows are joined, not padded.
        length: maximum number of tokens in a row.
        device, dtype, reason: results of `training_device` and `training_dtype`.
        fingerprint: hash of the training rows.
    """

    recipe: FinetuneRecipe
    source: Source
    loaded: LoadedModel
    kind: str
    train: Examples
    held_out: Examples
    new_ends: bool
    flattens: bool
    length: int
    device: str
    dtype: str
    reason: str
    fingerprint: str


def prepare(
    data: Sequence[str | Path],
    spec: ModelSpec,
    recipe: FinetuneRecipe,
    *,
    eval_data: str | Path | None = None,
    notice: Callable[[str], None] = lambda message: None,
) -> FinetuneInputs:
    """Read and check the rows, load the model, and make the plan; train nothing.

    Args:
        data: files of rows, as `records.open_rows` takes them.
        spec: the model; its dtype is not used.
        recipe: options of the training.
        eval_data: file of held-out rows, in place of a share of the data.
        notice: called with a sentence that the user should read.

    Returns:
        Everything that the training needs.

    Raises:
        InputError: an option or a row is bad, or this model cannot be trained on such rows.
    """
    recipe.check()
    setup = _set_up(data, spec, recipe, eval_data, notice)
    recipe = setup.recipe  # with the model's own prefix
    batch_size, accumulation, memory = _choose_size(setup)
    batches = _batches(setup, batch_size, accumulation)
    loaded = setup.loaded
    layout = layout_of(setup.source.columns, setup.kind, loaded.tokenizer, **prompt_options(recipe))
    if layout is not None:
        notice(f"training prompts use the layout {layout.quoted}{layout.conditions}; use it at inference too")
    return FinetuneInputs(
        plan=_plan(setup, batches, memory),
        recipe=recipe,
        loaded=loaded,
        kind=setup.kind,
        train=setup.train,
        held_out=setup.held_out,
        batches=batches,
        collate=_collator(setup),
        fingerprint=setup.fingerprint,
        columns=setup.source.columns,
        layout=layout,
        new_ends=setup.new_ends,
    )


def _set_up(
    data: Sequence[str | Path],
    spec: ModelSpec,
    recipe: FinetuneRecipe,
    eval_data: str | Path | None,
    notice: Callable[[str], None],
) -> _Setup:
    """Read the rows, load the model, and encode the rows for it; check cheap options first."""
    from llmkit.training.finetuning import preferences
    from llmkit.training.finetuning.model_setup import (
        check_attention,
        load_for_training,
        with_adapter_options,
    )

    device = training_device(spec.device, 0)
    dtype, reason = training_dtype(recipe.dtype, device)
    check_attention(spec, device)
    source, held = _sources(data, recipe, eval_data)
    preferences.check(recipe, source.columns.objective)
    fingerprint = source.fingerprint()
    loaded, flattens = load_for_training(replace(spec, device=device), recipe, dtype, source.columns, notice)
    recipe = with_adapter_options(recipe, loaded)
    kind = kind_of(source.columns, _model_kind(loaded))
    if loaded.tokenizer.chat_template is None and (source.has_conversations or held.has_conversations):
        loaded.tokenizer.chat_template = CHAT_TEMPLATE
        notice("the tokenizer has no chat template; it gets a plain one (`User: ...`, `Assistant: ...`)")
    length = min(recipe.max_length, loaded.context_length or recipe.max_length)
    set_languages(loaded, recipe.languages, kind, source.columns)
    if not recipe.source_prefix:
        prefix = translation_prefix(loaded, recipe.languages, kind, source.columns)
        recipe = replace(recipe, source_prefix=prefix)
    train, held_out = encode_both((source, held), loaded, recipe, kind, length, notice)
    new_ends = False
    if kind in ("causal", "preference"):
        whole_texts = source.columns.objective == "text"
        new_ends = set_ends(loaded, train.items, notice, whole_texts=whole_texts)
    if recipe.packing and not flattens:
        raise OptionError(
            "packing",
            f"is not possible: {type(base_model(loaded.model)).__name__} cannot separate packed examples;"
            " without it rows of similar length are batched together",
        )
    return _Setup(
        recipe,
        source,
        loaded,
        kind,
        train,
        held_out,
        new_ends,
        flattens,
        length,
        device,
        dtype,
        reason,
        fingerprint,
    )


def _model_kind(loaded: LoadedModel) -> str:
    if loaded.spec.task == "question-answering":
        return "encoder"
    return "seq2seq" if loaded.is_encoder_decoder else "causal"


def _sources(
    data: Sequence[str | Path], recipe: FinetuneRecipe, eval_data: str | Path | None
) -> tuple[Source, Source]:
    options: dict[str, Any] = {
        "mapping": dict(recipe.mapping),
        "on_error": recipe.on_error,
        "encoding": recipe.encoding,
    }
    source = read_source(data, objective=recipe.objective, limit=recipe.limit, **options)
    if eval_data is None:
        return source.split(recipe.eval_split, recipe.seed)
    held = read_source([eval_data], columns=source.columns, **options)
    return source, held


def _choose_size(setup: _Setup) -> tuple[int, int, int | None]:
    """Return rows in a forward pass, forward passes in a step, and bytes of memory at the largest batch.

    If `batch_size` is None, take the largest divisor of the rows of a step that fits, and accumulate the
    rest: the rows of each step stay the same.
    """
    from llmkit.training.memory import available, longest_rows, peak

    recipe, pairs = setup.recipe, setup.kind == "preference"

    def estimate(rows: int, accumulation: int) -> int | None:
        return peak(
            setup.loaded,
            longest_rows(setup.train, rows, packed=setup.length if recipe.packing else None, pairs=pairs),
            flattens=setup.flattens,
            dtype=setup.dtype,
            checkpointing=recipe.gradient_checkpointing,
            pairs=pairs,
            accumulation=accumulation,
        )

    if recipe.batch_size is not None:
        accumulation = recipe.gradient_accumulation
        return recipe.batch_size, accumulation, estimate(recipe.batch_size, accumulation)
    limit = available(setup.loaded.device)
    for rows in (n for n in range(AUTO_ROWS, 0, -1) if AUTO_ROWS % n == 0):
        accumulation = AUTO_ROWS // rows * recipe.gradient_accumulation
        memory = estimate(rows, accumulation)
        if memory is None or memory <= limit or rows == 1:
            return rows, accumulation, memory
    raise AssertionError


def _collator(setup: _Setup) -> Callable[[Sequence[Any]], Any]:
    from llmkit.training.batches import Flattened, Padded, Pairs, Preferences, Spans

    padding, on_cpu = setup.loaded.tokenizer.pad_token_id, setup.loaded.device.type == "cpu"
    up_to = setup.length if on_cpu else 0
    if setup.kind == "spans":
        return Spans(padding, up_to)
    if setup.kind == "seq2seq":
        from llmkit.training.finetuning.model_setup import decoder_inputs

        return Pairs(padding, decoder_inputs(setup.loaded), up_to)
    texts = Flattened(few_shapes=on_cpu) if setup.flattens else Padded(padding, up_to)
    return Preferences(texts) if setup.kind == "preference" else texts


def _batches(setup: _Setup, batch_size: int, accumulation: int) -> Batches:
    from llmkit.training.batches import Batches, SingletonBatches

    lengths = setup.train.lengths
    packing = setup.recipe.packing
    return Batches(
        pack(lengths, setup.length) if packing else SingletonBatches(len(setup.train)),
        batch_size,
        accumulation,
        lengths=None if setup.flattens else lengths,
        seed=setup.recipe.seed,
        rank=int(os.environ.get("RANK", "0")),
        world=int(os.environ.get("WORLD_SIZE", "1")),
    )


def _plan(setup: _Setup, batches: Batches, memory: int | None) -> FinetunePlan:
    from llmkit.training.finetuning.model_setup import count_parameters

    recipe, train, held_out = setup.recipe, setup.train, setup.held_out
    steps = recipe.max_steps or math.ceil(recipe.epochs * batches.steps)
    # Twice an epoch, but at most twenty times in all: with few rows an epoch is short.
    seldom = max(1, batches.steps // 2, math.ceil(steps / 20))
    eval_steps = min(steps, recipe.eval_steps or recipe.save_steps or seldom)
    default_lr = (2e-4 if recipe.lora else 2e-5) / (4 if setup.kind == "preference" else 1)
    parameters, trained_parameters = count_parameters(setup.loaded.model)
    return FinetunePlan(
        objective=setup.source.columns.objective,
        kind=setup.kind,
        rows=train.summary.rows,
        held_out_rows=held_out.summary.rows,
        skipped=len(train.summary.skipped) + len(held_out.summary.skipped),
        dropped=train.summary.dropped + held_out.summary.dropped,
        truncated=train.summary.truncated + held_out.summary.truncated,
        examples=len(train),
        tokens=train.tokens,
        target_tokens=train.target_tokens,
        packed_rows=len(batches.units) if recipe.packing else None,
        parameters=parameters,
        trained_parameters=trained_parameters,
        batch_size=batches.batch_size,
        gradient_accumulation=batches.accumulation,
        steps=steps,
        steps_per_epoch=batches.steps,
        eval_steps=eval_steps,
        save_steps=recipe.save_steps or eval_steps,
        lr=recipe.lr or default_lr,
        device=setup.device,
        dtype=setup.dtype,
        reason=setup.reason,
        memory=memory,
    )
