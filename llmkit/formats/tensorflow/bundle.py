"""Read the variables of a SavedModel or a `.ckpt` without TensorFlow.

Both store variables in a bundle: an index (a LevelDB table) and data files.

Format: tensorflow/core/util/tensor_bundle and tensorflow/core/protobuf (tensor_bundle.proto,
trackable_object_graph.proto); https://github.com/google/leveldb/blob/main/doc/table_format.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.errors import InputError
from llmkit.formats.named import NamedArray
from llmkit.formats.shapes import count_values
from llmkit.formats.tensorflow.names import is_training_state, translate

if TYPE_CHECKING:
    import numpy as np

_MAGIC = bytes.fromhex("57fb808b247547db")
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
_STRING, _BFLOAT16 = 7, 14


@dataclass(frozen=True)
class _BundleEntry:
    """A tensor's place: ids of its dtype and data file, its shape, and bytes."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read_bundle(index: Path) -> list[NamedArray]:
    """All variables of a bundle.

    Args:
        index: the file that ends in ``.index``.

    Raises:
        InputError: not a bundle, damaged, or incomplete.
    """
    try:
        entries = _entries(index)
        names = _full_names(index, entries)
        found = []
        for key, entry in sorted(entries.items()):
            name = names.get(key, key.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"))
            if entry.dtype == _STRING or is_training_state(name) or is_training_state(key):
                continue
            found.append(translate(name, _values(index, key, entry)))
    except (IndexError, ValueError, OverflowError, UnicodeDecodeError, KeyError) as error:
        raise InputError(f"{index}: damaged ({' '.join(str(error).split())[:100]})") from None
    except OSError as error:
        raise InputError(f"{index}: {error.strerror or error}") from error
    return found


def _entries(index: Path) -> dict[str, _BundleEntry]:
    data = index.read_bytes()
    if len(data) < 48 or data[-8:] != _MAGIC:
        raise InputError(f"{index}: not an index of TensorFlow variables")
    footer = data[-48:]
    _, at = _varint(footer, 0)  # the handle of the meta index: offset and size
    _, at = _varint(footer, at)
    offset, at = _varint(footer, at)
    size, at = _varint(footer, at)
    entries = {}
    for _, handle in _block(data, offset, size):
        block_offset, at = _varint(handle, 0)
        block_size, at = _varint(handle, at)
        for key, value in _block(data, block_offset, block_size):
            if key:  # the empty key holds the bundle's header
                entries[key.decode("utf-8")] = _entry(value)
    return entries


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits per byte, and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block of a table; keys are stored without the beginning that they share with
    the previous key.
    """
    if offset + size + 5 > len(data):
        raise ValueError("a block lies outside the file")
    if data[offset + size] != 0:
        raise ValueError("a block is compressed, which is not supported")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * restarts
    if end < 0:
        raise ValueError("a block is cut off")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if at + own + length > end or shared > len(key):
            raise ValueError("an entry lies outside its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + length]
        at += own + length


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a protocol buffer's fields."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind in (1, 2, 5):
            length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            if at + length > len(message):
                raise ValueError("a field is cut off")
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError(f"a field of type {kind}")


def _entry(message: bytes) -> _BundleEntry:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: list[int] = []
    for number, value in _fields(message):
        if number == 2 and isinstance(value, bytes):
            for inner, dimension in _fields(value):
                if inner == 2 and isinstance(dimension, bytes):
                    sizes = [size for key, size in _fields(dimension) if key == 1 and isinstance(size, int)]
                    shape.append(sizes[0] if sizes else 0)
        elif number == 7:
            raise ValueError("a variable is stored in slices, which is not supported")
        elif number in numbers and isinstance(value, int):
            numbers[number] = value
    return _BundleEntry(numbers[1], tuple(shape), numbers[3], numbers[4], numbers[5])


def _full_names(index: Path, entries: dict[str, _BundleEntry]) -> dict[str, str]:
    """The variables' own names by their keys, from the graph of objects that the bundle carries."""
    if _GRAPH not in entries:
        return {}
    stored = _bytes(index, _GRAPH, entries[_GRAPH])
    length, at = _varint(stored, 0)
    graph = stored[at + 4 : at + 4 + length]  # 4 bytes of checksum come before the text
    names = {}
    for number, node in _fields(graph):
        if number != 1 or not isinstance(node, bytes):
            continue
        for inner, attribute in _fields(node):
            if inner == 2 and isinstance(attribute, bytes):
                parts = {key: value for key, value in _fields(attribute) if isinstance(value, bytes)}
                if parts.get(2) and parts.get(3):
                    names[parts[3].decode("utf-8")] = parts[2].decode("utf-8")
    return names


def _bytes(index: Path, key: str, entry: _BundleEntry) -> bytes:
    stem = index.name.removesuffix(".index")
    # The number of data files is in their names.
    files = sorted(index.parent.glob(f"{stem}.data-{entry.shard:05d}-of-*"))
    if len(files) != 1:
        raise InputError(f"{index}: incomplete: its data file {entry.shard} is missing")
    with files[0].open("rb") as file:
        if entry.offset + entry.size > files[0].stat().st_size:
            raise InputError(f"{files[0]}: cut off or damaged: {key} ends after the end of the file")
        file.seek(entry.offset)
        return file.read(entry.size)


def _values(index: Path, key: str, entry: _BundleEntry) -> np.ndarray:
    import numpy as np

    if entry.dtype not in _DTYPES and entry.dtype != _BFLOAT16:
        raise ValueError(f"{key} has the dtype {entry.dtype}, which is not supported")
    itemsize = 2 if entry.dtype == _BFLOAT16 else np.dtype(_DTYPES[entry.dtype]).itemsize
    if count_values(entry.shape) * itemsize != entry.size:
        raise ValueError(f"{key} of shape {entry.shape} has {entry.size} bytes")
    data = _bytes(index, key, entry)
    if entry.dtype == _BFLOAT16:
        wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(entry.shape)
    return np.frombuffer(data, dtype=_DTYPES[entry.dtype]).reshape(entry.shape)
