"""Products by torch alone: for machines without a compiler, and for other devices.

Weights of 8 bits go through torch's own product for bfloat16 where there are few rows. Everything else is
unpacked a block of outputs at a time and multiplied as numbers: that saves memory, not time.
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
    """8 bits: ``values`` int8 (outputs, inputs) and ``scale`` bfloat16 (outputs,); 4 bits: as in a file."""
    if weight.bits == 8:
        return {"values": weight.values.contiguous(), "scale": weight.scale[:, 0].contiguous()}
    return {"weight_packed": pack_int32(weight.values, 4), "weight_scale": weight.scale}


def unpack(packed: PackedWeight) -> QuantizedWeight:
    """The weight, on the CPU."""
    tensors = {name: tensor.cpu() for name, tensor in packed.tensors.items()}
    if packed.bits == 8:
        return QuantizedWeight(tensors["values"], tensors["scale"][:, None], 8, packed.group)
    values = unpack_int32(tensors["weight_packed"], 4, packed.inputs)
    return QuantizedWeight(values, tensors["weight_scale"], 4, packed.group)


def rows_of(packed: PackedWeight, indices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Rows of an 8-bit weight as numbers."""
    values, scale = packed.tensors["values"], packed.tensors["scale"]
    return (values[indices].to(torch.float32) * scale[indices].to(torch.float32)[..., None]).to(dtype)


@kernel(devices=("cpu", "cuda", "mps"), pack=pack, unpack=unpack, rows=rows_of)
def product(x: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
    """x W' + bias, by torch's operations."""
    flat = x.reshape(-1, weight.inputs)
    bias = None if weight.bias is None else weight.bias.to(x.dtype)
    if weight.bits == 8 and x.dtype == torch.bfloat16 and x.device.type == "cpu" and len(flat) <= _FEW:
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
    if weight.bits == 8:
        values, scale = weight.tensors["values"][first:last], weight.tensors["scale"][first:last, None]
    else:
        values = unpack_int32(weight.tensors["weight_packed"][first:last], 4, weight.inputs)
        scale = weight.tensors["weight_scale"][first:last]
    grouped = values.view(len(values), -1, weight.group).to(torch.float32)
    return (grouped * scale.to(torch.float32)[..., None]).view(len(values), weight.inputs)
