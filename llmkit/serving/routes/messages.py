"""Anthropic's routes: /v1/messages and its count of tokens.

Description: https://docs.anthropic.com/en/api/messages.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from llmkit.serving.errors import ApiError, bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.guards import anthropic_error, read_json
from llmkit.serving.parsing.blocks import AnswerBlock, BlockEvent
from llmkit.serving.routes.answering import answer_request, prompt_tokens
from llmkit.serving.routes.block_stream import BlockForm, Event
from llmkit.serving.routes.openai_answers import Usage
from llmkit.serving.scheduling.abilities import CHAT
from llmkit.serving.scheduling.wanted import Content, Wanted
from llmkit.serving.state import STATE
from llmkit.serving.tools.use import Function, ToolUse, check_name, chosen

_MOST = 1_000_000
_MAX_TOOLS = 128
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def add_routes(app: web.Application) -> None:
    """Add the routes to an application."""
    app.router.add_post("/v1/messages", messages)
    app.router.add_post("/v1/messages/count_tokens", count_tokens)


async def messages(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    fields = Fields(await read_json(request))
    wanted = messages_request(fields)
    model = await request.app[STATE].open(request, wanted.model, CHAT)
    return await answer_request(request, model, wanted, BlockForm(MessagesAnswer(model.name)))


async def count_tokens(request: web.Request) -> web.Response:
    """Count the tokens of a conversation's prompt."""
    fields = Fields(await read_json(request))
    wanted = messages_request(fields, counting=True)
    model = await request.app[STATE].open(request, wanted.model, CHAT)
    return web.json_response({"input_tokens": prompt_tokens(await model.prepare(wanted))})


def messages_request(fields: Fields, *, counting: bool = False) -> Wanted:
    """Return a request of /v1/messages.

    Args:
        fields: the body.
        counting: the request asks only for the number of tokens.

    Raises:
        ApiError: a field is bad or not supported.
    """
    limit = fields.integer("max_tokens", 1, _MOST)
    if limit is None and not counting:
        raise bad("max_tokens", "is missing")
    system = _system(fields.any("system"))
    turns = messages_of(fields.any("messages"))
    prompt: Content = [{"role": "system", "content": system}, *turns] if system else turns
    sampling = {
        "temperature": fields.number("temperature", 0, 2),
        "top_p": fields.number("top_p", 0, 1) or None,
        "top_k": fields.integer("top_k", 0, _MOST),
    }
    thinking = fields.any("thinking")
    if thinking is not None and Fields(thinking, "thinking").any("type") != "disabled":
        raise bad("thinking", "is not supported by this server; omit it", "unsupported_parameter")
    fields.unsupported(
        {
            "container": [],
            "context_management": [],
            "inference_geo": [],
            "mcp_servers": [[]],
            "output_config": [],
            "output_format": [],
            "service_tier": ["auto", "standard_only"],
            "speed": ["standard"],
        }
    )
    wanted = Wanted(
        model=fields.text("model"),
        prompts=[prompt],
        chat=True,
        continued=_is_begun(turns),
        max_tokens=limit,
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        sampling={name: value for name, value in sampling.items() if value is not None},
        stop=fields.strings("stop_sequences", 16),
        stream=fields.boolean("stream"),
        tools=_tools(fields),
    )
    fields.ignore("metadata", "cache_control")
    fields.end()
    return wanted


def _is_begun(turns: Sequence[dict[str, Any]]) -> bool:
    """Return True if the client gave the beginning of the answer, which the model continues."""
    last = turns[-1]
    return (
        len(turns) > 1 and last["role"] == "assistant" and bool(last["content"]) and "tool_calls" not in last
    )


