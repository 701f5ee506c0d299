"""Connect a kernel to transformers: it gets the mask that it declared, and no undeclared argument.

transformers gives no mask to a kernel that its mask registry does not know, and passes keywords that the
kernel may ignore. Here kernel and mask are registered together, and undeclared keywords are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from llmkit.attention.registry import KEYWORDS, Kernel, require_backward
from llmkit.errors import OptionError

# Keywords of models that do not change which keys count, or how much.
_HARMLESS = frozenset(
    {
        "position_ids",
        "use_cache",
        "cache_position",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "past_key_values",
        "logits_to_keep",
        "num_items_in_batch",
        "is_causal",
        "input_ids",
        "encoder_hidden_states",
    }
)
_callers: list[set[int]] = []


@contextmanager
def watched() -> Iterator[set[int]]:
    """Collect the ids of all modules that call a wrapped kernel inside the `with` block."""
    seen: set[int] = set()
    _callers.append(seen)
    try:
        yield seen
    finally:
        _callers.remove(seen)


def register(kernel: Kernel) -> str:
    """Register a kernel and its mask with transformers.

    Returns:
        The name for `attn_implementation`.
    """
    if kernel.native:
        return kernel.name
    from transformers import AttentionInterface, AttentionMaskInterface

    name = kernel.interface_name
    AttentionInterface.register(name, wrap_kernel(kernel))
    AttentionMaskInterface.register(name, _mask_maker(kernel))
    return name


def wrap_kernel(kernel: Kernel) -> Callable[..., tuple[torch.Tensor, torch.Tensor | None]]:
    """Return the kernel as a function of transformers' attention interface.

    Raises, when called:
        OptionError: an input or keyword is not declared, or the result has the wrong form; option `attn`.
    """
    function = kernel.load()

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: Any,
        scaling: float | None = None,
        dropout: float = 0.0,
        **keywords: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        for seen in _callers:
            seen.add(id(module))
        needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
        _check(kernel, module, query, dropout, needs_grad)
        if keywords.get("output_attentions") and "weights" not in kernel.supports:
            raise OptionError(
                "attn", f"{kernel.name} does not return attention weights; use eager or reference for them"
            )
        passed = _declared_keywords(kernel, module, keywords)
        asked = keywords.get("is_causal")
        causal = bool(getattr(module, "is_causal", True) if asked is None else asked) and query.shape[2] > 1
        attention_mask = _fitting(kernel, attention_mask, query, key, causal)
        if not kernel.native:
            if kernel.mask in {"none", "padding"} or "is_causal" in kernel.supports:
                passed["is_causal"] = causal and (attention_mask is None or kernel.mask == "padding")
            if "gqa" not in kernel.supports and key.shape[1] != query.shape[1]:
                groups = query.shape[1] // key.shape[1]
                key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        if "dropout" in kernel.supports:
            passed["dropout"] = dropout
        scale = scaling if scaling is not None else query.shape[-1] ** -0.5
        found = function(module, query, key, value, attention_mask, scaling=scale, **passed)
        # Unpacking a bare tensor with batch 2 would succeed silently.
        if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[0], torch.Tensor):
            raise OptionError(
                "attn",
                f"{kernel.name} returned {_described(found)}; it must return (output, None), or the weights"
                " in place of None",
            )
        output, weights = found
        expected = (query.shape[0], query.shape[2], query.shape[1], value.shape[3])
        if tuple(output.shape) != expected:
            raise OptionError(
                "attn",
                f"{kernel.name} returned an output of shape {tuple(output.shape)}; it must be (batch,"
                f" queries, heads, head_dim), here {expected}",
            )
        return output, weights

    return attention


def _described(found: Any) -> str:
    """Describe a wrong return value in a few words."""
    if isinstance(found, tuple | list):
        return f"{len(found)} values" if len(found) != 2 else f"a {type(found[0]).__name__} for the output"
    return "nothing" if found is None else f"a {type(found).__name__} alone"


def _check(
    kernel: Kernel, module: torch.nn.Module, query: torch.Tensor, dropout: float, needs_grad: bool
) -> None:
    """Refuse inputs that the kernel does not declare."""
    dtype = str(query.dtype).removeprefix("torch.")
    if query.device.type not in kernel.devices:
        raise OptionError(
            "attn", f"{kernel.name} runs on {', '.join(kernel.devices)}, not on {query.device.type}"
        )
    if dtype not in kernel.dtypes:
        raise OptionError("attn", f"{kernel.name} accepts {', '.join(kernel.dtypes)}, not {dtype}")
    if kernel.head_dims and query.shape[-1] not in kernel.head_dims:
        sizes = ", ".join(map(str, kernel.head_dims))
        raise OptionError(
            "attn", f"{kernel.name} accepts heads of size {sizes}, and the model's have {query.shape[-1]}"
        )
    if needs_grad:
        require_backward(kernel)
    if dropout and "dropout" not in kernel.supports:
        raise OptionError("attn", f"{kernel.name} has no dropout, which {type(module).__name__} needs")


def _declared_keywords(kernel: Kernel, module: torch.nn.Module, keywords: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords that the kernel accepts.

    Raises:
        OptionError: a keyword with an effect is not declared.
    """
    passed = {}
    for name, value in keywords.items():
        harmless = name in _HARMLESS and name not in kernel.keywords
        if value is None or harmless or not _has_effect(value):
            continue
        ability = KEYWORDS.get(name)
        if name in kernel.keywords or (ability is not None and ability in kernel.supports):
            passed[name] = value
        elif name == "sliding_window" and kernel.carries_pattern:
            continue  # the mask contains it
        else:
            line = f'supports=["{ability}"]' if ability is not None else f'keywords=["{name}"]'
            raise OptionError(
                "attn",
                f"{kernel.name}: {type(module).__name__} passes {name}, which the kernel does not declare and"
                f" would ignore; use sdpa or eager, or declare {line} if the kernel applies it",
            )
    return passed


