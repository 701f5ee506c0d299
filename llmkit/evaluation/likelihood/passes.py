"""Texts as the passes that score them: one class for each kind of model.

A causal model predicts a window's tokens in one pass. A masked one sees both sides of a token, so that each
token takes a pass of its own, in which it is masked: the pseudo-log-likelihood of Salazar et al., Masked
Language Model Scoring (2020). An encoder-decoder predicts a target from its source.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmkit.evaluation.likelihood.loss import Loss, Pass
from llmkit.evaluation.likelihood.windows import Window
from llmkit.records.rows import Row


@dataclass
class ScoredText(ABC):
    """What is scored of one text, whatever the model.

    Args:
        row: where the text is from.
        text: the scored text.
        words: how many words it has.
        unknown: the token for text that the tokenizer does not know, or None.
        losses: by the pass's index, the loss of each token that it scores, in nats; from `LossBatches`.
    """

    row: Row
    text: str
    words: int
    unknown: int | None
    losses: dict[int, list[float]] = field(default_factory=dict, init=False)

    @abstractmethod
    def __len__(self) -> int:
        """How many passes there are."""

    @abstractmethod
    def length(self, index: int) -> int:
        """How many tokens pass `index` reads."""

    @abstractmethod
    def read(self, index: int) -> Pass:
        """Pass `index`."""

    def parts(self) -> list[range]:
        """The passes of each window, in order."""
        return [range(index, index + 1) for index in range(len(self))]

    def loss(self, of: Sequence[int] | None = None, share: float = 1.0) -> Loss:
        """What was lost in all passes, or in some, to which a share of the text's words and bytes belongs."""
        of = range(len(self)) if of is None else of
        tokens = [token for index in of for token in self.read(index).targets]
        losses = [loss for index in of for loss in self.losses[index]]
        return Loss(
            nll=math.fsum(losses),
            tokens=len(tokens),
            words=share * self.words,
            bytes=share * len(self.text.encode("utf-8")),
            unknown=tokens.count(self.unknown) if self.unknown is not None else 0,
            token_ids=tuple(tokens),
            token_losses=tuple(losses),
        )


@dataclass
class CausalDocument(ScoredText):
    """A text that is predicted from left to right.

    Args:
        ids: its tokens, after the beginning-of-sequence token if it has one, and after its context.
        windows: over `ids`.
        repeat_bos: each window begins with ids[0].
    """

    ids: list[int]
    windows: list[Window]
    repeat_bos: bool = False

    def __len__(self) -> int:
        return len(self.windows)

    def length(self, index: int) -> int:
        window = self.windows[index]
        return window.end - window.start + (window.start > 0 and self.repeat_bos)

    def read(self, index: int) -> Pass:
        window = self.windows[index]
        fed = self.ids[window.start : window.end]
        if window.start and self.repeat_bos:
            fed = [self.ids[0], *fed]
        targets = self.ids[window.end - window.scored + 1 : window.end + 1]
        return Pass(fed, range(len(fed) - window.scored, len(fed)), targets)


@dataclass
class MaskedDocument(ScoredText):
    """A text whose tokens are masked one at a time, and predicted from both sides.

    Args:
        ids: its tokens.
        windows: over `ids`: the tokens from `start` to `end` are read.
        scored: by window, the tokens of it that are scored.
        before: the model's special tokens before a text, such as [CLS].
        after: those after it.
        mask: the token that hides one.
    """

    ids: list[int]
    windows: list[tuple[int, int]]
    scored: list[range]
    before: Sequence[int]
    after: Sequence[int]
    mask: int

    def __post_init__(self) -> None:
        self._passes = [(window, place) for window, places in enumerate(self.scored) for place in places]

    def __len__(self) -> int:
        return len(self._passes)

    def length(self, index: int) -> int:
        start, end = self.windows[self._passes[index][0]]
        return len(self.before) + end - start + len(self.after)

    def read(self, index: int) -> Pass:
        window, place = self._passes[index]
        start, end = self.windows[window]
        fed = [*self.before, *self.ids[start:place], self.mask, *self.ids[place + 1 : end], *self.after]
        at = len(self.before) + place - start
        return Pass(fed, range(at, at + 1), [self.ids[place]])

    def parts(self) -> list[range]:
        return list(self.scored)  # a pass's index is its token's


@dataclass
class TargetDocument(ScoredText):
    """A text that an encoder-decoder predicts from another.

    Args:
        source: the tokens that the encoder reads.
        target: those that are scored, with the end-of-sequence token if the model writes one.
        start: what the decoder begins with.
    """

    source: list[int]
    target: list[int]
    start: Sequence[int]

    def __len__(self) -> int:
        return 1

    def length(self, index: int) -> int:
        return len(self.source) + len(self.start) + len(self.target) - 1

    def read(self, index: int) -> Pass:
        fed = [*self.start, *self.target[:-1]]
        return Pass(fed, range(len(self.start) - 1, len(fed)), self.target, self.source)
