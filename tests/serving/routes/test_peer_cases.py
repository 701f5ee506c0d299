"""Cases of llama.cpp's server suite and of vLLM's OpenAI tests, asked of this server.

The cases come from tools/server/tests/unit of ggml-org/llama.cpp (MIT) and tests/entrypoints/openai of
vllm-project/vllm (Apache-2.0). Expectations about the texts of their models are left out. Where this server
answers otherwise on purpose, the case says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.serving.conftest import Client

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "system", "content": "Book"}, {"role": "user", "content": "What is the best book"}]
PROMPT = "I believe the meaning of life is"
TRUE_TOOL = {
    "type": "function",
    "function": {
        "name": "test",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"success": {"type": "boolean", "const": True}},
            "required": ["success"],
            "additionalProperties": False,
        },
    },
}
CAR = {
    "$defs": {"CarType": {"enum": ["sedan", "SUV"], "type": "string"}},
    "properties": {"car_type": {"$ref": "#/$defs/CarType"}, "foo": "bar"},
    "required": ["car_type"],
    "type": "object",
}


class Case(NamedTuple):
    """A request, and the status that it gets; `holds` looks at the answer.

    Attributes:
        name: the suite's file and the subject.
        change: fields beside those that every request of the path has.
    """

    name: str
    path: str
    change: dict[str, Any]
    status: int = 200
    holds: Callable[[Any], bool] = lambda answer: True


def content(answer: Any) -> str:
    return answer["choices"][0]["message"]["content"]


def first(answer: Any) -> Any:
    return answer["choices"][0]


def logprobs(answer: Any) -> list[Any]:
    return first(answer)["logprobs"]["content"]


def form(kind: str, **more: Any) -> dict[str, Any]:
    return {"response_format": {"type": kind, **more}}


def bad_messages(*values: Any) -> list[Case]:
    return [
        Case(f"llama.cpp chat: messages {value!r:.40}", CHAT, {"messages": value}, 400) for value in values
    ]


LLAMA = [
    Case(
        "chat: usage, id, role",
        CHAT,
        {},
        200,
        lambda one: "cmpl" in one["id"] and one["usage"]["completion_tokens"] == 5,
    ),
    Case(
        "chat: a content in parts",
        CHAT,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": " it"}],
                }
            ]
        },
    ),
    Case(
        "chat: two choices",
        CHAT,
        {"n": 2},
        200,
        lambda one: [each["index"] for each in one["choices"]] == [0, 1],
    ),
    Case(
        "chat: a beginning of the answer (by a field here)",
        CHAT,
        {"messages": [*MESSAGES, {"role": "assistant", "content": "Whill"}], "continue_final_message": True},
        200,
        lambda one: not content(one).startswith("Whill"),
    ),
    Case(
        "chat: json_object with a schema",
        CHAT,
        form("json_object", schema={"const": "42"}),
        200,
        lambda one: content(one) == '"42"',
    ),
    Case(
        "chat: a list by a schema",
        CHAT,
        {
            **form("json_object", schema={"type": "array", "items": {"type": "integer"}, "maxItems": 1}),
            "max_tokens": 40,
        },
        200,
        lambda one: first(one)["finish_reason"] == "length" or isinstance(json.loads(content(one)), list),
    ),
    Case(
        "chat: json_schema with a constant",
        CHAT,
        {**form("json_schema", json_schema={"schema": {"const": "foooooo"}}), "max_tokens": 20},
        200,
        lambda one: content(one) == '"foooooo"',
    ),
    Case("chat: json_object", CHAT, form("json_object"), 200, lambda one: content(one)[0] == "{"),
    Case("chat: an unknown form", CHAT, form("sound"), 400),
    Case("chat: a schema that is a number", CHAT, form("json_object", schema=123), 400),
    Case("chat: a type that is a number", CHAT, form("json_object", schema={"type": 123}), 400),
    Case("chat: a type that does not exist", CHAT, form("json_object", schema={"type": "hiccup"}), 400),
    Case(
        "chat: a grammar (Lark here)",
        CHAT,
        {**form("grammar", grammar="start: /a{5}/"), "max_tokens": 20},
        200,
        lambda one: content(one) == "aaaaa",
    ),
    *bad_messages(
        None,
        "string",
        [123],
        [{}],
        [{"role": 123}],
        [{"role": "system", "content": 123}],
        [*MESSAGES, {}],
        [],
    ),
    Case(
        "chat: log-probabilities",
        CHAT,
        {"logprobs": True, "top_logprobs": 10, "temperature": 0},
        200,
        lambda one: (
            "".join(each["token"] for each in logprobs(one)) == content(one)
            and all(
                each["logprob"] <= 0 and each["bytes"] and len(each["top_logprobs"]) == 10
                for each in logprobs(one)
            )
        ),
    ),
    Case(
        "chat: a prompt longer than the context",
        CHAT,
        {"messages": MESSAGES * 100},
        400,
        lambda one: (
            one["error"]["code"] == "context_length_exceeded"
            and bool(re.search(r"\d+ tokens", one["error"]["message"]))
        ),
    ),
    Case("chat: the same in a stream", CHAT, {"messages": MESSAGES * 100, "stream": True}, 400),
    Case("chat: timings per token (refused here)", CHAT, {"timings_per_token": True}, 400),
    Case(
        "completion: usage", TEXT, {"max_tokens": 8}, 200, lambda one: one["usage"]["completion_tokens"] == 8
    ),
    Case("completion: a prompt longer than the context", TEXT, {"prompt": PROMPT * 200}, 400),
    Case(
        "completion: token ids",
        TEXT,
        {"prompt": [5, 6, 7]},
        200,
        lambda one: one["usage"]["prompt_tokens"] == 3,
    ),
    Case(
        "completion: ids and a text",
        TEXT,
        {"prompt": [[5, 6, 7], PROMPT]},
        200,
        lambda one: [each["index"] for each in one["choices"]] == [0, 1],
    ),
    Case("completion: ids within a text (refused here)", TEXT, {"prompt": [5, PROMPT, 6]}, 400),
    Case("completion: a stop list", TEXT, {"stop": ["User:\n", "Assistant:\n"]}),
    Case(
        "security: a local file as an image",
        CHAT,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "test"},
                        {"type": "image_url", "image_url": {"url": "file://mtmd/test-1.jpeg"}},
                    ],
                }
            ]
        },
        400,
    ),
    Case(
        "infill: a model without tokens for it",
        TEXT,
        {"suffix": "}\n"},
        400,
        lambda one: one["error"]["param"] == "suffix",
    ),
    Case("infill: a suffix that is a number", TEXT, {"suffix": 123}, 400),
    Case("infill: extra files (refused here)", TEXT, {"input_extra": [{"filename": "ok"}]}, 400),
    *(
        Case(
            f"tools: a required call, {name}",
            CHAT,
            {"tools": [TRUE_TOOL], "tool_choice": choice, "parallel_tool_calls": False, "max_tokens": 60},
            200,
            lambda one: (
                [each["function"] for each in first(one)["message"]["tool_calls"]]
                == [
                    {
                        "name": "test",
                        "arguments": first(one)["message"]["tool_calls"][0]["function"]["arguments"],
                    }
                ]
                and json.loads(first(one)["message"]["tool_calls"][0]["function"]["arguments"])
                == {"success": True}
            ),
        )
        for name, choice in (
            ("required", "required"),
            ("named", {"type": "function", "function": {"name": "test"}}),
        )
    ),
    Case(
        "tools: an empty list",
        CHAT,
        {"tools": [], "tool_choice": None},
        200,
        lambda one: "tool_calls" not in first(one)["message"],
    ),
    Case(
        "tools: none",
        CHAT,
        {"tools": [TRUE_TOOL], "tool_choice": "none"},
        200,
        lambda one: "tool_calls" not in first(one)["message"],
    ),
]
VLLM = [
    *(
        Case(f"body {body!r}", path, body, 400)
        for path in (CHAT, TEXT)
        for body in ("{{{", ["not"], 42, None)
    ),  # type: ignore[arg-type]
    Case("chat: json_schema without a schema", CHAT, form("json_schema"), 400),
    Case(
        "chat: a system message in parts",
        CHAT,
        {"messages": [{"role": "system", "content": [{"type": "text", "text": "You help."}]}]},
    ),
    Case(
        "chat: an image in a system message",
        CHAT,
        {
            "messages": [
                {
                    "role": "system",
                    "content": [{"type": "image_url", "image_url": {"url": "https://example.com/i.jpg"}}],
                }
            ]
        },
        400,
    ),
    Case(
        "chat: a part without a type",
        CHAT,
        {"messages": [{"role": "user", "content": [{"image_url": {"url": "u"}}]}]},
        400,
    ),
    Case(
        "chat: audio",
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        400,
    ),
    Case("tools: null is auto", CHAT, {"tools": [TRUE_TOOL], "tool_choice": None}),
    Case("tools: null without tools", CHAT, {"tool_choice": None}),
    Case("tools: null beside a form", CHAT, {**form("json_object"), "tool_choice": None}),
    Case("tools: a choice that does not exist", CHAT, {"tools": [TRUE_TOOL], "tool_choice": "bogus"}, 400),
    Case("tools: required without tools", CHAT, {"tool_choice": "required"}, 400),
    Case("chat: logprobs false", CHAT, {"logprobs": False}, 200, lambda one: first(one)["logprobs"] is None),
    Case(
        "chat: no alternatives",
        CHAT,
        {"logprobs": True, "top_logprobs": 0},
        200,
        lambda one: logprobs(one)[0]["top_logprobs"] == [],
    ),
    Case(
        "chat: five alternatives",
        CHAT,
        {"logprobs": True, "top_logprobs": 5},
        200,
        lambda one: len(logprobs(one)[0]["top_logprobs"]) == 5,
    ),
    *(
        Case(f"chat: {most} alternatives", CHAT, {"logprobs": True, "top_logprobs": most}, 400)
        for most in (-1, 21, 30)
    ),
    Case("chat: alternatives without logprobs", CHAT, {"top_logprobs": 2}, 400),
    Case(
        "chat: a choice with log-probabilities that JSON can hold",
        CHAT,
        {**form("choice", choice=["Rust", "C++"]), "logprobs": True, "top_logprobs": 5},
        200,
        lambda one: (
            content(one) in ("Rust", "C++")
            and all(value["logprob"] >= -9999 for each in logprobs(one) for value in each["top_logprobs"])
        ),
    ),
    Case("chat: a regular expression that is an object", CHAT, form("regex", regex={"1": "Python"}), 400),
    Case(
        "chat: a regular expression",
        CHAT,
        {**form("regex", regex=r"(\d{1,2}\.){3}\d"), "max_tokens": 30},
        200,
        lambda one: re.fullmatch(r"(\d{1,2}\.){3}\d", content(one)) is not None,
    ),
    Case("chat: text as a form", CHAT, form("text")),
    Case(
        "chat: a field of a message that does not exist (refused here)",
        CHAT,
        {"messages": [{"role": "user", "content": "a", "extra_field": "0"}]},
        400,
    ),
    Case(
        "chat: a role that does not exist (refused here)",
        CHAT,
        {"messages": [{"role": "my-custom-role", "content": "a"}]},
        400,
    ),
    *(Case(f"chat: seed {seed}", CHAT, {"seed": seed}, 400) for seed in (-(2**63) - 1, 2**63)),
    Case(
        "chat: three choices",
        CHAT,
        {"n": 3, "temperature": 0.9, "max_tokens": 20},
        200,
        lambda one: (
            [each["index"] for each in one["choices"]] == [0, 1, 2]
            and len({each["message"]["content"] for each in one["choices"]}) > 1
        ),
    ),
    *(
        Case(f"{path}: stream_options {options} without a stream", path, {"stream_options": options}, 400)
        for path in (CHAT, TEXT)
        for options in ({"include_usage": None}, {"include_usage": True}, {"continuous_usage_stats": None})
    ),
    Case(
        "usage with each chunk (refused here)",
        CHAT,
        {"stream": True, "stream_options": {"continuous_usage_stats": True}},
        400,
    ),
    Case(
        "completion: one answer",
        TEXT,
        {},
        200,
        lambda one: (
            first(one)["finish_reason"] == "length"
            and one["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0
        ),
    ),
    Case(
        "completion: logprobs null", TEXT, {"logprobs": None}, 200, lambda one: first(one)["logprobs"] is None
    ),
    Case(
        "completion: logprobs 0 has the token itself",
        TEXT,
        {"logprobs": 0},
        200,
        lambda one: [len(each) for each in first(one)["logprobs"]["top_logprobs"]] == [1] * 5,
    ),
    Case(
        "completion: logprobs 5",
        TEXT,
        {"logprobs": 5},
        200,
        lambda one: all(len(each) in (5, 6) for each in first(one)["logprobs"]["top_logprobs"]),
    ),
    *(Case(f"completion: logprobs {most}", TEXT, {"logprobs": most}, 400) for most in (-1, 21, 30)),
    Case("completion: log-probabilities of the prompt (refused here)", TEXT, {"prompt_logprobs": 1}, 400),
    Case("completion: echo (refused here)", TEXT, {"echo": True}, 400),
    Case(
        "completion: three choices",
        TEXT,
        {"n": 3, "temperature": 1.0, "max_tokens": 30, "logprobs": 0},
        200,
        lambda one: len({each["text"] for each in one["choices"]}) == 3,
    ),
    Case(
        "completion: two prompts alike",
        TEXT,
        {"prompt": [PROMPT] * 2, "temperature": 0},
        200,
        lambda one: one["choices"][0]["text"] == one["choices"][1]["text"],
    ),
    Case("completion: an invalid schema", TEXT, form("json_schema", json_schema={"schema": CAR}), 400),
    Case("completion: an invalid regular expression", TEXT, form("regex", regex="[.*"), 400),
    Case(
        "completion: an invalid grammar", TEXT, form("grammar", grammar="start: select_statementinvalid"), 400
    ),
    Case("completion: no prompt", TEXT, {"prompt": None}, 400),
    Case("completion: an empty list of prompts", TEXT, {"prompt": []}, 400),
    Case("completion: an empty prompt among others", TEXT, {"prompt": [[]]}, 400),
    Case("completion: a token out of the vocabulary", TEXT, {"prompt": [999999]}, 400),
    *(
        Case(f"{path}: a bias {bias}", path, {"logit_bias": bias}, 400)
        for path in (CHAT, TEXT)
        for bias in ({"999999": 1}, {"-1": 1}, {"a": 1}, {"1": 101})
    ),
]


@pytest.mark.parametrize("case", LLAMA + VLLM, ids=lambda one: one.name.replace(" ", "_"))
def test_a_case_of_a_peer(client: Client, case: Case) -> None:
    base = (
        {"model": "storyteller", "messages": MESSAGES}
        if case.path == CHAT
        else {"model": "stories", "prompt": PROMPT}
    )
    body = (
        {"max_tokens": 5, "seed": 42, **base, **case.change} if isinstance(case.change, dict) else case.change
    )
    status, answer = client.post(case.path, json.dumps(body).encode())
    assert status == case.status, answer
    if case.status == 200:
        assert case.holds(answer), answer
    else:
        assert set(answer["error"]) == {"message", "type", "param", "code"}
        assert answer["error"]["type"] == "invalid_request_error"
        assert case.holds(answer), answer


# Streams of the two suites: (name, path, change).
STREAMS = [
    ("llama.cpp chat: one id and model, the role first, the end apart", CHAT, {"max_tokens": 8}),
    (
        "llama.cpp chat: log-probabilities of each piece",
        CHAT,
        {"logprobs": True, "top_logprobs": 10, "temperature": 0},
    ),
    (
        "llama.cpp tools: a required call",
        CHAT,
        {"tools": [TRUE_TOOL], "tool_choice": "required", "max_tokens": 60},
    ),
    ("vllm chat: two choices", CHAT, {"n": 2, "temperature": 0.9, "max_tokens": 15}),
    ("vllm completion: the text of the whole answer", TEXT, {"temperature": 0}),
    ("vllm completion: three choices", TEXT, {"n": 3, "temperature": 1.0, "max_tokens": 30}),
    ("vllm completion: two prompts", TEXT, {"prompt": [PROMPT] * 2, "temperature": 0}),
    ("vllm completion: text offsets", TEXT, {"logprobs": 0, "stop": ["\n\n"], "max_tokens": 12}),
]


@pytest.mark.parametrize(
    ("name", "path", "change"), STREAMS, ids=[one[0].replace(" ", "_") for one in STREAMS]
)
def test_a_stream_of_a_peer_says_what_the_whole_answer_says(
    client: Client, name: str, path: str, change: dict[str, Any]
) -> None:
    base = (
        {"model": "storyteller", "messages": MESSAGES}
        if path == CHAT
        else {"model": "stories", "prompt": PROMPT}
    )
    body = {"max_tokens": 5, "seed": 42, **base, **change}
    whole = client.post(path, body)[1]
    events = client.events(path, {**body, "stream_options": {"include_usage": True}})
    assert events.pop() == "[DONE]"
    usage = events.pop()
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert len({(one["id"], one["model"], one["created"]) for one in [*events, usage]}) == 1
    for i, choice in enumerate(whole["choices"]):
        pieces = [one["choices"][0] for one in events if one["choices"][0]["index"] == i]
        assert [one["finish_reason"] for one in pieces if one["finish_reason"]] == [choice["finish_reason"]]
        assert pieces[-1]["finish_reason"]
        if path == TEXT:
            assert "".join(one["text"] for one in pieces) == choice["text"]
            offsets = [at for one in pieces if one["logprobs"] for at in one["logprobs"]["text_offset"]]
            assert offsets == (choice["logprobs"] or {"text_offset": []})["text_offset"]
            continue
        assert pieces[0]["delta"]["role"] == "assistant"
        assert not any("role" in one["delta"] for one in pieces[1:])
        assert "".join(one["delta"].get("content") or "" for one in pieces) == (
            choice["message"]["content"] or ""
        )
        listed = [each for one in pieces if one["logprobs"] for each in one["logprobs"]["content"]]
        assert listed == (choice["logprobs"] or {"content": []})["content"]
        calls = [call for one in pieces for call in one["delta"].get("tool_calls", ())]
        arguments = "".join(one["function"]["arguments"] for one in calls)
        wanted = choice["message"].get("tool_calls", [])
        assert arguments == "".join(one["function"]["arguments"] for one in wanted)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer invalid-key"}, 401),
        ({"Authorization": "Bearer sk-this-is-the-secret-key"}, 200),
        ({"X-Api-Key": "sk-this-is-the-secret-key"}, 200),
    ],
)
def test_the_keys_of_llama_cpps_suite(
    serve: Callable[..., Any], headers: dict[str, str], status: int
) -> None:
    with serve(api_keys=("sk-this-is-the-secret-key",)) as client:
        found, answer = client.post(
            TEXT, {"model": "stories", "prompt": PROMPT, "max_tokens": 1}, headers=headers
        )
        assert found == status
        assert status == 200 or answer["error"]["type"] == "authentication_error"
        assert client.get("/health")[0] == client.get("/")[0] == client.get("/page/main.js")[0] == 200
