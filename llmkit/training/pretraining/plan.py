"""What a pretraining run is told (its recipe) and what follows from it before a step is taken (its plan)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.training.finetuning.examples import bad_rows
from llmkit.training.pretraining.recipe import PretrainRecipe
from llmkit.training.pretraining.token_file import Blocks, Documents, Tokens, check_filled, width
from llmkit.training.pretraining.tokenize_corpus import (
    HELD_OUT,
    LENGTHS,
    TOKENIZER,
    TRAIN,
    Counts,
    Learned,
    OnRead,
    counts_in,
    identities,
    learn,
    write,
)
from llmkit.training.recipe import training_device, training_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.training.pretraining.denoising import Denoising

# What a kind of architecture is, as transformers' Auto classes call it.
AUTO_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "spans": "AutoModelForSeq2SeqLM",
    "infilling": "AutoModelForSeq2SeqLM",
}


@dataclass(frozen=True)
class PretrainPlan:
    """What a run will do: counts, sizes and choices.

    Attributes:
        skipped: bad rows and documents that were left out.
        reason: why that precision and device.
    """

    documents: int
    held_out_documents: int
    skipped: int
    tokens: int
    vocabulary: int
    blocks: int
    parameters: int
    steps: int
    steps_per_epoch: int
    eval_steps: int
    save_steps: int
    device: str
    dtype: str
    reason: str


@dataclass(frozen=True)
class PretrainInputs:
    """A run that is ready to start.

    Attributes:
        kind: of the architecture: "causal", "masked", "spans" or "infilling".
        boundary: the id between documents.
        train: what is learnt from.
        held_out: what is not: whole documents' ids for a causal model, else spoiled blocks; None for nothing.
        held_out_bytes: size of the held-out documents.
        digest: of the corpus.
    """

    plan: PretrainPlan
    recipe: PretrainRecipe
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    kind: str
    boundary: int
    train: Blocks | Denoising
    held_out: Documents | Blocks | Denoising | None
    held_out_bytes: int
    digest: str


@dataclass(frozen=True)
class DeviceChoice:
    """Where and in what precision a run computes, and why; told before a long corpus is read."""

    device: str
    dtype: str
    reason: str

    @classmethod
    def of(cls, recipe: PretrainRecipe, asked: str) -> DeviceChoice:
        """Check the recipe and choose.

        Raises:
            InputError: a bad option.
        """
        from llmkit.training.pretraining.architecture import architecture, parse_size

        recipe.check()
        architecture(recipe.arch)
        # Weights, gradient and two moments, each four bytes.
        device = training_device(asked, 16 * parse_size(recipe.params))
        return cls(device, *training_dtype(recipe.dtype, device))


def plan(
    corpus: Sequence[str | Path],
    recipe: PretrainRecipe,
    *,
    eval_data: str | Path | None = None,
    device: str = "auto",
    on_read: OnRead = lambda documents, characters: None,
    notice: Callable[[str], None] = lambda message: None,
) -> PretrainPlan:
    """Read the whole corpus and count; nothing is written.

    Raises:
        InputError: a bad option, a corpus that cannot be read or is too small.
    """
    place = DeviceChoice.of(recipe, device)
    sources = identities(corpus, eval_data)
    learned, shape = _begin(corpus, recipe, eval_data)
    counts = write(learned, sources, shape.boundary, None, on_read)
    _tell_skipped(learned, notice)
    return _plan(recipe, shape, counts, place)


def tokenise(
    corpus: Sequence[str | Path],
    recipe: PretrainRecipe,
    folder: Path,
    *,
    eval_data: str | Path | None = None,
    on_read: OnRead = lambda documents, characters: None,
    notice: Callable[[str], None] = lambda message: None,
) -> None:
    """Read the whole corpus as token ids into a new folder, from which `load` takes them.

    Raises:
        InputError: a bad option, a corpus that cannot be read or is too small.
        LLMKitError: the disk is full; the folder is removed.
    """
    sources = identities(corpus, eval_data)
    learned, shape = _begin(corpus, recipe, eval_data)
    write(learned, sources, shape.boundary, folder, on_read)
    _tell_skipped(learned, notice)


def _tell_skipped(learned: Learned, notice: Callable[[str], None]) -> None:
    for skipped in learned.skipped:
        for line in bad_rows(skipped.first, skipped.count):
            notice(line)


def load(folder: Path, recipe: PretrainRecipe, place: DeviceChoice) -> PretrainInputs:
    """All but the training, from a folder of `tokenise` for this recipe.

    Raises:
        InputError: the corpus is too small.
    """
    from llmkit.training.pretraining.tokenizer import load_tokenizer

    counts = counts_in(folder)
    assert counts is not None
    shape = _Shape.of(load_tokenizer(folder / TOKENIZER, _kind(recipe)), recipe)
    plan = _plan(recipe, shape, counts, place)
    dtype = width(len(shape.tokenizer))
    train = shape.rows(Tokens(folder / TRAIN, dtype), recipe)
    held_out: Documents | Blocks | Denoising | None = None
    if counts.held_out_documents:
        ids = Tokens(folder / HELD_OUT, dtype)
        causal = shape.kind == "causal"
        held_out = Documents(ids, Tokens(folder / LENGTHS, "int64")) if causal else shape.rows(ids, recipe)
    return PretrainInputs(
        plan,
        recipe,
        shape.config,
        shape.tokenizer,
        shape.kind,
        shape.boundary,
        train,
        held_out,
        counts.held_out_bytes,
        counts.digest,
    )


def _kind(recipe: PretrainRecipe) -> str:
    from llmkit.training.pretraining.architecture import architecture

    return architecture(recipe.arch).kind


def _begin(
    corpus: Sequence[str | Path], recipe: PretrainRecipe, eval_data: str | Path | None
) -> tuple[Learned, _Shape]:
    learned = learn(corpus, recipe, _kind(recipe), eval_data)
    return learned, _Shape.of(learned.tokenizer, recipe)


@dataclass(frozen=True)
class _Shape:
    """What follows from recipe and tokenizer: the model's configuration, and how ids become rows.

    Attributes:
        kind: of the architecture.
        boundary: the id between texts.
        room: tokens of a block: what `max_length` leaves beside the special tokens.
    """

    tokenizer: Any
    config: PreTrainedConfig
    kind: str
    boundary: int
    room: int

    @classmethod
    def of(cls, tokenizer: Any, recipe: PretrainRecipe) -> _Shape:
        from llmkit.training.pretraining.architecture import Ids, build_config
        from llmkit.training.pretraining.tokenizer import specials

        kind = _kind(recipe)
        if kind == "causal":
            boundary = begin = padding = tokenizer.eos_token_id
            room = recipe.max_length
        else:
            around = specials(tokenizer, kind)
            boundary = around.end[-1]
            begin, padding = (around.begin or around.end[-1:])[0], tokenizer.pad_token_id
            room = recipe.max_length - len(around.begin) - len(around.end)
        config = build_config(
            recipe.arch,
            recipe.params,
            vocab_size=len(tokenizer),
            context=recipe.max_length,
            ids=Ids(begin, boundary, padding),
        )
        return cls(tokenizer, config, kind, boundary, room)

    def rows(self, ids: Tokens, recipe: PretrainRecipe) -> Blocks | Denoising:
        """What is learnt from, or for another kind than causal measured on."""
        blocks = Blocks(ids, self.room)
        if self.kind == "causal":
            return blocks
        from llmkit.training.pretraining.denoising import Denoising
        from llmkit.training.pretraining.tokenizer import specials

        return Denoising(blocks, self.kind, specials(self.tokenizer, self.kind), recipe.seed)


def count_parameters(config: PreTrainedConfig, kind: str = "causal") -> int:
    """Parameters of the model that `config` describes, tied ones once; nothing is allocated."""
    import torch
    import transformers

    with torch.device("meta"):
        return (
            getattr(transformers, AUTO_CLASSES[kind])
            .from_config(config, trust_remote_code=False)
            .num_parameters()
        )


def _plan(recipe: PretrainRecipe, shape: _Shape, counts: Counts, place: DeviceChoice) -> PretrainPlan:
    check_filled(counts.tokens, shape.room)
    if counts.held_out_documents and shape.kind != "causal":
        check_filled(counts.held_out_tokens, shape.room, "held-out")
    blocks = counts.tokens // shape.room
    world = int(os.environ.get("WORLD_SIZE", "1"))
    per_epoch = math.ceil(blocks / (recipe.batch_size * recipe.gradient_accumulation * world))
    steps = recipe.max_steps or math.ceil(recipe.epochs * per_epoch)
    eval_steps = min(steps, recipe.eval_steps or recipe.save_steps or max(1, per_epoch // 2))
    return PretrainPlan(
        documents=counts.documents,
        held_out_documents=counts.held_out_documents,
        skipped=counts.skipped,
        tokens=blocks * shape.room,
        vocabulary=shape.config.vocab_size,
        blocks=blocks,
        parameters=count_parameters(shape.config, shape.kind),
        steps=steps,
        steps_per_epoch=per_epoch,
        eval_steps=eval_steps,
        save_steps=recipe.save_steps or eval_steps,
        **vars(place),
    )
