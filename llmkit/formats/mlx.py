"""Models in MLX's layout: safetensors with mlx-lm's names, its quantized format, and its config.

https://github.com/ml-explore/mlx-lm reads these folders. A quantized weight of shape (rows, columns) is
`weight` (rows, columns * bits / 32) in uint32, the first value in the lowest bits, with `scales` and
`biases` (rows, columns / group_size): value = scale * number + bias.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError
from llmkit.records.unfinished.shards import MAX_SHARD_SIZE, Parts

if TYPE_CHECKING:
    import torch

BITS = {"int8": 8, "int4": 4}
_GROUPS = (64, 32)


@dataclass(frozen=True)
class MLXFamily:
    """An architecture that mlx-lm supports.

    Attributes:
        renamed: prefixes of names in transformers, and the prefixes in mlx-lm.
        transposed: suffixes of names of weights that are stored transposed.
        head: ``tied`` if mlx-lm always uses the embeddings as output layer, ``own`` if it always needs a
            separate weight; otherwise the config decides.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    transposed: tuple[str, ...] = ()
    head: str = "config"


# Each of these was run in mlx-lm on weights that llmkit wrote.
FAMILIES = {
    "llama": MLXFamily(),
    "mistral": MLXFamily(),
    "qwen2": MLXFamily(),
    "qwen3": MLXFamily(),
    "gemma": MLXFamily(head="tied"),
    "gemma2": MLXFamily(head="tied"),
    "gemma3_text": MLXFamily(),
    "phi3": MLXFamily(),
    "smollm3": MLXFamily(),
    "olmo2": MLXFamily(),
    "granite": MLXFamily(),
    "starcoder2": MLXFamily(),
    "stablelm": MLXFamily(head="own"),
    "gpt2": MLXFamily(
        renamed=(("transformer.", "model."),),
        transposed=("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"),
        head="tied",
    ),
    "gpt_neox": MLXFamily(
        renamed=(("gpt_neox.layers.", "model.h."), ("gpt_neox.", "model."), ("lm_head.", "model.embed_out.")),
        head="own",
    ),
}  # fmt: skip


