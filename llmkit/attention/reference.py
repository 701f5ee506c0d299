"""Scaled dot-product attention as in the paper: softmax(QKᵀ/√d_k)V.

Vaswani et al., Attention Is All You Need (2017), equation 1, arXiv:1706.03762. This code is meant to be read,
not to be fast. It returns the attention weights, so explanations use it.
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
def reference_attention(
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
    """Attention of every query to every key that its mask allows; see `registry.Kernel` for the shapes.

    Args:
        scaling: 1/√d_k, or the model's own factor.
        softcap: scores become softcap·tanh(score/softcap) (Gemma 2, section 2).
        position_bias: is added to the scores (T5, section 2.1).
        s_aux: one score a head, of a key without a value (the attention sinks of gpt-oss).

    Returns:
        The output (batch, queries, heads, head_dim) and the weights (batch, heads, queries, keys). Both are
        zero for a query that sees no key.
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
