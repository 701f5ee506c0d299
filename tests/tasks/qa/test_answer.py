"""`answer`: one function for extractive and chat models."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmkit.engines.transformers.engine import TransformersEngine
from llmkit.errors import InputError, OptionError, RowError
from llmkit.runtime.load import LoadedModel, load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.qa.answer import answer
from llmkit.tasks.qa.spans import AnswerOptions
from tests.span_model import make_span_model
from tests.tiny import make_model

STORY = "Once there was a dog. The cat sat on the mat."


@pytest.fixture(scope="module")
def spans(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = make_span_model(tmp_path_factory.mktemp("spans"))
    return load(ModelSpec(str(folder), task="question-answering"))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = make_model("llama", tmp_path_factory.mktemp("chat"), chat=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    return load(ModelSpec(str(folder)))


def test_an_extractive_model_cuts_answers_out(spans: LoadedModel) -> None:
    contexts = ["it was Lisbon.", "so it was Lisbon."]
    first, second = answer(spans, ["where?", "where?"], contexts)
    assert (first.text, first.answers[0].start, first.answers[0].end) == ("Lisbon", 7, 13)
    assert second.answers[0].start == 10
    assert (first.tokens, first.finish_reason) == (0, "stop")
    assert first.prompt_tokens > 0
    (several,) = answer(spans, "where?", contexts[0], extraction=AnswerOptions(top_k=2))
    assert several.texts[0] == "Lisbon"
    assert len(several.texts) == 2
    assert answer(spans.spec.name, "where?", contexts[0])[0].text == "Lisbon"


def test_a_chat_model_writes_its_answer_and_quotes(
    chat: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = 'Quotation: "The cat sat on the mat."\nAnswer: The cat'
    ids: Any = chat.tokenizer(reply, add_special_tokens=False)
    monkeypatch.setattr(
        TransformersEngine, "_forward", lambda self, rows, *more: [ids["input_ids"]] * len(rows)
    )
    options = GenerationOptions(max_new_tokens=100, seed=3)
    results = answer(chat, ["Who sat?", "Who?"], STORY, options=options)
    assert [result.text for result in results] == ["The cat", "The cat"]
    found = results[0].answers[0]
    assert (found.quotation, found.start, found.end) == ("The cat sat on the mat.", 22, 45)
    assert (results[0].tokens, results[0].finish_reason, results[0].seed) == (
        len(ids["input_ids"]),
        "stop",
        3,
    )
    assert results[0].prompt_tokens > len(ids["input_ids"])


def test_what_does_not_go_together_is_refused(spans: LoadedModel, chat: LoadedModel) -> None:
    with pytest.raises(OptionError, match="`options` need a chat model"):
        answer(spans, "where?", STORY, options=GenerationOptions())
    with pytest.raises(OptionError, match="needs an extractive model"):
        answer(chat, "where?", STORY, extraction=AnswerOptions(top_k=2))
    with pytest.raises(OptionError, match="`contexts` are 1 for 2 questions"):
        answer(spans, ["where?", "who?"], [STORY])
    with pytest.raises(RowError, match="question 2: the question is empty"):
        answer(spans, ["where?", " "], STORY)
    with pytest.raises(InputError, match="no model folder"):
        answer("/no/such/model", "where?", STORY)
    assert answer(spans, [], STORY) == []
