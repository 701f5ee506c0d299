"""What a pretraining run is told (its recipe) and what follows from it before a step is taken (its plan)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.training.corpus import Blocks, pack, read_documents, split_documents

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

# Our --scheduler to Trainer's; cosine ends at a tenth of the peak, where small models still learn.
SCHEDULERS: dict[str, tuple[str, dict[str, float]]] = {
    "cosine": ("cosine_with_min_lr", {"min_lr_rate": 0.1}),
    "linear": ("linear", {}),
    "constant": ("constant_with_warmup", {}),
}
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Recipe:
    """The options of a run; a resumed run must have the same.

    Attributes:
        arch: architecture; "llama".
        params: number of parameters, such as "3m" (see `architecture.parse_size`).
        tokenizer: "train", or a folder that holds a tokenizer.json.
        vocab_size: ids of a trained tokenizer, at most.
        epochs: passes over the training documents; not used where `max_steps` is given.
        max_steps: optimizer steps.
        lr: peak learning rate of AdamW (betas 0.9 and 0.95).
        scheduler: "cosine" (to a tenth of the peak), "linear" (to 0) or "constant".
        warmup: steps, or below 1 a share of all steps, over which the rate rises from 0.
        weight_decay: on matrices, not on norms.
        batch_size: blocks a forward pass.
        gradient_accumulation: forward passes a step.
        max_length: tokens a block, which is also the model's context.
        save_steps: steps between checkpoints; by default those between held-out measurements.
        eval_steps: steps between held-out measurements; by default twice an epoch.
        early_stopping: measurements without improvement after which training stops; 0 never.
        eval_split: share of documents held out where there is no `eval_data`.
        separator, whole: how files fall into documents (see `corpus.read_documents`).
        seed: of the split, the initial weights and the order of blocks.
        dtype: "auto", "float32", "bfloat16" or "float16": precision of the forward and backward pass; weights
            and optimizer are float32.
    """

    arch: str = "llama"
    params: str = "3m"
    tokenizer: str = "train"
    vocab_size: int = 4096
    epochs: float = 4.0
    max_steps: int | None = None
    lr: float = 2e-3
    scheduler: str = "cosine"
    warmup: float = 0.05
    weight_decay: float = 0.1
    batch_size: int = 16
    gradient_accumulation: int = 1
    max_length: int = 512
    save_steps: int | None = None
    eval_steps: int | None = None
    early_stopping: int = 0
    eval_split: float = 0.05
    separator: str | None = None
    whole: bool = False
    seed: int = 42
    dtype: str = "auto"


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
    """A run that is ready to start."""

    plan: Plan
    recipe: Recipe
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerFast
    boundary: int
    train: Blocks
    held_out: list[list[int]]
    held_out_bytes: int


def prepare(
    corpus: Sequence[str | Path], recipe: Recipe, *, eval_data: str | Path | None = None, device: str = "auto"
) -> Prepared:
    """Read and split the corpus, train the tokenizer, choose the shape, and count: all but the training.

    Raises:
        InputError: a bad option, a corpus that cannot be read or is too small.
    """
    from llmkit.training.architecture import Ids, build_config, parse_size
    from llmkit.training.tokenizer import encode, load_tokenizer, train_tokenizer

    _check(recipe)
    parse_size(recipe.params)
    documents = read_documents(corpus, separator=recipe.separator, whole=recipe.whole)
    if eval_data is not None:
        held_out = read_documents([eval_data], separator=recipe.separator, whole=recipe.whole)
    else:
        documents, held_out = split_documents(documents, recipe.eval_split, recipe.seed)
    if recipe.tokenizer == "train":
        tokenizer = train_tokenizer(documents, recipe.vocab_size, recipe.max_length)
    else:
        tokenizer = load_tokenizer(recipe.tokenizer)
    boundary = tokenizer.eos_token_id
    config = build_config(
        recipe.arch,
        recipe.params,
        vocab_size=len(tokenizer),
        context=recipe.max_length,
        ids=Ids(boundary, boundary, boundary),
    )
    blocks = pack(encode(tokenizer, documents), boundary=boundary, length=recipe.max_length)
    plan = _plan(recipe, config, len(documents), len(held_out), blocks, device)
    held_out_bytes = sum(len(document.encode()) for document in held_out)
    return Prepared(
        plan, recipe, config, tokenizer, boundary, blocks, encode(tokenizer, held_out), held_out_bytes
    )


def count_parameters(config: PreTrainedConfig) -> int:
    """Parameters of the model that `config` describes, tied ones once; nothing is allocated."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()


