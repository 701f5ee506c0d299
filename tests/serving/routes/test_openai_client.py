"""OpenAI's own client against the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import jsonschema
import pytest

from tests.serving.conftest import Client

openai = pytest.importorskip("openai")
MESSAGES = [{"role": "user", "content": "Write a story about a dog."}]
Ask = Callable[[Callable[[Any], Coroutine[Any, Any, Any]]], Any]


@pytest.fixture
def ask(client: Client) -> Ask:
    def run(use: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async def with_client() -> Any:
            url = str(client.client.make_url("/v1"))
            async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as found:
                return await use(found)

        return client.runner.run(with_client())

    return run


def test_chat_whole_and_streamed(ask: Ask) -> None:
    settings: dict[str, Any] = {
        "model": "storyteller",
        "messages": MESSAGES,
        "seed": 4,
        "max_completion_tokens": 10,
    }

    async def use(api: Any) -> Any:
        whole = await api.chat.completions.create(**settings, logprobs=True, top_logprobs=2)
        chunks = [
            chunk
            async for chunk in await api.chat.completions.create(
                **settings, stream=True, stream_options={"include_usage": True}
            )
        ]
        return whole, chunks

    whole, chunks = ask(use)
    text = whole.choices[0].message.content
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == text
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens
    assert whole.usage.completion_tokens == 10
    assert len(whole.choices[0].logprobs.content) == 10
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2


def test_the_streaming_helper_gathers_the_answer(ask: Ask) -> None:
    async def use(api: Any) -> Any:
        async with api.chat.completions.stream(
            model="storyteller", messages=MESSAGES, seed=4, stop=["."], n=2
        ) as stream:
            async for _ in stream:
                pass
            return await stream.get_final_completion()

    found = ask(use)
    assert [one.finish_reason for one in found.choices] == ["stop", "stop"]
    assert found.choices[0].message.content != found.choices[1].message.content


def test_completions_and_models(ask: Ask) -> None:
    async def use(api: Any) -> Any:
        models = [model.id async for model in api.models.list()]
        text = await api.completions.create(
            model="stories", prompt=["Once", "The"], max_tokens=4, logprobs=1, temperature=0
        )
        return models, text

    models, text = ask(use)
    assert models == ["stories", "storyteller"]
    assert [len(one.logprobs.tokens) for one in text.choices] == [4, 4]


def test_a_schema_holds(ask: Ask) -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["dog", "cat"]},
            "age": {"type": "integer", "minimum": 1, "maximum": 20},
        },
        "required": ["kind", "age"],
        "additionalProperties": False,
    }

    async def use(api: Any) -> Any:
        form = {"type": "json_schema", "json_schema": {"name": "animal", "strict": True, "schema": schema}}
        return await api.chat.completions.create(
            model="storyteller", messages=MESSAGES, response_format=form, n=3, temperature=1.0, seed=1
        )

    for choice in ask(use).choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), schema)


def test_errors_are_the_clients_own_classes(ask: Ask) -> None:
    async def refused(api: Any) -> Any:
        with pytest.raises(openai.BadRequestError) as raised:
            await api.chat.completions.create(model="storyteller", messages=MESSAGES, modalities=["audio"])
        with pytest.raises(openai.NotFoundError):
            await api.chat.completions.create(model="other", messages=MESSAGES)
        return raised.value

    error = ask(refused)
    assert (error.param, error.code, error.type) == (
        "modalities",
        "unsupported_parameter",
        "invalid_request_error",
    )
