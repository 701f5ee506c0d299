"""SDPA over a row that several texts share, one text at a time.

With a mask SDPA computes every pair of tokens and throws most away; a text at a time it computes none that do
not count, and stays on its causal path, the faster one.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensor

from llmkit.attention.registry import kernel

# oneDNN, which multiplies bfloat16 on CPUs, keeps code for each length that it has met: three megabytes each.
_STEP = 16


@kernel(
    mask="padding",
    supports=("gqa", "dropout", "backward", "packed", "paged"),
    devices=("cpu", "cuda", "mps"),
    dtypes=("float32", "bfloat16", "float16", "float64"),
    keywords=("position_ids",),
)
def attend(
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
    """Attention of one row of texts, or of ordinary inputs as SDPA does it.

    Args:
        module: the layer; not used.
        query: (batch, heads, queries, head_dim).
        key, value: (batch, kv_heads, keys, head_dim).
        attention_mask: (batch, keys), True is a token; None where all are.
        scaling: of the scores.
        is_causal: each query sees no later key than its own, the last query the last.
        position_ids: (batch or 1, tokens); where one does not follow the one before, another text begins.
        dropout: share of the weights left out.

    Returns:
        (batch, queries, heads, head_dim), and no weights.
    """
    if attention_mask is None and position_ids is not None and query.shape[0] > 1:
        places = position_ids.expand(query.shape[0], -1)
        if places.shape[-1] == query.shape[2] and bool((places.diff() != 1).any()):
            given: dict[str, Any] = {"scaling": scaling, "is_causal": is_causal, "dropout": dropout}
            rows = [
                attend(module, q[None], k[None], v[None], None, position_ids=at[None], **given)[0]
                for q, k, v, at in zip(query, key, value, places, strict=True)
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
        # SDPA would do it text by text, and what it multiplies in is what the padding below goes by.
        query, key, value = (x.to(torch.get_autocast_dtype(query.device.type)) for x in (query, key, value))
    outputs = []
    for q, k, v in zip(*(x.split(sizes, dim=2) for x in (query, key, value)), strict=True):
        length = q.shape[2]
        rest = -length % _STEP if query.device.type == "cpu" and query.dtype != torch.float32 else 0
        if rest:
            # Behind a text, where causality keeps it from being seen.
            q, k, v = (F.pad(x, (0, 0, 0, rest)) for x in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True, **options)
        outputs.append(found[:, :, :length])
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _pattern(
    padding: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, causal: bool
) -> dict[str, Any]:
    """Which keys count, as SDPA is told it."""
    queries, keys = query.shape[2], key.shape[2]
    if padding is None and (not causal or queries == 1):
        return {}
    if padding is None and queries == keys:
        return {"is_causal": True}
    seen = torch.ones(queries, keys, dtype=torch.bool, device=query.device)
    seen = (seen.tril(keys - queries) if causal else seen)[None, None]
    if padding is not None:
        seen = seen & padding[:, None, None, :].bool()
        # A query that sees nothing is padding itself: let it see all, which is no number's division by zero.
        seen = seen | ~seen.any(dim=-1, keepdim=True)
    return {"attn_mask": seen}


def _sizes(position_ids: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> list[int] | None:
    """Tokens of each text of a row; None where there is one, or a batch, or a cache."""
    if position_ids is None or position_ids.shape[0] != 1 or query.shape[0] != 1:
        return None
    if isinstance(position_ids, FakeTensor):  # no values: what one text keeps is what several keep together
        return None
    if not position_ids.shape[-1] == query.shape[2] == key.shape[2]:
        return None
    begins = (position_ids[0].diff() != 1).nonzero().flatten() + 1
    if not len(begins):
        return None
    edges = torch.tensor([0, *begins.tolist(), query.shape[2]])
    return edges.diff().tolist()
