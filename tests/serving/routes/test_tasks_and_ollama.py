"""ollama's routes, tasks, tokens, metrics."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from llmkit import ModelSpec, load
from llmkit.engines.base import Engine
from llmkit.engines.open import open_engine
from llmkit.tasks.embeddings.embedder import SentenceEmbedder
from tests.conftest import TinyModel
from tests.serving.conftest import Client, serving

OPTIONS = {"seed": 3, "num_predict": 8, "temperature": 0.8}
MESSAGES = [{"role": "user", "content": "Write a story about a cat."}]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def task_client() -> Iterator[Client]:
    translator = open_engine(ModelSpec("translator", device="cpu", bundled=True))
    reader: Any = load(ModelSpec("reader", task="question-answering", device="cpu", bundled=True))
    with serving({"translator": translator, "reader": reader}) as found:
        yield found


def test_ollamas_chat_streams_lines_unless_told_otherwise(client: Client) -> None:
    body = {"model": "storyteller:latest", "messages": MESSAGES, "options": OPTIONS}
    status, text = client.post("/api/chat", body)
    assert status == 200
    *pieces, last = lines(text)
    assert all(one["done"] is False and one["message"]["role"] == "assistant" for one in pieces)
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "length", 8)
    whole = client.post("/api/chat", {**body, "stream": False})[1]
    assert whole["message"]["content"] == "".join(one["message"]["content"] for one in pieces)
    openai = {"model": "storyteller", "messages": MESSAGES, "seed": 3, "max_tokens": 8, "temperature": 0.8}
    answer = client.post("/v1/chat/completions", openai)[1]["choices"][0]["message"]["content"]
    assert whole["message"]["content"] == answer


def test_ollamas_generate_continues_or_answers(client: Client) -> None:
    body = {"model": "stories", "prompt": "Once upon a time", "options": OPTIONS, "stream": False}
    continued = client.post("/api/generate", body)[1]
    openai = {
        "model": "stories",
        "prompt": "Once upon a time",
        "seed": 3,
        "max_tokens": 8,
        "temperature": 0.8,
    }
    assert continued["response"] == client.post("/v1/completions", openai)[1]["choices"][0]["text"]
    formed = {**body, "format": {"enum": ["a", "b"]}, "options": {"num_predict": 40}}
    assert json.loads(client.post("/api/generate", formed)[1]["response"]) in ("a", "b")


def test_ollamas_lists_and_errors(client: Client) -> None:
    assert [one["name"] for one in client.get("/api/tags")[1]["models"]] == ["stories", "storyteller"]
    assert set(client.get("/api/version")[1]) == {"version"}
    bad: list[tuple[dict[str, Any], int]] = [
        ({"model": "other"}, 404),
        ({"think": True}, 400),
        ({"options": {"mirostat": 1}}, 400),
        ({"tools": [{}]}, 400),
        ({"format": "xml"}, 400),
    ]
    for change, expected in bad:
        status, answer = client.post("/api/chat", {"model": "storyteller", "messages": MESSAGES, **change})
        assert status == expected
        assert isinstance(answer["error"], str)


def test_a_text_is_translated_as_by_the_library(task_client: Client) -> None:
    from llmkit import translate

    body = {
        "model": "translator",
        "input": ["The cat sleeps.", "I like tea."],
        "source": "en",
        "target": "de",
    }
    status, answer = task_client.post("/v1/translations", body)
    assert status == 200
    expected = [one.texts[0] for one in translate("translator", body["input"], source="en", target="de")]
    assert [one["text"] for one in answer["data"]] == expected
    assert answer["usage"]["completion_tokens"] > 0
    assert task_client.post("/v1/translations", {**body, "target": "xx"})[0] == 400
    assert task_client.post("/v1/translations", {**body, "input": "x" * 300_000})[0] == 400
    assert task_client.post("/v1/translations", {**body, "input": ""})[0] == 400


def test_questions_are_answered_from_a_text(task_client: Client) -> None:
    body = {
        "model": "reader",
        "question": "Who wrote the book?",
        "context": "The book was written by Ann Lee in 1990.",
    }
    status, answer = task_client.post("/v1/answers", body)
    assert status == 200
    (found,) = answer["data"]
    assert body["context"][found["answers"][0]["start"] : found["answers"][0]["end"]] == found["text"]
    status, answer = task_client.post("/v1/completions", {"model": "reader", "prompt": "x"})
    assert (status, answer["error"]["code"]) == (400, "model_writes_no_text")
    for path in ("/v1/translations", "/v1/embeddings"):
        status, answer = task_client.post(path, {"model": "reader", "input": "x"})
        assert (status, answer["error"]["param"]) == (400, "model")


TEXT = {"input": "The cat sleeps.", "max_tokens": 4}
ASKED = {"question": "Who came?", "context": "Ann came."}
SHORT = {"messages": MESSAGES, "max_tokens": 2}
LINES = {"options": {"num_predict": 2}, "stream": False}
TASKS: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/translations", {**TEXT, "source": "en", "target": "de"}, "translator"),
    ("/v1/summaries", TEXT, "storyteller"),
    ("/v1/answers", ASKED, "reader"),
    ("/v1/chat/completions", SHORT, "storyteller"),
    ("/v1/completions", {"prompt": "The cat", "max_tokens": 2}, "stories"),
    ("/v1/messages", SHORT, "storyteller"),
    ("/v1/responses", {"input": "Hello.", "max_output_tokens": 2}, "storyteller"),
    ("/api/chat", {"messages": MESSAGES, **LINES}, "storyteller"),
    ("/api/generate", {"prompt": "The cat", **LINES}, "stories"),
]


@pytest.mark.parametrize("settings", [{}, {"keep_alive": 60.0}])
def test_without_a_name_the_first_suitable_model_answers(
    engines: dict[str, Engine], task_client: Client, settings: dict[str, Any]
) -> None:
    of_tasks = {
        name: one.worker.reader or one.worker.engine for name, one in task_client.state.models.items()
    }
    models: Any = {
        name: (of_tasks | engines)[name] for name in ("reader", "stories", "translator", "storyteller")
    }
    with serving(models, **settings) as client:
        for path, body, expected in TASKS:
            status, answer = client.post(path, body)
            assert (path, status, answer["model"]) == (path, 200, expected)
        assert client.post("/translate", {"q": "A cat.", "source": "en", "target": "de"})[0] == 200
        assert client.post("/tokenize", {"messages": MESSAGES})[0] == 200
        status, answer = client.post("/v1/embeddings", {"input": "x"})
        assert (status, answer["error"]["code"]) == (400, "no_suitable_model")
        # An empty text is refused before it enters the batch of other requests.
        status, answer = client.post("/v1/summaries", {"input": ["The cat sleeps.", " "]})
        assert (status, answer["error"]["param"]) == (400, "input")
        # Sentences of the text itself need no model: any will do.
        status, answer = client.post("/v1/summaries", {"input": "The cat sleeps.", "extractive": True})
        assert (status, answer["data"][0]["text"]) == (200, "The cat sleeps.")


def test_without_a_suitable_model_each_route_says_so(engines: dict[str, Engine]) -> None:
    with serving({"stories": engines["stories"], "more": engines["stories"]}) as client:
        for path, body, expected in [*TASKS, ("/v1/rerank", {"query": "x", "documents": ["y"]}, "")]:
            status, answer = client.post(path, body)
            assert (path, status) == (path, 200 if expected == "stories" else 400)
            if expected != "stories":
                assert "no model of this server can" in json.dumps(answer)


def test_an_encoder_embeds_texts(tiny_model: TinyModel) -> None:
    model: Any = load(ModelSpec(str(tiny_model("bert")), task="feature-extraction", device="cpu"))
    texts = ["The cat sat.", "A dog ran away."]
    with serving({"encoder": model}) as client:
        status, answer = client.post("/v1/embeddings", {"input": texts, "encoding_format": "float"})
        assert status == 200
        found = np.array([one["embedding"] for one in answer["data"]])
        assert found == pytest.approx(SentenceEmbedder(model)(texts), abs=1e-6)
        assert answer["usage"]["prompt_tokens"] == sum(map(len, model.tokenizer(texts)["input_ids"]))
        packed = client.post("/v1/embeddings", {"input": texts[0], "encoding_format": "base64"})[1]["data"][0]
        assert np.frombuffer(base64.b64decode(packed["embedding"]), "<f4") == pytest.approx(
            found[0], abs=1e-6
        )
        assert client.post("/v1/embeddings", {"input": "x", "dimensions": 8})[0] == 400
        assert client.post("/v1/completions", {"prompt": "x"})[0] == 400


def test_an_encoder_ranks_documents_and_speaks_ollamas_api(tiny_model: TinyModel) -> None:
    model: Any = load(ModelSpec(str(tiny_model("bert")), task="feature-extraction", device="cpu"))
    texts = ["A dog ran away.", "The cat sat.", "The cat sat on a mat."]
    vectors = SentenceEmbedder(model)(["The cat sat.", *texts])
    cosines = (vectors[1:] @ vectors[0]).tolist()
    with serving({"encoder": model}) as client:
        body = {"query": "The cat sat.", "documents": [texts[0], {"text": texts[1]}, texts[2]]}
        status, answer = client.post("/v1/rerank", {**body, "top_n": 2})
        assert status == 200
        found = answer["results"]
        assert [one["index"] for one in found] == sorted(range(3), key=lambda i: -cosines[i])[:2]
        assert found[0]["index"] == 1
        assert found[0]["relevance_score"] == pytest.approx(cosines[1], abs=1e-6)
        assert found[0]["document"] == {"text": texts[1]}
        bare = client.post("/v1/rerank", {**body, "return_documents": False})[1]["results"]
        assert len(bare) == 3
        assert "document" not in bare[0]
        for change in ({"documents": []}, {"documents": [""]}, {"query": None}, {"top_n": 0}):
            assert client.post("/v1/rerank", {**body, **change})[0] == 400
        status, answer = client.post("/api/embed", {"model": "encoder:latest", "input": texts})
        assert status == 200
        assert np.array(answer["embeddings"]) == pytest.approx(vectors[1:], abs=1e-6)
        assert client.post("/api/show", {"model": "encoder"})[1]["capabilities"] == ["embedding"]


def test_ollamas_show_describes_a_model(client: Client) -> None:
    status, body = client.post("/api/show", {"model": "storyteller:latest"})
    assert status == 200
    assert body["capabilities"] == ["completion", "tools"]
    assert "Assistant:" in body["template"]
    assert body["model_info"][f"{body['details']['family']}.context_length"] == 512
    assert client.post("/api/show", {"model": "stories"})[1]["capabilities"] == ["completion"]
    assert client.post("/api/show", {"model": "other"})[0] == 404


def test_texts_are_scored_as_by_the_library(client: Client) -> None:
    from llmkit import score

    body = {
        "metrics": ["exact_match", "f1"],
        "predictions": ["a cat", "a dog"],
        "references": ["a cat", ["the cow", "a dog now"]],
        "seed": 3,
    }
    status, answer = client.post("/v1/scores", body)
    assert status == 200
    expected = score(body["predictions"], body["references"], metrics="exact_match,f1", seed=3)  # type: ignore[arg-type]
    found = {one["name"]: (one["score"], one["low"], one["high"]) for one in answer["data"]}
    assert found == {one.name: (one.score, one.low, one.high) for one in expected.scores}
    for change in (
        {"metrics": "perplexity"},
        {"metrics": "./metric.py"},
        {"metrics": []},
        {"references": ["x"]},
        {"predictions": [1, 2]},
        {"resamples": 10**6},
    ):
        assert client.post("/v1/scores", {**body, **change})[0] == 400


def test_a_gap_is_filled_by_models_that_have_tokens_for_it(client: Client) -> None:
    from llmkit.text.fill_in_middle import GapTokens, gap_prompt, gap_tokens

    for path, body in (("/v1/completions", {"max_tokens": 2}), ("/api/generate", {"stream": False})):
        status, answer = client.post(path, {**body, "model": "stories", "prompt": "a", "suffix": "b"})
        assert status == 400
        assert "gap" in str(answer)

    class Words:
        bos_token_id = 0
        vocabulary: ClassVar = {
            "<s>": 0,
            "<fim_prefix>": 1,
            "<fim_suffix>": 2,
            "<fim_middle>": 3,
            "a": 4,
            "b": 5,
        }

        def get_vocab(self) -> dict[str, int]:
            return self.vocabulary

        def __call__(self, text: str, *, add_special_tokens: bool = True, **_: Any) -> dict[str, list[int]]:
            return {"input_ids": [0] * add_special_tokens + [self.vocabulary[one] for one in text]}

    tokens = gap_tokens(Words())
    assert tokens == GapTokens(1, 2, 3)
    assert gap_prompt(Words(), tokens, "a", "b") == [0, 1, 4, 2, 5, 3]


def test_only_an_encoder_embeds(client: Client) -> None:
    status, answer = client.post("/v1/embeddings", {"model": "stories", "input": "x"})
    assert (status, answer["error"]["param"]) == (400, "model")


def test_a_summary_may_be_sentences_of_the_text(task_client: Client) -> None:
    text = "The cat sat on the mat. The cat saw a dog. The dog ran away. It was a sunny day in the park."
    body = {"model": "translator", "input": text, "extractive": True, "max_words": 8}
    status, answer = task_client.post("/v1/summaries", body)
    assert status == 200
    assert answer["data"][0]["text"] in text


def test_tokens_go_there_and_back(client: Client) -> None:
    text = "Once upon a time, 你好 😀"
    ids = client.post("/tokenize", {"model": "stories", "prompt": text, "add_special_tokens": False})[1][
        "tokens"
    ]
    assert client.post("/detokenize", {"model": "stories", "tokens": ids})[1] == {"prompt": text}
    assert client.post("/detokenize", {"model": "stories", "tokens": [10**6]})[0] == 400
    assert client.post("/tokenize", {"model": "stories"})[0] == 400


def test_metrics_are_in_prometheus_format(client: Client) -> None:
    client.post(
        "/v1/completions", {"model": "stories", "prompt": "x", "max_tokens": 3, "logit_bias": {"0": -100}}
    )
    text = client.get("/metrics")[1]
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(samples['llmkit_generated_tokens_total{model="stories"}']) >= 3
    assert samples['llmkit_requests_running{model="stories"}'] == "0"
    count = samples['llmkit_time_to_first_token_seconds_count{model="stories"}']
    assert samples['llmkit_time_to_first_token_seconds_bucket{model="stories",le="+Inf"}'] == count
