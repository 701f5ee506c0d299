"""Scaled dot-product attention as the paper writes it: softmax(QKᵀ/√d_k)V.

Vaswani et al., Attention Is All You Need (2017), equation 1. Written to be read, not to be fast; it gives the
attention weights back, so explanations use it.
"""

from __future__ import annotations

from typing import Any

import torch

from llmkit.attention.registry import DTYPES, kernel


@kernel(
    mask="boolean",
    supports=("gqa", "softcap", "sinks", "position_bias", "dropout", "backward", "paged", "weights"),
    devices=("cpu", "cuda", "mps"),
    dtypes=(*DTYPES, "float64"),
)
def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    position_bias: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of every query to every key that its mask lets it see; see `registry.Kernel` for the shapes.

    Args:
        scaling: 1/√d_k, or what the model has in its place.
        softcap: scores become softcap·tanh(score/softcap) (Gemma 2, section 2).
        position_bias: added to the scores (T5, section 2.1).
        s_aux: a score per head of a key that holds nothing (the sinks of gpt-oss).

    Returns:
        The output (batch, queries, heads, head_dim) and the weights (batch, heads, queries, keys). A query
        that sees no key gets zeros of both.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    exact = torch.promote_types(query.dtype, torch.float32)

    scores = query.to(exact) @ key.to(exact).transpose(-2, -1) * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(exact).min)
    if s_aux is not None:
        sink = s_aux.to(exact).reshape(1, -1, 1, 1).expand(*scores.shape[:3], 1)
        weights = torch.cat([scores, sink], dim=-1).softmax(dim=-1)[..., :-1]
    else:
        weights = scores.softmax(dim=-1)
    if attention_mask is not None:
        weights = weights.masked_fill(~attention_mask, 0)
    weights = torch.nn.functional.dropout(weights, dropout, training=dropout > 0)

    output = weights @ value.to(exact)
    return output.transpose(1, 2).contiguous().to(query.dtype), weights.to(query.dtype)
