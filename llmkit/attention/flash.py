"""Flash attention in Triton, for NVIDIA and AMD GPUs: the matrix of scores is never in memory.

Forward and backward follow Dao, FlashAttention-2 (2023), arXiv:2307.08691. For short queries over a long
cache the keys are split over the whole GPU, as in Flash-Decoding. The Triton programs are in
`llmkit.attention.flash_kernels`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

from llmkit.attention.registry import DTYPES, kernel
from llmkit.errors import OptionError

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""True if Triton runs its programs on the CPU, slowly, for tests."""
_DECODE_ROWS = 64
_DECODE_KEYS = 64
_SPLITS = 128


@dataclass(frozen=True)
class _Rules:
    """Keys that a query sees, and changes of the scores; `flash_kernels._seen` and `_cap` apply them."""

    scale: float
    causal: bool
    window: int | None
    softcap: float | None
    tokens: torch.Tensor | None  # (batch, keys), uint8
    starts: torch.Tensor | None  # (batch, keys), int32: first token of a token's text
    ends: torch.Tensor | None  # and one past its last token


@kernel(
    mask="padding",
    supports=("gqa", "sliding_window", "softcap", "backward", "packed", "paged"),
    devices=("cuda", "cpu") if INTERPRETED else ("cuda",),
    dtypes=DTYPES,
    keywords=("position_ids",),
)
def flash_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    is_causal: bool = False,
    sliding_window: int | None = None,
    softcap: float | None = None,
    position_ids: torch.Tensor | None = None,
) -> tuple[torch.Tensor, None]:
    """Attention of every query to every key that it may see; see `registry.Kernel` for the shapes.

    Args:
        attention_mask: (batch, keys), nonzero for text; None without padding.
        scaling: 1/√d_k, or the model's own factor.
        is_causal: a query sees no later key; the last query is at the last key.
        sliding_window: most keys that a query sees, its own included; without is_causal, on each side.
        softcap: scores become softcap·tanh(score/softcap) (Gemma 2, section 2).
        position_ids: (batch or 1, tokens); a jump begins another text, which the others do not see. They are
            ignored with a mask or a cache.

    Returns:
        The output (batch, queries, heads, head_dim), zeros for a query that sees no key, and None.

    Raises:
        OptionError: Triton is missing, or values have another head size than queries.
    """
    _require(query, value)
    starts, ends = (None, None) if attention_mask is not None else _texts(position_ids, key)
    tokens = None if attention_mask is None else attention_mask.ne(0).to(torch.uint8).contiguous()
    rules = _Rules(scaling, is_causal, sliding_window, softcap, tokens, starts, ends)
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    trains = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    rows = query.shape[1] // key.shape[1] * query.shape[2]
    if not trains and starts is None and rows <= _DECODE_ROWS:
        return _decode(query, key, value, rules), None
    output: torch.Tensor = _Flash.apply(query, key, value, rules)
    return output.transpose(1, 2), None


def _require(query: torch.Tensor, value: torch.Tensor) -> None:
    import importlib.util

    if importlib.util.find_spec("triton") is None:
        raise OptionError("attn", "flash needs Triton: pip install 'llmkit[triton]'; or use sdpa")
    if value.shape[-1] != query.shape[-1] or query.shape[-1] > 256:
        raise OptionError(
            "attn",
            f"flash accepts queries and values of one head size up to 256, not {query.shape[-1]} and"
            f" {value.shape[-1]}; use sdpa",
        )


