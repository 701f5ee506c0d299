"""CPU kernel: C++ over a key and value cache that is not repeated, for inference in float32 and bfloat16.

SDPA runs instead for training, dropout, position biases, float16, masks that differ between heads, head sizes
that are no multiple of 16, and where it is as fast (see `is_faster`): small work and, on processors with AMX,
most work without grouped heads.
"""

from __future__ import annotations

import ctypes
import warnings
from typing import Any

import torch

from llmkit.attention import native_build
from llmkit.attention.registry import kernel
from llmkit.errors import NoticeWarning

_KINDS = {torch.float32: 0, torch.bfloat16: 1}
LEVEL: str | None = None
"""Instruction set; None is the fastest that can be built for this processor."""
_MOST_HEADS = 32
"""Most query heads that share a key head."""
_reported: set[str] = set()
_Sizes = ctypes.c_int64 * 6
_Strides = ctypes.c_int64 * 15


@kernel(
    mask="boolean",
    supports=("is_causal", "gqa", "position_bias", "dropout", "backward", "paged"),
    devices=("cpu",),
    dtypes=("float32", "bfloat16", "float16", "float64"),
)
def cpu_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    is_causal: bool = False,
    position_bias: torch.Tensor | None = None,
) -> tuple[torch.Tensor, None]:
    """Attention of every query to every key that its mask allows; for shapes see `registry.Kernel`."""
    if torch.is_grad_enabled() and query.requires_grad:
        _notify_once("the cpu attention kernel has no backward pass: SDPA runs in training")
    accepted = position_bias is None and not dropout and accepts(query, key, value, attention_mask)
    if accepted and available():
        if torch.compiler.is_compiling():
            return torch.ops.llmkit.cpu_attention(query, key, value, attention_mask, scaling, is_causal), None
        return _run(query, key, value, attention_mask, scaling, is_causal), None
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    output, _ = sdpa_attention_forward(
        module,
        query,
        key,
        value,
        attention_mask,
        dropout=dropout,
        scaling=scaling,
        is_causal=is_causal,
        position_bias=position_bias,
    )
    return output, None


def accepts(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None
) -> bool:
    """Return True if the native kernel runs these inputs, and is faster than SDPA."""
    batch, heads, queries, dim = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    if query.dtype not in _KINDS or key.dtype != query.dtype or value.dtype != query.dtype:
        return False
    if torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value)):
        return False
    if dim % 16 or dim > 256 or value.shape[-1] != dim or heads // kv_heads > _MOST_HEADS:
        return False
    if attention_mask is not None and (attention_mask.dtype != torch.bool or attention_mask.shape[1] != 1):
        return False
    return is_faster(batch, heads, kv_heads, queries, keys, dim, query.dtype)


def is_faster(
    batch: int, heads: int, kv_heads: int, queries: int, keys: int, dim: int, dtype: torch.dtype
) -> bool:
    """Return True if the kernel is faster than SDPA (measured by `python -m tests.benchmarks attention`)."""
    tiles = -(-queries * (heads // kv_heads) // _MOST_HEADS)  # tiles of rows, which the threads share
    work = batch * kv_heads * keys * dim
    if work < 1 << 13 or batch * kv_heads * tiles < _threads():
        return False
    if not _has_amx():
        # Several queries read a key together, which is slower in SDPA.
        return work * (4 if queries > 1 else 1) >= 1 << 17
    # With AMX, SDPA is faster than elsewhere, and heads without shared keys gain less.
    grouped, half = heads > kv_heads, dtype == torch.bfloat16
    # Without tiles this kernel has no matrix registers, and SDPA has.
    if half and (dim % 32 or not _tiles()):
        return queries == 1 and work >= 1 << 19
    if queries > 1:
        return work >= 1 << 13 if grouped else queries >= (128 if half else 256)
    return work >= 1 << 15 and (grouped or not half)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _threads() -> int:
    return torch.get_num_threads()


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _tiles() -> bool:
    return available() and _level() == "amx"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def available() -> bool:
    """Build the kernel if needed; return False, with one notice, if it cannot be built."""
    try:
        native_build.load(_level())
    except native_build.CannotBuildError as error:
        _notify_once(f"the cpu attention kernel cannot be built, SDPA runs instead: {error}")
        return False
    return True


def _notify_once(message: str) -> None:
    if message not in _reported:
        _reported.add(message)
        warnings.warn(message, NoticeWarning, stacklevel=3)


def _level() -> str:
    return LEVEL or native_build.best()


def _run(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    is_causal: bool,
) -> torch.Tensor:
    """Call the native kernel; the output is (batch, queries, heads, head_dim)."""
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    batch, heads, queries, dim = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    output = torch.empty(batch, queries, heads, dim, dtype=query.dtype)
    seen: tuple[int, ...] = (0, 0, 0)
    if mask is not None:
        mask = mask.expand(batch, 1, queries, keys)
        mask = mask if mask.stride(-1) == 1 else mask.contiguous()
        seen = mask.stride()[:3]
    strides = (*query.stride()[:3], *key.stride()[:3], *value.stride()[:3], *seen)
    sizes = _Sizes(batch, heads, kv_heads, queries, keys, dim)
    steps = _Strides(*strides, queries * heads * dim, dim, heads * dim)
    failed = native_build.load(_level())(
        query.data_ptr(),
        key.data_ptr(),
        value.data_ptr(),
        mask.data_ptr() if mask is not None else None,
        output.data_ptr(),
        sizes,
        steps,
        scaling,
        int(is_causal and queries > 1),
        _KINDS[query.dtype],
        torch.get_num_threads(),
    )
    if failed:
        raise MemoryError("the cpu attention kernel could not allocate memory for its blocks")
    return output


@torch.library.custom_op("llmkit::cpu_attention", mutates_args=())
def _op(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    is_causal: bool,
) -> torch.Tensor:
    """The native call as an operation that `torch.compile` can trace."""
    return _run(query, key, value, mask, scaling, is_causal)


@_op.register_fake
def _(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    is_causal: bool,
) -> torch.Tensor:
    return query.new_empty(query.shape[0], query.shape[2], query.shape[1], query.shape[3])
