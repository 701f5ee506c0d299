"""Inputs and plan of a pretraining run: read the corpus, choose the model's shape, resolve the options.

Public: `plan`, `tokenize`, `load`, `count_parameters`, `PretrainPlan`, `PretrainInputs`, `DeviceChoice`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.training.finetuning.examples import skip_notices
from llmkit.training.pretraining.fit import fit, too_short
from llmkit.training.pretraining.recipe import PretrainRecipe
from llmkit.training.pretraining.token_file import Blocks, Documents, Tokens, check_filled, id_dtype
from llmkit.training.pretraining.tokenize_corpus import (
    HELD_OUT,
    LENGTHS,
    TOKENIZER,
    TRAIN,
    Counts,
    OnRead,
    OpenedCorpus,
    counts_in,
    identities,
    open_corpus,
    write,
)
from llmkit.training.recipe import training_device, training_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.training.pretraining.denoising import Denoising

# Kind of architecture -> transformers' Auto class.
AUTO_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "spans": "AutoModelForSeq2SeqLM",
    "infilling": "AutoModelForSeq2SeqLM",
}


@dataclass(frozen=True)
class PretrainPlan:
    """Counts, sizes and choices of a run, resolved before training.

    Attributes:
        documents, held_out_documents: documents of each side.
        skipped: bad rows and documents left out.
        tokens: training tokens in one pass.
        vocabulary: number of ids.
        blocks: training blocks.
        batch_size: blocks in a forward pass.
        parameters: number of the model's parameters.
        steps, steps_per_epoch: optimizer steps of the run, and of one pass.
        eval_steps, save_steps: steps between held-out measurements, and between checkpoints.
        device, dtype: device and precision of training.
        reason: reason for that precision.
    """

    documents: int
    held_out_documents: int
    skipped: int
    tokens: int
    vocabulary: int
    blocks: int
    batch_size: int
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
        plan: the plan.
        recipe: the options, complete (see `fit.fit`).
        config: the model's configuration.
        tokenizer: the tokenizer.
        kind: kind of the architecture: "causal", "masked", "spans" or "infilling".
        boundary: id between documents.
        train: training blocks.
        held_out: held-out documents for a causal model, otherwise corrupted blocks; None if there are none.
        held_out_bytes: size of the held-out documents.
        digest: hash of the corpus.
        tails: the held-out documents are the ends of the training documents.
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
    tails: bool


@dataclass(frozen=True)
class DeviceChoice:
    """Device and precision of a run, with the reason; chosen before a long corpus is read."""

    device: str
    dtype: str
    reason: str

    @classmethod
    def of(cls, recipe: PretrainRecipe, requested: str) -> DeviceChoice:
        """Check the recipe, and choose device and precision.

        Raises:
            OptionError: an option is bad.
        """
        from llmkit.training.pretraining.architecture import architecture, parse_size

        recipe.check()
        architecture(recipe.arch)
        # Weights, gradient and two moments, each four bytes.
        device = training_device(requested, 16 * parse_size(recipe.params or "3m"))
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
    """Read the whole corpus and count; write nothing.

    Args:
        corpus: files or datasets (see `corpus.Corpus`).
        recipe: options of the run.
        eval_data: held-out documents, in place of a share of the corpus.
        device: "auto", "cpu", "cuda" or "mps".
        on_read: called from time to time with the number of documents and characters read.
        notice: called with a sentence that the user should read.

    Returns:
        The plan of a run with this recipe.

    Raises:
        InputError: an option is bad, or the corpus cannot be read or is too small.
    """
    choice = DeviceChoice.of(recipe, device)
    sources = identities(corpus, eval_data)
    opened, boundary = _begin(corpus, recipe, eval_data)
    counts = write(opened, sources, boundary, None, on_read)
    _report_skipped(opened, notice)
    recipe = fit(recipe, counts.tokens, len(opened.tokenizer))
    found = _plan(recipe, _Shape.of(opened.tokenizer, recipe), counts, choice)
    if short := too_short(found.steps, found.steps_per_epoch, recipe.max_steps):
        notice(short)
    return found


def tokenize(
    corpus: Sequence[str | Path],
    recipe: PretrainRecipe,
    folder: Path,
    *,
    eval_data: str | Path | None = None,
    on_read: OnRead = lambda documents, characters: None,
    notice: Callable[[str], None] = lambda message: None,
) -> None:
    """Read the whole corpus as token ids into a new folder, which `load` reads.

    Args:
        corpus, recipe, eval_data, on_read, notice: as in `plan`.
        folder: folder to make.

    Raises:
        InputError: an option is bad, or the corpus cannot be read or is too small.
        LLMKitError: the disk is full; the folder is removed.
    """
    sources = identities(corpus, eval_data)
    opened, boundary = _begin(corpus, recipe, eval_data)
    write(opened, sources, boundary, folder, on_read)
    _report_skipped(opened, notice)


def _report_skipped(opened: OpenedCorpus, notice: Callable[[str], None]) -> None:
    for skipped in opened.skipped:
        for line in skip_notices(skipped.first, skipped.count):
            notice(line)


def load(folder: Path, recipe: PretrainRecipe, choice: DeviceChoice) -> PretrainInputs:
    """Load the inputs of a run from a folder that `tokenize` wrote for this recipe.

    Raises:
        InputError: the corpus is too small.
    """
    from llmkit.training.pretraining.tokenizer import load_tokenizer

    counts = counts_in(folder)
    assert counts is not None
    tokenizer = load_tokenizer(folder / TOKENIZER, _kind(recipe))
    recipe = fit(recipe, counts.tokens, len(tokenizer))
    shape = _Shape.of(tokenizer, recipe)
    plan = _plan(recipe, shape, counts, choice)
    dtype = id_dtype(len(shape.tokenizer))
    train = shape.rows(Tokens(folder / TRAIN, dtype), recipe, tails=counts.tails)
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
        counts.tails,
    )


def _kind(recipe: PretrainRecipe) -> str:
    from llmkit.training.pretraining.architecture import architecture

    return architecture(recipe.arch).kind


def _begin(
    corpus: Sequence[str | Path], recipe: PretrainRecipe, eval_data: str | Path | None
) -> tuple[OpenedCorpus, int]:
    """Return the corpus, and the id between its documents; refuse an impossible model before a long read."""
    opened = open_corpus(corpus, recipe, _kind(recipe), eval_data)
    provisional = fit(recipe, 0, len(opened.tokenizer))
    return opened, _Shape.of(opened.tokenizer, provisional).boundary


@dataclass(frozen=True)
class _Shape:
    """Configuration of the model and shape of its blocks, from recipe and tokenizer.

    Attributes:
        tokenizer: the tokenizer.
        config: the model's configuration.
        kind: kind of the architecture.
        boundary: id between texts.
        block: tokens of text in a block: `max_length` without the special tokens.
    """

    tokenizer: Any
    config: PreTrainedConfig
    kind: str
    boundary: int
    block: int

    @classmethod
    def of(cls, tokenizer: Any, recipe: PretrainRecipe) -> _Shape:
        from llmkit.training.pretraining.architecture import Ids, build_config
        from llmkit.training.pretraining.tokenizer import special_token_ids

        kind = _kind(recipe)
        if kind == "causal":
            boundary = begin = padding = tokenizer.eos_token_id
            block = recipe.max_length
        else:
            around = special_token_ids(tokenizer, kind)
            boundary = around.end[-1]
            begin, padding = (around.begin or around.end[-1:])[0], tokenizer.pad_token_id
            block = recipe.max_length - len(around.begin) - len(around.end)
        assert recipe.params is not None
        config = build_config(
            recipe.arch,
            recipe.params,
            vocab_size=len(tokenizer),
            context=recipe.max_length,
            ids=Ids(begin, boundary, padding),
        )
        return cls(tokenizer, config, kind, boundary, block)

    def rows(self, ids: Tokens, recipe: PretrainRecipe, *, tails: bool = False) -> Blocks | Denoising:
        """Return the dataset of blocks, corrupted unless the model is causal.

        Where the ends of the documents are held out, each block of a causal model begins with the boundary:
        the documents are few and long, and the model learns to begin anywhere in them.
        """
        if self.kind == "causal":
            return Blocks(ids, self.block, self.boundary if tails else None)
        blocks = Blocks(ids, self.block)
        from llmkit.training.pretraining.denoising import Denoising
        from llmkit.training.pretraining.tokenizer import special_token_ids

        return Denoising(blocks, self.kind, special_token_ids(self.tokenizer, self.kind), recipe.seed)


def count_parameters(config: PreTrainedConfig, kind: str = "causal") -> int:
    """Count the parameters of the model that `config` describes, tied ones once; allocate nothing."""
    import torch
    import transformers

    with torch.device("meta"):
        return (
            getattr(transformers, AUTO_CLASSES[kind])
            .from_config(config, trust_remote_code=False)
            .num_parameters()
        )


def _plan(recipe: PretrainRecipe, shape: _Shape, counts: Counts, choice: DeviceChoice) -> PretrainPlan:
    assert recipe.batch_size is not None
    assert recipe.epochs is not None
    check_filled(counts.tokens, shape.block)
    if counts.held_out_documents and shape.kind != "causal":
        check_filled(counts.held_out_tokens, shape.block, "held-out")
    blocks = counts.tokens // shape.block
    world = int(os.environ.get("WORLD_SIZE", "1"))
    per_epoch = math.ceil(blocks / (recipe.batch_size * recipe.gradient_accumulation * world))
    steps = recipe.max_steps or math.ceil(recipe.epochs * per_epoch)
    eval_steps = min(steps, recipe.eval_steps or recipe.save_steps or max(1, per_epoch // 2))
    return PretrainPlan(
        documents=counts.documents,
        held_out_documents=counts.held_out_documents,
        skipped=counts.skipped,
        tokens=blocks * shape.block,
        vocabulary=shape.config.vocab_size,
        blocks=blocks,
        batch_size=recipe.batch_size,
        parameters=count_parameters(shape.config, shape.kind),
        steps=steps,
        steps_per_epoch=per_epoch,
        eval_steps=eval_steps,
        save_steps=recipe.save_steps or eval_steps,
        **vars(choice),
    )
