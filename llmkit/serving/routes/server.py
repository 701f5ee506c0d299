"""Routes about the server itself, and about tokens."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from llmkit.serving.errors import bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.guards import read_json
from llmkit.serving.routes.openai_requests import messages_of
from llmkit.serving.scheduling.abilities import CHAT, TEXT
from llmkit.serving.state import STATE


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    app.router.add_post("/tokenize", tokenize)
    app.router.add_post("/detokenize", detokenize)


async def health(request: web.Request) -> web.Response:
    """Report if the server can answer: 503 if a model is loading, failed or stuck, and during shutdown."""
    state = request.app[STATE]
    status = "ok"
    for model in state.models.values():
        if not model.worker.loaded.is_set():
            status = status if model.worker.loads_on_demand else "loading"
        elif model.worker.failure is not None:
            status = "failed"
        elif model.worker.stuck:
            status = "stuck"
    if state.draining:
        status = "shutting down"
    return web.json_response({"status": status}, status=200 if status == "ok" else 503)


async def metrics(request: web.Request) -> web.Response:
    """Return counters and times for Prometheus."""
    state = request.app[STATE]
    text = state.metrics.text(state.gauges())
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def tokenize(request: web.Request) -> web.Response:
    """Return the token ids of a text, or of a conversation's prompt."""
    fields = Fields(await read_json(request))
    messages = fields.any("messages")
    task = TEXT if messages is None else CHAT
    model = await request.app[STATE].open(request, fields.text("model"), task)
    special = fields.boolean("add_special_tokens", True)
    text = fields.text("prompt") if messages is None else None
    conversation = None if messages is None else messages_of(messages)
    fields.end()
    if text is None and conversation is None:
        raise bad("prompt", "is missing")
    engine = model.engine
    tokenizer: Any = engine.tokenizer
    if conversation is not None and not engine.has_chat_template:
        raise bad("messages", f"needs a chat template, and {model.name} has none")

    def count() -> list[int]:
        if conversation is None:
            found: list[int] = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
            return found
        from llmkit.tasks.decoding import GenerationOptions
        from llmkit.tasks.prompts import PromptMaker

        prompt = PromptMaker(engine, GenerationOptions(max_new_tokens=1)).prepare_one(conversation)
        return list(prompt.ids or ())

    ids = await model.in_background(count)
    return web.json_response({"tokens": ids, "count": len(ids), "max_model_len": engine.context_length})


async def detokenize(request: web.Request) -> web.Response:
    """Return the text of token ids."""
    fields = Fields(await read_json(request))
    model = await request.app[STATE].open(request, fields.text("model"), TEXT)
    ids = fields.any("tokens")
    fields.end()
    tokenizer: Any = model.engine.tokenizer
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < len(tokenizer) for one in ids):
        raise bad("tokens", f"must be a list of token ids below {len(tokenizer)}")
    text = await model.in_background(
        lambda: tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    )
    return web.json_response({"prompt": check_string(text, "tokens")})
