"""Read `flax_model.msgpack` without Flax.

Format: https://github.com/google/flax/blob/main/flax/serialization.py. It is msgpack; an array is an
extension of type 1 with shape, name of the dtype, and bytes. Large arrays are split into chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.named import NamedArray
from llmkit.formats.shapes import count_values

if TYPE_CHECKING:
    import numpy as np

_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_DEEPEST = 64
_DTYPES = ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")


def read_flax(path: Path) -> tuple[list[NamedArray], str]:
    """All arrays of a Flax checkpoint.

    Args:
        path: of the msgpack file.

    Returns:
        The arrays, with bfloat16 widened to float32, and the name of the dtype in which most were stored.

    Raises:
        InputError: damaged, or the msgpack package is missing.
    """
    try:
        import msgpack
    except ImportError:
        raise InputError("Flax checkpoints need the msgpack package: pip install 'llmkit[convert]'") from None
    try:
        tree = msgpack.unpackb(path.read_bytes(), ext_hook=_extension, strict_map_key=False)
        leaves = list(_leaves(tree, (), path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException, KeyError) as error:
        raise InputError(
            f"{path}: damaged: {' '.join(str(error).split())[:150] or type(error).__name__}"
        ) from None
    found, stored = [], dict[str, int]()
    for name, array in leaves:
        stored[array.dtype_name] = stored.get(array.dtype_name, 0) + array.values.size
        found.append(_translate(name, array.values))
    return found, max(stored, key=lambda dtype: stored[dtype], default="float32")


class _Array:
    """An array, and the name of the dtype that it was stored in."""

    def __init__(self, shape: Any, dtype_name: str, data: bytes) -> None:
        import numpy as np

        if dtype_name not in _DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"an array of {str(dtype_name)[:20]} and shape {str(shape)[:40]}")
        itemsize = 2 if dtype_name == "bfloat16" else np.dtype(dtype_name).itemsize
        if count_values(shape) * itemsize != len(data):
            raise ValueError(f"an array of shape {str(shape)[:40]} has {len(data)} bytes")
        self.dtype_name = dtype_name
        if dtype_name == "bfloat16":  # the upper half of a float32
            wide = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
            self.values: np.ndarray = wide.view(np.float32).reshape(shape)
        else:
            self.values = np.frombuffer(data, dtype=dtype_name).reshape(shape)


def _extension(code: int, data: bytes) -> Any:
    import msgpack

    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"an extension of type {code}")
    shape, dtype, content = msgpack.unpackb(data, strict_map_key=False)
    return _Array(shape, dtype if isinstance(dtype, str) else "", content)


def _leaves(tree: Any, trail: tuple[str, ...], path: Path) -> Iterator[tuple[str, _Array]]:
    if isinstance(tree, _Array):
        yield "/".join(trail), tree
    elif isinstance(tree, dict) and _CHUNKED in tree:
        yield "/".join(trail), _join(tree)
    elif isinstance(tree, dict) and len(trail) < _DEEPEST:
        for key, value in tree.items():
            yield from _leaves(value, (*trail, str(key)), path)
    else:
        raise ValueError(f"{'/'.join(trail)[:80]} is not an array")


def _join(tree: dict[str, Any]) -> _Array:
    shape = tuple(int(tree["shape"][str(i)]) for i in range(len(tree["shape"])))
    chunks = [tree["chunks"][str(i)] for i in range(len(tree["chunks"]))]
    if not chunks or not all(isinstance(chunk, _Array) for chunk in chunks):
        raise ValueError("an array's chunks are missing")
    # Chunks widened from bfloat16 are joined as float32.
    dtype = chunks[0].dtype_name
    joined = _Array(
        shape, "float32" if dtype == "bfloat16" else dtype, b"".join(c.values.tobytes() for c in chunks)
    )
    joined.dtype_name = dtype
    return joined


def _translate(name: str, values: np.ndarray) -> NamedArray:
    """PyTorch's name and layout: a kernel is transposed, a scale and an embedding are a weight."""
    parts = name.split("/")
    if parts[-1] == "kernel":
        axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}.get(values.ndim)
        values = values.transpose(axes) if axes is not None else values
    parts[-1] = {"kernel": "weight", "scale": "weight", "embedding": "weight"}.get(parts[-1], parts[-1])
    return NamedArray(name, (".".join(parts),), values)