def _tools(fields: Fields) -> ToolUse | None:
    value = fields.any("tools")
    if value is not None and (not isinstance(value, list) or len(value) > _MAX_TOOLS):
        raise bad("tools", f"must be a list of at most {_MAX_TOOLS} tools")
    functions: dict[str, Function] = {}
    for i, one in enumerate(value or ()):
        tool = Fields(one, f"tools[{i}]")
        tool.choice("type", ("custom",))
        name = check_name(tool.any("name"), tool.path("name"))
        if name in functions:
            raise bad(tool.path("name"), f"is {name!r}, which is already used")
        shape = tool.any("input_schema")
        if not isinstance(shape, dict):
            raise bad(tool.path("input_schema"), "must be a JSON schema")
        functions[name] = Function(name, tool.text("description"), shape, tool.boolean("strict"))
        tool.ignore("cache_control", "input_examples")
        tool.end()
    choice = fields.any("tool_choice")
    if choice is None:
        return chosen(tuple(functions.values()), None, parallel=True)
    picked = Fields(choice, "tool_choice")
    kind = picked.choice("type", ("auto", "any", "tool", "none"))
    if kind is None:
        raise bad("tool_choice.type", "must be auto, any, tool or none")
    name = picked.any("name")
    parallel = not picked.boolean("disable_parallel_tool_use")
    picked.end()
    asked: Any = {"any": "required", "tool": {"type": "function", "name": name}}.get(kind, kind)
    return chosen(tuple(functions.values()), asked, parallel)


def _system(value: Any) -> str:
    if value is None:
        return ""
    return _texts(value, "system")


def _texts(value: Any, where: str) -> str:
    """Return the text of a string, or of a list of text blocks."""
    if isinstance(value, str):
        return check_string(value, where)
    if not isinstance(value, list):
        raise bad(where, "must be a string or a list of blocks")
    found = []
    for i, one in enumerate(value):
        block = Fields(one, f"{where}[{i}]")
        _of_type(block, ("text",))
        found.append(check_string(block.any("text"), block.path("text")))
        block.ignore("cache_control", "citations")
        block.end()
    return "".join(found)


def _of_type(block: Fields, kinds: Sequence[str]) -> str:
    kind = block.text("type")
    if kind is None or kind not in kinds:
        raise bad(block.path("type"), f"is {kind!r}; supported: {', '.join(kinds)}", "unsupported_value")
    return kind


def messages_of(value: Any) -> list[dict[str, Any]]:
    """Return Anthropic's messages in the form of chat templates.

    Raises:
        ApiError: they are malformed, or contain other content than text.
    """
    if not isinstance(value, list) or not value:
        raise bad("messages", "must be a list of messages with `role` and `content`")
    found: list[dict[str, Any]] = []
    for i, one in enumerate(value):
        fields = Fields(one, f"messages[{i}]")
        role = fields.choice("role", ("user", "assistant", "system"))
        content = fields.any("content")
        fields.end()
        if role is None:
            raise bad(f"messages[{i}].role", "is missing")
        where = f"messages[{i}].content"
        if role == "assistant":
            found.append(_assistant(content, where))
        elif role == "system" or isinstance(content, str):
            found.append({"role": role, "content": _texts(content, where)})
        else:
            found += _user(content, where)
    return found


def _user(content: Any, where: str) -> list[dict[str, Any]]:
    """Return a user's blocks: the results of tools as separate messages, and the texts as one."""
    if not isinstance(content, list) or not content:
        raise bad(where, "must be a string or a list of blocks")
    results: list[dict[str, Any]] = []
    texts = []
    for i, one in enumerate(content):
        block = Fields(one, f"{where}[{i}]")
        if _of_type(block, ("text", "tool_result")) == "text":
            texts.append(check_string(block.any("text"), block.path("text")))
            block.ignore("citations")
        else:
            call = check_string(block.any("tool_use_id"), block.path("tool_use_id"))
            inner = block.any("content")
            text = "" if inner is None else _texts(inner, block.path("content"))
            block.boolean("is_error")
            results.append({"role": "tool", "tool_call_id": call, "content": text})
        block.ignore("cache_control")
        block.end()
    return [*results, *([{"role": "user", "content": "".join(texts)}] if texts else [])]


