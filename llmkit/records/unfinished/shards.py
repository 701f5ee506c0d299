"""Write weights as safetensors files of a limited size, and keep those that an earlier command finished.

Public: `save_shards`, `digest`, `Parts`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llmkit.errors import OptionError

if TYPE_CHECKING:
    import torch

MAX_SHARD_SIZE = "5GB"
_CHUNK = 1 << 26


class Parts(Protocol):
    """Files of a result that an earlier command finished (`UnfinishedFolder`)."""

    def is_whole(self, name: str) -> bool:
        """Return True if the file is there and unchanged."""

    def add(self, name: str) -> None:
        """Record that the file is finished."""


def save_shards(
    tensors: Mapping[str, torch.Tensor],
    folder: Path,
    *,
    parts: Parts | None = None,
    max_shard_size: str = MAX_SHARD_SIZE,
) -> None:
    """Write ``model.safetensors``, or ``model-00001-of-0000N.safetensors`` and their index.

    Args:
        tensors: tensors by name; only one of several tensors that share memory.
        folder: existing folder for the files.
        parts: record of files that need not be written again; None writes all.
        max_shard_size: maximum size of a file, such as ``5GB``. A tensor is never split.

    Raises:
        OptionError: `max_shard_size` is not a size.
        OSError, SafetensorError: the disk refuses.
    """
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    try:
        split = split_torch_state_dict_into_shards(
            dict(tensors), filename_pattern="model{suffix}.safetensors", max_shard_size=max_shard_size
        )
    except ValueError:
        raise OptionError("max_shard_size", f"must be a size such as 5GB, not {max_shard_size}") from None
    for name, keys in split.filename_to_tensors.items():
        if parts is not None and parts.is_whole(name):
            continue
        shard = {key: tensors[key].contiguous() for key in keys}
        save_file(shard, folder / name, metadata={"format": "pt"})
        if parts is not None:
            parts.add(name)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of tensors."""
    import torch

    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        for start in range(0, len(flat), _CHUNK):
            found.update(flat[start : start + _CHUNK].cpu().numpy().data)
    return found.hexdigest()
