"""Input of a forward pass over a text, and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loss:
    """Loss of a model on a text, or on one window of it.

    Attributes:
        nll: negative log-likelihood of the scored tokens, in nats.
        tokens: number of scored tokens.
        words: number of words in the text, counted by `text.words.count_words`.
        bytes: size of the text in UTF-8.
        unknown: number of scored tokens that are the tokenizer's unknown token.
        token_ids: the scored tokens.
        token_losses: loss of each scored token, in nats.
    """

    nll: float
    tokens: int
    words: float
    bytes: float
    unknown: int
    token_ids: tuple[int, ...] = field(default=(), repr=False)
    token_losses: tuple[float, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Pass:
    """Input and targets of one forward pass.

    Attributes:
        ids: input tokens; for an encoder-decoder those of the decoder.
        positions: positions in `ids` whose predictions are scored.
        targets: the correct token for each of these positions.
        source: input tokens of the encoder of an encoder-decoder.
    """

    ids: Sequence[int]
    positions: range
    targets: Sequence[int]
    source: Sequence[int] | None = None
