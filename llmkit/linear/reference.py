"""The product by its formula, in float64: slow, a reference for new kernels."""

from __future__ import annotations

import torch

from llmkit.linear.formats import QuantizedWeight, unpack_int32
from llmkit.linear.registry import PackedWeight, kernel


@kernel(devices=("cpu",), dtypes=("float32", "bfloat16", "float16", "float64"), gguf=True)
def product(x: torch.Tensor, weight: PackedWeight) -> torch.Tensor:
    """x W' + bias with W = value * scale (+ offset), from the layout of a file."""
    tensors = weight.tensors
    values = unpack_int32(tensors["weight_packed"], weight.bits, weight.inputs)
    offset = tensors.get("weight_offset")
    numbers = QuantizedWeight(values, tensors["weight_scale"], weight.bits, weight.group, offset)
    found = x.double() @ numbers.dequantize().double().T
    return (found if weight.bias is None else found + weight.bias.double()).to(x.dtype)
