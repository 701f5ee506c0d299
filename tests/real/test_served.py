"""A server with the real chat model: the text of one prompt alone, with others beside it, and in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmkit import GenerationOptions, LoadedModel, generate
from tests.real import table
from tests.real.prompts import PROMPTS
from tests.server_process import events, post, serving

SAMPLED: dict[str, Any] = {"temperature": 0.8, "top_p": 0.9, "top_k": 40, "seed": 11}
GREEDY: dict[str, Any] = {"temperature": 0}
TOKENS = 40
COUNT = 5


@pytest.fixture(scope="module")
def address(chat_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with serving(folder, "-m", chat_folder, "--dtype", "float32", "--device", "cpu") as found:
        yield found


@pytest.mark.parametrize(("name", "settings"), [("greedy", GREEDY), ("sampled", SAMPLED)])
def test_served_text_is_that_of_a_single_prompt(
    name: str, settings: dict[str, Any], address: str, chat: LoadedModel
) -> None:
    prompts = PROMPTS[:COUNT]
    options = GenerationOptions(max_new_tokens=TOKENS, chat=False, **settings)
    alone = [generate(chat, prompt, options)[0].text for prompt in prompts]
    bodies = [{"prompt": prompt, "max_tokens": TOKENS, **settings} for prompt in prompts]
    with ThreadPoolExecutor(COUNT) as threads:
        replies = list(threads.map(lambda body: post(address, "/v1/completions", body), bodies))
    served = [reply["choices"][0]["text"] for reply in replies]
    heard = [
        "".join(event["choices"][0]["text"] for event in events(address, "/v1/completions", body))
        for body in bodies[:2]
    ]
    equal = sum(a == b for a, b in zip(served, alone, strict=True))
    table.add(
        f"served text, {name}, {COUNT} at once",
        f"{equal} of {COUNT} equal",
        "one prompt alone",
        COUNT - equal,
    )
    assert served == alone
    assert heard == alone[:2]


def test_a_served_conversation_is_that_of_the_library(address: str, chat: LoadedModel) -> None:
    messages = [
        {"role": "system", "content": "You are a geography teacher. Answer in one sentence."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    options = GenerationOptions(max_new_tokens=TOKENS, greedy=True)
    (alone,) = generate(chat, [messages], options)
    reply = post(
        address, "/v1/chat/completions", {"messages": messages, "max_tokens": TOKENS, "temperature": 0}
    )
    table.add("served conversation with a system message", "equal", "generate", 0)
    assert reply["choices"][0]["message"]["content"] == alone.text
    assert "Paris" in alone.text
