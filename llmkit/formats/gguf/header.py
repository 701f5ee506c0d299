"""Read the header of a GGUF file: metadata, and a table of its tensors.

The reader of the `gguf` package trusts the counts and lengths in the file, so a damaged file can make it loop
and fill the memory. It also takes seconds for a large vocabulary. This reader checks every size against the
size of the file before it allocates memory.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmkit.errors import InputError
from llmkit.formats.gguf.cursor import Cursor

if TYPE_CHECKING:
    import numpy as np

# ggml's numbers for tensor types: name, values in a block, bytes of a block.
TENSOR_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}
# GGUF's numbers for metadata types: the letter in Python's struct module, which numpy shares for these sizes.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_NUMPY = {"B": "u1", "b": "i1", "H": "<u2", "h": "<i2", "I": "<u4", "i": "<i4", "f": "<f4", "?": "u1"}
_NUMPY |= {"Q": "<u8", "q": "<i8", "d": "<f8"}
# Above any real file: a key, a chat template, all metadata, all strings in arrays (vocabulary and merges; the
# largest known have 650,000), and tensors. Objects in memory are up to 30 times as large as their bytes here.
_LONGEST_KEY = 1 << 16
_LONGEST_STRING = 16 << 20
_MOST_METADATA = 64 << 20
_MOST_STRINGS = 900_000
_MOST_KEYS = 1 << 16
_MOST_TENSORS = 1 << 18
_MOST_DIMENSIONS = 4
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's place in a file.

    Attributes:
        name: in the file, such as ``blk.0.attn_q.weight``.
        shape: outermost dimension first, as in torch; the file has the reverse order.
        kind: ggml's name of its type, such as ``Q4_0``.
        path: the file.
        offset: bytes from the start of the file.
        nbytes: its size in the file.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    path: Path
    offset: int
    nbytes: int

    @property
    def values(self) -> int:
        """Number of values in it."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """The metadata of a GGUF file, and its tensors by name.

    Attributes:
        path: the file, the first one of several shards.
        metadata: by key. Arrays of numbers are numpy arrays, arrays of strings are lists.
        tensors: by name, over all shards.
    """

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]

    @property
    def architecture(self) -> str:
        """Such as ``llama``."""
        value = self.metadata.get("general.architecture")
        if not isinstance(value, str) or not value:
            raise InputError(f"{self.path}: general.architecture is missing")
        return value


def read_header(path: str | Path) -> Header:
    """Read a GGUF file's header, and those of its other shards.

    Args:
        path: the file; of a model in shards (``NAME-00001-of-00003.gguf``), any of them.

    Raises:
        InputError: not a GGUF file, truncated, or damaged; the message says where.
    """
    paths = _shards(Path(path))
    first = _read_one(paths[0])
    tensors = dict(first.tensors)
    for other in paths[1:]:
        for name, info in _read_one(other).tensors.items():
            if name in tensors:
                raise InputError(f"{other}: holds {name}, which an earlier shard holds too")
            tensors[name] = info
    return Header(paths[0], first.metadata, tensors)


def _shards(path: Path) -> list[Path]:
    match = _SHARD.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match[3])
    paths = [path.with_name(f"{match[1]}-{i:05d}-of-{match[3]}.gguf") for i in range(1, count + 1)]
    for one in paths:  # stops at the first that is missing, however large the number in the name
        if not one.is_file():
            raise InputError(f"{path}: incomplete: the shard {one.name} is missing")
    return paths


def _read_one(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            return _parse(file, path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _parse(file: BinaryIO, path: Path) -> Header:
    import os

    cursor = Cursor(file, os.fstat(file.fileno()).st_size, str(path))
    if cursor.left < 4 or cursor.take(4, "the magic number") != b"GGUF":
        raise InputError(f"{path}: not a GGUF file")
    version = int(cursor.number("I", "the version"))
    if version & 0xFFFF == 0:
        raise InputError(f"{path}: a big-endian GGUF file, which is not supported; use a little-endian copy")
    if version not in (2, 3):
        raise InputError(f"{path}: GGUF version {version} is not supported, only 2 and 3")
    tensor_count = int(cursor.number("Q", "the number of tensors"))
    key_count = int(cursor.number("Q", "the number of metadata keys"))
    # The smallest key takes 13 bytes (length, type, value), the smallest tensor 24.
    for count, least, most, what in (
        (key_count, 13, _MOST_KEYS, "metadata keys"),
        (tensor_count, 24, _MOST_TENSORS, "tensors"),
    ):
        if count > most or count * least > cursor.left:
            raise InputError(f"{path}: damaged: it claims {count} {what}, more than fit into the file")
    metadata = _metadata(cursor, key_count)
    entries = [_tensor_entry(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise InputError(f"{path}: damaged: general.alignment is {alignment}")
    start = -(-cursor.position // alignment) * alignment
    return Header(path, metadata, _place(entries, start, cursor.size, path))


def _metadata(cursor: Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    strings_left = _MOST_STRINGS
    for _ in range(count):
        key = cursor.string("a metadata key", limit=_LONGEST_KEY)
        if key in metadata:
            raise InputError(f"{cursor.name}: damaged: the metadata key {key} occurs twice")
        kind = int(cursor.number("I", f"the type of {key}"))
        if kind in _SCALARS:
            metadata[key] = cursor.number(_SCALARS[kind], key)
        elif kind == _STRING:
            metadata[key] = cursor.string(key, limit=_LONGEST_STRING)
        elif kind == _ARRAY:
            metadata[key] = _array(cursor, key, strings_left)
            if isinstance(metadata[key], list):
                strings_left -= len(metadata[key])
        else:
            raise InputError(f"{cursor.name}: damaged: {key} has the unknown type {kind}")
        _limit(cursor, 0)
    return metadata


def _limit(cursor: Cursor, more: int) -> None:
    """Refuse metadata that grow beyond any real file's with the next `more` bytes."""
    if cursor.position + more > _MOST_METADATA:
        raise InputError(
            f"{cursor.name}: damaged: it claims more than {_MOST_METADATA >> 20} MB of metadata, at byte"
            f" {cursor.position}"
        )


