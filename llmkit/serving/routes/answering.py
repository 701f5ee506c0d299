"""Answer a request, complete or as a stream, for all APIs whose answers are a model's tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError, as_api_error
from llmkit.serving.guards import cors_headers, error_response, scope_of
from llmkit.serving.parsing.answer_text import Delta
from llmkit.serving.routes.openai_answers import Usage
from llmkit.serving.scheduling.answering import Answering
from llmkit.serving.scheduling.jobs import Failed, NewTokens
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.prepare import PreparedChoice
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.state import STATE


@dataclass(frozen=True)
class AnswerPiece:
    """A piece of one of several answers.

    Attributes:
        index: number of the answer.
        delta: its new part.
        reason: reason of its end: ``stop``, ``length`` or ``tool_calls``; None before the end.
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
    """Yield pieces of answers; yield None from time to time if there are none.

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
        if prepared[index].request.key[2] == 0:  # True for the first answer to its prompt
            usage.cached_tokens += found.reused
        delta, reason = texts[index].end(), str(found.completion.finish_reason)
        if reason == "stop" and (delta.calls or index in called):
            reason = "tool_calls"
        yield AnswerPiece(index, delta, reason, texts[index].stop)


class AnswerForm(Protocol):
    """Answer format of one API: as a stream, or as one complete answer.

    Attributes:
        stream_type: media type of a stream.
    """

    stream_type: str

    def begin(self, usage: Usage) -> bytes:
        """Return the beginning of a stream."""

    def sent(self, piece: AnswerPiece) -> bytes:
        """Return a piece in the format of the stream."""

    def end(self, usage: Usage) -> bytes:
        """Return the end of a stream."""

    def failed(self, error: ApiError) -> bytes:
        """Return the form of a failure after the first byte."""

    def silent(self) -> bytes:
        """Return bytes that keep a silent stream open."""

    def take(self, piece: AnswerPiece) -> None:
        """Add a piece to the complete answer."""

    def whole(self, usage: Usage) -> dict[str, Any]:
        """Return all pieces as one answer."""


async def answer_request(
    request: web.Request, model: ServedModel, wanted: Wanted, form: AnswerForm
) -> web.StreamResponse:
    """Answer a request. A failure before the first byte of a stream is an ordinary response.

    Raises:
        ApiError, InputError: the request is bad for this model, or the queue is full.
    """
    state = request.app[STATE]
    groups = await model.prepare(wanted)
    prepared = [one for group in groups for one in group]
    usage = Usage(prompt_tokens=prompt_tokens(groups))
    response: web.StreamResponse | None = None
    with Answering(model, prepared, state.seconds(request), scope_of(request)) as answering:
        try:
            async for piece in pieces_of(answering, model, prepared, usage, state.settings.silence):
                if wanted.stream and response is None:
                    response = await _open_stream(request, form.stream_type)
                    await response.write(form.begin(usage))
                if response is not None:
                    await response.write(form.silent() if piece is None else form.sent(piece))
                elif piece is not None:
                    form.take(piece)
            if response is None:
                return web.json_response(form.whole(usage), dumps=dumps)
            await response.write(form.end(usage))
        except ConnectionError:  # the client disconnected
            if response is None:
                raise
        except Exception as error:
            found = as_api_error(error)
            if found.status == 500 and not isinstance(error, ApiError):
                state.log(f"unexpected {type(error).__name__}: {error}")
            if response is None:
                return error_response(found, request.path)
            await response.write(form.failed(found))
        return response


async def _open_stream(request: web.Request, kind: str) -> web.StreamResponse:
    headers = {
        "Content-Type": kind,
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
        **cors_headers(request, request.app[STATE].settings),
    }
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    return response


def prompt_tokens(groups: Sequence[Sequence[PreparedChoice]]) -> int:
    """Return the number of prompt tokens, with each prompt counted once."""
    return sum(len(group[0].request.ids or ()) for group in groups)
