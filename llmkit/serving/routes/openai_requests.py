"""Turn OpenAI's JSON into `Wanted`. Unknown and unsupported fields are refused by name.

Source of the fields: https://github.com/openai/openai-openapi. `top_k`, `min_p`, `repetition_penalty` and the
``guided`` forms in `response_format` are additions that other servers also have.
"""

from __future__ import annotations

import json
from typing import Any

from llmkit.engines.form import Form
from llmkit.serving.errors import bad
from llmkit.serving.fields import Fields, check_string
from llmkit.serving.scheduling.wanted import Content, Wanted
from llmkit.serving.tools.use import check_name, tool_use

_MAX_N = 16
_MAX_TOKENS = 1_000_000
_MAX_PROMPTS = 64
_MAX_STOPS = 16
_MAX_BIASES = 1024
_MAX_LOGPROBS = 20
_UNSUPPORTED: dict[str, list[Any]] = {
    "audio": [],
    "function_call": ["none", "auto"],
    "functions": [[]],
    "modalities": [["text"]],
    "moderation": [],
    "prediction": [],
    "reasoning_effort": [],
    "service_tier": ["auto", "default"],
    "store": [False],
    "verbosity": ["medium"],
    "web_search_options": [],
}
# They name the user or group requests, and do not affect the answer.
_IGNORED = ("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata")
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def chat_request(body: Any) -> Wanted:
    """Return a request of /v1/chat/completions.

    Raises:
        ApiError: a field is bad or not supported.
    """
    fields = Fields(body)
    messages = messages_of(fields.any("messages"))
    limit = fields.integer("max_completion_tokens", 1, _MAX_TOKENS)
    older = fields.integer("max_tokens", 1, _MAX_TOKENS)
    if limit is not None and older is not None and limit != older:
        raise bad("max_tokens", "is the older name of `max_completion_tokens`; give one of them")
    wants_logprobs = fields.boolean("logprobs")
    top = fields.integer("top_logprobs", 0, _MAX_LOGPROBS)
    if top is not None and not wants_logprobs:
        raise bad("top_logprobs", "needs `logprobs` to be true")
    fields.unsupported(_UNSUPPORTED)
    form = form_of(fields.any("response_format"))
    tools = tool_use(fields)
    # vLLM's names: the answer continues with the last message.
    continued = fields.boolean("continue_final_message")
    if fields.boolean("add_generation_prompt", not continued) == continued:
        raise bad("add_generation_prompt", "must be the opposite of `continue_final_message`")
    if continued and form is not None:
        raise bad("continue_final_message", "cannot be combined with `response_format`")
    prompt: list[Content] = [messages]
    return _common(
        fields,
        prompts=prompt,
        chat=True,
        continued=continued,
        max_tokens=older if limit is None else limit,
        logprobs=(top or 0) if wants_logprobs else None,
        form=form,
        tools=tools,
    )


def completion_request(body: Any) -> Wanted:
    """Return a request of /v1/completions.

    Raises:
        ApiError: a field is bad or not supported.
    """
    fields = Fields(body)
    prompts = _prompts(fields.any("prompt"))
    n = fields.integer("n", 1, _MAX_N, 1)
    best_of = fields.integer("best_of", 1, _MAX_N)
    if best_of is not None and best_of != n:
        raise bad("best_of", "is not supported by this server; omit it", "unsupported_parameter")
    fields.unsupported({"echo": [False]})
    return _common(
        fields,
        prompts=prompts,
        chat=False,
        # OpenAI's default of 16 is too short for most uses; the model's limit is used, as for a chat.
        max_tokens=fields.integer("max_tokens", 1, _MAX_TOKENS),
        logprobs=fields.integer("logprobs", 0, _MAX_LOGPROBS),
        form=form_of(fields.any("response_format")),
        suffix=fields.text("suffix") or None,
    )


def _common(fields: Fields, **known: Any) -> Wanted:
    stream = fields.boolean("stream")
    include_usage = _stream_options(fields.any("stream_options"), stream)
    wanted = Wanted(
        model=fields.text("model"),
        n=fields.integer("n", 1, _MAX_N, 1) or 1,
        seed=fields.integer("seed", -(2**63), 2**63 - 1),
        sampling=_sampling(fields),
        presence_penalty=fields.number("presence_penalty", -2, 2) or 0.0,
        frequency_penalty=fields.number("frequency_penalty", -2, 2) or 0.0,
        logit_bias=_biases(fields.any("logit_bias")),
        stop=fields.strings("stop", _MAX_STOPS),
        stream=stream,
        include_usage=include_usage,
        **known,
    )
    fields.ignore(*_IGNORED)
    fields.end()
    return wanted


def _sampling(fields: Fields) -> dict[str, Any]:
    top_p = fields.number("top_p", 0, 1)
    if top_p == 0:
        raise bad("top_p", "must be above 0 and at most 1")
    penalty = fields.number("repetition_penalty", 0.01, 100)
    given = {
        "temperature": fields.number("temperature", 0, 2),
        "top_p": top_p,
        "top_k": fields.integer("top_k", 0, _MAX_TOKENS),
        "min_p": fields.number("min_p", 0, 1),
        "repetition_penalty": penalty,
    }
    return {name: value for name, value in given.items() if value is not None}


def _stream_options(value: Any, stream: bool) -> bool:
    if value is None:
        return False
    options = Fields(value, "stream_options")
    if not stream:
        raise bad("stream_options", "needs `stream` to be true")
    include = options.boolean("include_usage")
    options.unsupported({"include_obfuscation": [False], "continuous_usage_stats": [False]})
    options.end()
    return include


