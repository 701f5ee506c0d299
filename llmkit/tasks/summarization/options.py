"""Options and results of summaries."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmkit.engines.base import FinishReason
from llmkit.errors import OptionError, did_you_mean
from llmkit.tasks.summarization.extractive import SummaryLength
from llmkit.tasks.summarization.prompts import STYLES

STRATEGIES = ("map-reduce", "refine", "truncate")
LEAST_ROOM = 16
"""Tokens of text; below that there is nothing to summarize."""


@dataclass(frozen=True)
class SummaryOptions:
    """Options of abstractive summaries.

    Attributes:
        length: bounds on the summary; `max_words` always holds, the others hold approximately.
        strategy: for a text longer than the window: ``map-reduce``, ``refine`` or ``truncate``.
        style: ``paragraph`` or ``bullets``, for chat models and picked sentences; None is a paragraph.
        window: maximum tokens of text in one prompt; None takes as many as the model sees.
        prefix: beginning of an encoder-decoder model's input; None takes the model's own, such as T5's
            ``summarize: ``.

    Raises:
        OptionError: an unknown strategy or style, or a window that is too small.
    """

    length: SummaryLength = field(default_factory=SummaryLength)
    strategy: str = "map-reduce"
    style: str | None = None
    window: int | None = None
    prefix: str | None = None

    def __post_init__(self) -> None:
        for name, known in (("strategy", STRATEGIES), ("style", tuple(STYLES))):
            value = getattr(self, name)
            if value is not None and value not in known:
                hint = did_you_mean(value, known)
                raise OptionError(name, f"cannot be {value!r}; use {', '.join(known)}{hint}")
        if self.window is not None and self.window < LEAST_ROOM:
            raise OptionError("window", f"must be {LEAST_ROOM} tokens or more")


@dataclass(frozen=True)
class SummaryResult:
    """The summary of one text.

    Attributes:
        text: the summary.
        reasoning: a reasoning model's thoughts, else empty.
        prompt_tokens: tokens that the model read, in all parts together; 0 without a model.
        tokens: tokens that it wrote.
        finish_reason: ``length`` if the summary reached its limit, else ``stop``.
        seed: seed of sampling.
    """

    text: str
    reasoning: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    finish_reason: FinishReason = "stop"
    seed: int = 0
