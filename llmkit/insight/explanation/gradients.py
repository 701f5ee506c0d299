"""Integrated gradients (Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365).

The score of a token is the integral of the gradient along the straight line from the baseline's embedding to
the token's own, times the difference of the two. The scores add up to f(text) - f(baseline): what is missing
is the error of the quadrature. While it is 1 % or more, the part of the line that misses most is halved, and
its steps are doubled.
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
MOST_STEPS = 1024
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
        steps: first number of steps; doubled on the worst part of the line while the error is 1 % or more, up
            to 1,024 in all.
        rule: ``gauss-legendre`` or ``midpoint``.
        prefix: move tokens of the target's prefix in place of those of the source.

    Raises:
        OutOfMemory: a single step does not fit.
    """
    import numpy as np

    end = scorer.prefix if prefix else scorer.embeddings
    start = end.clone()
    start[list(positions)] = baseline
    line = _PathLine(scorer, start, end, rule, prefix)
    pieces = [line.piece(0.0, 1.0, steps)]
    change = line.value(1.0) - line.value(0.0)
    while True:
        found = np.sum([piece.scores for piece in pieces], axis=0)
        error = abs(float(found.sum()) - change) / max(abs(change), _LEAST)
        used = sum(piece.steps for piece in pieces)
        if error < TOLERANCE or used + steps > MOST_STEPS:
            return PathScores(found, used, error, line.value(0.0))
        # Both halves get as many steps as the whole had: where the gradient changes fast, they are dense.
        worst = max(pieces, key=lambda piece: piece.error)
        pieces.remove(worst)
        middle = (worst.begin + worst.end) / 2
        pieces += [
            line.piece(worst.begin, middle, worst.steps),
            line.piece(middle, worst.end, worst.steps),
        ]


@dataclass(frozen=True)
class _PathPiece:
    """Integrated gradients of a part of the line; `error` is their distance from the change of f."""

    begin: float
    end: float
    steps: int
    scores: np.ndarray
    error: float


class _PathLine:
    """The line from the baseline to the text, with f known at the ends of its pieces."""

    def __init__(
        self, scorer: Scorer, start: torch.Tensor, end: torch.Tensor, rule: str, prefix: bool
    ) -> None:
        self._scorer, self._start, self._end, self._rule, self._prefix = scorer, start, end, rule, prefix
        self._values: dict[float, float] = {}

    def value(self, share: float) -> float:
        """Return f at a share of the way."""
        import torch

        if share not in self._values:
            point = self._start + share * (self._end - self._start)
            with torch.inference_mode():
                scores = _scores(self._scorer, point[None], self._prefix)
                self._values[share] = scores.sum().double().item()
        return self._values[share]

    def piece(self, begin: float, end: float, steps: int) -> _PathPiece:
        """Return the quadrature of a part of the line."""
        nodes, weights = nodes_of(self._rule, steps)
        places, shares = begin + (end - begin) * nodes, (end - begin) * weights
        scores = _quadrature(self._scorer, self._start, self._end, places, shares, self._prefix)
        change = self.value(end) - self.value(begin)
        return _PathPiece(begin, end, steps, scores, abs(float(scores.sum()) - change))


def _quadrature(
    scorer: Scorer,
    start: torch.Tensor,
    end: torch.Tensor,
    nodes: np.ndarray,
    weights: np.ndarray,
    prefix: bool,
) -> np.ndarray:
    """Return the weighted sum of the gradients at nodes of the line: [parts, tokens] in float64."""
    import numpy as np
    import torch

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
        for _, part in run_halving(range(len(nodes)), rows, run):
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
