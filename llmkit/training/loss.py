"""Loss of a language model, computed without a tensor of all logits.

Public: `linear_cross_entropy`, `patch_forward_with_summed_loss`, `patch_forward_with_span_loss`, `headless`.

The logits of a batch are tokens x vocabulary numbers, the largest tensor of a small model. Here they are
computed in chunks of tokens, and the gradient of each chunk at the same time, so that nothing is computed
twice (as in Liger Kernel; Hsu et al. 2024, arXiv 2410.10989, section 3.2).
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from llmkit.runtime.estimate.training_step import LOSS_CHUNK as _CHUNK
from llmkit.runtime.peft import base_model
from llmkit.training.encoded import IGNORED

# Number of logits in float32 at a time. On a CPU they should fit into its cache and reuse memory: allocating
# new pages takes as much time as the products.
_BLOCK = {"cpu": 1 << 20, "else": 1 << 23}
# Rows of the head's gradient that a CPU updates at a time, for the same reason.
_HEAD_ROWS = 2048


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        smoothing: float,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        matrix = weight.detach().to(dtype)
        total = hidden.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden, dtype=dtype) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_bias and bias is not None else None
        vocabulary = weight.shape[0]
        size = min(max(1, _CHUNK // vocabulary), max(1, len(targets)))
        some_rows = _HEAD_ROWS if weight.device.type == "cpu" else vocabulary
        buffer = hidden.new_empty(size, vocabulary, dtype=dtype)
        for start in range(0, len(targets), size):
            rows = hidden[start : start + size].detach().to(dtype)
            logits = torch.mm(rows, matrix.T, out=buffer[: len(rows)])
            needed = needs_hidden or needs_weight or needs_bias
            labels = targets[start : start + size, None]
            total += _logits_to_gradient(logits, labels, bias, smoothing, grad_bias, needed)
            if grad_hidden is not None:
                torch.mm(logits, matrix, out=grad_hidden[start : start + size])
            if grad_weight is not None:
                for first in range(0, vocabulary, some_rows):
                    some = slice(first, first + some_rows)
                    grad_weight[some] += logits[:, some].T @ rows
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = upstream
        found = [
            None if one is None else one.mul_(grad).to(dtype)
            for one, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*found, None, None, None)


def _logits_to_gradient(
    logits: torch.Tensor,
    labels: torch.Tensor,
    bias: torch.Tensor | None,
    smoothing: float,
    grad_bias: torch.Tensor | None,
    needed: bool,
) -> torch.Tensor:
    """Return the summed loss of logits without their bias; replace them by its gradient if `needed`.

    Args:
        logits: (tokens, vocabulary), changed in place.
        labels: (tokens, 1) ids.
        bias: (vocabulary,), added to the logits.
        smoothing: label smoothing.
        grad_bias: (vocabulary,), to which the gradient of the bias is added.
        needed: a gradient is needed.
    """
    total = logits.new_zeros((), dtype=torch.float32)
    size = max(1, _BLOCK.get(logits.device.type, _BLOCK["else"]) // logits.shape[1])
    for part, label in zip(logits.split(size), labels.split(size), strict=True):
        wide = part.float()
        if bias is not None:
            wide = wide + bias.detach().float()
        logs = wide.log_softmax(dim=1)
        losses = -logs.gather(1, label)
        if smoothing:
            losses = (1 - smoothing) * losses - smoothing * logs.mean(dim=1, keepdim=True)
        total += losses.sum()
        if not needed:
            continue
        # The gradient of -sum_k q_k ln p_k is p - q, with q the smoothed target.
        gradient = logs.exp_()
        gradient.scatter_add_(1, label, gradient.new_full((1, 1), smoothing - 1).expand_as(label))
        if smoothing:
            gradient -= smoothing / gradient.shape[1]
        if grad_bias is not None:
            grad_bias += gradient.sum(dim=0)
        part.copy_(gradient)
    return total


def linear_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Sum the cross-entropies of ``softmax(hidden @ weight.T + bias)`` against `targets`, in nats.

    Args:
        hidden: (tokens, width).
        weight: (vocabulary, width).
        targets: (tokens,) ids; none is ignored.
        bias: (vocabulary,).
        smoothing: share of the target's probability spread over the vocabulary (Szegedy et al. 2016, arXiv
            1512.00567, section 7).

    Returns:
        A float32 scalar. Products are computed in autocast's dtype if it is on, else in that of `hidden`.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    loss: torch.Tensor = _LinearCrossEntropy.apply(hidden, weight, bias, targets, smoothing, dtype)
    return loss


def patch_forward_with_summed_loss(model: Any, smoothing: float = 0.0) -> bool:
    """Replace `model.forward` so that with `labels` it returns ``{"loss": sum of losses}`` and no logits.

    `labels` are aligned with the logits: `labels[b, i]` is the target at position i. The head is taken out of
    the forward pass, which then returns the head's input. If the logits are not just the head's product (a
    cap, a head of several matrices), they are computed at once.

    Args:
        model: transformers model with a language model's head, with or without an adapter.
        smoothing: label smoothing, in training only.

    Returns:
        True if the logits are computed in chunks.
    """
    inner: Any = base_model(model)
    plain = inner.forward
    head = inner.get_output_embeddings()
    chunked = type(head) is torch.nn.Linear and _only_head_makes_logits(inner, head)
    added = getattr(inner, "final_logits_bias", None)

    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        if labels is None:
            return plain(*args, **inputs)
        inputs.pop("num_items_in_batch", None)
        spread = smoothing if self.training else 0.0
        kept = labels != IGNORED
        if chunked:
            with headless(inner):
                hidden = plain(*args, **inputs).logits
            bias = head.bias if added is None else _summed(head.bias, added[0])
            loss = linear_cross_entropy(hidden[kept], head.weight, labels[kept], bias=bias, smoothing=spread)
        else:
            logits = plain(*args, **inputs).logits
            loss = F.cross_entropy(
                logits[kept].float(), labels[kept], reduction="sum", label_smoothing=spread
            )
        return {"loss": loss}

    inner.forward = types.MethodType(forward, inner)
    return chunked


@contextmanager
def headless(model: Any) -> Iterator[None]:
    """Make a model's head return its input unchanged, so that `logits` are the last hidden states."""
    head = model.get_output_embeddings()
    # BART and related models add a vector of the vocabulary's size to their logits.
    added = getattr(model, "final_logits_bias", None)
    head.forward = lambda hidden: hidden
    if added is not None:
        model.final_logits_bias = added.new_zeros(1, 1)
    try:
        yield
    finally:
        del head.forward
        if added is not None:
            model.final_logits_bias = added


