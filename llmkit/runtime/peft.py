"""Models that carry a PEFT adapter, and the layers that get one.

Public: `base_model`, `lora_targets`, `has_conv1d`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from llmkit.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def base_model(model: Any) -> PreTrainedModel:
    """Return the transformers model that a PEFT model wraps, or `model` itself if it carries no adapter."""
    return cast("PreTrainedModel", model.get_base_model() if hasattr(model, "get_base_model") else model)


def lora_targets(model: Any, requested: str | None) -> list[str]:
    """Return the ends of the names of the layers that get an adapter: `q_proj`, or `ffn.0` in CTRL.

    Each is the shortest that no other module has, such as the head or a whole decoder layer `0`.

    Args:
        model: a transformers model.
        requested: names, separated by commas; None is every linear layer except the head.

    Raises:
        InputError: the model has no such layers.
    """
    if requested is not None:
        return [name.strip() for name in requested.split(",") if name.strip()]
    head = model.get_output_embeddings()
    modules = dict(model.named_modules())
    wanted = {
        name
        for name, module in modules.items()
        if _is_linear(module) and module is not head and not name.startswith(("qa_outputs", "cls."))
    }
    others = {end for name in modules.keys() - wanted for end in _ends(name)}
    found = {next((end for end in _ends(name) if end not in others), name) for name in wanted}
    if not found:
        raise InputError(f"{type(model).__name__} has no linear layers for LoRA; use lora=False")
    return sorted(found)


def _ends(name: str) -> list[str]:
    """Return the ends of a module's name, the shortest first: `c`, `b.c`, `a.b.c`; a number alone is none."""
    parts = name.split(".")
    first = 2 if parts[-1].isdigit() else 1
    return [".".join(parts[-count:]) for count in range(first, len(parts) + 1)]


def _is_linear(module: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, torch.nn.Linear | Conv1D)


def has_conv1d(model: Any) -> bool:
    """Return True if the model has GPT-2's layers, whose weights are transposed."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())
