"""Forward passes that score a text: one class for each kind of model.

A causal model predicts all tokens of a window in one pass. A masked model sees both sides of a token, so each
token needs a separate pass, in which it is masked: the pseudo-log-likelihood of Salazar et al. (2020),
Masked Language Model Scoring, arXiv:1910.14659. An encoder-decoder predicts a target from its source.
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
    """A text to be scored, with the losses of its passes.

    Attributes:
        row: row of the text.
        text: the scored text.
        words: number of its words.
        unknown: id of the tokenizer's unknown token, or None.
        losses: loss of each scored token in nats, by the index of the pass; filled by `LossBatches`.
    """

    row: Row
    text: str
    words: int
    unknown: int | None
    losses: dict[int, list[float]] = field(default_factory=dict, init=False)

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of passes."""

    @abstractmethod
    def length(self, index: int) -> int:
        """Return the number of tokens that pass `index` reads."""

    @abstractmethod
    def read(self, index: int) -> Pass:
        """Return pass `index`."""

    def parts(self) -> list[range]:
        """Return the passes of each window, in order."""
        return [range(index, index + 1) for index in range(len(self))]

    def loss(self, of: Sequence[int] | None = None, share: float = 1.0) -> Loss:
        """Return the loss of the text, or of some of its passes.

        Args:
            of: indices of the passes; None is all.
            share: share of the text's words and bytes that belongs to these passes.
        """
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

    Attributes:
        ids: the beginning-of-sequence token if there is one, the context, and the tokens of the text.
        windows: windows over `ids`.
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
        ids = self.ids[window.start : window.end]
        if window.start and self.repeat_bos:
            ids = [self.ids[0], *ids]
        targets = self.ids[window.end - window.scored + 1 : window.end + 1]
        return Pass(ids, range(len(ids) - window.scored, len(ids)), targets)


@dataclass
class MaskedDocument(ScoredText):
    """A text whose tokens are masked one at a time, and predicted from both sides.

    Attributes:
        ids: the tokens of the text.
        windows: start and end of each window over `ids`.
        scored: for each window, the positions that are scored.
        before: special tokens before a text, such as [CLS].
        after: special tokens after it.
        mask: id of the mask token.
    """

    ids: list[int]
    windows: list[tuple[int, int]]
    scored: list[range]
    before: Sequence[int]
    after: Sequence[int]
    mask: int

    def __post_init__(self) -> None:
        self._passes = [(window, at) for window, scored in enumerate(self.scored) for at in scored]

    def __len__(self) -> int:
        return len(self._passes)

    def length(self, index: int) -> int:
        start, end = self.windows[self._passes[index][0]]
        return len(self.before) + end - start + len(self.after)

    def read(self, index: int) -> Pass:
        window, at = self._passes[index]
        start, end = self.windows[window]
        ids = [*self.before, *self.ids[start:at], self.mask, *self.ids[at + 1 : end], *self.after]
        masked = len(self.before) + at - start
        return Pass(ids, range(masked, masked + 1), [self.ids[at]])

    def parts(self) -> list[range]:
        return list(self.scored)  # the index of a pass is that of its token


@dataclass
class TargetDocument(ScoredText):
    """A text that an encoder-decoder predicts from another.

    Attributes:
        source: input tokens of the encoder.
        target: scored tokens, with the end-of-sequence token if the model writes one.
        start: first input tokens of the decoder.
    """

    source: list[int]
    target: list[int]
    start: Sequence[int]

    def __len__(self) -> int:
        return 1

    def length(self, index: int) -> int:
        return len(self.source) + len(self.start) + len(self.target) - 1

    def read(self, index: int) -> Pass:
        ids = [*self.start, *self.target[:-1]]
        return Pass(ids, range(len(self.start) - 1, len(ids)), self.target, self.source)
