"""Muon: orthogonal steps for matrices, AdamW for all other parameters.

Public: `Muon`, `muon_groups`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch

from llmkit.errors import OptionError

# Coefficients and number of the quintic iterations (Jordan et al. 2024, "Muon: An optimizer for hidden layers
# in neural networks", https://kellerjordan.github.io/posts/muon/).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """AdamW, except that groups with ``muon=True`` use orthogonalized momentum.

    The step of a matrix [m, n] is scaled by 0.2 sqrt(max(m, n)), so that its elements move as far as AdamW's,
    and one learning rate and weight decay suit both (Liu et al. 2025, "Muon is Scalable for LLM Training",
    arXiv 2502.16982). `torch.optim.Muon` takes matrices only, and computes in bfloat16 even on processors
    without bfloat16 arithmetic, which is slow.

    Args:
        params: parameter groups; those with ``muon=True`` hold matrices.
        momentum: Nesterov momentum of the groups with ``muon=True``.
        options: options of AdamW.
    """

    def __init__(self, params: Any, momentum: float = 0.95, **options: Any) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            group.setdefault("muon", False)
            group.setdefault("momentum", momentum)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all groups once."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["muon"]]
        try:
            loss: float | None = super().step(closure) if self.param_groups else closure and closure()
        finally:
            self.param_groups = groups
        for group in groups:
            if group["muon"]:
                for matrix in group["params"]:
                    if matrix.grad is not None:
                        self._step_of(matrix, matrix.grad, group)
        return loss

    def _step_of(self, matrix: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
            # AdamW needs a step in every state that it loads.
            state["step"] = torch.tensor(0.0)
        state["step"] += 1
        average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(gradient.lerp(average, group["momentum"]))
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Approximate the nearest semi-orthogonal matrix by Newton-Schulz iteration.

    Args:
        matrix: [m, n].

    Returns:
        [m, n], with singular values between about 0.7 and 1.2.
    """
    a, b, c = _QUINTIC
    # bfloat16 is precise enough for the iteration and fast on a GPU; a CPU may not have it.
    found = matrix.bfloat16() if matrix.is_cuda else matrix.float()
    tall = found.shape[0] > found.shape[1]
    found = found.T if tall else found
    found = found / (found.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return (found.T if tall else found).to(matrix.dtype)


def muon_groups(
    model: torch.nn.Module, decayed: Collection[str], weight_decay: float
) -> list[dict[str, Any]]:
    """Sort a model's trained parameters into groups for `Muon`: the matrices of its layers, and the rest.

    Embeddings and the head over the vocabulary, whose rows stand for tokens, belong to the rest; so do norms
    and biases.

    Args:
        model: transformers model, with or without an adapter.
        decayed: names of the parameters with weight decay.
        weight_decay: decay of those parameters.

    Raises:
        OptionError: the model has no such matrices.
    """
    from transformers.pytorch_utils import Conv1D  # the linear layer of GPT-2

    head: Any = getattr(model, "get_output_embeddings", None)
    outer = head() if head else None
    inner = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, torch.nn.Linear | Conv1D) and module is not outer
    }
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    groups: dict[tuple[bool, bool], list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matrix = parameter.ndim == 2 and id(parameter) in inner - embeddings
            groups.setdefault((matrix, name in decayed), []).append(parameter)
    if not any(matrix for matrix, _ in groups):
        raise OptionError(
            "optimizer", f"muon needs matrices, and {type(model).__name__} has none in its layers; use adamw"
        )
    return [
        {"params": parameters, "muon": matrix, "weight_decay": weight_decay if decays else 0.0}
        for (matrix, decays), parameters in groups.items()
    ]
