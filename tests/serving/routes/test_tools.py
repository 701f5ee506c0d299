"""Tools over HTTP: choices, streams, conversations with calls and results."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from llmkit.engines.base import Engine
from llmkit.serving.tools.family import HERMES, ToolSupport
from tests.serving.conftest import Client
from tests.serving.parsing.test_tool_calls import TEMPLATE

PARAMETERS = {
    "type": "object",
    "properties": {"kind": {"enum": ["dog", "cat"]}, "age": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["kind", "age"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "find", "description": "Find a pet.", "parameters": PARAMETERS},
    },
    {"type": "function", "function": {"name": "stop"}},
]
PATH = "/v1/chat/completions"
BODY = {
    "model": "storyteller",
    "messages": [{"role": "user", "content": "Write a story about a dog."}],
    "seed": 3,
    "temperature": 1.0,
    "max_tokens": 80,
    "tools": TOOLS,
}
NAMED = {"type": "function", "function": {"name": "find"}}


def streamed(client: Client, body: dict[str, Any]) -> tuple[str, list[dict[str, Any]], str | None]:
    """Text, calls and finish reason of a stream."""
    text, calls, reason = "", [], None
    for event in client.events(PATH, body)[:-1]:
        choice = event["choices"][0]
        text += choice["delta"].get("content") or ""
        for piece in choice["delta"].get("tool_calls", ()):
            if "id" in piece:
                assert piece["index"] == len(calls)
                calls.append({"name": piece["function"]["name"], "arguments": ""})
            calls[piece["index"]]["arguments"] += piece["function"]["arguments"]
        reason = choice["finish_reason"] or reason
    return text, calls, reason


def test_a_named_function_is_called_and_streams_alike(client: Client) -> None:
    body = {**BODY, "tool_choice": NAMED}
    status, answer = client.post(PATH, body)
    assert status == 200
    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    assert call["type"] == "function"
    assert call["id"].startswith("call_")
    assert call["function"]["name"] == "find"
    jsonschema.validate(json.loads(call["function"]["arguments"]), PARAMETERS)
    assert streamed(client, body) == ("", [call["function"]], "tool_calls")


def test_required_calls_and_one_at_a_time(client: Client) -> None:
    body = {**BODY, "tool_choice": "required", "parallel_tool_calls": False, "n": 3}
    for choice in client.post(PATH, body)[1]["choices"]:
        (call,) = choice["message"]["tool_calls"]
        assert call["function"]["name"] in ("find", "stop")


def test_a_limit_wins_over_calls(client: Client) -> None:
    choice = client.post(PATH, {**BODY, "tool_choice": NAMED, "max_tokens": 20})[1]["choices"][0]
    assert choice["finish_reason"] == "length"


def test_none_calls_nothing_and_shows_no_tools(client: Client) -> None:
    plain = client.post(PATH, {**BODY, "tools": None})[1]
    assert client.post(PATH, {**BODY, "tool_choice": "none"})[1]["choices"] == plain["choices"]
    shown = client.post(PATH, BODY)[1]
    assert shown["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"]
    assert "tool_calls" not in shown["choices"][0]["message"]


def test_a_schema_or_calls(client: Client) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["yes"]}}}
    for seed in range(3):
        choice = client.post(PATH, {**BODY, "response_format": form, "seed": seed})[1]["choices"][0]
        assert choice["message"].get("tool_calls") or choice["message"]["content"] == '"yes"'
    status, answer = client.post(PATH, {**BODY, "response_format": {"type": "regex", "regex": "a"}})
    assert (status, answer["error"]["param"]) == (400, "response_format")


def test_calls_and_results_are_part_of_the_conversation(client: Client) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": '{"kind": "dog"}'}}
    turns = [
        *BODY["messages"],  # type: ignore[misc]
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "Rex"}]},
    ]
    counted = client.post("/tokenize", {"model": "storyteller", "messages": BODY["messages"]})[1]["count"]
    status, answer = client.post(PATH, {**BODY, "tools": None, "messages": turns, "max_tokens": 4})
    assert status == 200
    assert answer["usage"]["prompt_tokens"] > counted + 20
    bad = {**call, "function": {"name": "find", "arguments": "{"}}
    for change, param in (
        ({**turns[1], "tool_calls": [bad]}, "messages[1].tool_calls[0].function.arguments"),
        ({**turns[1], "tool_calls": "x"}, "messages[1].tool_calls"),
        ({"role": "user", "content": "x", "tool_calls": [call]}, "messages[1].tool_calls"),
    ):
        status, answer = client.post(PATH, {**BODY, "messages": [turns[0], change]})
        assert (status, answer["error"]["param"]) == (400, param)


def test_a_schema_that_cannot_be_enforced_is_refused(client: Client) -> None:
    shape = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": shape}}]
    status, answer = client.post(PATH, {**BODY, "tools": tools, "tool_choice": "required"})
    assert (status, answer["error"]["param"]) == (400, "tools")
    assert "uniqueItems" in answer["error"]["message"]
    assert client.post(PATH, {**BODY, "tools": tools, "max_tokens": 2})[0] == 200  # nothing is promised


@pytest.mark.parametrize(("template", "status"), [(None, 400), (TEMPLATE, 200)])
def test_a_template_of_an_unknown_family_needs_a_description(
    serve: Callable[..., Any], template: Any, status: int
) -> None:
    with serve() as client:
        client.state.models["storyteller"]._tool_support = ToolSupport(None, True, template)
        found, answer = client.post(PATH, {**BODY, "max_tokens": 2})
        assert found == status
        assert status == 200 or answer["error"]["param"] == "tools"
        assert client.post(PATH, {**BODY, "tool_choice": "required"})[0] == 400


def test_the_embedded_models_template_knows_no_tools(engines: dict[str, Engine]) -> None:
    from llmkit.serving.tools.family import support_of

    assert support_of(engines["storyteller"].tokenizer) == ToolSupport(HERMES, False, None)


def test_ollama_gets_arguments_as_objects(client: Client) -> None:
    turns = [
        *BODY["messages"],  # type: ignore[misc]
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "find", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "tool_name": "find", "content": "Rex"},
    ]
    form = '<tool_call>\n{"name": "find", "arguments": {"kind": "cat", "age": 2}}\n</tool_call>'
    body = {"model": "storyteller", "messages": turns, "tools": TOOLS, "options": {"num_predict": 4}}
    assert client.post("/api/chat", {**body, "stream": False})[0] == 200
    from llmkit.serving.parsing.answer_text import Delta
    from llmkit.serving.parsing.tool_calls import ToolCallFilter
    from llmkit.serving.routes.ollama import calls_of

    pieces = ToolCallFilter(HERMES, {}).feed(form)
    delta = Delta("", "", (), tuple(pieces))  # type: ignore[arg-type]
    expected = {"function": {"name": "find", "arguments": {"kind": "cat", "age": 2}}}
    assert calls_of([delta]) == [expected]
