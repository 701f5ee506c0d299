"""Faults that users filed against other servers: none of them is one of this server's.

Each test names the report.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmkit import ModelSpec, load
from llmkit.engines.base import Engine
from llmkit.engines.structured import AfterThoughts
from llmkit.serving.parsing.tool_calls import ToolCallFilter
from llmkit.serving.scheduling import worker as scheduling
from llmkit.serving.scheduling.jobs import AnswerJob
from llmkit.serving.scheduling.prepare import prepare
from llmkit.serving.scheduling.wanted import Wanted
from llmkit.serving.tools.family import FAMILIES, HERMES, QWEN_XML, ToolSupport
from tests.conftest import TinyModel
from tests.serving.conftest import Client, serving
from tests.serving.parsing.test_tool_calls import CASES, FUNCTIONS, cuts_of, gathered
from tests.serving.routes.test_tools import BODY as TOOL_BODY
from tests.serving.routes.test_tools import NAMED, streamed

TEXT = "/v1/completions"
CHAT = "/v1/chat/completions"
PROMPT = {"model": "stories", "prompt": "Once upon a time"}
LONG = {**PROMPT, "temperature": 1, "max_tokens": 480, "logit_bias": {"0": -100}}
TALK = {
    "model": "storyteller",
    "messages": [{"role": "user", "content": "Write a story about a dog."}],
    "seed": 5,
}


def chosen(text: str) -> dict[str, Any]:
    """A request whose answer is a certain text."""
    return {**PROMPT, "response_format": {"type": "choice", "choice": [text]}, "max_tokens": 100}


def shown(client: Client, body: dict[str, Any]) -> list[str]:
    return [event["choices"][0]["text"] for event in client.events(TEXT, body)[:-1]]


def test_generation_ends_when_the_client_is_gone(serve: Callable[..., Any]) -> None:
    """ggml-org/llama.cpp#24496."""
    with serve() as client:

        async def leave() -> None:
            response = await client.client.post(TEXT, json={**LONG, "stream": True})
            await response.content.readexactly(200)
            response.close()

        client.runner.run(leave())
        client.until(lambda: client.state.models["stories"].worker.idle)
        assert 'reason="interrupted"} 1' in client.get("/metrics")[1]


