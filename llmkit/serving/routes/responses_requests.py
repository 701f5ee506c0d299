"""Turn a request of /v1/responses into `Wanted`. The server keeps no state between requests."""

from __future__ import annotations

from typing import Any

from llmkit.engines.form import Form
from llmkit.serving.errors import bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.routes.openai_requests import arguments_of, form_of
from llmkit.serving.scheduling.wanted import Content, Wanted
from llmkit.serving.tools.use import check_name, chosen, functions_of

_MOST = 1_000_000
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_UNSUPPORTED: dict[str, list[Any]] = {
    "background": [False],
    "context_management": [],
    "conversation": [],
    "include": [[]],
    "max_tool_calls": [],
    "moderation": [],
    "previous_response_id": [],
    "prompt": [],
    "service_tier": ["auto", "default"],
    "store": [False],
    "top_logprobs": [0],
    "truncation": ["disabled"],
}
_IGNORED = (
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "prompt_cache_options",
    "metadata",
)


def responses_request(fields: Fields) -> Wanted:
    """Return a request of /v1/responses.

    Raises:
        ApiError: a field is bad or not supported.
    """
    turns = turns_of(fields.any("input"))
    instructions = fields.text("instructions")
    prompt: Content = [{"role": "system", "content": instructions}, *turns] if instructions else turns
    functions = functions_of(fields.any("tools"), flat=True)
    parallel = fields.boolean("parallel_tool_calls", True)
    fields.unsupported(_UNSUPPORTED)
    reasoning = fields.any("reasoning")
    if reasoning is not None:
        inner = Fields(reasoning, "reasoning")
        names = ("effort", "summary", "generate_summary", "context", "mode")
        inner.unsupported({name: [] for name in names})
        inner.end()
    stream = fields.boolean("stream")
    options = fields.any("stream_options")
    if options is not None:
        inner = Fields(options, "stream_options")
        inner.unsupported({"include_obfuscation": [False]})
        inner.end()
    sampling = {
        "temperature": fields.number("temperature", 0, 2),
        "top_p": fields.number("top_p", 0, 1) or None,
        "top_k": fields.integer("top_k", 0, _MOST),
    }
    wanted = Wanted(
        model=fields.text("model"),
        prompts=[prompt],
        chat=True,
        max_tokens=fields.integer("max_output_tokens", 1, _MOST),
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        sampling={name: value for name, value in sampling.items() if value is not None},
        form=_form(fields.any("text")),
        stream=stream,
        tools=chosen(functions, fields.any("tool_choice"), parallel),
    )
    fields.ignore(*_IGNORED)
    fields.end()
    return wanted


def _form(value: Any) -> Form | None:
    if value is None:
        return None
    text = Fields(value, "text")
    text.unsupported({"verbosity": ["medium"]})
    form = text.any("format")
    text.end()
    if form is None:
        return None
    inner = Fields(form, "text.format")
    if inner.text("type") != "json_schema":
        return form_of(form)
    schema = inner.any("schema")
    if not isinstance(schema, dict):
        raise bad("text.format.schema", "must be a JSON schema")
    inner.boolean("strict")
    inner.ignore("name", "description")
    inner.end()
    return Form("schema", schema)


def turns_of(value: Any) -> list[dict[str, Any]]:
    """Return `input` as messages: a text, or a list of messages, calls, results and thoughts.

    Raises:
        ApiError: it is malformed, or contains other content than text.
    """
    if isinstance(value, str):
        return [{"role": "user", "content": check_string(value, "input")}]
    if not isinstance(value, list) or not value:
        raise bad("input", "must be a text or a list of items")
    found: list[dict[str, Any]] = []
    thoughts = ""
    for i, one in enumerate(value):
        fields = Fields(one, f"input[{i}]")
        kind = fields.text("type", "message")
        if kind == "reasoning":
            thoughts = _thoughts(fields)
        elif kind == "function_call":
            _add_call(found, fields, thoughts)
            thoughts = ""
        elif kind == "function_call_output":
            call = check_string(fields.any("call_id"), fields.path("call_id"))
            content = _text(fields.any("output"), fields.path("output"))
            found.append({"role": "tool", "tool_call_id": call, "content": content})
        elif kind == "message":
            message = _message(fields)
            if thoughts and message["role"] == "assistant":
                message["reasoning_content"] = thoughts
            found.append(message)
            thoughts = ""
        else:
            raise bad(fields.path("type"), f"is {kind!r}, which is not supported", "unsupported_value")
        fields.ignore("id", "status", "phase")
        fields.end()
    if not found:
        raise bad("input", "contains no message")
    return found


def _message(fields: Fields) -> dict[str, Any]:
    role = fields.choice("role", _ROLES)
    if role is None:
        raise bad(fields.path("role"), "is missing")
    return {"role": _ROLES[role], "content": _text(fields.any("content"), fields.path("content"))}


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return check_string(value, where)
    if not isinstance(value, list):
        raise bad(where, "must be a string or a list of parts")
    texts = []
    for i, one in enumerate(value):
        part = Fields(one, f"{where}[{i}]")
        kind = part.text("type")
        if kind not in ("input_text", "output_text", "text", "refusal"):
            reason = f"is {kind!r}, but this server supports only text"
            raise bad(part.path("type"), reason, "unsupported_value")
        name = "refusal" if kind == "refusal" else "text"
        texts.append(check_string(part.any(name), part.path(name)))
        part.ignore("annotations", "logprobs", "prompt_cache_breakpoint")
        part.end()
    return "".join(texts)


def _thoughts(fields: Fields) -> str:
    """Return the thoughts of an earlier answer, which clients send back."""
    texts = []
    for i, one in enumerate(fields.any("content") or ()):
        part = Fields(one, f"{fields.path('content')}[{i}]")
        texts.append(check_string(part.any("text"), part.path("text")))
    fields.unsupported({"encrypted_content": []})
    fields.ignore("summary")
    return "".join(texts)


def _add_call(found: list[dict[str, Any]], fields: Fields, thoughts: str) -> None:
    """Add a call to the message of the assistant that it belongs to."""
    name = check_name(fields.any("name"), fields.path("name"))
    arguments = arguments_of(fields.any("arguments"), fields.path("arguments"))
    identity = check_string(fields.any("call_id"), fields.path("call_id"))
    fields.unsupported({"namespace": []})
    fields.ignore("caller")
    call = {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": ""})
    if thoughts:
        found[-1]["reasoning_content"] = thoughts
    found[-1].setdefault("tool_calls", []).append(call)
