"""Integrated gradients (Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365).

The score of a token is the integral of the gradient along the straight line from the baseline's embedding to
the token's own, times the difference of the two. The scores add up to f(text) - f(baseline): what is missing
is the error of the quadrature, and the steps are doubled until it is below 1 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.runtime.memory import run_halving

if TYPE_CHECKING:
    import numpy as np
    import torch

    from llmkit.insight.explanation.scorer import Scorer

TOLERANCE = 0.01
MOST_STEPS = 512
_CPU_TOKENS = 2048
_GPU_TOKENS = 16_384
_LEAST = 1e-6  # nats; the error is no share of a smaller number


@dataclass(frozen=True)
class PathScores:
    """Integrated gradients of one path.

    Attributes:
        scores: [parts, tokens] in nats.
        steps: steps of the quadrature.
        error: distance of the sum from f(text) - f(baseline), as a share of it.
        start: f(baseline).
    """

    scores: np.ndarray
    steps: int
    error: float
    start: float


def integrate(
    scorer: Scorer,
    baseline: torch.Tensor,
    positions: Sequence[int],
    *,
    steps: int,
    rule: str,
    prefix: bool = False,
) -> PathScores:
    """Integrate the gradient along the line from the baseline to the text.

    Args:
        scorer: the explained number.
        baseline: [hidden], the embedding of the baseline token.
        positions: tokens that move along the line; the others stay.
        steps: first number of steps; doubled up to 512 while the error is 1 % or more.
        rule: ``gauss-legendre`` or ``midpoint``.
        prefix: move tokens of the target's prefix in place of those of the source.

    Raises:
        OutOfMemory: a single step does not fit.
    """
    import torch

    end = scorer.prefix if prefix else scorer.embeddings
    start = end.clone()
    start[list(positions)] = baseline
    with torch.inference_mode():
        both = [_scores(scorer, point[None], prefix).sum().double().item() for point in (end, start)]
    change = both[0] - both[1]
    while True:
        found = _path(scorer, start, end, steps, rule, prefix)
        error = abs(float(found.sum()) - change) / max(abs(change), _LEAST)
        if error < TOLERANCE or 2 * steps > MOST_STEPS:
            return PathScores(found, steps, error, both[1])
        steps *= 2


def _path(
    scorer: Scorer, start: torch.Tensor, end: torch.Tensor, steps: int, rule: str, prefix: bool
) -> np.ndarray:
    """Return one quadrature: [parts, tokens] in float64."""
    import numpy as np
    import torch

    nodes, weights = nodes_of(rule, steps)
    gpu = end.device.type == "cuda"
    length = len(scorer.embeddings) + len(scorer.prefix)
    rows = max((_GPU_TOKENS if gpu else _CPU_TOKENS) // max(length, 1), 1)
    sums = torch.zeros(len(scorer.rows), *end.shape, dtype=torch.float64, device=end.device)

    def run(batch: Sequence[int]) -> torch.Tensor:
        shares = torch.tensor([nodes[i] for i in batch], dtype=end.dtype, device=end.device)
        points = (start + shares[:, None, None] * (end - start)).requires_grad_()
        values = _scores(scorer, points, prefix)
        # One backward pass for each part of the target: [parts][steps, tokens, hidden].
        grads = [
            torch.autograd.grad(values[:, part].sum(), points, retain_graph=part + 1 < values.shape[1])[0]
            for part in range(values.shape[1])
        ]
        factors = torch.tensor([weights[i] for i in batch], dtype=torch.float64, device=end.device)
        return torch.stack([(grad.double() * factors[:, None, None]).sum(0) for grad in grads])

    with torch.enable_grad():
        for _, part in run_halving(range(steps), rows, run):
            sums += part
    found: np.ndarray = ((end - start).double() * sums).sum(-1).cpu().numpy()
    return np.asarray(found)


def nodes_of(rule: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places in 0..1 and the weights of a quadrature rule."""
    import numpy as np

    if rule == "midpoint":
        return (np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)
    places, weights = np.polynomial.legendre.leggauss(steps)
    return (places + 1) / 2, weights / 2


def _scores(scorer: Scorer, moved: torch.Tensor, prefix: bool) -> torch.Tensor:
    if not prefix:
        return scorer.scores(moved)
    source = scorer.embeddings[None].expand(len(moved), -1, -1)
    return scorer.scores(source, moved)
