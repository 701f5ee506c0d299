"""MLX's layout of a model: safetensors by mlx-lm's names, its own quantized form, and a config that it reads.

https://github.com/ml-explore/mlx-lm reads these folders. A quantized weight of shape (rows, columns) is
`weight` (rows, columns * bits / 32) in uint32, the first value in the lowest bits, with `scales` and
`biases` (rows, columns / group_size): value = scale * number + bias.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError

if TYPE_CHECKING:
    import torch

BITS = {"int8": 8, "int4": 4}
_SHARD_BYTES = 5_000_000_000
_GROUPS = (64, 32)
_TYPES = {
    "float32": "float32",
    "float16": "float16",
    "bfloat16": "bfloat16",
}


@dataclass(frozen=True)
class MLXFamily:
    """An architecture that mlx-lm has.

    Attributes:
        renamed: starts of names in transformers, and what mlx-lm has in their place.
        transposed: ends of names of weights that are stored the other way around.
        head: ``tied`` where mlx-lm always multiplies with the embeddings, ``own`` where it always wants a
            weight, and otherwise as the config says.
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
            f"{name}: the architecture {model_type} is not written for MLX; these are: {', '.join(FAMILIES)}"
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

    transformers 5 keeps the rotary settings in ``rope_parameters``. Most of mlx-lm's models read
    `rope_theta` and `rope_scaling`, and take their own defaults without a word where those are missing.

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
    shard_bytes: int = _SHARD_BYTES,
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
        shard_bytes: a new file begins above this.

    Returns:
        what config.json says of the quantization; empty without one.
    """
    import torch
    from safetensors.torch import save_file

    wanted = getattr(torch, _TYPES[dtype])
    names = [name for name in tensors if name not in tied]
    groups: dict[str, int] = {}

    def parts(name: str) -> Iterator[tuple[str, torch.Tensor]]:
        made, value = mlx_name(family, name), tensors[name]
        value = value.t().contiguous() if made.endswith(family.transposed or ("\0",)) else value
        packed = pack(value, bits, wanted) if bits is not None and name in tables else None
        if packed is None:
            yield made, value.to(wanted).contiguous()
            return
        stem = made.removesuffix(".weight")
        groups[stem] = packed.group
        yield from (
            (made, packed.weight), (f"{stem}.scales", packed.scales), (f"{stem}.biases", packed.biases)
        )  # fmt: skip

    shards: list[list[str]] = []
    batch: dict[str, torch.Tensor] = {}

    def flush() -> None:
        save_file(batch, folder / f"part-{len(shards)}", metadata={"format": "mlx"})
        shards.append(list(batch))
        batch.clear()

    total = 0
    for done, name in enumerate(names, start=1):
        for made, value in parts(name):
            size = value.numel() * value.itemsize
            if batch and sum(one.numel() * one.itemsize for one in batch.values()) + size > shard_bytes:
                flush()
            batch[made] = value.clone() if value.data_ptr() == tensors[name].data_ptr() else value
            total += size
        progress(done, len(names))
    flush()
    _name_shards(folder, shards, total)
    return _quantization(groups, bits)


def _name_shards(folder: Path, shards: list[list[str]], total: int) -> None:
    """Give the files their names, with the index that mlx-lm writes where there are several."""
    count = len(shards)
    index: dict[str, str] = {}
    for i, made in enumerate(shards):
        file = "model.safetensors" if count == 1 else f"model-{i + 1:05d}-of-{count:05d}.safetensors"
        (folder / f"part-{i}").rename(folder / file)
        index |= dict.fromkeys(made, file)
    if count > 1:
        record = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(record, indent=2) + "\n")


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
        found[name] = value.t().contiguous() if made.endswith(family.transposed or ("\0",)) else value
    if stored:
        raise InputError(f"{folder}: {len(stored)} tensors are not the model's, such as {min(stored)}")
    return found
