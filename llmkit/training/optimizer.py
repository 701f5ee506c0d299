"""Muon: matrices learn by orthogonal steps, everything else by AdamW.

Public: `Muon`, `muon_groups`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import torch

from llmkit.errors import InputError

# Coefficients of the quintic iteration, and how often it is applied (Jordan et al. 2024, "Muon: An optimizer
# for hidden layers in neural networks").
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """AdamW, in which the groups with ``muon=True`` take orthogonalised momentum instead.

    The step of a matrix [m, n] is scaled by 0.2 sqrt(max(m, n)), so that its elements move as far as AdamW's
    and learning rate and weight decay mean the same for both (Liu et al. 2025, "Muon is Scalable for LLM
    Training"). `torch.optim.Muon` takes matrices only, and computes in bfloat16 on processors that have none
    of it, where that is slow.

    Args:
        params: groups; those with ``muon=True`` hold matrices.
        momentum: of the groups with ``muon=True``; Nesterov's.
        options: AdamW's.
    """

    def __init__(self, params: Any, momentum: float = 0.95, **options: Any) -> None:
        super().__init__(params, **options)
        for group in self.param_groups:
            group.setdefault("muon", False)
            group.setdefault("momentum", momentum)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of all groups."""
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
            # AdamW wants a step of every state that is loaded.
            state["step"] = torch.tensor(0.0)
        state["step"] += 1
        average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = orthogonal(gradient.lerp(average, group["momentum"]))
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix whose singular values are alike (0.7 to 1.2), by Newton-Schulz iteration.

    Args:
        matrix: [m, n].
    """
    a, b, c = _QUINTIC
    # A GPU computes fast in bfloat16, and the iteration bears it; a CPU may do neither.
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
    """A model's trained parameters as groups for `Muon`: the matrices of its layers, and the others.

    Embeddings and the head over the vocabulary, in which each row stands for a token, are the others', as are
    norms and biases.

    Args:
        model: of transformers, or one with an adapter.
        decayed: names of the parameters that decay.
        weight_decay: theirs.

    Raises:
        InputError: it has no matrices of that kind.
    """
    from transformers.pytorch_utils import Conv1D  # a linear layer too, GPT-2's

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
        raise InputError(f"--optimizer muon: {type(model).__name__} has no matrices that it takes; use adamw")
    return [
        {"params": parameters, "muon": matrix, "weight_decay": weight_decay if decays else 0.0}
        for (matrix, decays), parameters in groups.items()
    ]
