"""Run a kernel under transformers' continuous batching (`model.generate_batch`), which has a paged cache.

`generate_batch` accepts only transformers' own names ("Implementation ... is not supported for continuous
batching", generation/continuous_batching/continuous_api.py of 5.23). So a kernel is registered temporarily
under one of these names, `paged|eager`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from llmkit.attention.interface import additive, wrap_kernel
from llmkit.attention.registry import Kernel
from llmkit.errors import OptionError

_NAME = "paged|eager"


@contextmanager
def paged(kernel: Kernel, model: Any) -> Iterator[None]:
    """Let `model.generate_batch` run the kernel inside the `with` block.

    Only one block at a time: the name belongs to the whole process.

    Args:
        kernel: a kernel that is not transformers' own.
        model: a model of transformers that can generate.

    Raises:
        OptionError: the kernel does not declare this ability.
    """
    if "paged" not in kernel.supports:
        raise OptionError("attn", f'{kernel.name} does not declare supports=["paged"]; use sdpa')
    from transformers import AttentionInterface

    interface = AttentionInterface()
    theirs, before = interface[_NAME], model.config._attn_implementation
    AttentionInterface.register(_NAME, _paged(kernel))
    try:
        model.set_attn_implementation(_NAME)
        yield
    finally:
        model.set_attn_implementation(before)
        AttentionInterface.register(_NAME, theirs)


def _paged(kernel: Kernel) -> Callable[..., tuple[torch.Tensor, None]]:
    """Return the kernel with the arguments of `paged|eager`: the new tokens of all requests in a row.

    The kernel gets one request at a time, with its keys gathered from their pages.
    """
    from transformers.generation.continuous_batching.input_outputs import PagedAttentionArgs

    attention = wrap_kernel(kernel)
    of_the_cache = {*PagedAttentionArgs.__annotations__}

    # Not compiled, as in transformers: the cache is written in place.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def each(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor,
        scaling: float | None = None,
        dropout: float = 0.0,
        *,
        cache: Any,
        **keywords: Any,
    ) -> tuple[torch.Tensor, None]:
        key, value = cache.update(
            key_states=key, value_states=value, layer_idx=module.layer_idx, kwargs=keywords
        )
        queries, keys = (keywords[name].tolist() for name in ("cu_seq_lens_q", "cu_seq_lens_k"))
        given = {name: x for name, x in keywords.items() if name not in of_the_cache}
        batch, heads, length, _ = query.shape
        output = query.new_zeros(batch, length, heads, value.shape[-1])
        for request in range(len(queries) - 1):
            new, cached = (slice(at[request], at[request + 1]) for at in (queries, keys))
            if new.start >= new.stop:
                continue
            found, _ = attention(
                module,
                query[:, :, new],
                key[:, :, cached],
                value[:, :, cached],
                _mask(kernel, attention_mask[:, :, new, cached]),
                scaling,
                dropout,
                **{**given, "is_causal": True},
            )
            output[:, new] = found
        return output, None

    return each


def _mask(kernel: Kernel, added: torch.Tensor) -> torch.Tensor | None:
    """Convert one request's part of the additive mask to the kind that the kernel declared.

    There is no padding, so a kernel without a pattern needs only causality and its window.
    """
    if not kernel.carries_pattern:
        return None
    seen = added == 0
    return additive(seen, added.dtype) if kernel.mask == "additive" else seen
