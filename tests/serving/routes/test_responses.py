"""OpenAI's /v1/responses: the wire format, tools, forms, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmkit.serving.errors import ApiError
from llmkit.serving.fields import Fields
from llmkit.serving.routes.responses_requests import responses_request, turns_of
from tests.serving.conftest import Client

PATH = "/v1/responses"
TEXT = "Write a story about a dog."
BODY: dict[str, Any] = {"model": "storyteller", "input": TEXT, "max_output_tokens": 12, "seed": 5}
TOOL = {
    "type": "function",
    "name": "find",
    "parameters": {
        "type": "object",
        "properties": {"kind": {"enum": ["dog"]}},
        "required": ["kind"],
        "additionalProperties": False,
    },
}


def events(client: Client, body: dict[str, Any]) -> list[Any]:
    status, text = client.post(PATH, {**body, "stream": True})
    assert status == 200
    found = [json.loads(part.split("\ndata: ")[1]) for part in text.split("\n\n")[:-1]]
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    return found


def test_an_answer_is_that_of_the_chat_route(client: Client) -> None:
    openai = {
        "model": "storyteller",
        "messages": [{"role": "user", "content": TEXT}],
        "seed": 5,
        "max_tokens": 12,
    }
    expected = client.post("/v1/chat/completions", openai)[1]
    status, body = client.post(PATH, BODY)
    assert status == 200
    (item,) = body["output"]
    assert item["content"][0]["text"] == expected["choices"][0]["message"]["content"]
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["usage"]["input_tokens"] == expected["usage"]["prompt_tokens"]
    assert (body["store"], body["max_output_tokens"], body["temperature"]) == (False, 12, None)


def test_a_stream_has_the_events_of_the_description(client: Client) -> None:
    whole = client.post(PATH, BODY)[1]
    found = events(client, BODY)
    kinds = [one["type"].removeprefix("response.") for one in found]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    text = "".join(one["delta"] for one in found[4:-4])
    assert text == found[-4]["text"] == whole["output"][0]["content"][0]["text"]
    assert found[-1]["response"]["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    identities = {one["item_id"] for one in found[3:-2]}
    assert identities == {found[-1]["response"]["output"][0]["id"]}


def test_a_function_is_called(client: Client) -> None:
    choice = {"type": "function", "name": "find"}
    body = {**BODY, "tools": [TOOL], "tool_choice": choice, "max_output_tokens": 60}
    status, answer = client.post(PATH, body)
    assert (status, answer["status"]) == (200, "completed")
    (item,) = answer["output"]
    assert (item["type"], item["name"], item["arguments"]) == ("function_call", "find", '{"kind":"dog"}')
    done = next(one for one in events(client, body) if one["type"].endswith("arguments.done"))
    assert done["arguments"] == item["arguments"]
    turns = [
        {"role": "user", "content": TEXT},
        item,
        {"type": "function_call_output", "call_id": item["call_id"], "output": "Rex"},
    ]
    assert client.post(PATH, {**BODY, "input": turns, "tools": [TOOL], "max_output_tokens": 2})[0] == 200


def test_a_form_holds(client: Client) -> None:
    form = {"type": "json_schema", "name": "x", "schema": {"enum": ["yes"]}, "strict": True}
    body = {**BODY, "text": {"format": form}, "max_output_tokens": 40}
    answer = client.post(PATH, body)[1]
    assert answer["output"][0]["content"][0]["text"] == '"yes"'
    assert answer["text"] == {"format": form}


def test_items_become_messages() -> None:
    call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"x": 1}'}
    found = turns_of(
        [
            {"role": "developer", "content": "Be brief."},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            call,
            {**call, "call_id": "2"},
            {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "r"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
        ]
    )
    function = {"name": "f", "arguments": {"x": 1}}
    calls = [{"id": one, "type": "function", "function": function} for one in ("1", "2")]
    assert found == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": "r"},
        {"role": "assistant", "content": "b"},
    ]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"previous_response_id": "x"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_fields_are_refused_by_name(change: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as raised:
        responses_request(Fields({**BODY, **change}))
    assert raised.value.param == param


def test_null_is_the_same_as_nothing() -> None:
    names = ["instructions", "tools", "text", "reasoning", "store", "stream", "include", "top_p", "metadata"]
    assert responses_request(Fields({**BODY, **dict.fromkeys(names)})) == responses_request(Fields(BODY))
