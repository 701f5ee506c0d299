"""Read `tf_model.h5` and its shards through h5py alone.

Layout (Keras): the file's attribute `layer_names` lists groups; a group's attribute `weight_names` lists its
arrays. A shard's `layer_names` lists the arrays themselves. Keras splits long lists into `weight_names0`, ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError
from llmkit.formats.named import NamedArray
from llmkit.formats.tensorflow.names import is_training_state, translate

if TYPE_CHECKING:
    import h5py
    import numpy as np


def read_h5(path: Path) -> list[NamedArray]:
    """All arrays of a checkpoint.

    Args:
        path: ``tf_model.h5``, or ``tf_model.h5.index.json`` of one in shards.

    Raises:
        InputError: not HDF5, damaged, incomplete, or h5py is missing.
    """
    if path.suffix != ".json":
        return list(_read_one(path))
    try:
        names = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: not an index of shards ({type(error).__name__})") from None
    found: list[NamedArray] = []
    for name in names:
        shard = path.parent / str(name)
        if Path(str(name)).name != name or not shard.is_file():
            raise InputError(f"{path.parent}: incomplete: the shard {name} is missing")
        found += _read_one(shard)
    return found


def _read_one(path: Path) -> Iterator[NamedArray]:
    try:
        import h5py
    except ImportError:
        raise InputError("TensorFlow checkpoints need h5py: pip install 'llmkit[convert]'") from None
    size = path.stat().st_size
    try:
        with h5py.File(path, "r") as file:
            for name, dataset in _arrays(file, path):
                yield translate(name, _values(dataset, size, path))
    except InputError:
        raise
    except (
        Exception
    ) as error:  # h5py raises OSError, RuntimeError, KeyError, ValueError, TypeError and its own
        raise InputError(f"{path}: damaged, or not HDF5: {' '.join(str(error).split())[:150]}") from None


def _arrays(file: h5py.File, path: Path) -> Iterator[tuple[str, Any]]:
    """Names of variables and their datasets, each once: layers that share a variable list it again."""
    seen: set[str] = set()
    for layer in _strings(file.attrs, "layer_names"):
        if layer == "top_level_model_weights" and layer not in file:
            continue
        inside = _follow(file, layer, path)
        own = {layer: inside}  # a shard lists arrays where a whole file lists groups
        if hasattr(inside, "keys"):
            own = {name: _follow(inside, name, path) for name in _strings(inside.attrs, "weight_names")}
        for name, dataset in own.items():
            if name not in seen and not is_training_state(name):
                seen.add(name)
                yield name, dataset
    if not seen:
        raise InputError(f"{path}: not a Keras checkpoint: it has no list of arrays (layer_names)")


def _strings(attributes: Any, key: str) -> list[str]:
    """Return a list of names; Keras splits long lists into parts."""
    keys = [key] if key in attributes else [f"{key}{part}" for part in range(len(attributes))]
    names = [name for one in keys if one in attributes for name in attributes[one]]
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def _follow(group: Any, name: str, path: Path) -> Any:
    """Return the object at a name inside the file: a link to another file is not followed."""
    import h5py

    place = group
    for part in name.split("/"):
        if not part:
            continue
        link = place.get(part, getlink=True) if hasattr(place, "keys") else None
        if not isinstance(link, h5py.HardLink):
            raise InputError(f"{path}: damaged: it has no array {name}")
        place = place[part]
    return place


def _values(dataset: Any, size: int, path: Path) -> np.ndarray:
    import numpy as np

    if dataset.dtype.kind not in "fiu" or dataset.is_virtual or dataset.external:
        raise InputError(f"{path}: damaged: {dataset.name} is not an array of numbers in this file")
    # An array without storage reads as zeros, however large it claims to be.
    if dataset.nbytes > size or (dataset.nbytes and dataset.id.get_storage_size() < dataset.nbytes):
        raise InputError(f"{path}: cut off or damaged: {dataset.name} claims {dataset.nbytes} bytes")
    return np.asarray(dataset)
