"""Form of answers in blocks, for APIs with a block for each part of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError
from llmkit.serving.parsing.blocks import AnswerBlock, AnswerBlocks, BlockEvent
from llmkit.serving.routes.answering import AnswerPiece
from llmkit.serving.routes.openai_answers import Usage

Event = dict[str, Any]
"""A server-sent event as JSON; its `type` is the name of the event."""


class BlockAnswer(Protocol):
    """The JSON of one API."""

    def whole(
        self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage
    ) -> dict[str, Any]:
        """Return the complete response."""

    def begin(self, usage: Usage) -> list[Event]:
        """Return the events before the first block."""

    def event(self, event: BlockEvent) -> list[Event]:
        """Return the events for an event of a block."""

    def end(self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage) -> list[Event]:
        """Return the events after the last block."""

    def failed(self, error: ApiError) -> list[Event]:
        """Return the events of a failure after the first byte."""

    def silent(self) -> bytes:
        """Return bytes that keep a silent stream open."""


class BlockForm:
    """An `AnswerForm` of blocks.

    Args:
        answer: the JSON of the API.
    """

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, answer: BlockAnswer) -> None:
        self._answer = answer
        self._blocks = AnswerBlocks()
        self._reason = "stop"
        self._stop: str | None = None

    def begin(self, usage: Usage) -> bytes:
        """Return the events before the first block."""
        return _events(self._answer.begin(usage))

    def sent(self, piece: AnswerPiece) -> bytes:
        """Return the block events of a piece."""
        return b"".join(_events(self._answer.event(one)) for one in self._feed(piece))

    def take(self, piece: AnswerPiece) -> None:
        """Add a piece to the blocks."""
        self._feed(piece)

    def end(self, usage: Usage) -> bytes:
        """Return the events after the last block."""
        return _events(self._answer.end(self._blocks.blocks, self._reason, self._stop, usage))

    def failed(self, error: ApiError) -> bytes:
        """Return the events of a failure."""
        return _events(self._answer.failed(error))

    def silent(self) -> bytes:
        """Return bytes that keep a silent stream open."""
        return self._answer.silent()

    def whole(self, usage: Usage) -> dict[str, Any]:
        """Return the complete response."""
        return self._answer.whole(self._blocks.blocks, self._reason, self._stop, usage)

    def _feed(self, piece: AnswerPiece) -> list[BlockEvent]:
        happened = self._blocks.feed(piece.delta)
        if piece.reason is not None:
            self._reason, self._stop = piece.reason, piece.stop
            happened += self._blocks.end()
        return happened


def _events(events: Sequence[Event]) -> bytes:
    return b"".join(f"event: {one['type']}\ndata: {dumps(one)}\n\n".encode() for one in events)
