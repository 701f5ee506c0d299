"""Read safetensors files one tensor at a time.

The safetensors library maps a file into memory, and each page that was read counts as memory of the process.
Here, a tensor needs memory only while it is in use.

Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from llmkit.errors import InputError
from llmkit.formats.shapes import count_values

if TYPE_CHECKING:
    import torch

# The format's own limit: safetensors refuses longer headers.
_MAX_HEADER = 100_000_000
# safetensors' name of a type: torch's, and bytes of a value.
TYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's place in a file.

    Attributes:
        dtype: safetensors' name of its type, such as ``BF16``.
        shape: its shape.
        path: the file.
        offset: bytes from the start of the file.
        nbytes: its size in the file.
    """

    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    nbytes: int

    @property
    def values(self) -> int:
        """Number of values in it."""
        return math.prod(self.shape)


class StoredMatrix:
    """A matrix in a file; its rows are read on demand."""

    def __init__(self, stored: StoredTensor) -> None:
        self._stored = stored
        self.shape = stored.shape

    def __getitem__(self, rows: slice) -> torch.Tensor:
        first = rows.start or 0
        count = None if rows.stop is None else rows.stop - first
        return read_rows(self._stored, first, count)


class StoredTensors(Mapping[str, "torch.Tensor"]):
    """The tensors of a folder's safetensors files, by name; each access reads the tensor again.

    Args:
        folder: the folder.
        name: the model, for messages.

    Raises:
        InputError: a file is damaged or cut off.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._places: dict[str, StoredTensor] = {}
        for path in sorted(folder.glob("*.safetensors")):
            self._places |= read_table(path, name)

    def __getitem__(self, name: str) -> torch.Tensor:
        return read_rows(self._places[name])

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def matrix(self, name: str) -> StoredMatrix:
        """Return a matrix whose rows are read on demand."""
        return StoredMatrix(self._places[name])


def read_table(path: Path, name: str) -> dict[str, StoredTensor]:
    """Read the header of a file: a place for each tensor.

    Args:
        path: the file.
        name: the model, for messages.

    Raises:
        InputError: no safetensors file, damaged or truncated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _MAX_HEADER):
                raise ValueError("cut off")
            table = json.loads(file.read(length))
            table.pop("__metadata__", None)
            found = {str(key): _place(one, path, 8 + length) for key, one in table.items()}
        except (
            *(struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError),
            RecursionError,
        ) as error:
            raise InputError(f"{name}: {path.name} is not a safetensors file, or is cut off") from error
    if any(one.offset + one.nbytes > size for one in found.values()):
        raise InputError(f"{name}: {path.name} is cut off; download or copy it again")
    if not _covers(found, 8 + length, size):
        raise InputError(
            f"{name}: {path.name} is damaged: its tensors overlap or leave gaps; download or copy it again"
        )
    return found


def _covers(places: Mapping[str, StoredTensor], start: int, size: int) -> bool:
    """Return True if the tensors are contiguous up to the end of the file, as the format requires."""
    for one in sorted(places.values(), key=lambda one: (one.offset, one.nbytes)):
        if one.offset != start:
            return False
        start += one.nbytes
    return start == size


def _place(entry: Any, path: Path, start: int) -> StoredTensor:
    dtype, shape = str(entry["dtype"]), tuple(map(int, entry["shape"]))
    first, last = map(int, entry["data_offsets"])
    if first < 0 or last < first:
        raise ValueError("offsets below zero")
    values = count_values(shape)
    if dtype in TYPES and values * TYPES[dtype][1] != last - first:
        raise ValueError("a tensor of another size than its shape")
    return StoredTensor(dtype, shape, path, start + first, last - first)


def read_rows(stored: StoredTensor, first: int = 0, count: int | None = None) -> torch.Tensor:
    """Read a tensor, or `count` of its rows from `first` on, in the type in which it is stored.

    Raises:
        InputError: a type that torch does not have here, or the file became shorter.
    """
    import torch

    if stored.dtype not in TYPES:
        raise InputError(f"{stored.path}: tensors of type {stored.dtype} are not supported")
    name, size = TYPES[stored.dtype]
    rows = stored.shape[0] if stored.shape else 1
    count = rows - first if count is None else min(count, rows - first)
    row = math.prod(stored.shape[1:])
    data = torch.empty(count * row * size, dtype=torch.uint8)
    with stored.path.open("rb") as file:
        file.seek(stored.offset + first * row * size)
        if data.numel() and file.readinto(cast(Any, data.numpy())) != data.numel():
            raise InputError(f"{stored.path}: the file became shorter while it was read")
    shape = (count, *stored.shape[1:]) if stored.shape else ()
    return data.view(getattr(torch, name)).view(shape)
