"""How much memory a training step takes at its peak, found without taking it.

Public: `peak`, `measured_peak`, `available`.

The forward pass is run on tensors that have shapes and no storage (torch's fake tensors), and what it would
keep for the backward pass is counted. The rest is arithmetic: gradients and AdamW's two moments, four bytes
each for all that is trained, and the loss's chunk of logits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from llmkit.runtime.load import LoadedModel

# A chunk's logits, in the precision of the products, and the few of them that are in float32 at once.
_LOSS_BYTES = 4
# TRL's tiles, tokens by vocabulary. Each number is a logit in the precision of the products and, where no
# Triton kernel turns it into its gradient in place, eight steps on the way there in float32.
_TILE = (4096, 32768)
_TILE_BYTES = 34
_TILE_BYTES_TRITON = 2
# On a CPU freed memory stays with the process in pieces that the next tensors do not fit: measured, as a
# share of all activations, on models of 3 to 30 million parameters with glibc 2.36.
_HEAP = 0.9
_HEAP_CHECKPOINTED = 0.6


def peak(
    loaded: LoadedModel,
    lengths: Sequence[int],
    *,
    flattens: bool,
    dtype: str,
    checkpointing: bool,
    pairs: bool = False,
) -> int | None:
    """Bytes at the peak of a step whose largest batch has rows of these lengths.

    On a CPU all that the process then has, torch itself included; on a GPU what is allocated on it.

    Args:
        loaded: the model, as it is going to be trained.
        lengths: tokens of each row.
        flattens: the rows are joined, not padded.
        dtype: that the model computes in.
        checkpointing: activations are computed twice and not kept.
        pairs: the loss is that of preferences, whose logits TRL makes.

    Returns:
        None where the model does not run on tensors without storage.
    """
    import torch

    from llmkit.training.loss import _CHUNK

    model: Any = loaded.model
    shape = (1, sum(lengths)) if flattens else (len(lengths), max(lengths))
    everything = _kept(model, shape, getattr(torch, dtype), checkpointing=False)
    kept = _kept(model, shape, getattr(torch, dtype), checkpointing=True) if checkpointing else everything
    if kept is None or everything is None:
        return None
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if loaded.device.type == "cpu":
        import psutil

        there = int(psutil.Process().memory_info().rss)
        kept += int(everything * (_HEAP_CHECKPOINTED if checkpointing else _HEAP))
    else:
        there = sum(p.nbytes for p in model.parameters())
    vocabulary, width = _head(model)
    tokens = shape[0] * shape[1]
    if pairs:
        each = _TILE_BYTES_TRITON if loaded.device.type == "cuda" else _TILE_BYTES
        loss = min(tokens, _TILE[0]) * min(vocabulary, _TILE[1]) * each
    else:
        loss = min(tokens, max(1, _CHUNK // max(1, vocabulary))) * vocabulary * _LOSS_BYTES
    if vocabulary and model.get_output_embeddings().weight.requires_grad:
        loss += 4 * vocabulary * width
    return there + 12 * trained + kept + loss


def measured_peak(device: torch.device) -> int:
    """The most bytes so far that this process had (on a CPU), or that were allocated (on a GPU)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    # Of this program alone, where the system tells: getrusage counts what ran in the process before it too.
    status = Path("/proc/self/status")
    own = (
        status.read_text(encoding="utf-8", errors="replace").partition("VmHWM:")[2]
        if status.is_file()
        else ""
    )
    if own:
        return int(own.split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def available(device: torch.device) -> int:
    """Bytes that training may take: nine tenths of what is free, and what this process has already."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(0.9 * torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_allocated(device)
    return int(0.9 * psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)


def _head(model: Any) -> tuple[int, int]:
    head = model.get_output_embeddings()
    return tuple(head.weight.shape) if head is not None else (0, 0)


def _kept(model: Any, shape: tuple[int, int], dtype: torch.dtype, *, checkpointing: bool) -> int | None:
    """Bytes that a forward pass keeps for the backward pass, its parameters aside."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.func import functional_call

    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    seen: dict[int, int] = {}
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    state = {
        name: mode.from_tensor(tensor) for name, tensor in [*inner.named_parameters(), *inner.named_buffers()]
    }
    for name, parameter in inner.named_parameters():
        state[name].requires_grad_(parameter.requires_grad)
    own = {id(tensor.untyped_storage()) for tensor in state.values()}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            seen[id(storage)] = storage.nbytes()
            holding.append(storage)
        return tensor

    holding: list[Any] = []  # so that no id is given twice
    device = next(inner.parameters()).device
    try:
        with (
            _without_values(inner, checkpointing),
            mode,
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        ):
            ids = torch.zeros(shape, dtype=torch.long, device=device)
            inputs = {"input_ids": ids}
            if inner.config.is_encoder_decoder:
                inputs["decoder_input_ids"] = ids
            functional_call(inner, dict(state), kwargs={**inputs, "use_cache": False}, strict=False)
    except Exception:
        # Whatever does not run without storage raises an error of its own.
        return None
    return sum(seen.values())


@contextmanager
def _without_values(model: Any, checkpointing: bool) -> Iterator[None]:
    """A model in training that makes no logits and looks at no values, of which fake tensors have none."""
    from llmkit.training.loss import headless

    was_training = model.training
    # torch logs each operation that fails on fake tensors, with a traceback.
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    muted, logger.disabled = logger.disabled, True
    model.train()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    try:
        with headless(model) if model.get_output_embeddings() is not None else nullcontext():
            yield
    finally:
        if checkpointing:
            model.activation_checkpointing_disable()
        model.train(was_training)
        logger.disabled = muted
