"""ollama's routes, for programs that use only these: chat, generate, tags, show, version.

The default is a stream of JSON lines. Description: https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from llmkit import __version__
from llmkit.engines.form import Form
from llmkit.records.strict_json import dumps
from llmkit.serving.errors import ApiError, bad
from llmkit.serving.fields import Fields
from llmkit.serving.guards import read_json
from llmkit.serving.parsing.answer_text import Delta
from llmkit.serving.routes.answering import AnswerPiece, answer_request
from llmkit.serving.routes.openai_answers import Choice, Usage
from llmkit.serving.routes.openai_requests import messages_of
from llmkit.serving.scheduling.abilities import CHAT, INFILL, TEXT, ServedTask
from llmkit.serving.scheduling.models import ServedModel
from llmkit.serving.scheduling.wanted import Content, Wanted
from llmkit.serving.state import STATE
from llmkit.serving.tools.use import ToolUse, chosen, functions_of

_MOST = 1_000_000


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_get("/api/version", version)
    app.router.add_get("/api/tags", tags)
    app.router.add_post("/api/show", show)
    app.router.add_post("/api/chat", chat)
    app.router.add_post("/api/generate", generate)


async def version(request: web.Request) -> web.Response:
    """Return the version of llmkit."""
    return web.json_response({"version": __version__})


async def tags(request: web.Request) -> web.Response:
    """List the models."""
    return web.json_response({"models": [_described(one) for one in request.app[STATE].models.values()]})


def _described(model: ServedModel) -> dict[str, Any]:
    family = str(getattr(getattr(model.worker.engine, "config", None), "model_type", "unknown"))
    details = {
        "parent_model": "",
        "format": "safetensors",
        "family": family,
        "families": [family],
        "parameter_size": "",
        "quantization_level": "",
    }
    modified = datetime.fromtimestamp(model.created, UTC).isoformat()
    named = {"name": model.name, "model": model.name, "modified_at": modified}
    return {**named, "size": 0, "digest": "", "details": details}


async def show(request: web.Request) -> web.Response:
    """Describe one model."""
    fields = Fields(await read_json(request))
    name = fields.text("model") or fields.text("name")
    fields.boolean("verbose")
    fields.unsupported({"system": [""], "template": [""], "options": []})
    fields.end()
    state = request.app[STATE]
    model = await state.open(request, name)
    described = _described(model)
    family = described["details"]["family"]
    info: dict[str, Any] = {"general.architecture": family, "general.basename": model.name}
    engine = model.worker.engine
    if engine is not None:
        info[f"{family}.context_length"] = engine.context_length
    return web.json_response(
        {
            "modelfile": "",
            "parameters": "",
            "template": str(getattr(engine and engine.tokenizer, "chat_template", None) or ""),
            "details": described["details"],
            "model_info": info,
            "capabilities": await _capabilities(model),
            "modified_at": described["modified_at"],
        }
    )


async def _capabilities(model: ServedModel) -> list[str]:
    if model.worker.reader is not None:
        return ["embedding"] if model.worker.reader.spec.task == "feature-extraction" else []
    engine = model.engine
    found = ["completion"]
    if engine.has_chat_template:
        support = await model.in_background(model.tool_support)
        found += ["tools"] if support.family is not None or support.template is not None else []
    from llmkit.text.fill_in_middle import gap_tokens

    return found + (["insert"] if gap_tokens(engine.tokenizer) is not None else [])


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    fields = Fields(await read_json(request))
    messages: list[Content] = [messages_of(fields.any("messages"))]
    use = chosen(functions_of(fields.any("tools")), None, parallel=True)
    model = await _model(request, fields, CHAT)
    return await _answer(request, model, fields, messages, is_chat=True, tools=use)


async def generate(request: web.Request) -> web.StreamResponse:
    """Answer a prompt: as a chat turn if the model has a chat template, otherwise by its continuation."""
    fields = Fields(await read_json(request))
    prompt, system = fields.text("prompt", "") or "", fields.text("system")
    raw = fields.boolean("raw")
    suffix = fields.text("suffix") or None
    fields.unsupported({"images": [[]], "template": [""], "context": [[]]})
    model = await _model(request, fields, TEXT if suffix is None else INFILL)
    is_chat = not raw and suffix is None and model.engine.has_chat_template
    if system and not is_chat:
        raise bad("system", "needs a model with a chat template")
    turns = [{"role": "system", "content": system}] if system else []
    content: Content = [*turns, {"role": "user", "content": prompt}] if is_chat else prompt
    return await _answer(request, model, fields, [content], is_chat=is_chat, field="response", suffix=suffix)


async def _model(request: web.Request, fields: Fields, task: ServedTask) -> ServedModel:
    return await request.app[STATE].open(request, fields.text("model"), task)


def _wanted(fields: Fields, prompts: list[Content], *, is_chat: bool) -> Wanted:
    options = Fields(fields.any("options") or {}, "options")
    top_p = options.number("top_p", 0, 1)
    given = {
        "temperature": options.number("temperature", 0, 2),
        "top_p": top_p or None,
        "top_k": options.integer("top_k", 0, _MOST),
        "min_p": options.number("min_p", 0, 1),
        "repetition_penalty": options.number("repeat_penalty", 0.01, 100),
    }
    limit = options.integer("num_predict", -2, _MOST)
    form = fields.any("format")
    if form is not None and form != "" and form != "json" and not isinstance(form, dict):
        raise bad("format", "must be json or a JSON schema")
    wanted = Wanted(
        model=None,
        prompts=prompts,
        chat=is_chat,
        seed=options.integer("seed", -(2**63), 2**63 - 1),
        max_tokens=limit if limit is not None and limit > 0 else None,
        sampling={name: value for name, value in given.items() if value is not None},
        presence_penalty=options.number("presence_penalty", -2, 2) or 0.0,
        frequency_penalty=options.number("frequency_penalty", -2, 2) or 0.0,
        stop=options.strings("stop", 16),
        form=Form("json") if form == "json" else Form("schema", form) if form else None,
        stream=fields.boolean("stream", True),
    )
    # They control ollama's memory, and do not affect the answer.
    options.ignore("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "num_keep")
    options.end()
    fields.ignore("keep_alive")
    fields.end()
    return wanted


async def _answer(
    request: web.Request,
    model: ServedModel,
    fields: Fields,
    prompts: list[Content],
    *,
    is_chat: bool,
    field: str = "message",
    tools: ToolUse | None = None,
    suffix: str | None = None,
) -> web.StreamResponse:
    wanted = replace(_wanted(fields, prompts, is_chat=is_chat), tools=tools, suffix=suffix)
    return await answer_request(request, model, wanted, _LinesForm(model, field))


class _LinesForm:
    """An `AnswerForm` of JSON lines.

    Args:
        model: the model.
        field: field of the text: ``message`` or ``response``.
    """

    stream_type = "application/x-ndjson"

    def __init__(self, model: ServedModel, field: str) -> None:
        self._model, self._field = model, field
        self._deltas: list[Delta] = []
        self._reason = "stop"
        self._begun = time.monotonic_ns()

    def begin(self, usage: Usage) -> bytes:
        """Return nothing."""
        return b""

    def sent(self, piece: AnswerPiece) -> bytes:
        """Return the line of a piece. Calls come at the end."""
        self.take(piece)
        if not (piece.delta.text or piece.delta.reasoning):
            return b""
        return _line({**self._head(piece.delta), "done": False})

    def end(self, usage: Usage) -> bytes:
        """Return the line of the calls, and the last line."""
        calls = calls_of(self._deltas)
        lines = _line({**self._head(Delta(), calls), "done": False}) if calls else b""
        return lines + _line(self._last(Delta(), [], usage))

    def failed(self, error: ApiError) -> bytes:
        """Return a failure as a line."""
        return _line({"error": error.message})

    def silent(self) -> bytes:
        """Return nothing: JSON lines have no comments."""
        return b""

    def take(self, piece: AnswerPiece) -> None:
        """Add a piece."""
        self._deltas.append(piece.delta)
        if piece.reason is not None:
            self._reason = "stop" if piece.reason == "tool_calls" else piece.reason

    def whole(self, usage: Usage) -> dict[str, Any]:
        """Return the complete response."""
        text, reasoning = (
            "".join(getattr(one, part) for one in self._deltas) for part in ("text", "reasoning")
        )
        return self._last(Delta(text, reasoning), calls_of(self._deltas), usage)

    def _last(self, delta: Delta, calls: list[dict[str, Any]], usage: Usage) -> dict[str, Any]:
        total = time.monotonic_ns() - self._begun
        return {
            **self._head(delta, calls),
            "done": True,
            "done_reason": self._reason,
            "total_duration": total,
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": 0,
            "eval_count": usage.completion_tokens,
            "eval_duration": total,
        }

    def _head(self, delta: Delta, calls: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        thinking = {"thinking": delta.reasoning} if delta.reasoning else {}
        if self._field == "message":
            message = {"role": "assistant", "content": delta.text, **thinking}
            body: dict[str, Any] = {"message": message | ({"tool_calls": calls} if calls else {})}
        else:
            body = {self._field: delta.text, **thinking}
        return {"model": self._model.name, "created_at": datetime.now(UTC).isoformat(), **body}


def calls_of(deltas: list[Delta]) -> list[dict[str, Any]]:
    """Return the calls of an answer in ollama's form, with their arguments as objects."""
    found = []
    for call in Choice(deltas).calls:
        function = call["function"]
        try:
            arguments = json.loads(function["arguments"])
        except ValueError:  # truncated or invalid JSON
            arguments = {"": function["arguments"]}
        found.append({"function": {"name": function["name"], "arguments": arguments}})
    return found


def _line(value: dict[str, Any]) -> bytes:
    return dumps(value).encode() + b"\n"
