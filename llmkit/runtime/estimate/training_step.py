"""Count the memory of a training step: its forward and backward pass run on tensors without storage.

Public: `StepBytes`, `count_step`, `optimizer_bytes`, `loss_bytes`, `heap_bytes`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.runtime.estimate.live import watch_live_bytes
from llmkit.runtime.peft import base_model

if TYPE_CHECKING:
    import torch

LOSS_CHUNK = 1 << 25
"""Logits that the training loss has in memory at a time: 64 MB in bfloat16."""
# Bytes of a logit of a chunk: its value in the precision of the products, and the float32 part.
_LOSS_BYTES = 4
# On a CPU freed memory stays with the process in pieces that do not fit the next tensors. Measured as a share
# of the live tensors, with glibc 2.36, on models of 3 to 135 million parameters. An adapter's step makes
# many tensors of few sizes.
_HEAP = {"whole": 0.25, "adapter": 0.5, "checkpointed": 0.6}
_MOMENTS = 8  # bytes of AdamW's two moments, in float32 (Loshchilov and Hutter 2019, arXiv:1711.05101)


@dataclass(frozen=True)
class StepBytes:
    """Bytes of a step, without weights, optimizer and loss.

    Attributes:
        forward: bytes that the forward pass stores for the backward pass.
        peak: most bytes at one time of both passes, gradients included.
        gradients: gradients at the end.
    """

    forward: int
    peak: int
    gradients: int

    def with_accumulation(self, passes: int) -> int:
        """Return the peak of a step of several passes: their gradients stay between them."""
        return self.peak if passes < 2 else max(self.peak, self.forward + self.gradients)


def count_step(
    model: Any, shape: tuple[int, int], dtype: torch.dtype, *, checkpointing: bool = False
) -> StepBytes | None:
    """Run forward and backward on tensors without storage, and count what lives.

    Args:
        model: a transformers or peft model, on any device, the meta device too; left as it was.
        shape: rows and tokens of the batch, (1, tokens) if rows are joined. An encoder-decoder reads and
            writes as many.
        dtype: dtype that the products are computed in.
        checkpointing: activations are recomputed, not kept.

    Returns:
        The bytes; None if the model does not run without storage.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.utils.stateless import _reparametrize_module

    inner: Any = base_model(model)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    state = _without_storage(inner, mode)
    # RoFormer looks for padding in ids and short masks, which have no values here; others take their place.
    for embedded in (False, True):
        try:
            # Checkpointing runs layers again in the backward pass, so the state stays in place for both.
            with (
                _in_training(inner, checkpointing),
                mode,
                _reparametrize_module(inner, dict(state), tie_weights=True),
                watch_live_bytes(state.values()) as live,
            ):
                with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                    hidden = _hidden(inner, shape, embedded)
                forward = live.now
                hidden.sum().backward()
                del hidden
                return StepBytes(forward, live.peak, live.now)
        except Exception:
            # Models that need storage raise errors of many types.
            for one in state.values():
                one.grad = None
    return None


def _without_storage(model: Any, mode: Any) -> dict[str, torch.Tensor]:
    """Return parameters and buffers without storage, on a CPU, wherever the model is: autocast needs one."""
    import torch

    found = {}
    with mode:
        for name, one in [*model.named_parameters(), *model.named_buffers()]:
            # BART and related models add a vector of the vocabulary's size to their logits.
            shape = (1, 1) if name == "final_logits_bias" else one.shape
            found[name] = torch.empty(shape, dtype=one.dtype, device="cpu")
    for name, one in model.named_parameters():
        found[name].requires_grad_(one.requires_grad)
    return found


def _hidden(model: Any, shape: tuple[int, int], embedded: bool) -> torch.Tensor:
    """Run a model without its head; return the last hidden states."""
    import torch

    ids = torch.zeros(shape, dtype=torch.long)
    inputs: dict[str, Any] = {"input_ids": ids}
    if embedded:
        width = model.get_input_embeddings().weight.shape[1]
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool).expand(shape[0], 1, shape[1], shape[1])
        inputs = {"inputs_embeds": torch.empty(*shape, width, requires_grad=True), "attention_mask": mask}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    if model.get_output_embeddings() is not None:
        inputs["use_cache"] = False
    output = model(**inputs)
    return next(one for one in output.values() if isinstance(one, torch.Tensor))


def optimizer_bytes(trained: int) -> int:
    """Return the bytes of AdamW's moments for so many trained weights."""
    return _MOMENTS * trained


def loss_bytes(tokens: int, vocabulary: int, width: int, *, trained: bool, cast: bool) -> int:
    """Return the bytes of a loss whose logits are computed in chunks.

    Args:
        tokens: targets of a batch.
        vocabulary: logits of each; 0 for a head without a vocabulary.
        width: inputs of the head.
        trained: the head is trained, so that the loss makes its gradient in float32.
        cast: the head's weight is stored in another dtype than the products have, and is copied.
    """
    chunk = min(tokens, max(1, LOSS_CHUNK // max(1, vocabulary)))
    return vocabulary * (chunk * _LOSS_BYTES + 4 * width * trained + 2 * width * cast)


def heap_bytes(step: StepBytes, *, adapter: bool, kept: int | None = None) -> int:
    """Return the bytes that a CPU's allocator holds beyond the live tensors.

    Args:
        step: of the run.
        adapter: an adapter is trained, not the whole model.
        kept: bytes that a pass without checkpointing would keep; None if nothing is recomputed.
    """
    if kept is not None:
        return round(kept * _HEAP["checkpointed"])
    return round(step.peak * _HEAP["adapter" if adapter else "whole"])


@contextmanager
def _in_training(model: Any, checkpointing: bool) -> Iterator[None]:
    """Put a model into training mode without its head, and silence torch's log about fake tensors."""
    was_training = model.training
    # torch logs a traceback for each operation that fails on fake tensors.
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    muted, logger.disabled = logger.disabled, True
    head = model.get_output_embeddings()
    model.train()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if head is not None:
        head.forward = lambda hidden: hidden
    try:
        yield
    finally:
        if head is not None:
            del head.forward
        if checkpointing:
            model.activation_checkpointing_disable()
        model.train(was_training)
        logger.disabled = muted
