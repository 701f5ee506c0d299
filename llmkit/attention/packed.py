"""SDPA over a row that contains several texts (packed sequences), one text at a time.

With a mask, SDPA computes every pair of tokens and discards most of them. One text at a time, it computes
only the pairs that count, and uses its faster causal path.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensor

from llmkit.attention.registry import kernel

# Lengths are padded to multiples of this: oneDNN, which multiplies bfloat16 on CPUs, keeps three megabytes of
# code for each length.
_STEP = 16


@kernel(
    mask="padding",
    supports=("gqa", "dropout", "backward", "packed", "paged"),
    devices=("cpu", "cuda", "mps"),
    dtypes=("float32", "bfloat16", "float16", "float64"),
    keywords=("position_ids",),
)
def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    is_causal: bool = True,
    position_ids: torch.Tensor | None = None,
    dropout: float = 0.0,
    **keywords: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each text of a row; ordinary inputs run as in SDPA.

    Args:
        module: the layer; not used.
        query: (batch, heads, queries, head_dim).
        key, value: (batch, kv_heads, keys, head_dim).
        attention_mask: (batch, keys), True is a token; None where all are.
        scaling: factor of the scores.
        is_causal: a query sees no later key; the last query is at the last key.
        position_ids: (batch or 1, tokens); a position that does not follow the one before begins a text.
        dropout: share of the weights that are dropped.

    Returns:
        The output (batch, queries, heads, head_dim), and None for the weights.
    """
    if attention_mask is None and position_ids is not None and query.shape[0] > 1:
        positions = position_ids.expand(query.shape[0], -1)
        if positions.shape[-1] == query.shape[2] and bool((positions.diff() != 1).any()):
            given: dict[str, Any] = {"scaling": scaling, "is_causal": is_causal, "dropout": dropout}
            rows = [
                packed_attention(module, q[None], k[None], v[None], None, position_ids=at[None], **given)[0]
                for q, k, v, at in zip(query, key, value, positions, strict=True)
            ]
            return torch.cat(rows), None
    options: dict[str, Any] = {"scale": scaling, "dropout_p": dropout}
    if key.shape[1] != query.shape[1]:
        options["enable_gqa"] = True
    sizes = _sizes(position_ids, query, key) if attention_mask is None else None
    if sizes is None:
        options |= _pattern(attention_mask, query, key, is_causal)
        output = F.scaled_dot_product_attention(query, key, value, **options)
        return output.transpose(1, 2).contiguous(), None
    if torch.is_autocast_enabled(query.device.type):
        # SDPA would cast each text; the padding below depends on the dtype that it multiplies in.
        query, key, value = (x.to(torch.get_autocast_dtype(query.device.type)) for x in (query, key, value))
    outputs = []
    for q, k, v in zip(*(x.split(sizes, dim=2) for x in (query, key, value)), strict=True):
        length = q.shape[2]
        rest = -length % _STEP if query.device.type == "cpu" and query.dtype != torch.float32 else 0
        if rest:
            # Padding after the text, which causality hides.
            q, k, v = (F.pad(x, (0, 0, 0, rest)) for x in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)
        outputs.append(found[:, :, :length])
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _pattern(
    padding: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, causal: bool
) -> dict[str, Any]:
    """Return SDPA's arguments for the keys that count."""
    queries, keys = query.shape[2], key.shape[2]
    if padding is None and (not causal or queries == 1):
        return {}
    if padding is None and queries == keys:
        return {"is_causal": True}
    seen = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
    seen = (seen.tril(keys - queries) if causal else seen)[None, None]
    if padding is not None:
        seen = seen & padding[:, None, None, :].bool()
        # A fully masked query is padding itself: let it attend to all keys, which avoids 0/0.
        seen = seen | ~seen.any(dim=-1, keepdim=True)
    return {"attn_mask": seen}


def _sizes(position_ids: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> list[int] | None:
    """Return the number of tokens of each text of a row; None for a single text, a batch, or a cache."""
    if position_ids is None or position_ids.shape[0] != 1 or query.shape[0] != 1:
        return None
    if isinstance(position_ids, FakeTensor):  # it has no values; one text needs as much memory as several
        return None
    if not position_ids.shape[-1] == query.shape[2] == key.shape[2]:
        return None
    begins = (position_ids[0].diff() != 1).nonzero().flatten() + 1
    if not len(begins):
        return None
    edges = torch.tensor([0, *begins.tolist(), query.shape[2]])
    return edges.diff().tolist()