def _assistant(content: Any, where: str) -> dict[str, Any]:
    if isinstance(content, str):
        return {"role": "assistant", "content": check_string(content, where)}
    if not isinstance(content, list):
        raise bad(where, "must be a string or a list of blocks")
    texts, thoughts, calls = [], [], []
    for i, one in enumerate(content):
        block = Fields(one, f"{where}[{i}]")
        kind = _of_type(block, ("text", "thinking", "tool_use"))
        if kind == "text":
            texts.append(check_string(block.any("text"), block.path("text")))
            block.ignore("citations")
        elif kind == "thinking":
            thoughts.append(check_string(block.any("thinking"), block.path("thinking")))
            block.ignore("signature")
        else:
            name = check_name(block.any("name"), block.path("name"))
            given = block.any("input")
            if not isinstance(given, dict):
                raise bad(block.path("input"), "must be an object")
            identity = check_string(block.any("id"), block.path("id"))
            function = {"name": name, "arguments": given}
            calls.append({"id": identity, "type": "function", "function": function})
        block.ignore("cache_control", "caller")
        block.end()
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    return message | ({"tool_calls": calls} if calls else {})


class MessagesAnswer:
    """The JSON of /v1/messages.

    Args:
        model: the model's name.
    """

    def __init__(self, model: str) -> None:
        identity = f"msg_{secrets.token_hex(12)}"
        self._head = {"id": identity, "type": "message", "role": "assistant", "model": model}

    def whole(
        self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage
    ) -> dict[str, Any]:
        """Return the complete response."""
        content = [_block(one, one.text) for one in blocks if one.text or one.kind == "call"]
        ended = {"stop_reason": _reason(reason, stop), "stop_sequence": stop}
        return {**self._head, "content": content, **ended, "usage": _usage(usage)}

    def begin(self, usage: Usage) -> list[Event]:
        """Return the events before the first block."""
        empty: dict[str, Any] = {"content": [], "stop_reason": None, "stop_sequence": None}
        return [{"type": "message_start", "message": {**self._head, **empty, "usage": _usage(usage)}}]

    def event(self, event: BlockEvent) -> list[Event]:
        """Return the events for an event of a block."""
        block = event.block
        if event.kind == "start":
            return [{"type": "content_block_start", "index": block.index, "content_block": _block(block, "")}]
        if event.kind == "stop":
            return [{"type": "content_block_stop", "index": block.index}]
        kinds = {
            "thinking": ("thinking_delta", "thinking"),
            "text": ("text_delta", "text"),
            "call": ("input_json_delta", "partial_json"),
        }
        kind, name = kinds[block.kind]
        delta = {"type": kind, name: event.text}
        return [{"type": "content_block_delta", "index": block.index, "delta": delta}]

    def end(self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage) -> list[Event]:
        """Return the events after the last block."""
        delta = {"stop_reason": _reason(reason, stop), "stop_sequence": stop}
        return [{"type": "message_delta", "delta": delta, "usage": _usage(usage)}, {"type": "message_stop"}]

    def failed(self, error: ApiError) -> list[Event]:
        """Return the event of a failure after the first byte."""
        return [anthropic_error(error)]

    def silent(self) -> bytes:
        """Return the event that keeps a silent stream open."""
        return b'event: ping\ndata: {"type": "ping"}\n\n'


def _block(block: AnswerBlock, text: str) -> dict[str, Any]:
    if block.kind == "text":
        return {"type": "text", "text": text}
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": text, "signature": ""}
    try:
        given = json.loads(text) if text else {}
    except ValueError:  # truncated or invalid JSON
        given = {"": text}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": given}


def _reason(reason: str, stop: str | None) -> str:
    return "stop_sequence" if stop is not None and reason == "stop" else _REASONS[reason]


def _usage(usage: Usage) -> dict[str, int]:
    cached = usage.cached_tokens  # Anthropic counts them separately
    return {
        "input_tokens": usage.prompt_tokens - cached,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.completion_tokens,
    }
