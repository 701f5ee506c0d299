"""Turn a tensor of a GGUF file into a torch tensor, a few rows at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.gguf.header import TENSOR_TYPES, TensorInfo

if TYPE_CHECKING:
    import numpy as np
    import torch

# Values unpacked at once: unpacking needs several float32 copies of them.
_AT_ONCE = 1 << 20


def read_tensor(info: TensorInfo, dtype: torch.dtype) -> torch.Tensor:
    """Read one tensor and unpack it.

    It is unpacked in float32 and then rounded to `dtype`, so the result and a few more MB are in memory.

    Args:
        info: its place, from `read_header`.
        dtype: of the result.

    Returns:
        A tensor of `info.shape`, on the CPU.

    Raises:
        InputError: the file is truncated, the type is not read, or the `gguf` package is missing.
    """
    import torch

    row = info.shape[-1]
    rows = math.prod(info.shape[:-1])
    result = torch.empty((rows, row), dtype=dtype)
    step = max(1, _AT_ONCE // row)
    with info.path.open("rb") as file:
        file.seek(info.offset)
        for start in range(0, rows, step):
            count = min(step, rows - start)
            data = file.read(info.nbytes // rows * count)
            if len(data) != info.nbytes // rows * count:
                raise InputError(f"{info.path}: the file became shorter while {info.name} was read")
            result[start : start + count] = torch.from_numpy(unpack(data, info.kind, (count, row)))
    return result.reshape(info.shape)


def unpack(data: bytes, kind: str, shape: tuple[int, int]) -> np.ndarray:
    """Values in float32 (rows, columns) of packed rows.

    Args:
        data: the rows as they are in the file.
        kind: ggml's name of their type.
        shape: rows and columns.

    Raises:
        InputError: the type is not read, or the `gguf` package is missing.
    """
    import numpy as np

    plain = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "i1", "I16": "<i2", "I32": "<i4", "I64": "<i8"}
    if kind in plain:
        return np.frombuffer(bytearray(data), dtype=plain[kind]).reshape(shape).astype(np.float32, copy=False)
    gguf = package()
    packed = np.frombuffer(data, dtype=np.uint8).reshape(shape[0], -1)
    try:
        # Damaged blocks may hold infinite scales; the values are checked where they are used.
        with np.errstate(all="ignore"):
            return gguf.dequantize(packed, gguf.GGMLQuantizationType[kind])
    except NotImplementedError:
        raise InputError(f"tensors of type {kind} cannot be unpacked") from None


def pack(tensor: torch.Tensor, kind: str) -> np.ndarray:
    """The bytes of a tensor, packed as `kind`.

    Args:
        tensor: (..., columns) of floating point.
        kind: F32, F16, BF16, or a quantized type that the `gguf` package writes, such as Q8_0.

    Returns:
        An array of float32, float16 or (packed) bytes; its last dimension is the packed row.

    Raises:
        InputError: the columns do not divide into the type's blocks, or a value is out of range.
    """
    import numpy as np
    import torch

    gguf = package()
    flat = tensor.reshape(-1, tensor.shape[-1])
    step = max(1, _AT_ONCE // flat.shape[1])
    parts = []
    for start in range(0, len(flat), step):
        rows = flat[start : start + step].to(torch.float32).contiguous().numpy()
        with np.errstate(over="ignore"):
            part = gguf.quantize(rows, gguf.GGMLQuantizationType[kind])
        if kind == "F16" and not np.isfinite(part).all() and np.isfinite(rows).all():
            raise InputError("a weight is too large for F16; use BF16 or F32")
        parts.append(part)
    packed = np.concatenate(parts)
    return packed.reshape(*tensor.shape[:-1], packed.shape[-1])


def fits(columns: int, kind: str) -> bool:
    """Return True if rows of `columns` values divide into the blocks of a type."""
    block = next(block for name, block, _ in TENSOR_TYPES.values() if name == kind)
    return columns % block == 0


def package() -> Any:
    """The `gguf` package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise InputError("GGUF needs the gguf package: pip install 'llmkit[gguf]'") from None
    return gguf
