"""Rotary position settings, between transformers' `rope_parameters` and GGUF."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.header import Header
from llmkit.formats.gguf.tensors import read_tensor
from llmkit.formats.gguf.values import Values

if TYPE_CHECKING:
    import torch

# Llama 3's rules exist in GGUF only as the factors that they give; these are the rules of released models.
_LLAMA3_FACTORS = (8.0, 32.0, 4.0, 16.0)
_LONG, _SHORT, _FREQUENCIES = "rope_factors_long.weight", "rope_factors_short.weight", "rope_freqs.weight"
ROPE_TENSORS = (_LONG, _SHORT, _FREQUENCIES)


def rope_from_gguf(header: Header, head_dim: int) -> dict[str, Any]:
    """transformers' `rope_parameters` of a GGUF file.

    Args:
        header: of the file.
        head_dim: dimensions of a head.

    Raises:
        InputError: settings that transformers does not have.
    """
    values = Values(header)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": values.number("rope.freq_base", 10000.0)}
    rotated = values.integer("rope.dimension_count", head_dim)
    if rotated != head_dim:
        if header.architecture != "phi3":
            raise InputError(
                f"{header.path}: rotates {rotated} of {head_dim} dimensions of a head, which"
                f" {header.architecture} models of transformers do not"
            )
        rope["partial_rotary_factor"] = rotated / head_dim
    scaling = values.string("rope.scaling.type", "none")
    factor = values.number("rope.scaling.factor", values.number("rope.scale_linear", 1.0))
    original = values.integer("rope.scaling.original_context_length", 0)
    if _LONG in header.tensors or _SHORT in header.tensors:
        rope |= {"rope_type": "longrope", **_longrope(header, rotated)}
        rope["original_max_position_embeddings"] = original or values.integer("context_length")
    elif _FREQUENCIES in header.tensors:
        factors = _factors(header, _FREQUENCIES, head_dim)
        rope |= _recognize_llama3(factors, rope["rope_theta"], head_dim, header)
    elif scaling == "linear" and factor != 1:
        rope |= {"rope_type": "linear", "factor": factor}
    elif scaling == "yarn":
        rope |= {"rope_type": "yarn", "factor": factor}
        if original:
            rope["original_max_position_embeddings"] = original
    elif scaling not in ("none", "linear"):
        raise InputError(f"{header.path}: the RoPE scaling {scaling} is not supported")
    return rope


def _longrope(header: Header, rotated: int) -> dict[str, list[float]]:
    both = {}
    for name, key in ((_LONG, "long_factor"), (_SHORT, "short_factor")):
        if name not in header.tensors:
            raise InputError(f"{header.path}: incomplete: {name} is missing")
        both[key] = [float(x) for x in _factors(header, name, rotated)]
    return both


def _factors(header: Header, name: str, rotated: int) -> torch.Tensor:
    """The numbers of a tensor that has one for each two dimensions that are rotated."""
    import torch

    info = header.tensors[name]
    if info.values != rotated // 2:
        raise InputError(f"{header.path}: damaged: {name} has {info.values} numbers, not {rotated // 2}")
    return read_tensor(info, torch.float32).flatten()


def llama3_factors(rope: dict[str, Any], head_dim: int) -> torch.Tensor:
    """The number by which Llama 3's rule divides each rotary frequency.

    Formula: transformers' `_compute_llama3_parameters`.

    Args:
        rope: `rope_parameters` with rope_theta, factor, low_freq_factor, high_freq_factor and
            original_max_position_embeddings.
        head_dim: dimensions of a head.

    Returns:
        (head_dim / 2,) in float32.
    """
    import torch

    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    original, factor = float(rope["original_max_position_embeddings"]), float(rope["factor"])
    factors = []
    for i in range(0, head_dim, 2):
        length = 2 * math.pi * float(rope["rope_theta"]) ** (i / head_dim)
        if length < original / high:
            factors.append(1.0)
        elif length > original / low:
            factors.append(factor)
        else:
            smooth = (original / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(factors, dtype=torch.float32)


def _recognize_llama3(factors: torch.Tensor, theta: float, head_dim: int, header: Header) -> dict[str, Any]:
    import torch

    if torch.equal(factors, torch.ones_like(factors)):
        return {}
    for factor in dict.fromkeys((float(factors.max()), *_LLAMA3_FACTORS)):
        rule = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }
        wanted = llama3_factors({**rule, "rope_theta": theta}, head_dim)
        if wanted.shape == factors.shape and torch.allclose(wanted, factors, rtol=1e-4):
            return rule
    raise InputError(
        f"{header.path}: its RoPE factors (rope_freqs.weight) match no RoPE type of transformers"
    )


def rope_to_gguf(config: Any, head_dim: int, arch: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Build GGUF metadata and tensors for the RoPE settings of a transformers config.

    Args:
        config: a transformers config with `rope_parameters`.
        head_dim: dimensions of a head.
        arch: GGUF's name of the architecture.

    Raises:
        InputError: GGUF has no such rule.
    """
    import torch

    rope = dict(config.rope_parameters)
    if "full_attention" in rope:  # Gemma 3: one rule for each kind of layer
        rope = dict(rope["full_attention"])
    rotated = int(head_dim * float(rope.get("partial_rotary_factor") or 1))
    metadata: dict[str, Any] = {
        f"{arch}.rope.dimension_count": rotated,
        f"{arch}.rope.freq_base": float(rope["rope_theta"]),
    }
    kind = rope.get("rope_type", "default")
    if kind == "llama3":
        return metadata, {_FREQUENCIES: llama3_factors(rope, head_dim)}
    if kind in ("linear", "yarn"):
        metadata[f"{arch}.rope.scaling.type"] = kind
        metadata[f"{arch}.rope.scaling.factor"] = float(rope["factor"])
        if "original_max_position_embeddings" in rope:
            metadata[f"{arch}.rope.scaling.original_context_length"] = int(
                rope["original_max_position_embeddings"]
            )
        unusual = {"attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim"} & {
            key for key, value in rope.items() if value is not None
        }
        if unusual:
            raise InputError(f"rope_parameters {', '.join(sorted(unusual))}: not supported in GGUF")
        return metadata, {}
    if kind == "longrope" and arch == "phi3":
        original = int(config.original_max_position_embeddings)
        scale = config.max_position_embeddings / original
        factor = math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0
        metadata[f"{arch}.rope.scaling.attn_factor"] = factor
        metadata[f"{arch}.rope.scaling.original_context_length"] = original
        return metadata, {
            _LONG: torch.tensor(rope["long_factor"], dtype=torch.float32),
            _SHORT: torch.tensor(rope["short_factor"], dtype=torch.float32),
        }
    if kind != "default":
        raise InputError(f"the RoPE type {kind} is not supported in GGUF")
    return metadata, {}
