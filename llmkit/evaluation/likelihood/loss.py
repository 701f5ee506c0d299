"""One forward pass of a model over a text, and the loss it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loss:
    """What a model lost on a text, or on one window's share of it.

    Args:
        nll: negative log-likelihood of the scored tokens, in nats.
        tokens: how many were scored.
        words: the text's words, as `text.words.count_words` counts them.
        bytes: the text's bytes in UTF-8.
        unknown: tokens that stand for text which the tokenizer does not know.
        token_ids: the scored tokens.
        token_losses: the loss of each, in nats.
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
    """One run of a model.

    Args:
        fed: the tokens that it reads; those of the decoder, where it has one.
        places: where its predictions count.
        targets: the tokens that are right there.
        source: what the encoder of an encoder-decoder reads.
    """

    fed: Sequence[int]
    places: range
    targets: Sequence[int]
    source: Sequence[int] | None = None
