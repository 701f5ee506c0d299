"""Estimate the peak memory of a training step without running it.

Public: `peak`, `longest_rows`, `measured_peak`, `available`.

Forward and backward pass run on tensors with shapes but no storage (see `runtime.estimate.training_step`),
and the tensors that live at one time are counted. To these are added AdamW's two moments, four bytes each per
trained weight, and the loss's chunk of logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.runtime.estimate.process import available, measured_peak

if TYPE_CHECKING:
    from llmkit.runtime.load import LoadedModel

# TRL's tiles, tokens by vocabulary. Each number is a logit in the precision of the products and, without a
# Triton kernel that turns it into its gradient in place, eight intermediate float32 numbers.
_TILE = (4096, 32768)
_TILE_BYTES = 34
_TILE_BYTES_TRITON = 2


def peak(
    loaded: LoadedModel,
    lengths: Sequence[int],
    *,
    flattens: bool,
    dtype: str,
    checkpointing: bool,
    pairs: bool = False,
    accumulation: int = 1,
) -> int | None:
    """Estimate the bytes at the peak of a step whose largest batch has rows of these lengths.

    On a CPU this is the memory of the whole process, torch itself included; on a GPU the allocated memory.

    Args:
        loaded: the model, ready to be trained.
        lengths: number of tokens of each row.
        flattens: the rows are joined, not padded.
        dtype: dtype that the model computes in.
        checkpointing: activations are recomputed, not kept.
        pairs: the loss is that of preferences, whose logits TRL computes.
        accumulation: forward passes in a step.

    Returns:
        Number of bytes; None if the model does not run on tensors without storage.
    """
    import torch

    from llmkit.runtime.estimate import training_step as steps

    model: Any = loaded.model
    shape = (1, sum(lengths)) if flattens else (len(lengths), max(lengths))
    precision = getattr(torch, dtype)
    step = steps.count_step(model, shape, precision, checkpointing=checkpointing)
    if step is None:
        return None
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = steps.optimizer_bytes(trained) + step.with_accumulation(accumulation)
    if loaded.device.type == "cpu":
        import psutil
        import transformers.trainer  # noqa: F401 (training needs it, and it takes up to 100 MB)

        total += int(psutil.Process().memory_info().rss)
        kept = steps.count_step(model, shape, precision) if checkpointing else None
        adapter = hasattr(model, "peft_config")
        total += steps.heap_bytes(step, adapter=adapter, kept=kept.forward if kept else None)
    else:
        total += sum(p.nbytes for p in model.parameters())
    weight = _head(model)
    vocabulary, width = (0, 0) if weight is None else weight.shape
    if pairs:
        each = _TILE_BYTES_TRITON if loaded.device.type == "cuda" else _TILE_BYTES
        return total + min(shape[0] * shape[1], _TILE[0]) * min(vocabulary, _TILE[1]) * each
    return total + steps.loss_bytes(
        shape[0] * shape[1],
        vocabulary,
        width,
        trained=weight is not None and weight.requires_grad,
        cast=weight is not None and weight.dtype != precision,
    )


def longest_rows(train: Any, rows: int, *, packed: int | None, pairs: bool) -> list[int]:
    """Return the tokens of the rows of the largest batch.

    Args:
        train: the examples, with `longest` and `lengths`.
        rows: rows of a batch.
        packed: tokens of a packed row; None without packing.
        pairs: a row holds two texts.
    """
    from llmkit.training.batches import sides

    if packed is not None:
        return [packed] * rows
    if pairs:
        return [len(side.ids) for i in train.longest(rows) for side in sides(train[i])]
    lengths = train.lengths
    return [lengths[i] for i in train.longest(rows)]


def _head(model: Any) -> Any:
    head = model.get_output_embeddings()
    return None if head is None else head.weight


__all__ = ["available", "longest_rows", "measured_peak", "peak"]