def _biases(value: Any) -> tuple[tuple[int, float], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict) or len(value) > _MAX_BIASES:
        raise bad("logit_bias", f"must be an object of at most {_MAX_BIASES} token ids with a number each")
    found = []
    for token, bias in value.items():
        right = isinstance(bias, int | float) and not isinstance(bias, bool) and -100 <= bias <= 100
        if not (token.isascii() and token.isdigit() and len(token) < 10 and right):
            raise bad("logit_bias", "must map token ids to numbers from -100 to 100")
        found.append((int(token), float(bias)))
    return tuple(sorted(found))


def _prompts(value: Any) -> list[Content]:
    if isinstance(value, str):
        return [check_string(value, "prompt")]
    if isinstance(value, list) and value:
        if _is_ids(value):
            return [value]
        if len(value) <= _MAX_PROMPTS and all(isinstance(one, str) or _is_ids(one) for one in value):
            return [check_string(one, "prompt") if isinstance(one, str) else one for one in value]
    raise bad(
        "prompt", f"must be a string, a list of token ids, or a list of at most {_MAX_PROMPTS} of either"
    )


def _is_ids(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(type(one) is int and 0 <= one < 2**31 for one in value)
    )


def messages_of(value: Any) -> list[dict[str, Any]]:
    """Return messages with one text each, in the form of chat templates.

    Raises:
        ApiError: they are malformed, or contain other content than text.
    """
    if not isinstance(value, list) or not value:
        raise bad("messages", "must be a list of messages with `role` and `content`")
    return [_message(one, f"messages[{i}]") for i, one in enumerate(value)]


def _message(value: Any, where: str) -> dict[str, Any]:
    fields = Fields(value, where)
    role = fields.choice("role", _ROLES)
    if role is None:
        raise bad(f"{where}.role", "is missing")
    content = fields.any("content")
    calls = _calls(fields.any("tool_calls"), f"{where}.tool_calls")
    if calls and role != "assistant":
        raise bad(f"{where}.tool_calls", "belongs to messages of the assistant")
    if content is None and role != "assistant":
        raise bad(f"{where}.content", "is missing")
    message: dict[str, Any] = {"role": _ROLES[role], "content": _text(content, f"{where}.content")}
    reasoning = fields.text("reasoning_content") or fields.text("reasoning")
    if reasoning:
        message["reasoning_content"] = reasoning
    name, call = fields.text("name") or fields.text("tool_name"), fields.text("tool_call_id")
    message |= {key: one for key, one in (("name", name), ("tool_call_id", call)) if one is not None}
    if calls:
        message["tool_calls"] = calls
    fields.unsupported({"function_call": [], "refusal": [""], "audio": [], "images": [[]]})
    fields.ignore("annotations", "thinking")
    fields.end()
    return message


def _calls(value: Any, where: str) -> list[dict[str, Any]]:
    """Return an assistant's calls in the form of chat templates, with their arguments as Python objects."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad(where, "must be a list of calls")
    found = []
    for i, one in enumerate(value):
        fields = Fields(one, f"{where}[{i}]")
        identity = fields.text("id")
        fields.choice("type", ("function",))
        function = Fields(fields.any("function"), fields.path("function"))
        name = check_name(function.any("name"), function.path("name"))
        arguments = arguments_of(function.any("arguments"), function.path("arguments"))
        function.ignore("index")
        function.end()
        fields.ignore("index")
        fields.end()
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        found.append(call if identity is None else {"id": identity, **call})
    return found


def arguments_of(value: Any, where: str) -> dict[str, Any]:
    """Return a call's arguments: an object, or its JSON text.

    Raises:
        ApiError: they are neither.
    """
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(check_string(value, where))
        except (ValueError, RecursionError):
            raise bad(where, "is not JSON") from None
    if not isinstance(value, dict):
        raise bad(where, "must be a JSON object")
    return value


def _text(content: Any, where: str) -> str:
    """Return the text of a message's content: a string, or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return check_string(content, where)
    if not isinstance(content, list):
        raise bad(where, "must be a string or a list of parts")
    texts = []
    for i, part in enumerate(content):
        place = f"{where}[{i}]"
        fields = Fields(part, place)
        kind = fields.text("type")
        if kind != "text":
            raise bad(f"{place}.type", f"is {kind!r}, but this server takes only text", "unsupported_value")
        texts.append(check_string(fields.any("text"), f"{place}.text"))
    return "".join(texts)


def form_of(value: Any) -> Form | None:
    """Return the form that `response_format` describes; None for any text.

    Raises:
        ApiError: it is malformed.
    """
    if value is None:
        return None
    fields = Fields(value, "response_format")
    kinds = ("text", "json_object", "json_schema", "regex", "grammar", "choice")
    kind = fields.choice("type", kinds)
    if kind is None:
        raise bad("response_format.type", f"must be one of {', '.join(kinds)}")
    if kind == "text":
        fields.end()
        return None
    if kind == "json_object":
        schema = fields.any("schema")  # llama.cpp's addition
        if schema is not None and not isinstance(schema, dict):
            raise bad("response_format.schema", "must be a JSON schema")
        fields.end()
        return Form("json") if schema is None else Form("schema", schema)
    if kind == "choice":
        choices = fields.strings("choice", 1000)
        if not choices:
            raise bad("response_format.choice", "must be a list of strings")
        fields.end()
        return Form("choice", list(choices))
    if kind in ("regex", "grammar"):
        text = fields.text(kind)
        if not text:
            raise bad(f"response_format.{kind}", "is missing")
        fields.end()
        return Form(kind, text)
    inner = Fields(fields.any("json_schema"), "response_format.json_schema")
    schema = inner.any("schema")
    if not isinstance(schema, dict):
        raise bad("response_format.json_schema.schema", "must be a JSON schema")
    inner.boolean("strict")
    inner.ignore("name", "description")
    inner.end()
    fields.end()
    return Form("schema", schema)