def _has_effect(value: Any) -> bool:
    """Return True for a value that can change a result: a tensor or a number, not a flag or an object."""
    return isinstance(value, torch.Tensor) or (isinstance(value, int | float) and not isinstance(value, bool))


def _fitting(kernel: Kernel, mask: Any, query: torch.Tensor, key: torch.Tensor, causal: bool) -> Any:
    """Convert a mask that a model made without the mask registry to the kind that the kernel declared."""
    if kernel.native:
        return mask
    if mask is None:
        if kernel.mask not in {"boolean", "additive"} or "is_causal" in kernel.supports:
            return None
        mask = causal_pattern(query.shape[2], key.shape[2], query.device) if causal else _all(query, key)
        return additive(mask, query.dtype) if kernel.mask == "additive" else mask
    kind = getattr(mask, "dtype", None)
    if kernel.mask == "boolean" and kind != torch.bool:
        raise OptionError(
            "attn", f"{kernel.name} accepts boolean masks, but the model passed a mask of {kind}"
        )
    if kernel.mask == "additive" and kind == torch.bool:
        return additive(mask, query.dtype)
    if kernel.mask == "none":
        raise OptionError("attn", f"{kernel.name} accepts no mask, and these inputs need one; use sdpa")
    return mask


def causal_pattern(queries: int, keys: int, device: torch.device | str) -> torch.Tensor:
    """Return a causal boolean mask (1, 1, queries, keys); the last query sees the last key."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)[None, None]


def additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Convert a boolean mask to an additive one: 0, or the dtype's lowest number."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)


def _all(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return torch.ones(1, 1, query.shape[2], key.shape[2], dtype=torch.bool, device=query.device)


# Parts of a mask pattern, by transformers' names, that a kernel can apply without a mask, and the ability
# that each needs.
_FOLLOWED = {
    "and_masks": None,
    "causal_mask_function": None,
    "bidirectional_mask_function": None,
    "sliding_window_overlay": "sliding_window",
    "sliding_window_bidirectional_overlay": "sliding_window",
    "packed_sequence_mask_function": "packed",
    "remap_positions_for_packed_sequence": "packed",
}


def _check_pattern(kernel: Kernel, function: Any) -> None:
    """Refuse a mask pattern that a padding mask cannot represent and the kernel cannot apply.

    transformers drops the pattern for a mask of this kind silently.
    """
    for part in sorted(_parts(function)):
        ability = _FOLLOWED.get(part, "")
        if ability == "packed" and "packed" not in kernel.supports:
            raise OptionError(
                "attn",
                f"{kernel.name} does not support packed sequences, but these positions restart within"
                " a row; use sdpa, or one text per row",
            )
        if ability == "sliding_window" and ability not in kernel.supports:
            raise OptionError("attn", f"{kernel.name} has no sliding window, which the model needs; use sdpa")
        if ability == "":
            raise OptionError(
                "attn",
                f"{kernel.name} accepts only a padding mask, and the model needs more ({part}); use sdpa",
            )


def _parts(function: Any) -> set[str]:
    """Return the names of the functions of which transformers composed a mask function."""
    if not hasattr(function, "__qualname__"):
        return set()
    names = {function.__qualname__.partition(".")[0]}
    for cell in function.__closure__ or ():
        held = cell.cell_contents
        for one in held if isinstance(held, tuple) else (held,):
            names |= _parts(one)
    return names


def _mask_maker(kernel: Kernel) -> Callable[..., Any]:
    """Return the function for `AttentionMaskInterface` that makes the mask which the kernel declared."""
    from transformers import masking_utils

    def boolean(*args: Any, **keywords: Any) -> Any:
        skips = "is_causal" in kernel.supports
        keywords["allow_is_causal_skip"] = skips and keywords.get("allow_is_causal_skip", True)
        keywords["allow_is_bidirectional_skip"] = skips and keywords.get("allow_is_bidirectional_skip", False)
        return masking_utils.sdpa_mask(*args, **keywords)

    def added(*args: Any, **keywords: Any) -> Any:
        return masking_utils.eager_mask(*args, **{**keywords, "allow_is_bidirectional_skip": False})

    def nothing(*args: Any, **keywords: Any) -> None:
        keywords["allow_is_bidirectional_skip"] = True
        if masking_utils.sdpa_mask(*args, **keywords) is not None:
            raise OptionError(
                "attn",
                f"{kernel.name} accepts no mask, and these inputs need one (padding, a sliding window or"
                " packed sequences); use sdpa, or one text at a time",
            )

    def padding(*args: Any, **keywords: Any) -> Any:
        _check_pattern(kernel, keywords.get("mask_function"))
        return masking_utils.flash_attention_mask(*args, **keywords)

    makers: dict[str, Callable[..., Any]] = {
        "boolean": boolean,
        "additive": added,
        "none": nothing,
        "padding": padding,
        "block": masking_utils.flex_attention_mask,
    }
    return makers[kernel.mask]