def _summed(one: torch.Tensor | None, other: torch.Tensor) -> torch.Tensor:
    return other if one is None else one + other


def _only_head_makes_logits(model: Any, head: torch.nn.Linear) -> bool:
    """Return True if the model's logits are exactly its head's product; compare a few of them."""
    # Any input reveals a cap, and a bias that the model itself adds. A scale passes through the head.
    added = getattr(model, "final_logits_bias", None)
    ids = torch.arange(1, 9, device=head.weight.device)[None] % head.weight.shape[0]
    inputs = (
        {"input_ids": ids, "decoder_input_ids": ids}
        if model.config.is_encoder_decoder
        else {"input_ids": ids}
    )
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            whole = model(**inputs).logits
            with headless(model):
                hidden = model(**inputs).logits
            product = None
            if hidden.shape[-1] == head.in_features:
                product = F.linear(hidden, head.weight, head.bias)
                product += 0 if added is None else added
    except RuntimeError:
        return False  # a tensor of the vocabulary's size was added to the hidden states
    finally:
        model.train(was_training)
    scale = float(whole.abs().max())
    return product is not None and bool(torch.allclose(product, whole, rtol=1e-2, atol=1e-2 * scale))


def patch_forward_with_span_loss(model: Any) -> None:
    """Replace an extractive model's `forward` so that with `labels` it returns ``{"loss": sum}``.

    The loss of a row is -ln p(first) - ln p(last), with probabilities over the row's tokens without padding.

    Args:
        model: transformers model for extractive QA, with or without an adapter. `labels`: (rows, 2), first
            and last token of the answer.
    """
    inner: Any = base_model(model)
    plain = inner.forward

    def forward(self: Any, *args: Any, labels: torch.Tensor | None = None, **inputs: Any) -> Any:
        for name in ("start_positions", "end_positions"):
            inputs.pop(name, None)  # peft passes them on as None
        outputs = plain(*args, **inputs)
        if labels is None:
            return outputs
        logits = torch.stack([outputs.start_logits, outputs.end_logits], dim=1).float()
        mask = inputs.get("attention_mask")
        if mask is not None:
            logits = logits.masked_fill(mask[:, None, :] == 0, torch.finfo(logits.dtype).min)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
        return {"loss": loss}

    inner.forward = types.MethodType(forward, inner)
