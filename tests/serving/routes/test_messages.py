"""Anthropic's messages: the wire format, tools, counts and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmkit.serving.errors import ApiError
from llmkit.serving.fields import Fields
from llmkit.serving.parsing.answer_text import Delta
from llmkit.serving.parsing.blocks import AnswerBlocks
from llmkit.serving.parsing.tool_calls import CallPiece
from llmkit.serving.routes.messages import MessagesAnswer, messages_of, messages_request
from llmkit.serving.routes.openai_answers import Usage
from tests.serving.conftest import Client

PATH = "/v1/messages"
BODY: dict[str, Any] = {
    "model": "storyteller",
    "max_tokens": 12,
    "seed": 5,
    "messages": [{"role": "user", "content": "Write a story about a dog."}],
}
TOOL = {
    "name": "find",
    "input_schema": {
        "type": "object",
        "properties": {"kind": {"enum": ["dog"]}},
        "required": ["kind"],
        "additionalProperties": False,
    },
}


def events(client: Client, body: dict[str, Any]) -> list[Any]:
    status, text = client.post(PATH, {**body, "stream": True})
    assert status == 200
    found = []
    for part in text.split("\n\n")[:-1]:
        head, data = part.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert head == f"event: {found[-1]['type']}"
    return found


def test_an_answer_is_that_of_the_chat_route(client: Client) -> None:
    openai = {"model": "storyteller", "messages": BODY["messages"], "seed": 5, "max_tokens": 12}
    expected = client.post("/v1/chat/completions", openai)[1]
    status, body = client.post(PATH, BODY)
    assert status == 200
    assert body["content"] == [{"type": "text", "text": expected["choices"][0]["message"]["content"]}]
    assert (body["type"], body["role"], body["stop_reason"]) == ("message", "assistant", "max_tokens")
    usage = expected["usage"]
    read = body["usage"]["input_tokens"] + body["usage"]["cache_read_input_tokens"]
    assert (read, body["usage"]["output_tokens"]) == (usage["prompt_tokens"], 12)
    counted = client.post(f"{PATH}/count_tokens", {"messages": BODY["messages"], "model": "storyteller"})
    assert counted == (200, {"input_tokens": usage["prompt_tokens"]})


def test_a_stream_has_a_block_for_each_part(client: Client) -> None:
    whole = client.post(PATH, BODY)[1]
    found = events(client, BODY)
    kinds = [one["type"] for one in found if one["type"] != "content_block_delta"]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    text = "".join(one["delta"]["text"] for one in found if one["type"] == "content_block_delta")
    assert text == whole["content"][0]["text"]
    assert found[0]["message"]["usage"]["output_tokens"] == 0
    assert found[-2]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
    assert found[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_the_stop_sequence_is_named(client: Client) -> None:
    body = client.post(PATH, {**BODY, "temperature": 0, "stop_sequences": ["zzz", "a", "e"]})[1]
    assert body["stop_reason"] == "stop_sequence"
    assert body["stop_sequence"] in ("a", "e")


def test_a_tool_is_used(client: Client) -> None:
    body = {**BODY, "max_tokens": 60, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "find"}}
    status, answer = client.post(PATH, body)
    assert (status, answer["stop_reason"]) == (200, "tool_use")
    (block,) = answer["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "find", {"kind": "dog"})
    found = events(client, body)
    assert found[1]["content_block"]["input"] == {}
    pieces = [one["delta"]["partial_json"] for one in found if one["type"] == "content_block_delta"]
    assert json.loads("".join(pieces)) == {"kind": "dog"}
    turns = [
        *BODY["messages"],
        {"role": "assistant", "content": [{**block, "id": "a"}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "Rex"}]},
    ]
    assert client.post(PATH, {**BODY, "messages": turns, "tools": [TOOL], "max_tokens": 2})[0] == 200


def test_blocks_become_messages() -> None:
    found = messages_of(
        [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": ""},
                    {"type": "text", "text": "c"},
                    {"type": "tool_use", "id": "1", "name": "f", "input": {"x": 1}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "1"}, {"type": "text", "text": "d"}],
            },
        ]
    )
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    assert found == [
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "c", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "user", "content": "d"},
    ]


def test_thoughts_and_calls_are_blocks_of_their_own() -> None:
    blocks = AnswerBlocks()
    for delta in (
        Delta(reasoning="h"),
        Delta(reasoning="m", text="yes"),
        Delta(calls=(CallPiece(0, "", "call_1", "f"), CallPiece(0, "{}"), CallPiece(1, "", "call_2", "g"))),
    ):
        blocks.feed(delta)
    blocks.end()
    body = MessagesAnswer("m").whole(blocks.blocks, "tool_calls", None, Usage(1, 2))
    assert body["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "yes"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
        {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
    ]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"system": 3}, "system"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_fields_are_refused_by_name(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as raised:
        messages_request(Fields({**BODY, **change}))
    assert raised.value.param == param


def test_errors_have_the_shape_of_this_api(client: Client) -> None:
    status, body = client.post(PATH, {**BODY, "model": "other"})
    assert (status, body["type"], body["error"]["type"]) == (404, "error", "not_found_error")
    assert client.post(PATH, b"{")[1]["error"]["type"] == "invalid_request_error"
