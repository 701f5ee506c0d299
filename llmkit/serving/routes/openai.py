"""OpenAI's routes: models, completions and chat completions, whole and streamed."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError, as_api_error
from llmkit.serving.guards import error_response, read_json, scope_of
from llmkit.serving.routes.answering import pieces_of, start_events
from llmkit.serving.routes.openai_answers import ChatAnswers, Choice, TextAnswers, Usage
from llmkit.serving.routes.openai_requests import chat_request, completion_request
from llmkit.serving.scheduling.answering import Answering
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.state import STATE, ServerState


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_get("/v1/models", list_models)
    app.router.add_get("/v1/models/{name:.+}", show_model)
    app.router.add_post("/v1/completions", complete)
    app.router.add_post("/v1/chat/completions", chat)


async def list_models(request: web.Request) -> web.Response:
    """List the models."""
    models = request.app[STATE].models.values()
    return web.json_response({"object": "list", "data": [_described(one) for one in models]})


async def show_model(request: web.Request) -> web.Response:
    """Describe one model."""
    return web.json_response(_described(request.app[STATE].model(request.match_info["name"])))


def _described(model: ServedModel) -> dict[str, Any]:
    engine, reader = model.worker.engine, model.worker.reader
    more: dict[str, Any] = {}
    if engine is not None:
        task = "text2text-generation" if engine.is_encoder_decoder else "text-generation"
        more = {"max_model_len": engine.context_length, "chat": engine.has_chat_template, "task": task}
    elif reader is not None:
        more = {"chat": False, "task": reader.spec.task}
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "llmkit", **more}


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    return await _answer(request, chat_request(await read_json(request)), ChatAnswers)


async def complete(request: web.Request) -> web.StreamResponse:
    """Continue texts."""
    return await _answer(request, completion_request(await read_json(request)), TextAnswers)


async def _answer(request: web.Request, wanted: Wanted, form: type[ChatAnswers]) -> web.StreamResponse:
    state = request.app[STATE]
    model = await state.open(request, wanted.model)
    groups = await model.prepare(wanted)
    prepared = [one for group in groups for one in group]
    answers = form(
        model.name,
        model.token_bytes,
        logprobs=wanted.logprobs is not None,
        include_usage=wanted.include_usage,
    )
    usage = Usage(prompt_tokens=sum(len(group[0].request.ids or ()) for group in groups))
    with Answering(model, prepared, state.settings.request_timeout, scope_of(request)) as answering:
        pieces = pieces_of(answering, model, prepared, usage, state.settings.silence)
        if wanted.stream:
            return await _stream(request, answers, pieces, usage, len(prepared))
        choices = [Choice() for _ in prepared]
        async for piece in pieces:
            if piece is None:
                continue
            choices[piece.index].deltas.append(piece.delta)
            choices[piece.index].finish_reason = piece.reason
        return web.json_response(answers.whole(choices, usage), dumps=dumps)


async def _stream(
    request: web.Request, answers: ChatAnswers, pieces: Any, usage: Usage, count: int
) -> web.StreamResponse:
    """Send an answer as server-sent events; an error before the first of them is an ordinary response."""
    response: web.StreamResponse | None = None
    state: ServerState = request.app[STATE]
    try:
        async for piece in pieces:
            if response is None:
                response = await start_events(request, state)
                for index in range(count):
                    await _send(response, answers.first(index))
            if piece is None:
                await response.write(b": keep-alive\n\n")
                continue
            if piece.delta:
                await _send(response, answers.piece(piece.index, piece.delta))
            if piece.reason is not None:
                await _send(response, answers.last(piece.index, piece.reason))
        assert response is not None  # each answer has an end
        if answers.include_usage:
            await _send(response, [answers.usage(usage)])
        await response.write(b"data: [DONE]\n\n")
    except ConnectionError:  # the client left
        if response is None:
            raise
    except Exception as error:
        found = as_api_error(error)
        if found.status == 500 and not isinstance(error, ApiError):
            state.log(f"unexpected {type(error).__name__}: {error}")
        if response is None:
            return error_response(found, request.path)
        await _send(response, [found.as_json()])
    return response if response is not None else error_response(ApiError(500, "no answer"), request.path)


async def _send(response: web.StreamResponse, chunks: list[dict[str, Any]]) -> None:
    for chunk in chunks:
        await response.write(b"data: " + dumps(chunk).encode() + b"\n\n")
