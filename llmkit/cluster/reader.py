"""The extractive reader inside a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit.runtime.load import load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.qa.reader import Reading, SpanReader
from llmkit.tasks.qa.spans import AnswerOptions, Answers


class WorkerReader:
    """A `SpanReader` with its model.

    Args:
        spec: the model.
        options: see `AnswerOptions`.

    Raises:
        InputError, LLMKitError: as `load`.
    """

    def __init__(self, spec: ModelSpec, options: AnswerOptions) -> None:
        self.loaded = load(spec)
        self._reader = SpanReader(self.loaded.model, self.loaded.tokenizer, options, self.loaded.device)

    def identity(self) -> dict[str, Any]:
        """Return everything that the answers depend on, except the questions."""
        return self.loaded.identity()

    def answer(self, readings: Sequence[Reading]) -> list[Answers]:
        """Answer questions; see `SpanReader.answer`."""
        return self._reader.answer(readings)
