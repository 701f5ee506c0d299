"""Answer one conversation in blocks, whole or as events, for APIs that have a block for each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from aiohttp import web

from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError, as_api_error
from llmkit.serving.guards import error_response, scope_of
from llmkit.serving.parsing.blocks import AnswerBlock, AnswerBlocks, BlockEvent
from llmkit.serving.routes.answering import Event, pieces_of, prompt_usage, start_events
from llmkit.serving.routes.openai_answers import Usage
from llmkit.serving.scheduling.answering import Answering
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.state import STATE


class BlockAnswer(Protocol):
    """The JSON of one API."""

    def whole(
        self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage
    ) -> dict[str, Any]:
        """Return the whole response."""

    def begin(self, usage: Usage) -> list[Event]:
        """Return the events before the first block."""

    def event(self, event: BlockEvent) -> list[Event]:
        """Return the events of what happens to a block."""

    def end(self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage) -> list[Event]:
        """Return the events after the last block."""

    def failed(self, error: ApiError) -> list[Event]:
        """Return the events of a failure after the first byte."""

    def silent(self) -> bytes:
        """Return what keeps a silent stream open."""


async def answer_in_blocks(
    request: web.Request, model: ServedModel, wanted: Wanted, answer: BlockAnswer
) -> web.StreamResponse:
    """Answer a request for one conversation.

    Raises:
        ApiError, InputError: it failed before the first byte.
    """
    state = request.app[STATE]
    groups = await model.prepare(wanted)
    prepared = groups[0]
    usage = prompt_usage(groups)
    blocks = AnswerBlocks()
    reason, stop = "stop", None
    response: web.StreamResponse | None = None
    with Answering(model, prepared, state.settings.request_timeout, scope_of(request)) as answering:
        try:
            async for piece in pieces_of(answering, model, prepared, usage, state.settings.silence):
                if wanted.stream and response is None:
                    response = await start_events(request, state)
                    await _send(response, answer.begin(usage))
                if piece is None:
                    if response is not None:
                        await response.write(answer.silent())
                    continue
                happened = blocks.feed(piece.delta)
                if piece.reason is not None:
                    reason, stop = piece.reason, piece.stop
                    happened += blocks.end()
                if response is not None:
                    for one in happened:
                        await _send(response, answer.event(one))
            if response is None:
                return web.json_response(answer.whole(blocks.blocks, reason, stop, usage), dumps=dumps)
            await _send(response, answer.end(blocks.blocks, reason, stop, usage))
        except ConnectionError:  # the client left
            if response is None:
                raise
        except Exception as error:
            found = as_api_error(error)
            if found.status == 500 and not isinstance(error, ApiError):
                state.log(f"unexpected {type(error).__name__}: {error}")
            if response is None:
                return error_response(found, request.path)
            await _send(response, answer.failed(found))
        return response


async def _send(response: web.StreamResponse, events: Sequence[Event]) -> None:
    for event in events:
        head = f"event: {event['type']}\n".encode()
        await response.write(head + b"data: " + dumps(event).encode() + b"\n\n")
