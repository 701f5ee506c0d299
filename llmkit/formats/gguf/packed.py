"""Read packed tensors of a GGUF file, for kernels that multiply by packed weights.

A block has 32 inputs of an output. Q8_0: a float16 scale d, 32 bytes q, weight = d q. Q4_0: d, 16 bytes,
whose lower halves are the first 16 values q and whose upper halves the last, weight = d (q - 8). Q4_1: d, an
offset m, 16 such bytes, weight = d q + m. Source: ggml-common.h and ggml-quants.c of
https://github.com/ggml-org/ggml
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from llmkit.errors import InputError
from llmkit.formats.gguf.header import TensorInfo

if TYPE_CHECKING:
    import torch

    from llmkit.linear.formats import QuantizedWeight

PACKED = {"Q8_0": 8, "Q4_0": 4, "Q4_1": 4}
"""Types that are read so, and their bits."""
_BLOCK = 32
_AT_ONCE = 1 << 22  # bytes of the file


def read_packed(info: TensorInfo) -> QuantizedWeight:
    """Read a tensor of one of the types `PACKED` without unpacking it to floating point.

    Args:
        info: its place; a matrix.

    Raises:
        InputError: the file became shorter, or a scale is no finite number.
    """
    import torch

    from llmkit.linear.formats import QuantizedWeight

    outputs, inputs = math.prod(info.shape[:-1]), info.shape[-1]
    groups, row = inputs // _BLOCK, info.nbytes // max(math.prod(info.shape[:-1]), 1)
    values = torch.empty(outputs, inputs, dtype=torch.int8)
    scale = torch.empty(outputs, groups, dtype=torch.float16)
    offset = torch.empty_like(scale) if info.kind == "Q4_1" else None
    step = max(1, _AT_ONCE // row)
    with info.path.open("rb") as file:
        file.seek(info.offset)
        for first in range(0, outputs, step):
            count = min(step, outputs - first)
            data = torch.empty(count * row, dtype=torch.uint8)
            if file.readinto(cast(Any, data.numpy())) != data.numel():
                raise InputError(f"{info.path}: the file became shorter while {info.name} was read")
            blocks = data.view(count, groups, -1)
            head = blocks[..., : 2 if offset is None else 4].contiguous().view(torch.float16)
            scale[first : first + count] = head[..., 0]
            if offset is not None:
                offset[first : first + count] = head[..., 1]
            values[first : first + count] = _values(blocks[..., 2 if offset is None else 4 :], info.kind)
    finite = bool(torch.isfinite(scale).all()) and (offset is None or bool(torch.isfinite(offset).all()))
    if not finite:
        raise InputError(f"{info.path}: damaged: {info.name} has scales that are not finite numbers")
    return QuantizedWeight(values, scale, PACKED[info.kind], _BLOCK, offset)


def _values(packed: torch.Tensor, kind: str) -> torch.Tensor:
    """Int8 values (outputs, inputs) of the bytes (outputs, groups, 32 or 16) of blocks."""
    import torch

    if PACKED[kind] == 8:
        return packed.contiguous().view(torch.int8).flatten(1)
    both = torch.cat((packed & 15, packed >> 4), dim=-1)
    return (both.view(torch.int8) - 8).flatten(1)


def take_rows(weight: QuantizedWeight, rows: torch.Tensor) -> QuantizedWeight:
    """Return a weight with its outputs in another order.

    Args:
        weight: (outputs, inputs).
        rows: numbers of the outputs, (outputs,).
    """
    from dataclasses import replace

    offset = None if weight.offset is None else weight.offset[rows]
    return replace(weight, values=weight.values[rows], scale=weight.scale[rows], offset=offset)


def in_eight_bits(weight: QuantizedWeight) -> QuantizedWeight | None:
    """Return the same numbers with 8 bits; None for a weight with offsets, which the 8-bit format lacks."""
    from dataclasses import replace

    return None if weight.offset is not None else replace(weight, bits=8)
