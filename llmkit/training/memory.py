"""Estimate the peak memory of a training step without running it.

Public: `peak`, `measured_peak`, `available`.

The forward pass runs on tensors with shapes but no storage (torch's fake tensors), and the tensors that it
keeps for the backward pass are counted. To these are added the gradients and AdamW's two moments, four bytes
each per trained weight, and the loss's chunk of logits.
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

# Bytes per logit of a chunk: its value in the precision of the products, and the float32 part.
_LOSS_BYTES = 4
# TRL's tiles, tokens by vocabulary. Each number is a logit in the precision of the products and, without a
# Triton kernel that turns it into its gradient in place, eight intermediate float32 numbers.
_TILE = (4096, 32768)
_TILE_BYTES = 34
_TILE_BYTES_TRITON = 2
# On a CPU freed memory stays with the process in pieces that do not fit the next tensors. Measured as a share
# of all activations, on models of 3 to 30 million parameters with glibc 2.36.
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
    """Estimate the bytes at the peak of a step whose largest batch has rows of these lengths.

    On a CPU this is the memory of the whole process, torch itself included; on a GPU the allocated memory.

    Args:
        loaded: the model, ready to be trained.
        lengths: number of tokens of each row.
        flattens: the rows are joined, not padded.
        dtype: dtype that the model computes in.
        checkpointing: activations are recomputed, not kept.
        pairs: the loss is that of preferences, whose logits TRL computes.

    Returns:
        Number of bytes; None if the model does not run on tensors without storage.
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
        import transformers.trainer  # noqa: F401 (training needs it, and it takes up to 100 MB)

        present = int(psutil.Process().memory_info().rss)
        kept += int(everything * (_HEAP_CHECKPOINTED if checkpointing else _HEAP))
    else:
        present = sum(p.nbytes for p in model.parameters())
    vocabulary, width = _head(model)
    tokens = shape[0] * shape[1]
    if pairs:
        each = _TILE_BYTES_TRITON if loaded.device.type == "cuda" else _TILE_BYTES
        loss = min(tokens, _TILE[0]) * min(vocabulary, _TILE[1]) * each
    else:
        loss = min(tokens, max(1, _CHUNK // max(1, vocabulary))) * vocabulary * _LOSS_BYTES
    if vocabulary and model.get_output_embeddings().weight.requires_grad:
        loss += 4 * vocabulary * width
    return present + 12 * trained + kept + loss


def measured_peak(device: torch.device) -> int:
    """Return the peak in bytes so far: of this process (on a CPU), or of the allocated memory (on a GPU)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    # Prefer /proc: getrusage also counts the program that ran in this process before `exec`.
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
    """Return the bytes that training may use: nine tenths of free memory, plus what this process has."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(0.9 * torch.cuda.mem_get_info(device)[0]) + torch.cuda.memory_allocated(device)
    return int(0.9 * psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)


def _head(model: Any) -> tuple[int, int]:
    head = model.get_output_embeddings()
    return tuple(head.weight.shape) if head is not None else (0, 0)


def _kept(model: Any, shape: tuple[int, int], dtype: torch.dtype, *, checkpointing: bool) -> int | None:
    """Return the bytes that a forward pass keeps for the backward pass, without parameters."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.func import functional_call

    from llmkit.runtime.peft import base_model

    inner = base_model(model)
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

    holding: list[Any] = []  # keeps the storages alive, so that no id is reused
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
        # Models that need storage raise errors of many types.
        return None
    return sum(seen.values())


@contextmanager
def _without_values(model: Any, checkpointing: bool) -> Iterator[None]:
    """Put a model into training mode without its head, and silence torch's log about fake tensors."""
    from llmkit.training.loss import headless

    was_training = model.training
    # torch logs a traceback for each operation that fails on fake tensors.
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
