"""OpenAI's routes: models, completions and chat completions, complete and streamed."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError
from llmkit.serving.guards import read_json
from llmkit.serving.routes.answering import AnswerPiece, answer_request
from llmkit.serving.routes.openai_answers import ChatAnswers, Choice, TextAnswers, Usage
from llmkit.serving.routes.openai_requests import chat_request, completion_request
from llmkit.serving.scheduling.abilities import CHAT, INFILL, TEXT
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.state import STATE


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


async def _answer(request: web.Request, wanted: Wanted, kind: type[ChatAnswers]) -> web.StreamResponse:
    task = CHAT if kind is ChatAnswers else TEXT if wanted.suffix is None else INFILL
    model = await request.app[STATE].open(request, wanted.model, task)
    answers = kind(
        model.name,
        model.token_bytes,
        logprobs=wanted.logprobs is not None,
        include_usage=wanted.include_usage,
    )
    return await answer_request(request, model, wanted, _ChoicesForm(answers, len(wanted.prompts) * wanted.n))


class _ChoicesForm:
    """An `AnswerForm` of several choices.

    Args:
        answers: the JSON of the API.
        count: number of choices.
    """

    stream_type = "text/event-stream; charset=utf-8"

    def __init__(self, answers: ChatAnswers, count: int) -> None:
        self._answers = answers
        self._choices = [Choice() for _ in range(count)]

    def begin(self, usage: Usage) -> bytes:
        """Return the chunks that begin the choices."""
        return b"".join(_chunks(self._answers.first(i)) for i in range(len(self._choices)))

    def sent(self, piece: AnswerPiece) -> bytes:
        """Return the chunks of a piece."""
        chunks = self._answers.piece(piece.index, piece.delta) if piece.delta else []
        return _chunks(chunks + (self._answers.last(piece.index, piece.reason) if piece.reason else []))

    def end(self, usage: Usage) -> bytes:
        """Return the chunk of the usage, if requested, and the end."""
        chunks = [self._answers.usage(usage)] if self._answers.include_usage else []
        return _chunks(chunks) + b"data: [DONE]\n\n"

    def failed(self, error: ApiError) -> bytes:
        """Return a failure as a chunk."""
        return _chunks([error.as_json()])

    def silent(self) -> bytes:
        """Return a comment."""
        return b": keep-alive\n\n"

    def take(self, piece: AnswerPiece) -> None:
        """Add a piece to its choice."""
        choice = self._choices[piece.index]
        choice.deltas.append(piece.delta)
        choice.finish_reason = piece.reason

    def whole(self, usage: Usage) -> dict[str, Any]:
        """Return the complete response."""
        return self._answers.whole(self._choices, usage)


def _chunks(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(f"data: {dumps(one)}\n\n".encode() for one in chunks)