def _texts(
    position_ids: torch.Tensor | None, key: torch.Tensor
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return the begin and end of each token's text, if a row has several (others call these cu_seqlens).

    As in transformers, a position that does not follow the one before begins another text.
    """
    batch, _, keys, _ = key.shape
    if position_ids is None or position_ids.dim() != 2 or position_ids.shape[1] != keys:
        return None, None
    begins = torch.ones_like(position_ids, dtype=torch.bool)
    begins[:, 1:] = position_ids.diff(dim=1) != 1
    if not bool(begins[:, 1:].any()):
        return None, None
    positions = torch.arange(keys, device=key.device)
    starts = torch.where(begins, positions, 0).cummax(1).values
    closes = torch.where(begins.roll(-1, 1), positions + 1, keys)
    ends = closes.flip(1).cummin(1).values.flip(1)
    return tuple(x.to(torch.int32).expand(batch, keys).contiguous() for x in (starts, ends))  # type: ignore[return-value]


def _shared(rules: _Rules, query: torch.Tensor) -> dict[str, Any]:
    """Return the arguments that all Triton programs have in common."""
    import triton

    size = query.shape[-1]
    return {
        "scale": rules.scale,
        "softcap": rules.softcap or 0.0,
        "window": rules.window or 0,
        "D": size,
        "BLOCK_D": max(16, triton.next_power_of_2(size)),
        "CAUSAL": rules.causal,
        "WINDOW": rules.window is not None,
        "SOFTCAP": rules.softcap is not None,
        "MASK": rules.tokens is not None,
        "UPCAST": INTERPRETED and query.dtype == torch.bfloat16,
    }


def _blocks(query: torch.Tensor) -> dict[str, int]:
    """Return block sizes that fit the GPUs' shared memory; float32 and large heads need smaller ones."""
    large = query.dtype == torch.float32 or query.shape[-1] > 128
    if large:
        return {"BLOCK_M": 32, "BLOCK_N": 32, "num_warps": 4, "num_stages": 1}
    return {"BLOCK_M": 64, "BLOCK_N": 64, "num_warps": 4, "num_stages": 2}


def _strides(*tensors: torch.Tensor) -> list[int]:
    return [stride for x in tensors for stride in x.stride()[:3]]


class _Flash(torch.autograd.Function):
    """Query, key and value to an output (batch, heads, queries, head_dim)."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rules: _Rules
    ) -> torch.Tensor:
        import triton

        from llmkit.attention import flash_kernels

        batch, heads, queries, _ = query.shape
        # Memory layout of the caller: (batch, queries, heads, head_dim).
        output = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format).transpose(
            1, 2
        )
        lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=query.device)
        sizes = _blocks(query)
        blocks = triton.cdiv(queries, sizes["BLOCK_M"])
        flash_kernels.forward[(blocks, batch * heads)](
            query, key, value, output, lse, *_patterns(rules, query),
            *_strides(query, key, value, output),
            heads, heads // key.shape[1], queries, key.shape[2],
            PACKED=rules.starts is not None, **_shared(rules, query), **sizes,
        )  # fmt: skip
        ctx.save_for_backward(query, key, value, output, lse)
        ctx.rules = rules
        return output

    @staticmethod
    def backward(ctx: Any, *outward: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        import triton

        from llmkit.attention import flash_kernels

        query, key, value, output, lse = ctx.saved_tensors
        grad = outward[0] if outward[0].stride(-1) == 1 else outward[0].contiguous()
        delta = (grad.float() * output.float()).sum(-1).contiguous()
        dq, dk, dv = (torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in (query, key, value))
        batch, heads, queries, _ = query.shape
        shared, keys = key.shape[1], key.shape[2]
        sizes = _blocks(query)
        given = {**_shared(ctx.rules, query), "PACKED": ctx.rules.starts is not None, **sizes}
        patterns = _patterns(ctx.rules, query)
        counts = (heads, heads // shared, queries, keys)
        flash_kernels.backward_queries[(triton.cdiv(queries, sizes["BLOCK_M"]), batch * heads)](
            query, key, value, grad, lse, delta, dq, *patterns,
            *_strides(query, key, value, grad, dq), *counts, **given,
        )  # fmt: skip
        flash_kernels.backward_keys[(triton.cdiv(keys, sizes["BLOCK_N"]), batch * shared)](
            query, key, value, grad, lse, delta, dk, dv, *patterns,
            *_strides(query, key, value, grad, dk), *counts, **given,
        )  # fmt: skip
        return dq, dk, dv, None


def _patterns(rules: _Rules, query: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the tensors of the rules; in place of a missing one, another tensor that is not read."""
    return tuple(query if x is None else x for x in (rules.tokens, rules.starts, rules.ends))


def _decode(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rules: _Rules) -> torch.Tensor:
    """Return the output (batch, queries, heads, head_dim) of a few queries; split the keys over the GPU."""
    import triton

    from llmkit.attention import flash_kernels

    batch, heads, queries, size = query.shape
    shared, keys = key.shape[1], key.shape[2]
    pieces = triton.cdiv(keys, _DECODE_KEYS)
    wanted = max(1, min(_SPLITS, pieces, 512 // (batch * shared)))
    split = triton.cdiv(pieces, wanted) * _DECODE_KEYS
    splits = triton.cdiv(keys, split)
    part = torch.empty(batch, heads, queries, splits, size, dtype=torch.float32, device=query.device)
    mass = torch.empty(batch, heads, queries, splits, dtype=torch.float32, device=query.device)
    output = torch.empty(batch, queries, heads, size, dtype=query.dtype, device=query.device)
    given = _shared(rules, query)
    rows = heads // shared * queries
    flash_kernels.decode[(splits, batch * shared)](
        query, key, value, part, mass, _patterns(rules, query)[0],
        *_strides(query, key, value),
        heads, heads // shared, queries, keys, splits, split,
        BLOCK_M=max(16, triton.next_power_of_2(rows)), BLOCK_N=_DECODE_KEYS, num_warps=4, **given,
    )  # fmt: skip
    flash_kernels.combine[(batch * heads * queries,)](
        part, mass, output, *_strides(output.transpose(1, 2)), heads, queries, splits,
        D=size, BLOCK_D=given["BLOCK_D"], BLOCK_S=triton.next_power_of_2(splits), num_warps=4,
    )  # fmt: skip
    return output