def family_for(model_type: str, name: str) -> MLXFamily:
    """The family of a model.

    Raises:
        InputError: mlx-lm does not have it, or llmkit does not know its names there.
    """
    if model_type not in FAMILIES:
        raise InputError(
            f"{name}: the architecture {model_type} is not supported for MLX; supported:"
            f" {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]


def mlx_name(family: MLXFamily, name: str) -> str:
    """The name that a tensor has in mlx-lm."""
    for start, other in family.renamed:
        if name.startswith(start):
            return other + name[len(start) :]
    return name


def config_of(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the config.json that mlx-lm reads.

    transformers 5 keeps the rotary settings in ``rope_parameters``. Most of mlx-lm's models read `rope_theta`
    and `rope_scaling`, and silently use their own defaults if these are missing.

    Args:
        config: what config.json says to transformers.
        name: the model, for messages.

    Raises:
        InputError: layers in an order that mlx-lm cannot have.
    """
    found = dict(config)
    rope = found.get("rope_parameters") or {}
    if found["model_type"] == "gemma3_text":
        found |= _gemma3(found, rope, name)
        rope = rope.get("full_attention", rope)
    theta = rope.get("rope_theta")
    if theta is not None:
        found["rope_theta"] = theta
    if rope.get("partial_rotary_factor") is not None:
        found["partial_rotary_factor"] = rope["partial_rotary_factor"]
    kind = rope.get("rope_type", "default")
    rest = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
    found["rope_scaling"] = None if kind == "default" else rest | {"type": kind}
    if found["model_type"] == "gpt_neox":
        found |= {"rotary_emb_base": theta, "rotary_pct": rope.get("partial_rotary_factor", 1.0)}
        _check_width(found["hidden_size"], found["intermediate_size"], name)
    if found["model_type"] == "gpt2":
        found["n_ctx"] = found["n_positions"]
        _check_width(found["n_embd"], found.get("n_inner"), name)
    return found


def _check_width(hidden: int, inner: int | None, name: str) -> None:
    if inner is not None and inner != 4 * hidden:
        raise InputError(f"{name}: mlx-lm has MLPs of 4 x {hidden} values for this architecture, not {inner}")


def _gemma3(config: Mapping[str, Any], rope: Mapping[str, Any], name: str) -> dict[str, Any]:
    layers = list(config.get("layer_types") or [])
    full = [i for i, kind in enumerate(layers) if kind == "full_attention"]
    pattern = full[0] + 1 if full else len(layers) + 1
    if any((kind == "full_attention") != (i % pattern == pattern - 1) for i, kind in enumerate(layers)):
        raise InputError(
            f"{name}: mlx-lm has full attention at every n-th layer of gemma3_text only, and layer_types"
            " differs"
        )
    local = rope.get("sliding_attention", rope).get("rope_theta", 10000.0)
    return {"sliding_window_pattern": pattern, "rope_local_base_freq": local}


@dataclass(frozen=True)
class Packed:
    """A weight in MLX's quantized form.

    Attributes:
        weight: uint32 (rows, columns * bits / 32).
        scales: (rows, columns / group), in the dtype of the model's other weights.
        biases: as `scales`.
        group: columns that share a scale.
    """

    weight: torch.Tensor
    scales: torch.Tensor
    biases: torch.Tensor
    group: int


def group_for(columns: int) -> int | None:
    """The largest group size that divides a row; None if none does."""
    return next((group for group in _GROUPS if columns % group == 0), None)


def pack(weight: torch.Tensor, bits: int, dtype: torch.dtype) -> Packed | None:
    """Quantize a weight to the nearest of 2^bits equal steps between the ends of each group.

    Args:
        weight: (rows, columns).
        bits: 4 or 8.
        dtype: of scales and biases.

    Returns:
        the packed weight; None if no group size divides its rows.
    """
    import torch

    group = group_for(weight.shape[1])
    if group is None:
        return None
    rows, per = weight.shape[0], 32 // bits
    groups = weight.float().reshape(rows, -1, group)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    steps = 2**bits - 1
    # Rounded first, so that the numbers are the best for the scales that are stored.
    scales = ((high - low) / steps).clamp(min=1e-7).to(dtype)
    biases = low.to(dtype)
    numbers = ((groups - biases.float()) / scales.float()).round().clamp(0, steps).to(torch.int64)
    shifts = torch.arange(per) * bits
    words = (numbers.reshape(rows, -1, per) << shifts).sum(-1)
    return Packed(words.to(torch.uint32), scales[..., 0].contiguous(), biases[..., 0].contiguous(), group)


def unpack(packed: Packed, bits: int) -> torch.Tensor:
    """The weight (rows, columns) in float32 that a packed one stands for."""
    import torch

    shifts = torch.arange(32 // bits) * bits
    numbers = (packed.weight.to(torch.int64)[..., None] >> shifts) & (2**bits - 1)
    rows = numbers.shape[0]
    groups = numbers.reshape(rows, -1, packed.group).float()
    return (groups * packed.scales.float()[..., None] + packed.biases.float()[..., None]).reshape(rows, -1)


@dataclass(frozen=True)
class _MLXTensor:
    """A tensor of a file: a weight of the model, or a part of its packed form.

    Attributes:
        source: the weight's name in transformers.
        part: ``weight``, ``scales`` or ``biases``.
        group: columns that share a scale; None for a weight that is not packed.
    """

    source: str
    part: str
    group: int | None


def write(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    family: MLXFamily,
    *,
    dtype: str,
    bits: int | None,
    tables: set[str],
    tied: set[str],
    progress: Callable[[int, int], None],
    parts: Parts | None = None,
    max_shard_size: str = MAX_SHARD_SIZE,
) -> dict[str, Any]:
    """Write a model's weights.

    Args:
        folder: where to; it exists.
        tensors: by the names of transformers.
        family: the model's.
        dtype: of the weights that are not quantized.
        bits: 4 or 8 to quantize, or None.
        tables: names of the weights of linear layers and embeddings, which may be quantized.
        tied: names that are not written.
        progress: called with the number of tensors done and their total.
        parts: files that need not be written again; None writes all.
        max_shard_size: of a file, such as ``5GB``.

    Returns:
        what config.json says of the quantization; empty without one.

    Raises:
        OptionError: `max_shard_size` is not a size.
    """
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    wanted = getattr(torch, dtype)
    plan: dict[str, tuple[_MLXTensor, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name not in tied:
            plan |= _planned(family, name, value, wanted, bits if name in tables else None)
    try:
        split = split_torch_state_dict_into_shards(
            {made: shape for made, (_, shape) in plan.items()},
            filename_pattern="model{suffix}.safetensors",
            max_shard_size=max_shard_size,
        )
    except ValueError:
        raise OptionError("max_shard_size", f"must be a size such as 5GB, not {max_shard_size}") from None
    done = 0
    for file, names in split.filename_to_tensors.items():
        shard: dict[str, torch.Tensor] = {}
        for made in names:
            if parts is None or not parts.is_whole(file):
                shard[made] = _made(plan[made][0], tensors, family, made, wanted, bits)
            done += 1
            progress(done, len(plan))
        if shard:
            save_file(shard, folder / file, metadata={"format": "mlx"})
            if parts is not None:
                parts.add(file)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": dict(sorted(split.tensor_to_filename.items()))}
        text = json.dumps(index, indent=2) + "\n"
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    packed = {
        made: piece.group for made, (piece, _) in plan.items() if piece.part == "scales" and piece.group
    }
    return _quantization({made.removesuffix(".scales"): group for made, group in packed.items()}, bits)


def _planned(
    family: MLXFamily, name: str, value: torch.Tensor, dtype: torch.dtype, bits: int | None
) -> dict[str, tuple[_MLXTensor, torch.Tensor]]:
    """The tensors that a weight becomes, by their names in the file, with empty ones of their shapes."""
    import torch

    made = mlx_name(family, name)
    shape = tuple(reversed(value.shape)) if _is_transposed(family, made) else tuple(value.shape)
    group = group_for(shape[1]) if bits is not None else None
    if bits is None or group is None:
        return {made: (_MLXTensor(name, "weight", None), torch.empty(shape, dtype=dtype, device="meta"))}
    words = torch.empty(shape[0], shape[1] * bits // 32, dtype=torch.uint32, device="meta")
    scales = torch.empty(shape[0], shape[1] // group, dtype=dtype, device="meta")
    stem = made.removesuffix(".weight")
    return {
        made: (_MLXTensor(name, "weight", group), words),
        f"{stem}.scales": (_MLXTensor(name, "scales", group), scales),
        f"{stem}.biases": (_MLXTensor(name, "biases", group), scales),
    }


def _made(
    piece: _MLXTensor,
    tensors: Mapping[str, torch.Tensor],
    family: MLXFamily,
    made: str,
    dtype: torch.dtype,
    bits: int | None,
) -> torch.Tensor:
    value = tensors[piece.source]
    if _is_transposed(family, mlx_name(family, piece.source)):
        value = value.t()
    if piece.group is None or bits is None:
        return value.to(dtype, copy=True, memory_format=_contiguous())
    packed = pack(value, bits, dtype)
    assert packed is not None, made
    found: torch.Tensor = getattr(packed, piece.part)
    return found


def _contiguous() -> torch.memory_format:
    import torch

    return torch.contiguous_format


def _is_transposed(family: MLXFamily, made: str) -> bool:
    return bool(family.transposed) and made.endswith(family.transposed)


def _quantization(groups: Mapping[str, int], bits: int | None) -> dict[str, Any]:
    if bits is None or not groups:
        return {}
    other = {
        stem: {"group_size": group, "bits": bits} for stem, group in groups.items() if group != _GROUPS[0]
    }
    return {"group_size": _GROUPS[0], "bits": bits, **other}


def read(folder: Path, names: list[str], family: MLXFamily, bits: int | None) -> dict[str, torch.Tensor]:
    """Read the weights again, by the names of transformers and unpacked.

    Args:
        folder: the model's.
        names: those of transformers; names without a tensor in the folder are left out.
        family: the model's.
        bits: of the quantized weights.
    """
    from safetensors.torch import load_file

    stored: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        stored |= load_file(file)
    found = {}
    for name in names:
        made = mlx_name(family, name)
        value = stored.pop(made, None)
        if value is None:
            continue
        stem = made.removesuffix(".weight")
        if bits is not None and f"{stem}.scales" in stored:
            scales, biases = stored.pop(f"{stem}.scales"), stored.pop(f"{stem}.biases")
            group = value.shape[1] * 32 // bits // scales.shape[1]
            value = unpack(Packed(value, scales, biases, group), bits)
        found[name] = value.t().contiguous() if _is_transposed(family, made) else value
    if stored:
        raise InputError(f"{folder}: {len(stored)} tensors are not the model's, such as {min(stored)}")
    return found
