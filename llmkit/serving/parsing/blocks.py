"""An answer as blocks, in their order: thoughts, text, and a block for each tool call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmkit.serving.parsing.answer_text import Delta

Kind = Literal["thinking", "text", "call"]


@dataclass
class AnswerBlock:
    """A part of an answer.

    Attributes:
        index: its number.
        kind: thoughts, text or a call.
        text: thoughts, text or the call's arguments.
        id, name: id and name of a call.
    """

    index: int
    kind: Kind
    text: str = ""
    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class BlockEvent:
    """An event of a block: it begins, receives `text`, or ends."""

    kind: Literal["start", "piece", "stop"]
    block: AnswerBlock
    text: str = ""


class AnswerBlocks:
    """Collector of an answer's pieces into blocks.

    Attributes:
        blocks: all blocks so far.
    """

    def __init__(self) -> None:
        self.blocks: list[AnswerBlock] = []
        self._open: AnswerBlock | None = None

    def feed(self, delta: Delta) -> list[BlockEvent]:
        """Add a piece; return the events."""
        found: list[BlockEvent] = []
        if delta.reasoning:
            found += self._piece("thinking", delta.reasoning)
        if delta.text:
            found += self._piece("text", delta.text)
        for call in delta.calls:
            if call.name is not None:
                found += self._begin("call", call.id or "", call.name)
            if call.arguments:
                found += self._piece("call", call.arguments)
        return found

    def end(self) -> list[BlockEvent]:
        """End the last block. An answer without blocks gets an empty text block."""
        found = [] if self.blocks else self._begin("text")
        if self._open is not None:
            found.append(BlockEvent("stop", self._open))
            self._open = None
        return found

    def _piece(self, kind: Kind, text: str) -> list[BlockEvent]:
        found = [] if self._open is not None and self._open.kind == kind else self._begin(kind)
        assert self._open is not None
        self._open.text += text
        return [*found, BlockEvent("piece", self._open, text)]

    def _begin(self, kind: Kind, identity: str = "", name: str = "") -> list[BlockEvent]:
        found = [BlockEvent("stop", self._open)] if self._open is not None else []
        self._open = AnswerBlock(len(self.blocks), kind, id=identity, name=name)
        self.blocks.append(self._open)
        return [*found, BlockEvent("start", self._open)]
