"""Answers as OpenAI's JSON: complete, or as the chunks of a stream.

A stream's chunks have one id and one `created`; the role comes first, the finish reason is in a separate
chunk, and the usage, if requested, is in a last chunk without choices.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmkit.engines.base import TokenLogprob
from llmkit.serving.parsing.answer_text import Delta
from llmkit.serving.parsing.tool_calls import CallPiece
from llmkit.tasks.details import json_number, logprobs_as_json
from llmkit.text.token_bytes import TokenBytes


@dataclass
class Usage:
    """Number of tokens of prompts, each counted once, and of answers, with their end tokens.

    For several answers to a prompt, `cached_tokens` counts the cached tokens of the first one.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def as_json(self) -> dict[str, Any]:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


@dataclass
class Choice:
    """One answer, collected so far."""

    deltas: list[Delta] = field(default_factory=list)
    finish_reason: str | None = None

    @property
    def text(self) -> str:
        return "".join(one.text for one in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(one.reasoning for one in self.deltas)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Tool calls in OpenAI's form."""
        found: dict[int, dict[str, Any]] = {}
        for piece in (piece for delta in self.deltas for piece in delta.calls):
            if piece.name is not None:
                function = {"name": piece.name, "arguments": ""}
                found[piece.index] = {"id": piece.id, "type": "function", "function": function}
            found[piece.index]["function"]["arguments"] += piece.arguments
        return list(found.values())

    @property
    def logprobs(self) -> list[TokenLogprob]:
        return [one for delta in self.deltas for one in delta.logprobs]


class ChatAnswers:
    """The JSON of /v1/chat/completions.

    Args:
        model: the model's name.
        tokens: the model's tokens.
        logprobs: log-probabilities were requested.
        include_usage: a stream ends with the numbers of tokens.
    """

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, model: str, tokens: TokenBytes, *, logprobs: bool, include_usage: bool) -> None:
        self.model, self.tokens = model, tokens
        self.logprobs, self.include_usage = logprobs, include_usage
        self.head = {
            "id": f"{self.prefix}-{secrets.token_hex(16)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, choices: Sequence[Choice], usage: Usage) -> dict[str, Any]:
        """Return the complete response."""
        found = [self._choice(i, one) for i, one in enumerate(choices)]
        return {**self.head, "object": self.kind, "choices": found, "usage": usage.as_json()}

    def first(self, index: int) -> list[dict[str, Any]]:
        """Return the chunks that begin an answer."""
        return [self._chunk(index, {"role": "assistant", "content": ""}, None, None)]

    def piece(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """Return the chunks of a piece of text."""
        body: dict[str, Any] = {}
        if delta.reasoning:
            body |= {"reasoning_content": delta.reasoning, "reasoning": delta.reasoning}
        if delta.text or not (body or delta.calls):
            body["content"] = delta.text
        logprobs = self._logprobs(delta.logprobs)
        found = [self._chunk(index, body, logprobs, None)] if body or delta.logprobs else []
        # One piece per chunk, because some clients read only the first of a list.
        return found + [self._chunk(index, {"tool_calls": [_call(one)]}, None, None) for one in delta.calls]

    def last(self, index: int, reason: str) -> list[dict[str, Any]]:
        """Return the chunk that ends an answer."""
        return [self._chunk(index, {}, None, reason)]

    def usage(self, usage: Usage) -> dict[str, Any]:
        """Return the chunk of a stream's usage."""
        return {**self.head, "object": self.chunk_kind, "choices": [], "usage": usage.as_json()}

    def _chunk(self, index: int, delta: Any, logprobs: Any, reason: str | None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self._wrapped(choice)

    def _wrapped(self, choice: dict[str, Any]) -> dict[str, Any]:
        usage = {"usage": None} if self.include_usage else {}
        return {**self.head, "object": self.chunk_kind, "choices": [choice], **usage}

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
        if choice.reasoning:
            thoughts = choice.reasoning.strip()
            message |= {"reasoning_content": thoughts, "reasoning": thoughts}
        if calls := choice.calls:
            message |= {"content": choice.text or None, "tool_calls": calls}
        return {
            "index": index,
            "message": message,
            "logprobs": self._logprobs(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }

    def _logprobs(self, found: Sequence[TokenLogprob]) -> Any:
        if not self.logprobs:
            return None
        return {"content": logprobs_as_json(found, self.tokens), "refusal": None}


def _call(piece: CallPiece) -> dict[str, Any]:
    function = {"arguments": piece.arguments}
    if piece.name is None:
        return {"index": piece.index, "function": function}
    named = {"name": piece.name, **function}
    return {"index": piece.index, "id": piece.id, "type": "function", "function": named}


class TextAnswers(ChatAnswers):
    """The JSON of /v1/completions, whose chunks have the form of the complete response."""

    prefix, kind, chunk_kind = "cmpl", "text_completion", "text_completion"

    def __init__(self, model: str, tokens: TokenBytes, *, logprobs: bool, include_usage: bool) -> None:
        super().__init__(model, tokens, logprobs=logprobs, include_usage=include_usage)
        self._offsets: dict[int, int] = {}

    def first(self, index: int) -> list[dict[str, Any]]:
        """Return nothing: a text has no role."""
        return []

    def piece(self, index: int, delta: Delta) -> list[dict[str, Any]]:
        """Return the chunk of a piece of text."""
        body = self._body(index, delta.text, self._listed(index, delta.logprobs), None)
        return [self._wrapped(body)]

    def last(self, index: int, reason: str) -> list[dict[str, Any]]:
        """Return the chunk that ends an answer."""
        return [self._wrapped(self._body(index, "", None, reason))]

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        listed = self._listed(index, choice.logprobs)
        return self._body(index, choice.text, listed, choice.finish_reason)

    def _body(self, index: int, text: str, logprobs: Any, reason: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}

    def _listed(self, index: int, found: Sequence[TokenLogprob]) -> Any:
        if not self.logprobs:
            return None
        names = [self.tokens.text(one.token) for one in found]
        offsets = []
        for name in names:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(name)
        # The token itself is always among them, as in OpenAI's description.
        pairs = [((one.token, one.logprob), *one.top) for one in found]
        top = [{self.tokens.text(token): json_number(value) for token, value in each} for each in pairs]
        return {
            "tokens": names,
            "token_logprobs": [json_number(one.logprob) for one in found],
            "top_logprobs": top,
            "text_offset": offsets,
        }
