"""Parts that the routes of several APIs share: answers in pieces, and streams of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from llmkit.serving.errors import as_api_error
from llmkit.serving.guards import cors_headers
from llmkit.serving.parsing.answer_text import Delta
from llmkit.serving.routes.openai_answers import Usage
from llmkit.serving.scheduling.answering import Answering
from llmkit.serving.scheduling.jobs import Failed, NewTokens
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.prepare import PreparedChoice
from llmkit.serving.state import ServerState


@dataclass(frozen=True)
class AnswerPiece:
    """A piece of one of several answers.

    Attributes:
        index: number of the answer.
        delta: its new part.
        reason: of its end: ``stop``, ``length`` or ``tool_calls``; None before that.
        stop: the stop string that ended it.
    """

    index: int
    delta: Delta
    reason: str | None = None
    stop: str | None = None


async def pieces_of(
    answering: Answering,
    model: ServedModel,
    prepared: Sequence[PreparedChoice],
    usage: Usage,
    silence: float,
) -> AsyncIterator[AnswerPiece | None]:
    """Yield pieces of answers as they come; None now and then where nothing happens.

    Raises:
        ApiError: an answer failed.
    """
    texts = [model.text_of(one) for one in prepared]
    called: set[int] = set()
    async for event in answering.events(silence):
        if event is None:
            yield None
            continue
        index, found = event
        if isinstance(found, Failed):
            raise as_api_error(found.error) from found.error
        if isinstance(found, NewTokens):
            delta = texts[index].put(found.ids, found.logprobs)
            if delta.calls:
                called.add(index)
            if delta:
                yield AnswerPiece(index, delta)
            continue
        usage.completion_tokens += len(found.completion.ids)
        if prepared[index].request.key[2] == 0:  # the first answer to its prompt
            usage.cached_tokens += found.reused
        delta, reason = texts[index].end(), str(found.completion.finish_reason)
        if reason == "stop" and (delta.calls or index in called):
            reason = "tool_calls"
        yield AnswerPiece(index, delta, reason, texts[index].stop)


async def start_events(request: web.Request, state: ServerState) -> web.StreamResponse:
    """Return a response that is open for server-sent events."""
    headers = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
        **cors_headers(request, state.settings),
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    return response


def prompt_usage(groups: Sequence[Sequence[PreparedChoice]]) -> Usage:
    """Return the usage of prompts whose answers are still to be written."""
    return Usage(prompt_tokens=sum(len(group[0].request.ids or ()) for group in groups))


Event = dict[str, Any]
"""A server-sent event as JSON; its `type` is the event's name."""
