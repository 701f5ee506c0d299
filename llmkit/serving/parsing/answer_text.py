"""Turn tokens into pieces of text for a client: complete characters, no stop strings, with reasoning.

A log-probability is sent with the piece of its token. Log-probabilities of an end token, of a stop string and
of later tokens are not sent.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.engines.base import TokenLogprob
from llmkit.serving.parsing.described import DescribedAnswer
from llmkit.serving.parsing.tool_calls import CallPiece, ToolCallFilter
from llmkit.tasks.streaming import AnswerStreamer
from llmkit.text.chat.reasoning import ReasoningFilter
from llmkit.text.token_bytes import TokenBytes


@dataclass(frozen=True)
class Delta:
    """A piece of an answer; each field may be empty."""

    text: str = ""
    reasoning: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()
    calls: tuple[CallPiece, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.logprobs or self.calls)


class AnswerText:
    """The text of one answer while its tokens arrive.

    Args:
        tokenizer: the model's tokenizer.
        token_bytes: function that returns the bytes of a token.
        stops: strings that end the answer.
        thinking: True if the answer begins inside the model's thoughts; None for plain text.
        calls: finds tool calls in the answer; None if there are none.
        described: splits the answer by the tokenizer's own description, in place of `thinking` and `calls`.
        kept: special tokens that are part of the text.
    """

    def __init__(
        self,
        tokenizer: Any,
        token_bytes: TokenBytes,
        *,
        stops: Sequence[str] = (),
        thinking: bool | None = None,
        calls: ToolCallFilter | None = None,
        described: DescribedAnswer | None = None,
        kept: Collection[int] = (),
    ) -> None:
        self._raw: list[str] = []
        self._calls, self._described = calls, described
        if kept:
            tokenizer = _KeepingTokenizer(tokenizer, kept)
        self._streamer = AnswerStreamer(tokenizer, lambda text, _: self._raw.append(text), stops=stops)
        self._reasoning = None if thinking is None else ReasoningFilter(opened=thinking)
        self._token_bytes = token_bytes
        self._held: list[tuple[int, TokenLogprob]] = []  # with the position of the token's first byte
        self._seen = 0  # bytes of the tokens whose log-probabilities have arrived
        self._sent = 0  # bytes of text that were sent

    @property
    def stop(self) -> str | None:
        """The stop string that ended the answer, or None."""
        return self._streamer.stop

    def put(self, ids: Sequence[int], logprobs: Sequence[TokenLogprob] = ()) -> Delta:
        """Add new tokens and return the part that can be sent now."""
        for one in logprobs:
            self._held.append((self._seen, one))
            self._seen += len(self._token_bytes(one.token))
        if ids:
            self._streamer.put(ids)
        return self._delta(end=False)

    def end(self) -> Delta:
        """Return the remaining text after the end of the answer."""
        self._streamer.end()
        return self._delta(end=True)

    def _delta(self, *, end: bool) -> Delta:
        raw = "".join(self._raw)
        self._raw.clear()
        self._sent += len(raw.encode())
        ready = tuple(one for place, one in self._held if place < self._sent)
        self._held = [(place, one) for place, one in self._held if place >= self._sent]
        if self._described is not None:
            found = self._described.feed(raw)
            rest = self._described.close() if end else ("", "", ())
            return Delta(found[0] + rest[0], found[1] + rest[1], ready, found[2] + rest[2])
        text, thoughts = raw, ""
        if self._reasoning is not None:
            pieces = self._reasoning.feed(raw) + (self._reasoning.close() if end else [])
            text = "".join(piece for thought, piece in pieces if not thought)
            thoughts = "".join(piece for thought, piece in pieces if thought)
        if self._calls is None:
            return Delta(text, thoughts, ready)
        parts = self._calls.feed(text) + (self._calls.close() if end else [])
        text = "".join(one for one in parts if isinstance(one, str))
        return Delta(text, thoughts, ready, tuple(one for one in parts if isinstance(one, CallPiece)))


class _KeepingTokenizer:
    """A tokenizer that leaves out special tokens, except some.

    Args:
        tokenizer: the model's tokenizer.
        kept: special tokens to keep.
    """

    def __init__(self, tokenizer: Any, kept: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._dropped = frozenset(tokenizer.all_special_ids) - frozenset(kept)

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        """Return ids as text."""
        left = [one for one in ids if one not in self._dropped]
        text: str = self._tokenizer.decode(
            left, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text
