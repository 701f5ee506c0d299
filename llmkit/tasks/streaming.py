"""Decode tokens to text as a stream: whole characters only, up to the first stop string.

transformers' TextStreamer waits for a space before it shows anything, so Japanese or a row of emoji would
come out only at the end. This one shows every whole character at once, and its pieces add up to exactly
what decoding the finished answer gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from llmkit.text.chat.reasoning import ReasoningFilter
from llmkit.text.stops import StopFilter

# A decoder writes this for bytes that are not, or not yet, a character.
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
# A byte in vocabularies with byte fallback (SentencePiece, Llama 2): a run of them becomes text as a whole.
_BYTE = re.compile("<0x[0-9A-F]{2}>")


class AnswerStreamer:
    """Calls `on_text(text, is_reasoning)` with each new piece of an answer.

    Args:
        tokenizer: the model's tokenizer; None if it is elsewhere, and pieces of text come to `put_text`.
        on_text: takes the pieces.
        stops: strings that end the answer.
        thinking: True if the output begins inside the model's thoughts; None for a model that has none.
    """

    def __init__(
        self,
        tokenizer: Any,
        on_text: Callable[[str, bool], None],
        *,
        stops: Sequence[str] = (),
        thinking: bool | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._on_text = on_text
        self._stop = StopFilter(stops)
        self._reasoning = None if thinking is None else ReasoningFilter(opened=thinking)
        self._ids: list[int] = []
        self._begin = 0  # decoding starts here: far enough back for the next token to join correctly
        self._shown = 0  # characters of decode(ids[begin:]) that went out

    @property
    def stop(self) -> str | None:
        """The stop string that ended the answer; None if none did."""
        return self._stop.found

    def put(self, ids: Sequence[int]) -> None:
        """Take new token ids."""
        self._ids.extend(ids)
        text = self._decode()
        if not text.endswith(_INCOMPLETE) and not self._ends_in_bytes():
            self._show(text)

    def put_text(self, piece: str) -> None:
        """Take a piece of text from an engine whose tokenizer is elsewhere."""
        self._pass_on(self._stop.feed(piece))

    def end(self) -> None:
        """Show the text that was held back."""
        if self._tokenizer is not None:
            self._show(self._decode())
        self._pass_on(self._stop.close())
        if self._reasoning is not None:
            for thought, piece in self._reasoning.close():
                self._on_text(piece, thought)

    def _ends_in_bytes(self) -> bool:
        """Return True if the last token is a byte: a broken one behind it changes those before."""
        token = self._tokenizer.convert_ids_to_tokens(self._ids[-1]) if self._ids else None
        return isinstance(token, str) and _BYTE.fullmatch(token) is not None

    def _decode(self) -> str:
        return decode(self._tokenizer, self._ids[self._begin :])

    def _show(self, text: str) -> None:
        piece = text[self._shown :]
        self._shown = len(text)
        if len(self._ids) - self._begin > 64 and piece:
            # Start afresh a few tokens back, so that a long answer is not decoded again from its start.
            self._begin = len(self._ids) - 8
            self._shown = len(self._decode())
        self._pass_on(self._stop.feed(piece))

    def _pass_on(self, piece: str) -> None:
        if not piece:
            return
        if self._reasoning is None:
            self._on_text(piece, False)
            return
        for thought, part in self._reasoning.feed(piece):
            self._on_text(part, thought)


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """Return token ids as text, without special tokens and with spaces as they are."""
    text: str = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return text
