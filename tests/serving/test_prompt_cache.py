"""Prompts that share a beginning reuse what was computed for it, and their text does not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.serving.conftest import Client

START = "Once upon a time there was a little dog who lived in a big house with a red door. " * 9
ENDS = ("The dog saw a cat", "The dog was sad", "One day it rained")


def ask(client: Client, prompt: str, key: str | None = None) -> tuple[str, int]:
    body = {"model": "stories", "prompt": prompt, "seed": 4, "temperature": 0.9, "max_tokens": 10}
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    status, answer = client.post("/v1/completions", body, headers=headers)
    assert status == 200, answer
    cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return answer["choices"][0]["text"], cached


def test_the_text_is_the_same_with_and_without_a_cache(serve: Callable[..., Any]) -> None:
    with serve(prompt_cache=0) as client:
        expected = [ask(client, START + end) for end in ENDS]
    assert [cached for _, cached in expected] == [0, 0, 0]
    with serve() as client:
        found = [ask(client, START + end) for end in ENDS]
        assert [text for text, _ in found] == [text for text, _ in expected]
        assert found[0][1] == 0
        assert all(cached >= 128 for _, cached in found[1:])
        assert 'prompt_tokens_reused_total{model="stories"}' in client.get("/metrics")[1]


def test_keys_share_nothing(serve: Callable[..., Any]) -> None:
    with serve(api_keys=("one", "two")) as client:
        assert ask(client, START + ENDS[0], "one")[1] == 0
        assert ask(client, START + ENDS[1], "two")[1] == 0
        assert ask(client, START + ENDS[1], "one")[1] >= 128


def test_a_small_limit_keeps_nothing(serve: Callable[..., Any]) -> None:
    with serve(prompt_cache=1000) as client:
        assert [ask(client, START + end)[1] for end in ENDS] == [0, 0, 0]
