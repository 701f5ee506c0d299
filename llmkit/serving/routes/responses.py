"""OpenAI's route /v1/responses, without state: the server stores no response.

Description: https://platform.openai.com/docs/api-reference/responses.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from llmkit.serving.errors import ApiError
from llmkit.serving.fields import Fields
from llmkit.serving.guards import read_json
from llmkit.serving.parsing.blocks import AnswerBlock, BlockEvent
from llmkit.serving.routes.answering import answer_request
from llmkit.serving.routes.block_stream import BlockForm, Event
from llmkit.serving.routes.openai_answers import Usage
from llmkit.serving.routes.responses_requests import responses_request
from llmkit.serving.scheduling.abilities import CHAT
from llmkit.serving.state import STATE

_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "user": None,
}
_PREFIX = {"thinking": "rs", "text": "msg", "call": "fc"}


def add_routes(app: web.Application) -> None:
    """Add the route to an application."""
    app.router.add_post("/v1/responses", responses)


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer a conversation."""
    body = await read_json(request)
    wanted = responses_request(Fields(body))
    model = await request.app[STATE].open(request, wanted.model, CHAT)
    return await answer_request(request, model, wanted, BlockForm(ResponsesAnswer(model.name, body)))


class ResponsesAnswer:
    """The JSON of /v1/responses.

    Args:
        model: the model's name.
        body: the request; the response repeats some of its fields.
    """

    def __init__(self, model: str, body: dict[str, Any]) -> None:
        given = {name: body[name] for name in _ECHOED if body.get(name) is not None}
        form = (body.get("text") or {}).get("format") or {"type": "text"}
        self._response: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(16)}",
            "object": "response",
            "created_at": int(time.time()),
            "completed_at": None,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": model,
            "output": [],
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": False,
            "text": {"format": form},
            "top_logprobs": 0,
            "truncation": "disabled",
            "usage": None,
            **_ECHOED,
            **given,
        }
        self._numbers = itertools.count()
        self._ids: dict[int, str] = {}

    def whole(
        self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage
    ) -> dict[str, Any]:
        """Return the complete response."""
        cut = reason == "length"
        status = "incomplete" if cut else "completed"
        output = [self._item(one, status if one is blocks[-1] else "completed") for one in blocks]
        return {
            **self._response,
            "status": status,
            "completed_at": None if cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": output,
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def begin(self, usage: Usage) -> list[Event]:
        """Return the events before the first block."""
        kinds = ("response.created", "response.in_progress")
        return [self._event(kind, response=self._response) for kind in kinds]

    def event(self, event: BlockEvent) -> list[Event]:
        """Return the events of what happens to a block."""
        if event.kind == "start":
            return self._start(event.block)
        if event.kind == "stop":
            return self._stop(event.block)
        kinds = {
            "thinking": "response.reasoning_text.delta",
            "text": "response.output_text.delta",
            "call": "response.function_call_arguments.delta",
        }
        more: dict[str, Any] = {"logprobs": []} if event.block.kind == "text" else {}
        return [self._of(event.block, kinds[event.block.kind], delta=event.text, **more)]

    def end(self, blocks: Sequence[AnswerBlock], reason: str, stop: str | None, usage: Usage) -> list[Event]:
        """Return the event after the last block."""
        whole = self.whole(blocks, reason, stop, usage)
        return [self._event(f"response.{whole['status']}", response=whole)]

    def failed(self, error: ApiError) -> list[Event]:
        """Return the events of a failure after the first byte."""
        told = {"code": error.code or "server_error", "message": error.message}
        response = {**self._response, "status": "failed", "error": told}
        return [
            self._event("error", **told, param=error.param),
            self._event("response.failed", response=response),
        ]

    def silent(self) -> bytes:
        """Return the comment that keeps a silent stream open."""
        return b": keep-alive\n\n"

    def _start(self, block: AnswerBlock) -> list[Event]:
        item = self._item(block, "in_progress", begun=True)
        found = [self._event("response.output_item.added", output_index=block.index, item=item)]
        if block.kind != "call":
            found.append(self._of(block, "response.content_part.added", part=_part(block, "")))
        return found

    def _stop(self, block: AnswerBlock) -> list[Event]:
        if block.kind == "call":
            kind = "response.function_call_arguments.done"
            found = [self._of(block, kind, arguments=block.text or "{}", name=block.name)]
        else:
            more: dict[str, Any] = {"logprobs": []} if block.kind == "text" else {}
            kind = "output_text" if block.kind == "text" else "reasoning_text"
            found = [
                self._of(block, f"response.{kind}.done", text=block.text, **more),
                self._of(block, "response.content_part.done", part=_part(block, block.text)),
            ]
        item = self._item(block, "completed")
        return [*found, self._event("response.output_item.done", output_index=block.index, item=item)]

    def _of(self, block: AnswerBlock, kind: str, **more: Any) -> Event:
        """Return an event about a block's content."""
        place: dict[str, Any] = {"item_id": self._id(block), "output_index": block.index}
        if block.kind != "call":
            place["content_index"] = 0
        return self._event(kind, **place, **more)

    def _event(self, kind: str, **more: Any) -> Event:
        return {"type": kind, "sequence_number": next(self._numbers), **more}

    def _id(self, block: AnswerBlock) -> str:
        return self._ids.setdefault(block.index, f"{_PREFIX[block.kind]}_{secrets.token_hex(16)}")

    def _item(self, block: AnswerBlock, status: str, *, begun: bool = False) -> dict[str, Any]:
        head: dict[str, Any] = {"id": self._id(block), "status": status}
        if block.kind == "call":
            arguments = "" if begun else block.text or "{}"
            named = {"call_id": block.id, "name": block.name, "arguments": arguments}
            return {**head, "type": "function_call", **named}
        content = [] if begun else [_part(block, block.text)]
        if block.kind == "thinking":
            return {**head, "type": "reasoning", "summary": [], "content": content}
        return {**head, "type": "message", "role": "assistant", "content": content}


def _part(block: AnswerBlock, text: str) -> dict[str, Any]:
    if block.kind == "thinking":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