def _check(recipe: Recipe) -> None:
    """Refuse what Trainer would refuse later with less of an explanation, or not at all."""
    if recipe.scheduler not in SCHEDULERS:
        raise InputError(f"--scheduler {recipe.scheduler}: use {', '.join(SCHEDULERS)}")
    if recipe.dtype not in ("auto", *DTYPES):
        raise InputError(f"--dtype {recipe.dtype}: use auto, {', '.join(DTYPES)}")
    for name in (
        "batch_size",
        "gradient_accumulation",
        "max_steps",
        "save_steps",
        "eval_steps",
        "lr",
        "epochs",
    ):
        value = getattr(recipe, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name.replace('_', '-')} {value}: more than 0")
    for name in ("warmup", "weight_decay", "early_stopping"):
        if getattr(recipe, name) < 0:
            raise InputError(f"--{name.replace('_', '-')} {getattr(recipe, name)}: not below 0")
    if recipe.max_length < 8:
        raise InputError(f"--max-length {recipe.max_length}: at least 8 tokens")
    if not 0 <= recipe.eval_split < 1:
        raise InputError(f"--eval-split {recipe.eval_split}: a share from 0 up to 1")
    if recipe.save_steps and recipe.eval_steps and recipe.save_steps % recipe.eval_steps:
        raise InputError(
            f"--save-steps {recipe.save_steps}: a multiple of --eval-steps {recipe.eval_steps}, so that "
            "the best weights measured are weights saved"
        )


def _plan(
    recipe: Recipe, config: PreTrainedConfig, documents: int, held_out: int, blocks: Blocks, asked: str
) -> Plan:
    from llmkit.runtime.device import choose_device

    if asked.startswith("cuda:"):
        raise InputError(
            f"--device {asked}: training takes the GPUs that it sees; use --device cuda with "
            f"CUDA_VISIBLE_DEVICES={asked[5:]}"
        )
    parameters = count_parameters(config)
    # Weights, gradient and two moments, each four bytes.
    device = choose_device(asked, 16 * parameters).device
    dtype, reason = _precision(recipe.dtype, device)
    per_epoch = math.ceil(math.ceil(len(blocks) / recipe.batch_size) / recipe.gradient_accumulation)
    steps = recipe.max_steps or math.ceil(recipe.epochs * per_epoch)
    eval_steps = min(steps, recipe.eval_steps or recipe.save_steps or max(1, per_epoch // 2))
    return Plan(
        documents=documents,
        held_out_documents=held_out,
        tokens=len(blocks) * recipe.max_length,
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


def _precision(asked: str, device: str) -> tuple[str, str]:
    """The dtype that matrix products run in while training, with the reason."""
    import torch

    from llmkit.runtime.device import cpu_has_bfloat16

    if asked == "float16" and not device.startswith("cuda"):
        raise InputError(
            f"--dtype float16: training in it needs a CUDA device, and this is {device}; use bfloat16"
        )
    if asked != "auto":
        return asked, "asked for"
    if device.startswith("cuda"):
        good = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        good = device == "cpu" and cpu_has_bfloat16()
    if good:
        return "bfloat16", "this device computes in it, about 1.5 times as fast as in float32 or better"
    return "float32", "this device has no bfloat16 arithmetic"
