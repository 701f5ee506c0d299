"""What a pretraining run is told (its recipe) and what follows from it before a step is taken (its plan)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.training.corpus import Blocks, pack, read_documents, split_documents
from llmkit.training.recipe import Schedule, training_device, training_dtype

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from llmkit.training.denoising import Denoising

# What a kind of architecture is, as transformers' Auto classes call it.
AUTO_CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "spans": "AutoModelForSeq2SeqLM",
    "infilling": "AutoModelForSeq2SeqLM",
}


@dataclass(frozen=True, kw_only=True)
class Recipe(Schedule):
    """The options of a pretraining run; a resumed run must have the same.

    Attributes:
        arch: architecture; see `architecture.ARCHITECTURES`.
        params: number of parameters, such as "3m" (see `architecture.parse_size`).
        tokenizer: "train", or a folder that holds a tokenizer.json.
        vocab_size: ids of a trained tokenizer, at most.
        separator, whole: how files fall into documents (see `corpus.read_documents`).
    """

    arch: str = "llama"
    params: str = "3m"
    tokenizer: str = "train"
    vocab_size: int = 4096
    separator: str | None = None
    whole: bool = False


@dataclass(frozen=True)
class Plan:
    """What a run will do: counts, sizes and choices (`reason` says why that precision and device)."""

    documents: int
    held_out_documents: int
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
class Prepared:
    """A run that is ready to start.

    Attributes:
        kind: of the architecture: "causal", "masked", "spans" or "infilling".
        boundary: the id between documents.
        train: what is learnt from.
        held_out: what is not: whole documents' ids for a causal model, else spoiled blocks; empty for none.
        held_out_bytes: size of the held-out documents.
    """

    plan: Plan
    recipe: Recipe
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    kind: str
    boundary: int
    train: Blocks | Denoising
    held_out: list[list[int]] | Denoising
    held_out_bytes: int


def prepare(
    corpus: Sequence[str | Path], recipe: Recipe, *, eval_data: str | Path | None = None, device: str = "auto"
) -> Prepared:
    """Read and split the corpus, train the tokenizer, choose the shape, and count: all but the training.

    Raises:
        InputError: a bad option, a corpus that cannot be read or is too small.
    """
    from llmkit.training.architecture import Ids, architecture, build_config, parse_size
    from llmkit.training.tokenizer import encode, load_tokenizer, train_tokenizer

    recipe.check()
    kind = architecture(recipe.arch).kind
    parse_size(recipe.params)
    documents = read_documents(corpus, separator=recipe.separator, whole=recipe.whole)
    if eval_data is not None:
        held_out = read_documents([eval_data], separator=recipe.separator, whole=recipe.whole)
    else:
        documents, held_out = split_documents(documents, recipe.eval_split, recipe.seed)
    if recipe.tokenizer == "train":
        tokenizer = train_tokenizer(documents, recipe.vocab_size, recipe.max_length, kind)
    else:
        tokenizer = load_tokenizer(recipe.tokenizer, kind)
    boundary, begin = _ends(tokenizer, kind)
    config = build_config(
        recipe.arch,
        recipe.params,
        vocab_size=len(tokenizer),
        context=recipe.max_length,
        ids=Ids(begin, boundary, boundary if kind == "causal" else tokenizer.pad_token_id),
    )
    size = sum(len(document.encode()) for document in held_out)
    ids, held_ids = encode(tokenizer, documents), encode(tokenizer, held_out)
    if kind == "causal":
        blocks = pack(ids, boundary=boundary, length=recipe.max_length)
        plan = _plan(recipe, config, kind, len(documents), len(held_out), blocks, device)
        return Prepared(plan, recipe, config, tokenizer, kind, boundary, blocks, held_ids, size)
    train = _spoiled(ids, tokenizer, kind, boundary, recipe)
    plan = _plan(recipe, config, kind, len(documents), len(held_out), train.blocks, device)
    held: list[list[int]] | Denoising = []
    if held_ids:
        held = _spoiled(held_ids, tokenizer, kind, boundary, recipe)
    return Prepared(plan, recipe, config, tokenizer, kind, boundary, train, held, size)


def _ends(tokenizer: PreTrainedTokenizerFast, kind: str) -> tuple[int, int]:
    """The ids that stand between texts and before one."""
    if kind == "causal":
        return tokenizer.eos_token_id, tokenizer.eos_token_id
    from llmkit.training.tokenizer import specials

    around = specials(tokenizer, kind)
    return around.end[-1], around.begin[0] if around.begin else around.end[-1]


def _spoiled(
    ids: list[list[int]], tokenizer: PreTrainedTokenizerFast, kind: str, boundary: int, recipe: Recipe
) -> Denoising:
    from llmkit.training.denoising import Denoising
    from llmkit.training.tokenizer import specials

    around = specials(tokenizer, kind)
    room = recipe.max_length - len(around.begin) - len(around.end)
    return Denoising(pack(ids, boundary=boundary, length=room), kind, around, recipe.seed)


def count_parameters(config: PreTrainedConfig, kind: str = "causal") -> int:
    """Parameters of the model that `config` describes, tied ones once; nothing is allocated."""
    import torch
    import transformers

    with torch.device("meta"):
        return getattr(transformers, AUTO_CLASSES[kind]).from_config(config).num_parameters()


def _plan(
    recipe: Recipe,
    config: PreTrainedConfig,
    kind: str,
    documents: int,
    held_out: int,
    blocks: Blocks,
    asked: str,
) -> Plan:
    parameters = count_parameters(config, kind)
    # Weights, gradient and two moments, each four bytes.
    device = training_device(asked, 16 * parameters)
    dtype, reason = training_dtype(recipe.dtype, device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    per_epoch = math.ceil(len(blocks) / (recipe.batch_size * recipe.gradient_accumulation * world))
    steps = recipe.max_steps or math.ceil(recipe.epochs * per_epoch)
    eval_steps = min(steps, recipe.eval_steps or recipe.save_steps or max(1, per_epoch // 2))
    return Plan(
        documents=documents,
        held_out_documents=held_out,
        tokens=int(blocks.ids.size),
        vocabulary=config.vocab_size,
        blocks=len(blocks),
        parameters=parameters,
        steps=steps,
        steps_per_epoch=per_epoch,
        eval_steps=eval_steps,
        save_steps=recipe.save_steps or eval_steps,
        device=device,
        dtype=dtype,
        reason=reason,
    )