def _array(cursor: Cursor, key: str, most_strings: int) -> np.ndarray | list[str]:
    kind = int(cursor.number("I", f"the element type of {key}"))
    count = int(cursor.number("Q", f"the length of {key}"))
    if kind in _SCALARS:
        import numpy as np

        kind_of_number = np.dtype(_NUMPY[_SCALARS[kind]])
        _limit(cursor, count * kind_of_number.itemsize)
        data = cursor.take(count * kind_of_number.itemsize, f"{key} ({count} values)")
        return np.frombuffer(data, dtype=kind_of_number)
    if kind != _STRING:
        raise InputError(f"{cursor.name}: damaged: {key} is an array of the unknown type {kind}")
    if count > most_strings or count * 8 > cursor.left:
        raise InputError(f"{cursor.name}: damaged: {key} claims {count} strings, more than fit into the file")
    found = []
    for _ in range(count):
        found.append(cursor.string(key, limit=_LONGEST_STRING))
        _limit(cursor, 0)
    return found


def _tensor_entry(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, shape (outermost first), number of the type, and offset from the start of the data."""
    name = cursor.string("a tensor's name", limit=_LONGEST_KEY)
    dimensions = int(cursor.number("I", f"the number of dimensions of {name}"))
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise InputError(f"{cursor.name}: damaged: the tensor {name} has {dimensions} dimensions")
    shape = tuple(int(cursor.number("Q", f"the shape of {name}")) for _ in range(dimensions))
    kind = int(cursor.number("I", f"the type of {name}"))
    offset = int(cursor.number("Q", f"the offset of {name}"))
    return name, shape[::-1], kind, offset


def _place(
    entries: list[tuple[str, tuple[int, ...], int, int]], start: int, size: int, path: Path
) -> dict[str, TensorInfo]:
    """Check the size and place of each tensor: inside the file, without overlap."""
    tensors: dict[str, TensorInfo] = {}
    for name, shape, kind, offset in entries:
        if name in tensors:
            raise InputError(f"{path}: damaged: the tensor {name} occurs twice")
        if kind not in TENSOR_TYPES:
            raise InputError(f"{path}: the tensor {name} has the type {kind}, which is not supported")
        kind_name, block, block_bytes = TENSOR_TYPES[kind]
        if shape[-1] % block or 0 in shape:
            raise InputError(f"{path}: damaged: {name} of shape {shape} cannot be of type {kind_name}")
        nbytes = math.prod(shape) // block * block_bytes
        if start + offset + nbytes > size:
            raise InputError(
                f"{path}: cut off or damaged: {name} ends at byte {start + offset + nbytes}, and the file"
                f" has {size}; fetch or copy it again"
            )
        tensors[name] = TensorInfo(name, shape, kind_name, path, start + offset, nbytes)
    ordered = sorted(tensors.values(), key=lambda info: info.offset)
    for one, other in itertools.pairwise(ordered):
        if one.offset + one.nbytes > other.offset:
            raise InputError(f"{path}: damaged: the tensors {one.name} and {other.name} overlap")
    return tensors
