"""CPU kernel: C++ for weights of 8 and 4 bits, with activations rounded to 8 bits.

Each row of activations has a scale for every 32 inputs (8-bit weights) or for every group of the weights (4
bits), so that one large activation costs its neighbors no precision. Integer sums are exact and each row is
computed in one order, so that its result has the same bits alone and in any batch, with any number of
threads.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch

from llmkit.errors import InputError
from llmkit.linear import native_build
from llmkit.linear.formats import QuantizedWeight
from llmkit.linear.registry import PackedWeight, kernel

PANEL = 16
"""Outputs that lie together in memory."""
BLOCK = 32
"""Inputs that share an activation scale under 8-bit weights. On SmolLM2-135M (int8, KL to float32) 128 gave
0.0165, 64 0.0124, 32 0.0092, and weights alone 0.0049; 64 is 4 % faster for one row and 14 % for 32."""
_CHUNK = 32_000  # values that are packed at a time; fewer than torch would share among threads
LEVEL: str | None = None
"""The instruction set; None is the fastest that can be built for this processor."""
_KINDS = {torch.float32: 0, torch.bfloat16: 1}


class _Weight(ctypes.Structure):
    """`Weight` of product.cpp. Addresses are plain numbers."""

    _fields_ = [
        ("values", ctypes.c_uint64),
        ("scale", ctypes.c_uint64),
        ("bias", ctypes.c_uint64),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("block", ctypes.c_int64),
        ("bits", ctypes.c_int64),
        ("offset", ctypes.c_uint64),
        ("halves", ctypes.c_int64),
    ]


def pack(weight: QuantizedWeight) -> dict[str, torch.Tensor]:
    """The native layout: panels of 16 outputs, in which 4 inputs of an output are adjacent.

    Returns:
        ``values`` uint8 (panels, inputs / 4, 16, 4), value + 128; for 4 bits (panels, inputs / 8, 16, 4),
        value + 8, input i of eight in the lower half of a byte and i + 4 in the upper. ``scale`` float32
        (panels * 16,); for 4 bits bfloat16 (panels, groups, 16). Of a GGUF file's weight ``scale`` is float16
        (panels, groups, 16) in any case, as is ``offset`` if it has one. Outputs are padded to whole panels
        with zeros, inputs to fours.
    """
    outputs = weight.shape[0]
    panels = -(-outputs // PANEL)
    values = _values_in_panels(weight, panels)
    if weight.bits == 8 and not weight.is_gguf:
        scale = torch.zeros(panels * PANEL)
        scale[:outputs] = weight.scale[:, 0].to(torch.float32)
        return {"values": values, "scale": scale}
    packed = {"values": values, "scale": _in_panels(weight.scale, panels)}
    return packed if weight.offset is None else packed | {"offset": _in_panels(weight.offset, panels)}


def _values_in_panels(weight: QuantizedWeight, panels: int) -> torch.Tensor:
    """The values of `pack`, some panels at a time: no second copy of the weight is made."""
    inputs = weight.shape[1]
    inputs_a_byte, offset = (1, 128) if weight.bits == 8 else (2, 8)
    wide = -(-inputs // (4 * inputs_a_byte))
    found = torch.empty((panels, wide, PANEL, 4), dtype=torch.uint8)
    step = max(1, _CHUNK // (PANEL * max(inputs, 1)))
    for first in range(0, panels, step):
        count = min(step, panels - first)
        rows = weight.values[first * PANEL : (first + count) * PANEL]
        # Whole numbers wrap around: adding the offset makes bytes of signed values, and it is what 0 becomes.
        values = torch.zeros((count * PANEL, wide * 4 * inputs_a_byte), dtype=torch.uint8)
        values[: len(rows), :inputs] = rows.view(torch.uint8)
        values += offset
        if weight.bits == 8:
            fours = values.view(count, PANEL, wide, 4)
        else:
            halves = values.view(count, PANEL, wide, 2, 4)
            fours = halves[:, :, :, 0] | (halves[:, :, :, 1] << 4)
        found[first : first + count] = fours.transpose(1, 2)
    return found


def _in_panels(scale: torch.Tensor, panels: int) -> torch.Tensor:
    """Scales (outputs, groups) as (panels, groups, 16), padded with zeros."""
    padded = scale.new_zeros(panels * PANEL, scale.shape[1])
    padded[: len(scale)] = scale
    return padded.view(panels, PANEL, -1).transpose(1, 2).contiguous()


def _by_output(scale: torch.Tensor, outputs: int) -> torch.Tensor:
    """The opposite of `_in_panels`."""
    return scale.transpose(1, 2).reshape(-1, scale.shape[1])[:outputs].contiguous()


def unpack(packed: PackedWeight) -> QuantizedWeight:
    """The weight of a native layout."""
    values = packed.tensors["values"]
    panels, wide = values.shape[:2]
    if packed.bits == 8:
        flat = values.transpose(1, 2).reshape(panels * PANEL, wide * 4)
    else:
        halves = torch.stack((values & 15, values >> 4), dim=3)  # (panels, wide, 16, 2, 4)
        flat = halves.permute(0, 2, 1, 3, 4).reshape(panels * PANEL, wide * 8)
    middle = 128 if packed.bits == 8 else 8
    signed = (flat[: packed.outputs, : packed.inputs].to(torch.int16) - middle).to(torch.int8)
    scale, offset = packed.tensors["scale"], packed.tensors.get("offset")
    if scale.dim() == 1:
        scale = scale.to(torch.bfloat16)[: packed.outputs, None].contiguous()
    else:
        scale = _by_output(scale, packed.outputs)
    offset = None if offset is None else _by_output(offset, packed.outputs)
    return QuantizedWeight(signed, scale, packed.bits, packed.group, offset)


def rows_of(packed: PackedWeight, indices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows of an 8-bit weight as numbers, (*indices.shape, inputs): an embedding's look-up."""
    flat = indices.reshape(-1)
    values = packed.tensors["values"]
    found = values[flat // PANEL, :, flat % PANEL].reshape(flat.numel(), -1)[:, : packed.inputs]
    scaled, scale = found.to(torch.float32).sub_(128), packed.tensors["scale"]
    if scale.dim() == 1:
        scaled.mul_(scale[flat][:, None])
    else:
        by = scale[flat // PANEL, :, flat % PANEL]  # (tokens, groups)
        scaled.view(len(flat), -1, packed.group).mul_(by[..., None])
    return scaled.to(dtype).view(*indices.shape, packed.inputs)


@kernel(
    activations="int8",
    row_independent=True,
    devices=("cpu",),
    dtypes=("float32", "bfloat16"),
    gguf=True,
    pack=pack,
    unpack=unpack,
    rows=rows_of,
)
def product(x: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
    """x W' + bias, natively.

    Raises:
        InputError: groups of a size that the native code does not have.
        MemoryError: there is no memory for the rounded activations.
    """
    output = x.new_empty((*x.shape[:-1], weight.outputs))
    if "function" not in weight.memo:
        weight.memo["function"] = native_build.load(LEVEL or native_build.best())
    failed = weight.memo["function"](
        handle(weight),
        x.data_ptr(),
        output.data_ptr(),
        x.numel() // weight.inputs,
        weight.inputs,
        _KINDS[x.dtype],
        torch.get_num_threads(),
    )
    if failed == 2:
        raise InputError(
            f"the native product does not support weights of {weight.bits} bits in groups of {weight.group}"
        )
    if failed:
        raise MemoryError("the native product could not allocate memory for its activations")
    return output


def handle(weight: PackedWeight) -> int:
    """Return the address of a weight as C sees it; it stays valid as long as the weight's tensors."""
    if "handle" not in weight.memo:
        weight.memo["handle"] = _handle(weight)
    return int(weight.memo["handle"][1])


def block_of(weight: PackedWeight) -> int:
    """Return the number of inputs that share a scale of the activations."""
    return BLOCK if weight.bits == 8 and not _halves(weight) else weight.group


def _halves(weight: PackedWeight) -> bool:
    """Return True for the scales of a GGUF file."""
    return weight.tensors["scale"].dtype == torch.float16


def _handle(weight: PackedWeight) -> tuple[Any, int, torch.Tensor | None]:
    """The weight as C sees it, its address, and the bias that it points to."""
    bias = None
    if weight.bias is not None:
        bias = torch.zeros(-(-weight.outputs // PANEL) * PANEL)
        bias[: weight.outputs] = weight.bias.detach()
    found = _Weight(
        weight.tensors["values"].data_ptr(),
        weight.tensors["scale"].data_ptr(),
        0 if bias is None else bias.data_ptr(),
        weight.outputs,
        weight.inputs,
        block_of(weight),
        weight.bits,
        weight.tensors["offset"].data_ptr() if "offset" in weight.tensors else 0,
        _halves(weight),
    )
    return found, ctypes.addressof(found), bias