def test_a_wedged_model_is_not_healthy(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """ggml-org/llama.cpp#27388: /health said OK, and /slots hung."""
    from llmkit.engines.transformers.step_batch import StepBatch

    step, wedged = StepBatch.step, [True]

    def hang(self: StepBatch) -> Any:
        while wedged:
            time.sleep(0.01)
        return step(self)

    monkeypatch.setattr(StepBatch, "step", hang)
    monkeypatch.setattr(scheduling, "STUCK_SECONDS", 0.1)
    with serve() as client:

        async def check() -> Any:
            asked = asyncio.ensure_future(client._one("POST", TEXT, json={**PROMPT, "max_tokens": 2}))
            await asyncio.sleep(0.4)
            health = await client._one("GET", "/health")
            metrics = await client._one("GET", "/metrics")
            wedged.clear()
            return health[:2], metrics[0], (await asked)[0]

        assert client.runner.run(check()) == ((503, {"status": "stuck"}), 200, 200)
        assert client.get("/health")[0] == 200


def test_many_embeddings_at_once_are_answered(tiny_model: TinyModel) -> None:
    """ggml-org/llama.cpp#11411: the connection was reset at more than 6."""
    model: Any = load(ModelSpec(str(tiny_model("bert")), task="feature-extraction", device="cpu"))
    with serving({"encoder": model}) as client:
        found = client.together("/v1/embeddings", [{"input": f"text {i}"} for i in range(24)])
        assert [status for status, _ in found] == [200] * 24


def test_stop_strings_repeat_no_text_in_a_stream(client: Client) -> None:
    """ggml-org/llama.cpp#10914."""
    body = {**chosen("a bird, a bird and a bee"), "stop": ["bird and", "zz"]}
    assert "".join(shown(client, body)) == "a bird, a "
    assert client.post(TEXT, body)[1]["choices"][0]["text"] == "a bird, a "


def test_a_beginning_of_a_stop_string_goes_out_at_the_end(client: Client) -> None:
    """ggml-org/llama.cpp pull request 15007."""
    body = {**chosen("one STO"), "stop": ["STOP"]}
    assert "".join(shown(client, body)) == "one STO"
    assert client.post(TEXT, body)[1]["choices"][0]["text"] == "one STO"


def test_a_beginning_of_a_stop_string_is_not_streamed(client: Client) -> None:
    """vllm-project/vllm#3574."""
    pieces = shown(client, {**chosen("one STOP two"), "stop": ["STOP"]})
    assert "".join(pieces) == "one "
    assert not any("S" in piece for piece in pieces)


def test_streamed_arguments_are_never_null(client: Client) -> None:
    """vllm-project/vllm#9693."""
    body = {**TOOL_BODY, "tool_choice": NAMED, "stream": True}
    for event in client.events(CHAT, body)[:-1]:
        for piece in event["choices"][0]["delta"].get("tool_calls", ()):
            assert isinstance(piece["function"]["arguments"], str)
    pieces: list[Any] = ToolCallFilter(HERMES, {}).feed('<tool_call>{"name": "now"}</tool_call>')
    assert gathered(pieces)[1] == [("now", "{}")]


def test_streamed_arguments_have_their_first_characters(client: Client) -> None:
    """vllm-project/vllm#21046."""
    body = {**TOOL_BODY, "tool_choice": NAMED}
    (call,) = client.post(CHAT, body)[1]["choices"][0]["message"]["tool_calls"]
    assert streamed(client, body)[1] == [call["function"]]
    assert call["function"]["arguments"].startswith('{"')


def test_calls_do_not_depend_on_the_size_of_the_pieces() -> None:
    """vllm-project/vllm#55082: 27 of 64 ways to split a text lost the arguments."""
    for family, text, _, calls in CASES:
        for pieces in ([text], list(text)):
            made = ToolCallFilter(family, FUNCTIONS)
            found: list[Any] = [one for piece in pieces for one in made.feed(piece)]
            assert gathered([*found, *made.close()])[1] == calls


def test_parameters_in_tags_become_whole_json() -> None:
    """vllm-project/vllm#45256: incomplete JSON if several tokens came at once."""
    text = (
        "<tool_call>\n<function=add>\n<parameter=a>\n3\n</parameter>\n<parameter=s>\nx\n</parameter>\n"
        "</function>\n</tool_call>"
    )
    for pieces in cuts_of(text):
        made = ToolCallFilter(QWEN_XML, FUNCTIONS)
        found: list[Any] = [one for piece in pieces for one in made.feed(piece)]
        assert json.loads(gathered(found)[1][0][1]) == {"a": 3, "s": "x"}


def test_the_closing_brace_is_streamed() -> None:
    """vllm-project/vllm#15274."""
    text = '<tool_call>{"name": "add", "arguments": {"a": {"b": {}}}}</tool_call>'
    for pieces in cuts_of(text):
        made = ToolCallFilter(HERMES, FUNCTIONS)
        found: list[Any] = [one for piece in pieces for one in made.feed(piece)]
        assert gathered(found)[1] == [("add", '{"a": {"b": {}}}')]


def test_a_call_that_was_cut_off_ends_by_its_length(client: Client) -> None:
    """vllm-project/vllm#58228: the finish reason was `tool_calls`."""
    body = {**TOOL_BODY, "tool_choice": NAMED, "max_tokens": 22}
    choice = client.post(CHAT, body)[1]["choices"][0]
    assert (choice["finish_reason"], len(choice["message"]["tool_calls"])) == ("length", 1)
    assert streamed(client, body)[2] == "length"


def test_a_call_ends_with_the_reason_of_calls(client: Client) -> None:
    """sgl-project/sglang#2877."""
    body = {**TOOL_BODY, "tool_choice": NAMED}
    assert client.post(CHAT, body)[1]["choices"][0]["finish_reason"] == "tool_calls"
    assert streamed(client, body)[2] == "tool_calls"
    assert client.post(CHAT, {**TALK, "max_tokens": 2})[1]["choices"][0]["finish_reason"] == "length"


def test_a_conversation_has_one_start_token(client: Client, engines: dict[str, Engine]) -> None:
    """vllm-project/vllm#55197, and abetlen/llama-cpp-python#1501: two of them."""
    ids = client.post("/tokenize", {"model": "storyteller", "messages": TALK["messages"]})[1]["tokens"]
    start = engines["storyteller"].tokenizer.bos_token_id  # type: ignore[union-attr]
    assert (ids[0], ids.count(start)) == (start, 1)
    usage = client.post(CHAT, {**TALK, "max_tokens": 1})[1]["usage"]
    assert usage["prompt_tokens"] == len(ids)


def test_a_text_has_the_start_token_of_its_tokenizer(client: Client, engines: dict[str, Engine]) -> None:
    """abetlen/llama-cpp-python#1537: none at all, after two were one too many."""
    tokenizer: Any = engines["stories"].tokenizer
    count = client.post(TEXT, {**PROMPT, "max_tokens": 1})[1]["usage"]["prompt_tokens"]
    assert count == len(tokenizer(PROMPT["prompt"])["input_ids"])


def test_an_emoji_of_several_tokens_is_streamed_whole(client: Client) -> None:
    """abetlen/llama-cpp-python#372."""
    pieces = [piece for piece in shown(client, chosen("a😀é")) if piece]
    assert pieces == ["a", "😀", "é"]


START = "Once upon a time there was a little dog who lived in a big house with a red door. " * 8


def test_the_prompt_cache_keeps_its_limit(serve: Callable[..., Any]) -> None:
    """ml-explore/mlx-lm#1390: it grew to 26 GB."""
    limit = 400_000
    with serve(prompt_cache=limit) as client:
        for name in ("Tom", "Lily", "Sam", "Max"):
            assert client.post(TEXT, {**PROMPT, "prompt": name + START, "max_tokens": 1})[0] == 200
        batch: Any = client.state.models["stories"].worker._batch
        assert 0 <= batch._decoder.prefixes.size <= limit


def test_a_prompt_larger_than_the_prompt_cache_is_answered(serve: Callable[..., Any]) -> None:
    """ggml-org/llama.cpp#26216: the cache went beyond its limit, and the process died."""
    with serve(prompt_cache=1) as client:
        assert client.post(TEXT, {**PROMPT, "prompt": START, "max_tokens": 2})[0] == 200
        batch: Any = client.state.models["stories"].worker._batch
        assert batch._decoder.prefixes.size == 0


def kept() -> int:
    gc.collect()
    return sum(isinstance(one, AnswerJob) for one in gc.get_objects())


def test_answers_with_log_probabilities_leave_nothing_behind(client: Client) -> None:
    """lmstudio-ai/lmstudio-bug-tracker#2105: 1.4 MB of each request stayed."""
    before = kept()
    for _ in range(5):
        assert client.post(TEXT, {**PROMPT, "max_tokens": 3, "logprobs": 5})[0] == 200
    assert kept() <= before + 1  # the last one may still be on its way out


def test_answers_leave_nothing_behind(client: Client) -> None:
    """vllm-project/vllm#15085: the memory grew."""
    before = kept()
    assert all(status == 200 for status, _ in client.together(TEXT, [{**PROMPT, "max_tokens": 2}] * 12))
    client.events(TEXT, {**PROMPT, "max_tokens": 2})
    assert kept() <= before + 1
    batch: Any = client.state.models["stories"].worker._batch
    assert batch._answers == {}
    assert sum(size for _, size in batch._decoder.native._spans._free) == batch._decoder.native.tokens


def test_a_stream_tells_its_usage(client: Client) -> None:
    """ollama/ollama#4448, and huggingface/text-generation-inference#2531."""
    body = {**PROMPT, "max_tokens": 3, "stream_options": {"include_usage": True}}
    usage = client.events(TEXT, body)[-2]["usage"]
    assert (usage["completion_tokens"], usage["total_tokens"]) == (3, 3 + usage["prompt_tokens"])


def test_a_page_may_send_its_key(serve: Callable[..., Any]) -> None:
    """ollama/ollama#13001 and #3449: the preflight did not allow the header."""
    with serve(cors_origins=("https://good.example",), api_keys=("key",)) as client:
        headers = {"Origin": "https://good.example", "Access-Control-Request-Headers": "authorization"}
        status, _, found = client.full("OPTIONS", CHAT, headers=headers)
        assert status == 204
        assert "Authorization" in found["Access-Control-Allow-Headers"]
        asked = {"Origin": "https://good.example", "Authorization": "Bearer key"}
        _, _, found = client.full("GET", "/v1/models", headers=asked)
        assert found["Access-Control-Allow-Origin"] == "https://good.example"


SHAPE = {
    "type": "object",
    "properties": {"kind": {"enum": ["dog", "cat"]}, "wild": {"type": "boolean"}},
    "required": ["kind", "wild"],
    "additionalProperties": False,
}


def formed(client: Client, shape: Any, seed: int, most: int = 60) -> Any:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": shape}}
    body = {**TALK, "response_format": form, "seed": seed, "temperature": 1.5, "max_tokens": most}
    return client.post(CHAT, body)[1]["choices"][0]


def test_json_has_no_space_to_fill(client: Client) -> None:
    """vllm-project/vllm#38696: one answer in three was white space up to its limit."""
    for seed in range(4):
        choice = formed(client, SHAPE, seed)
        assert choice["finish_reason"] == "stop"
        assert not re.search(r"\s\s", choice["message"]["content"])


def test_json_ends_with_its_last_brace(client: Client) -> None:
    """vllm-project/vllm#55313: 250,000 spaces followed."""
    for seed in range(4):
        assert formed(client, SHAPE, seed)["message"]["content"].endswith("}")


def test_endless_json_is_cut_off_and_says_so(client: Client) -> None:
    """vllm-project/vllm#52011: endless digits for the schema of all values."""
    for seed in range(4):
        choice = formed(client, {}, seed, 30)
        if choice["finish_reason"] == "stop":
            json.loads(choice["message"]["content"])
        else:
            assert choice["finish_reason"] == "length"


def test_a_form_holds_after_thoughts(engines: dict[str, Engine], monkeypatch: pytest.MonkeyPatch) -> None:
    """vllm-project/vllm#44012: it did not where thoughts were split off."""
    from llmkit.engines.form import Form

    engine = engines["storyteller"]
    tokenizer: Any = engine.tokenizer
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template + "<think>")
    wanted = Wanted("x", [TALK["messages"]], chat=True, form=Form("schema", SHAPE))  # type: ignore[list-item]
    ((one,),) = prepare(wanted, engine, "x", lambda: ToolSupport(HERMES, False))
    assert one.thinking is True
    assert isinstance(one.request.constraint, AfterThoughts)


