"""Plain bfloat16 layers in oneDNN's own layout: the same products, with the weight read faster on a CPU.

`torch.nn.functional.linear` reorders a weight or reads it as it lies, at about half of the memory's bandwidth
for few rows (measured by ``python -m tests.benchmarks linear``); one reordered beforehand is read at all of
it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from llmkit.lean_imports import empty_meta

SMALLEST = 128
"""A layer with fewer inputs or outputs stays as it is."""


class PrepackedLinear(nn.Module):
    """A linear layer whose bfloat16 weight oneDNN has reordered; for inference on a CPU.

    Args:
        layer: the layer; its weight is bfloat16.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = layer.weight.shape
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach(), requires_grad=False)
        self._reordered = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Args: x: (..., inputs), bfloat16. Returns: (..., outputs)."""
        if x.dtype != torch.bfloat16 or (torch.is_grad_enabled() and x.requires_grad):
            bias = None if self.bias is None else self.bias.to(x.dtype)
            return nn.functional.linear(x, self.dense().to(x.dtype), bias)
        return torch.ops.mkldnn._linear_pointwise(x, self._reordered, self.bias, "none", [], "")

    def dense(self) -> torch.Tensor:
        """The weight (outputs, inputs), bfloat16, as it was."""
        return self._reordered.to_dense()

    @property
    def weight(self) -> torch.Tensor:
        """A tensor with the weight's shape and dtype and without content; `dense` has the numbers."""
        return empty_meta((self.out_features, self.in_features), torch.bfloat16)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reordered": self.dense()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reordered = torch.ops.mkldnn._reorder_linear_weight(self._reordered)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = self.dense()


def available() -> bool:
    """Return True if oneDNN multiplies bfloat16 on this processor."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def prepack_model(model: nn.Module) -> int:
    """Swap a model's bfloat16 linear layers on the CPU for reordered ones, in place.

    A weight that is tied (an output layer's, mostly) stays, since its other use needs it as it is.

    Args:
        model: a model in eval mode that is not going to be trained.

    Returns:
        How many layers were swapped; 0 where oneDNN cannot.
    """
    if not available():
        return 0
    uses: dict[int, int] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter):
            uses[id(weight)] = uses.get(id(weight), 0) + 1
    swapped: dict[int, PrepackedLinear] = {}
    for parent in list(model.modules()):
        for name, layer in list(parent._modules.items()):
            if layer is None or not _fits(layer) or uses[id(layer.weight)] > 1:
                continue
            if id(layer) not in swapped:
                swapped[id(layer)] = PrepackedLinear(layer)  # type: ignore[arg-type]
                swapped[id(layer)].training = layer.training
            setattr(parent, name, swapped[id(layer)])
    return len(swapped)


def _fits(layer: nn.Module) -> bool:
    if type(layer) is not nn.Linear:
        return False
    weight = layer.weight
    small = min(weight.shape) < SMALLEST
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu" and not small
