"""Products by torch alone: for machines without a compiler, and for other devices.

For few rows, weights of 8 bits use torch's own product for bfloat16. All others are unpacked in blocks of
outputs and multiplied in floating point: this saves memory, not time.
"""

from __future__ import annotations

import torch

from llmkit.linear.formats import QuantizedWeight, pack_int32, unpack_int32
from llmkit.linear.registry import PackedWeight, kernel

_BLOCK = 1 << 21
"""Numbers of a weight that are unpacked at a time."""
_FEW = 4
"""Rows up to which torch's 8-bit product beats unpacking."""


def pack(weight: QuantizedWeight) -> dict[str, torch.Tensor]:
    """8 bits: ``values`` int8 (outputs, inputs) and ``scale`` bfloat16 (outputs,); 4 bits: as in a file.

    A GGUF file's scales of 8 bits stay (outputs, groups), its offsets are ``weight_offset``.
    """
    if weight.bits == 8:
        scale = weight.scale if weight.is_gguf else weight.scale[:, 0]
        return {"values": weight.values.contiguous(), "scale": scale.contiguous()}
    packed = {"weight_packed": pack_int32(weight.values, 4), "weight_scale": weight.scale}
    return packed if weight.offset is None else packed | {"weight_offset": weight.offset}


def unpack(packed: PackedWeight) -> QuantizedWeight:
    """The weight, on the CPU."""
    tensors = {name: tensor.cpu() for name, tensor in packed.tensors.items()}
    if packed.bits == 8:
        scale = tensors["scale"]
        return QuantizedWeight(
            tensors["values"], scale[:, None] if scale.dim() == 1 else scale, 8, packed.group
        )
    values = unpack_int32(tensors["weight_packed"], 4, packed.inputs)
    return QuantizedWeight(values, tensors["weight_scale"], 4, packed.group, tensors.get("weight_offset"))


def rows_of(packed: PackedWeight, indices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows of an 8-bit weight as numbers."""
    values, scale = packed.tensors["values"][indices], packed.tensors["scale"][indices]
    grouped = values.view(*indices.shape, -1, packed.group).to(torch.float32)
    return (grouped * scale.view(*indices.shape, -1, 1)).view(values.shape).to(dtype)


@kernel(devices=("cpu", "cuda", "mps"), gguf=True, pack=pack, unpack=unpack, rows=rows_of)
def product(x: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
    """x W' + bias, by torch's operations."""
    flat = x.reshape(-1, weight.inputs)
    bias = None if weight.bias is None else weight.bias.to(x.dtype)
    by_output = weight.bits == 8 and weight.tensors["scale"].dim() == 1
    if by_output and x.dtype == torch.bfloat16 and x.device.type == "cpu" and len(flat) <= _FEW:
        output = torch._weight_int8pack_mm(flat, weight.tensors["values"], weight.tensors["scale"])
        output = output if bias is None else output + bias
    else:
        output = x.new_empty(flat.shape[0], weight.outputs)
        step = max(1, _BLOCK // weight.inputs)
        for first in range(0, weight.outputs, step):
            part = slice(first, first + step)
            numbers = _numbers(weight, first, first + step).to(x.dtype)
            output[:, part] = torch.nn.functional.linear(flat, numbers, None if bias is None else bias[part])
    return output.view(*x.shape[:-1], weight.outputs)


def _numbers(weight: PackedWeight, first: int, last: int) -> torch.Tensor:
    """Outputs [first, last) of the weight, float32."""
    tensors, offset = weight.tensors, weight.tensors.get("weight_offset")
    if weight.bits == 8:
        values, scale = tensors["values"][first:last], tensors["scale"][first:last]
        scale = scale[:, None] if scale.dim() == 1 else scale
    else:
        values = unpack_int32(tensors["weight_packed"][first:last], 4, weight.inputs)
        scale = tensors["weight_scale"][first:last]
    part = None if offset is None else offset[first:last]
    return QuantizedWeight(values, scale, weight.bits, weight.group, part).dequantize()
