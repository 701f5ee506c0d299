"""Give arrays of another framework the names and shapes of a PyTorch model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class NamedArray:
    """An array of a checkpoint.

    Attributes:
        name: in the file.
        candidates: names that it may have in PyTorch, the most likely first.
        values: the array, in PyTorch's layout.
    """

    name: str
    candidates: tuple[str, ...]
    values: np.ndarray


def fit(
    found: Iterable[NamedArray], shapes: Mapping[str, tuple[int, ...]], prefix: str, source: str
) -> dict[str, torch.Tensor]:
    """Match arrays to a model's weights.

    Args:
        found: the arrays.
        shapes: the model's weights and buffers.
        prefix: the model's name for its base, such as ``bert``; a base alone has no such prefix.
        source: the checkpoint, for messages.

    Returns:
        A state dict. Weights that the checkpoint does not have are left out; whoever makes the model checks.

    Raises:
        InputError: an array that the model has no place for, or of another shape.
    """
    import numpy as np
    import torch

    weights: dict[str, torch.Tensor] = {}
    unused = []
    for array in found:
        name = _place(array.candidates, shapes, prefix)
        if name is None:
            unused.append(array.name)
            continue
        wanted = tuple(shapes[name])
        values = array.values
        if values.shape != wanted:
            # Only dimensions of 1 may differ: GPT-2's biases and BART's final_logits_bias are rows.
            if [n for n in values.shape if n != 1] != [n for n in wanted if n != 1]:
                raise InputError(
                    f"{source}: {array.name} has the shape {tuple(values.shape)}, and {name} needs {wanted};"
                    " its config.json belongs to another checkpoint"
                )
            values = values.reshape(wanted)
        tensor = torch.from_numpy(np.array(values, order="C"))
        if name in weights and not torch.equal(weights[name], tensor):
            raise InputError(f"{source}: two arrays stand for {name}, and they differ")
        weights[name] = tensor
    if unused:
        raise InputError(
            f"{source}: the model does not use {len(unused)} arrays, such as {', '.join(unused[:3])};"
            " its config.json names another class than it was saved from (architectures)"
        )
    return weights


def _place(candidates: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]], prefix: str) -> str | None:
    for name in candidates:
        for variant in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
            if variant in shapes:
                return variant
    return None
