"""The server's own description, in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

from functools import cache
from typing import Any

from aiohttp import web

from llmkit import __version__
from llmkit.serving.routes import schemas
from llmkit.serving.state import STATE

_STREAMS = {
    "/v1/chat/completions": "text/event-stream",
    "/v1/completions": "text/event-stream",
    "/v1/responses": "text/event-stream",
    "/v1/messages": "text/event-stream",
    "/api/chat": "application/x-ndjson",
    "/api/generate": "application/x-ndjson",
}
_POSTS = {
    "/v1/chat/completions": ("Answer a conversation.", schemas.CHAT),
    "/v1/completions": ("Continue texts.", schemas.COMPLETION),
    "/v1/responses": ("Answer a conversation; the server stores nothing.", schemas.RESPONSE),
    "/v1/messages": ("Answer a conversation, in Anthropic's form.", schemas.MESSAGE),
    "/v1/messages/count_tokens": ("Count the tokens of a conversation.", schemas.COUNT),
    "/v1/embeddings": ("Embed texts.", schemas.EMBEDDING),
    "/v1/rerank": ("Order documents by their relevance to a query.", schemas.RERANK),
    "/v1/translations": ("Translate texts.", schemas.TRANSLATION),
    "/v1/summaries": ("Summarize texts.", schemas.SUMMARY),
    "/v1/answers": ("Answer questions from a text.", schemas.ANSWER),
    "/v1/scores": ("Score texts by metrics.", schemas.SCORE),
    "/tokenize": ("Return the token ids of a text or a conversation.", schemas.TOKENIZE),
    "/detokenize": ("Return the text of token ids.", schemas.DETOKENIZE),
    "/api/chat": ("Answer a conversation, in ollama's form.", schemas.OLLAMA_CHAT),
    "/api/generate": ("Answer a prompt, in ollama's form.", schemas.OLLAMA_GENERATE),
    "/api/embed": ("Embed texts, in ollama's form.", schemas.OLLAMA_EMBED),
    "/api/show": ("Describe a model, in ollama's form.", schemas.OLLAMA_SHOW),
    "/translate": ("Translate texts, in LibreTranslate's form.", schemas.LIBRE_TRANSLATE),
    "/detect": ("Guess the language of a text.", schemas.LIBRE_DETECT),
}
_GETS = {
    "/v1/models": "List the models.",
    "/api/tags": "List the models, in ollama's form.",
    "/api/version": "Return the version.",
    "/languages": "List the languages of the translation model.",
    "/health": "Report if the server can answer.",
    "/metrics": "Return counters and times for Prometheus.",
    "/openapi.json": "Return this description.",
}
_LISTS = frozenset({"/detect", "/languages"})
_STATUSES = {
    "400": "A field is bad or not supported.",
    "401": "The key is missing or wrong.",
    "403": "The host or the origin is not allowed.",
    "404": "There is no such model.",
    "408": "The body was not received in time.",
    "413": "The body is too large.",
    "415": "The body is neither JSON nor a form.",
    "429": "The queue is full.",
    "500": "The model failed.",
    "503": "A model is not available.",
    "504": "The time limit has passed.",
}


def add_routes(app: web.Application) -> None:
    """Add the route to an application."""
    app.router.add_get("/openapi.json", show)


async def show(request: web.Request) -> web.Response:
    """Return the description."""
    return web.json_response(description(tuple(request.app[STATE].models)))


@cache
def description(models: tuple[str, ...]) -> dict[str, Any]:
    """Return the description of all routes.

    Args:
        models: names of the served models.
    """
    paths: dict[str, Any] = {}
    for path, about in _GETS.items():
        kind = "text/plain" if path == "/metrics" else "application/json"
        paths[path] = {"get": _operation(path, about, {kind: _answer(path)})}
    for path, (about, schema) in _POSTS.items():
        kinds = {"application/json": _answer(path)}
        if path in _STREAMS:
            kinds[_STREAMS[path]] = {}
        operation = _operation(path, about, kinds)
        content = {"application/json": {"schema": _with_models(schema, models)}}
        paths[path] = {"post": {**operation, "requestBody": {"required": True, "content": content}}}
    one = _operation("/v1/models/name", "Describe a model.", {"application/json": _answer("")})
    name = {"type": "string", "enum": list(models)}
    named = {"name": "name", "in": "path", "required": True, "schema": name}
    paths["/v1/models/{name}"] = {"get": {**one, "parameters": [named]}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmkit", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"key": []}],
    }


def _with_models(schema: Any, models: tuple[str, ...]) -> Any:
    """Return a schema whose `model` is one of the served models."""
    if schema is schemas.MODEL:
        return {**schema, "enum": list(models)}
    if isinstance(schema, dict):
        return {name: _with_models(one, models) for name, one in schema.items()}
    if isinstance(schema, list):
        return [_with_models(one, models) for one in schema]
    return schema


def _answer(path: str) -> dict[str, Any]:
    if path == "/metrics":
        return {"schema": {"type": "string"}}
    return {"schema": {"type": "array" if path in _LISTS else "object"}}


def _operation(path: str, about: str, kinds: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"type": "object"}}}
    failures = {status: {"description": text, "content": error} for status, text in _STATUSES.items()}
    name = path.strip("/").replace("/", "_").replace(".", "_")
    return {
        "operationId": name,
        "summary": about,
        "responses": {"200": {"description": "The answer.", "content": kinds}, **failures},
    }
