"""Split the output of a reasoning model into thoughts and answer, whole or as it streams.

Models write thoughts as `<think> ... </think>` before the answer. Some chat templates open the tag in the
prompt, so that the output begins inside it.
"""

from __future__ import annotations

OPEN = "<think>"
CLOSE = "</think>"


def split_reasoning(text: str, *, opened: bool = False) -> tuple[str, str]:
    """Split a model's output into (reasoning, answer); the reasoning may be empty.

    Args:
        text: output of the model.
        opened: the prompt ended inside the thoughts.
    """
    parts = ReasoningFilter(opened=opened)
    pieces = [*parts.feed(text), *parts.close()]
    reasoning = "".join(piece for thought, piece in pieces if thought)
    answer = "".join(piece for thought, piece in pieces if not thought)
    return reasoning.strip(), answer


class ReasoningFilter:
    """Splits a stream into reasoning and answer; `feed` and `close` return (is_thought, text) pieces."""

    def __init__(self, *, opened: bool = False) -> None:
        self._thinking = opened
        self._begun = opened  # a tag counts only at the start: an answer may speak about <think>
        self._held = ""
        self._strip = False

    def feed(self, text: str) -> list[tuple[bool, str]]:
        self._held += text
        if not self._begun:
            start = self._held.lstrip()
            if OPEN.startswith(start[: len(OPEN)]) and len(start) < len(OPEN):
                return []
            self._begun = True
            if start.startswith(OPEN):
                self._thinking = True
                self._held = start[len(OPEN) :]
        if not self._thinking:
            return self._emit(False, len(self._held))
        end = self._held.find(CLOSE)
        if end < 0:
            return self._emit(True, len(self._held) - _overlap(self._held, CLOSE))
        pieces = self._emit(True, end)
        self._held = self._held[len(CLOSE) :]
        self._thinking, self._strip = False, True
        return pieces + self._emit(False, len(self._held))

    def close(self) -> list[tuple[bool, str]]:
        """Return the remaining pieces at the end of the stream."""
        return self._emit(self._thinking, len(self._held))

    def _emit(self, thought: bool, length: int) -> list[tuple[bool, str]]:
        piece, self._held = self._held[:length], self._held[length:]
        if self._strip and not thought:
            # Blank lines between thoughts and answer belong to neither.
            piece = piece.lstrip("\n")
            self._strip = not piece
        return [(thought, piece)] if piece else []


def _overlap(text: str, tag: str) -> int:
    """Return the length of the longest end of `text` that is a beginning of `tag`."""
    return next((n for n in range(min(len(text), len(tag)), 0, -1) if tag.startswith(text[-n:])), 0)
