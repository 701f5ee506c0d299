"""Verify guessed tokens of a sequence with the model's logits after each of them.

Greedy decoding keeps a guess if it is the token that the model would have chosen, so the text is the same as
without guesses. Sampling keeps the distribution. A guess x, drawn from the distribution q, is accepted with
probability min(1, p(x) / q(x)), with p the model's distribution. A rejected guess is replaced by a token
drawn from the positive part of p - q (Leviathan et al. 2023, https://arxiv.org/abs/2211.17192; Chen et al.
2023, https://arxiv.org/abs/2302.01318). A guess that was not drawn has q(x) = 1: it is accepted with
probability p(x), and otherwise the token is drawn from p without x. One draw from p, with the position's
usual random number, does both, so such guesses do not change the tokens.

p is the distribution after all settings of the sequence: penalties, biases, constraints, temperature, top-k
and the like, each with the tokens before the position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from llmkit.engines.transformers.row_sampler import choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmkit.engines.transformers.row_sampler import RowSampler
    from llmkit.engines.transformers.sampling import Settings

_CANDIDATES = 256  # number of tokens that a draft model samples from


@dataclass(frozen=True)
class DraftToken:
    """A token that may come next.

    Attributes:
        token: its id.
        drawn_from: float64 [vocabulary], the distribution that it was drawn from; None if nothing was drawn.
        confidence: probability that its source gives it.
    """

    token: int
    drawn_from: torch.Tensor | None = None
    confidence: float = 1.0


def propose(sampler: RowSampler, logits: torch.Tensor, ahead: Sequence[int]) -> DraftToken:
    """Guess a token of a sequence by the logits of a draft model.

    Args:
        sampler: sampler of the sequence.
        logits: float32 [vocabulary]; changed in place.
        ahead: guesses between the sequence's last token and this one.
    """
    sampler.weigh(logits, ahead)
    if not sampler.settings.drawing:
        token = int(logits.argmax())
        return DraftToken(token, None, float(logits.softmax(dim=-1)[token]))
    # Any distribution is valid, and the warpers are slow for a whole vocabulary.
    likeliest, ids = logits.topk(min(_CANDIDATES, len(logits)))
    found = torch.zeros(len(logits), dtype=torch.float64)
    found[ids] = distribution(likeliest, sampler.settings)
    token = _invert(found, sampler.proposing_number(len(ahead)))
    return DraftToken(token, found, float(found[token]))


def verify(sampler: RowSampler, logits: torch.Tensor, guess: DraftToken | None) -> int:
    """Choose the next token of a sequence and record it; a guess is accepted if it is the same token.

    Args:
        sampler: sampler of the sequence.
        logits: float32 [vocabulary], the model's own; changed in place.
        guess: the guess, or None.
    """
    if guess is None or guess.drawn_from is None:
        return choose([sampler], logits.unsqueeze(0))[0]
    raw = logits if sampler.logprobs is None else logits.clone()
    sampler.process(logits)
    wanted = distribution(logits, sampler.settings)
    token, proposed = guess.token, guess.drawn_from
    # u < p/q, without a division; q(x) > 0, since x was drawn from q.
    if sampler.accepting_number * float(proposed[token]) >= float(wanted[token]):
        rest = (wanted - proposed).clamp(min=0)
        token = _invert(rest if float(rest.sum()) > 0 else wanted, sampler.number)
    sampler.note(raw, token)
    sampler.accept(token)
    return token


def distribution(logits: torch.Tensor, settings: Settings) -> torch.Tensor:
    """Return the probabilities, float64 [vocabulary], that a token is drawn with; logits [vocabulary]."""
    nothing: Any = None  # the warpers do not use the ids
    scores = logits.unsqueeze(0)
    for warp in settings.warpers:
        scores = warp(nothing, scores)
    found = torch.zeros(len(logits), dtype=torch.float64)
    ids = torch.isfinite(scores[0]).nonzero().squeeze(1)
    if len(ids) and bool(torch.isfinite(scores.max())):
        found[ids] = scores[0, ids].double().softmax(dim=-1)
    else:
        found[int(logits.argmax())] = 1.0  # as in `row_sampler.choose`
    return found


def _invert(weights: torch.Tensor, number: float) -> int:
    """Draw an index in proportion to weights [n] by inversion of their cumulative sum; number in [0, 1)."""
    ids = weights.nonzero().squeeze(1)
    total = weights[ids].cumsum(dim=-1)
    at = int(torch.searchsorted(total, number * float(total[-1]), right=True))
    return int(ids[min(at, len(ids) - 1)])
