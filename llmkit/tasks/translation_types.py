"""Input and results of translations."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmkit.engines.base import FinishReason
from llmkit.tasks.details import AnswerDetails
from llmkit.tasks.prompts import Prompt
from llmkit.text.layout import TextLayout


@dataclass(frozen=True)
class TranslationResult:
    """The translations of one text.

    Attributes:
        texts: `num_return_sequences` translations, best first.
        reasoning: a reasoning model's thoughts, else empty.
        separated: protected terms that a passage lost; the text around them was translated piece by piece.
        prompt_tokens: tokens that the model read, in all passages together.
        tokens: tokens that it wrote.
        finish_reason: ``length`` if a passage reached its limit, else ``stop``.
        seed: seed of sampling.
        passages: (start, end) of each passage's translation in the first text.
        details: facts about each text, such as the log-probabilities of its tokens.
    """

    texts: list[str]
    reasoning: str
    separated: list[str]
    prompt_tokens: int
    tokens: int
    finish_reason: FinishReason
    seed: int
    passages: list[tuple[int, int]] = field(default_factory=list)
    details: list[AnswerDetails] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the best translation."""
        return self.texts[0]


@dataclass(frozen=True)
class TranslationInput:
    """A text to translate: its layout, and a prompt for each of its passages.

    Attributes:
        index: index of its row.
        where: its place, for notices.
    """

    index: int
    where: str
    layout: TextLayout
    prompts: list[Prompt]
