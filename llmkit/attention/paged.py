"""A kernel under transformers' continuous batching (`model.generate_batch`), whose cache lies in pages.

`generate_batch` takes no name but transformers' own ("Implementation ... is not supported for continuous
batching", generation/continuous_batching/continuous_api.py of 5.23). So a kernel stands in under one of
these, `paged|eager`, for as long as it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from llmkit.attention.interface import additive, forward
from llmkit.attention.registry import Kernel
from llmkit.errors import InputError

_NAME = "paged|eager"


@contextmanager
def paged(kernel: Kernel, model: Any) -> Iterator[None]:
    """A model whose `generate_batch` runs the kernel meanwhile; afterwards it has what it had.

    One at a time: the name is the whole process's.

    Args:
        kernel: one of ours or the user's.
        model: a model of transformers that can generate.

    Raises:
        InputError: the kernel does not declare that it can.
    """
    if "paged" not in kernel.supports:
        raise InputError(f'--attn {kernel.name} does not declare supports=["paged"]; use sdpa')
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
    """The kernel as `paged|eager` is called: with the new tokens of all requests in a row.

    It sees one request at a time, its keys gathered from their pages.
    """
    from transformers.generation.continuous_batching.input_outputs import PagedAttentionArgs

    attend = forward(kernel)
    of_the_cache = {*PagedAttentionArgs.__annotations__}

    # Not compiled, as theirs is not: the cache is written in place.
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
            asks, holds = (slice(at[request], at[request + 1]) for at in (queries, keys))
            if asks.start >= asks.stop:
                continue
            found, _ = attend(
                module,
                query[:, :, asks],
                key[:, :, holds],
                value[:, :, holds],
                _mask(kernel, attention_mask[:, :, asks, holds]),
                scaling,
                dropout,
                **{**given, "is_causal": True},
            )
            output[:, asks] = found
        return output, None

    return each


def _mask(kernel: Kernel, added: torch.Tensor) -> torch.Tensor | None:
    """One request's part of the mask that is added to the scores, as the kernel declared its own.

    Without padding, a kernel that takes no pattern has all it needs in causality and its window.
    """
    if not kernel.carries_pattern:
        return None
    seen = added == 0
    return additive(seen, added.dtype) if kernel.mask == "additive" else seen
