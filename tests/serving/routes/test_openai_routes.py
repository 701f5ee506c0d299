"""OpenAI's routes: the wire format, the fields, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.serving.conftest import Client

CHAT = {
    "model": "storyteller",
    "messages": [{"role": "user", "content": "Write a story about a dog."}],
    "seed": 5,
}
TEXT = {"model": "stories", "prompt": "Once upon a time", "seed": 5, "temperature": 0.9}


def test_models_are_listed(client: Client) -> None:
    status, body = client.get("/v1/models")
    assert status == 200
    assert [one["id"] for one in body["data"]] == ["stories", "storyteller"]
    assert client.get("/v1/models/stories")[1]["object"] == "model"
    assert client.get("/v1/models/other")[0] == 404


def test_a_chat_answer_has_the_fields_of_the_description(client: Client) -> None:
    status, body = client.post("/v1/chat/completions", {**CHAT, "max_tokens": 6})
    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["refusal"] is None
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "length", None)
    usage = body["usage"]
    assert usage["completion_tokens"] == 6
    assert usage["total_tokens"] == usage["prompt_tokens"] + 6
    counted = client.post("/tokenize", {"model": "storyteller", "messages": CHAT["messages"]})[1]["count"]
    assert usage["prompt_tokens"] == counted


def test_a_stream_has_the_role_first_and_its_end_apart(client: Client) -> None:
    whole = client.post("/v1/chat/completions", {**CHAT, "max_tokens": 12})[1]
    events = client.events(
        "/v1/chat/completions", {**CHAT, "max_tokens": 12, "stream_options": {"include_usage": True}}
    )
    assert events.pop() == "[DONE]"
    usage = events.pop()
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == whole["usage"]["total_tokens"]
    assert len({(one["id"], one["created"], one["object"]) for one in [*events, usage]}) == 1
    assert events[0]["object"] == "chat.completion.chunk"
    assert all(one["usage"] is None for one in events)
    choices = [one["choices"][0] for one in events]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert (choices[-1]["delta"], choices[-1]["finish_reason"]) == ({}, "length")
    assert all(one["finish_reason"] is None for one in choices[:-1])
    text = "".join(one["delta"].get("content", "") for one in choices)
    assert text == whole["choices"][0]["message"]["content"]


def test_a_stream_without_the_option_has_no_usage(client: Client) -> None:
    events = client.events("/v1/completions", {**TEXT, "max_tokens": 3})
    assert events[-1] == "[DONE]"
    assert all("usage" not in one for one in events[:-1])


def test_several_answers_to_several_prompts_are_those_of_their_places(client: Client) -> None:
    body = {**TEXT, "prompt": ["Once upon", "The dog"], "n": 2, "max_tokens": 8}
    whole = client.post("/v1/completions", body)[1]
    assert [one["index"] for one in whole["choices"]] == [0, 1, 2, 3]
    texts: dict[int, str] = dict.fromkeys(range(4), "")
    for event in client.events("/v1/completions", body)[:-1]:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
    assert list(texts.values()) == [one["text"] for one in whole["choices"]]
    assert len(set(texts.values())) == 4


def test_a_prompt_of_token_ids_is_the_same_prompt(client: Client) -> None:
    ids = client.post("/tokenize", {"model": "stories", "prompt": TEXT["prompt"]})[1]["tokens"]
    answers = [
        client.post("/v1/completions", {**TEXT, "prompt": prompt, "max_tokens": 8})[1]["choices"]
        for prompt in (TEXT["prompt"], ids, [ids])
    ]
    assert answers[0] == answers[1] == answers[2]


@pytest.mark.parametrize("model", ["stories", "storyteller"])
def test_a_seeded_request_gives_the_same_text_alone_and_beside_others(client: Client, model: str) -> None:
    count = 20 if model == "stories" else 4
    bodies = [
        {"model": model, "prompt": f"One day, {name}", "seed": i, "temperature": 1.0, "max_tokens": 12 + i}
        for i, name in enumerate(["Tom", "Lily", "a dog", "the cat", "Mom"] * 4)
    ][:count]
    alone = [client.post("/v1/completions", body)[1]["choices"] for body in bodies]
    together = [body["choices"] for status, body in client.together("/v1/completions", bodies)]
    assert together == alone


def test_null_is_the_same_as_nothing(client: Client) -> None:
    names = ["stream", "stop", "n", "temperature", "top_p", "logit_bias", "logprobs", "top_logprobs", "tools"]
    names += ["tool_choice", "response_format", "stream_options", "user", "max_completion_tokens", "metadata"]
    plain = client.post("/v1/chat/completions", {**CHAT, "max_tokens": 4})[1]["choices"]
    status, body = client.post("/v1/chat/completions", {**CHAT, "max_tokens": 4, **dict.fromkeys(names)})
    assert (status, body["choices"]) == (200, plain)


@pytest.mark.parametrize("model", ["stories", "storyteller"])
def test_a_stop_string_is_left_out_and_never_begun(client: Client, model: str) -> None:
    body = {"model": model, "prompt": "Once upon a time", "temperature": 0, "max_tokens": 20}
    text = client.post("/v1/completions", body)[1]["choices"][0]["text"]
    stop = text[12:20]
    expected = text[: text.find(stop)]
    stopped = {**body, "stop": [stop, "never"], "logprobs": 0}
    choice = client.post("/v1/completions", stopped)[1]["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (expected, "stop")
    assert "".join(choice["logprobs"]["tokens"]).startswith(expected)
    shown = ""
    for event in client.events("/v1/completions", stopped)[:-1]:
        shown += event["choices"][0]["text"]
        assert expected.startswith(shown)
    assert shown == expected


def test_whole_characters_are_streamed(client: Client) -> None:
    ids = client.post("/tokenize", {"model": "stories", "prompt": "😀é", "add_special_tokens": False})[1][
        "tokens"
    ]
    assert len(ids) >= 5  # a token is less than a character
    form = {"type": "choice", "choice": ["😀é"]}
    events = client.events("/v1/completions", {**TEXT, "response_format": form, "logprobs": 0})[:-1]
    texts = [event["choices"][0]["text"] for event in events if event["choices"][0]["text"]]
    assert texts == ["😀", "é"]
    chat = {**CHAT, "response_format": form, "logprobs": True}
    body = client.post("/v1/chat/completions", chat)[1]["choices"][0]
    assert bytes(b for one in body["logprobs"]["content"] for b in one["bytes"]).decode() == "😀é"


@pytest.mark.parametrize("model", ["stories", "storyteller"])
def test_logprobs_have_their_alternatives(client: Client, model: str) -> None:
    body = {"model": model, "prompt": "Once upon a time", "temperature": 0, "max_tokens": 5, "logprobs": 3}
    whole = client.post("/v1/completions", body)[1]["choices"][0]
    found = whole["logprobs"]
    assert "".join(found["tokens"]) == whole["text"]
    assert [len(one) for one in found["top_logprobs"]] == [3] * 5
    for token, value, top in zip(
        found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True
    ):
        assert max(top, key=top.get) == token  # greedy decoding takes the likeliest
        assert sum(map(math.exp, top.values())) <= 1
        assert top[token] == value
    events = client.events("/v1/completions", body)[:-1]
    listed = [event["choices"][0]["logprobs"] for event in events if event["choices"][0]["logprobs"]]
    assert [name for one in listed for name in one["tokens"]] == found["tokens"]
    assert [place for one in listed for place in one["text_offset"]] == found["text_offset"]


def test_biases_and_penalties_reach_the_model(client: Client) -> None:
    body = {"model": "stories", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 6}
    tokens = client.post("/tokenize", {"model": "stories", "prompt": " dog", "add_special_tokens": False})[1]
    biased = client.post("/v1/completions", {**body, "logit_bias": {str(tokens["tokens"][0]): 100}})[1]
    assert biased["choices"][0]["text"] == " dog" * 6
    varied = {
        **body,
        "logit_bias": {str(tokens["tokens"][0]): 3},
        "presence_penalty": 2,
        "frequency_penalty": 2,
    }
    assert client.post("/v1/completions", varied)[1]["choices"][0]["text"].count(" dog") <= 2


@pytest.mark.parametrize("model", ["stories", "storyteller"])
def test_extreme_settings_are_answered(client: Client, model: str) -> None:
    body = {"model": model, "prompt": "Once upon a time", "max_tokens": 4, "seed": 1}
    greedy = client.post("/v1/completions", {**body, "temperature": 0})[1]["choices"]
    for change in ({"temperature": 5e-324}, {"temperature": 1e-40}, {"temperature": 1, "top_p": 5e-324}):
        status, answer = client.post("/v1/completions", {**body, **change})
        assert (status, answer["choices"]) == (200, greedy)
    worst = {"temperature": 2, "repetition_penalty": 0.01, "presence_penalty": -2, "min_p": 1}
    assert client.post("/v1/completions", {**body, **worst})[0] == 200


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("chat", {"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("chat", {"tool_choice": "required"}, "tool_choice"),
        ("chat", {"top_logprobs": 3}, "top_logprobs"),
        ("chat", {"temperature": -1}, "temperature"),
        ("chat", {"repetition_penalty": 1e-300}, "repetition_penalty"),
        ("chat", {"temperature": True}, "temperature"),
        ("chat", {"max_tokens": 0}, "max_tokens"),
        ("chat", {"max_tokens": "5"}, "max_tokens"),
        ("chat", {"n": 0}, "n"),
        ("chat", {"stop": [""]}, "stop"),
        ("chat", {"stream": "yes"}, "stream"),
        ("chat", {"stream_options": {"include_usage": True}}, "stream_options"),
        ("chat", {"stream_options": {"other": 1}, "stream": True}, "stream_options.other"),
        ("chat", {"logit_bias": {"7": 101}}, "logit_bias"),
        ("chat", {"logit_bias": {"99999": 1}}, "logit_bias"),
        ("chat", {"messages": None}, "messages"),
        ("chat", {"messages": []}, "messages"),
        ("chat", {"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ("chat", {"messages": [{"role": "user"}]}, "messages[0].content"),
        ("chat", {"messages": [{"role": "user", "content": "x", "extra": 1}]}, "messages[0].extra"),
        (
            "chat",
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}
                ]
            },
            "messages[0].content[0].type",
        ),
        ("chat", {"messages": [{"role": "user", "content": "x " * 3000}]}, "messages"),
        ("chat", {"model": "other"}, "model"),
        ("chat", {"model": "stories"}, "messages"),
        ("chat", {"temprature": 1}, "temprature"),
        ("chat", {"response_format": {"type": "xml"}}, "response_format.type"),
        ("text", {"prompt": None}, "prompt"),
        ("text", {"prompt": [1, "x"]}, "prompt"),
        ("text", {"prompt": [99999]}, "prompt"),
        ("text", {"prompt": "x " * 2000}, "prompt"),
        ("text", {"prompt": [5] * 600}, "prompt"),
        ("text", {"echo": True}, "echo"),
        ("text", {"suffix": "end"}, "suffix"),
        ("text", {"best_of": 4}, "best_of"),
        ("text", {"response_format": {"type": "regex", "regex": "("}}, "response_format"),
    ],
)
def test_a_bad_field_is_refused_by_name(
    client: Client, path: str, change: dict[str, Any], param: str
) -> None:
    body, route = (CHAT, "/v1/chat/completions") if path == "chat" else (TEXT, "/v1/completions")
    status, answer = client.post(route, {**body, **change})
    assert status == (404 if change == {"model": "other"} else 400)
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert error["code"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"prompt": NaN}',
        b'{"prompt": "\\ud800"}',
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
    ],
)
def test_rubbish_is_a_bad_request(client: Client, raw: bytes) -> None:
    status, answer = client.post("/v1/completions", raw)
    assert status == 400
    assert answer["error"]["message"]


def test_a_prompt_may_look_like_nested_json(client: Client) -> None:
    status, _ = client.post("/v1/completions", {**TEXT, "prompt": "[" * 100 + '\\"{', "max_tokens": 1})
    assert status == 200


def test_an_answer_goes_on_with_the_last_message(client: Client) -> None:
    asked = {"role": "user", "content": "Write a story about a dog."}
    whole = client.post(
        "/v1/chat/completions",
        {"model": "storyteller", "messages": [asked], "temperature": 0, "max_tokens": 24},
    )[1]["choices"][0]["message"]["content"]
    begun = " ".join(whole.split(" ")[:6])
    body = {
        "model": "storyteller",
        "messages": [asked, {"role": "assistant", "content": begun}],
        "temperature": 0,
        "max_tokens": 8,
    }
    status, answer = client.post("/v1/chat/completions", {**body, "continue_final_message": True})
    assert status == 200
    assert whole.startswith(begun + answer["choices"][0]["message"]["content"])
    assert (
        client.post("/v1/messages", body)[1]["content"][0]["text"]
        == answer["choices"][0]["message"]["content"]
    )
    for change in (
        {"messages": [asked]},
        {"response_format": {"type": "json_object"}},
        {"add_generation_prompt": True},
    ):
        assert (
            client.post("/v1/chat/completions", {**body, "continue_final_message": True, **change})[0] == 400
        )