def test_a_seed_holds_beside_a_request_without_one(client: Client) -> None:
    """vllm-project/vllm#51227."""
    seeded = {**PROMPT, "seed": 3, "temperature": 1.0, "max_tokens": 8}
    alone = client.post(TEXT, seeded)[1]["choices"]
    free = {**PROMPT, "temperature": 1.0, "max_tokens": 12}
    together = client.together(TEXT, [free, seeded, free, seeded])
    assert [together[i][1]["choices"] for i in (1, 3)] == [alone, alone]


def test_log_probabilities_are_the_same_each_time(client: Client) -> None:
    """vllm-project/vllm#51187."""
    body = {**PROMPT, "seed": 3, "temperature": 1.0, "max_tokens": 6, "logprobs": 3}
    alone = client.post(TEXT, body)[1]["choices"]
    assert client.post(TEXT, body)[1]["choices"] == alone
    found = client.together(TEXT, [body, {**PROMPT, "max_tokens": 9}, body])
    assert [found[i][1]["choices"] for i in (0, 2)] == [alone, alone]


def test_a_temperature_left_out_is_that_of_the_model(client: Client, engines: dict[str, Engine]) -> None:
    """ray-project/ray#55048: the answer was garbage."""
    own = engines["stories"].defaults.temperature
    texts = [
        client.post(TEXT, {**PROMPT, **change, "max_tokens": 8, "seed": 2})[1]["choices"][0]["text"]
        for change in ({}, {"temperature": None}, {"temperature": own})
    ]
    assert texts[0] == texts[1] == texts[2]


def test_an_overloaded_model_says_when_to_come_again(serve: Callable[..., Any]) -> None:
    """huggingface/text-generation-inference#439."""
    with serve(max_queue=0) as client:
        body = {**PROMPT, "prompt": ["Once"] * 40, "max_tokens": 2}  # more than run together
        status, answer, headers = client.full("POST", TEXT, json=body)
        assert (status, answer["error"]["type"]) == (429, "rate_limit_error")
        assert int(headers["Retry-After"]) >= 1


def test_all_families_are_among_the_cases() -> None:
    assert {case[0].name for case in CASES} == {one.name for one in FAMILIES}
