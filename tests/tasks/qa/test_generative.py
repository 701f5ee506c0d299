"""Rows of questions through a chat model, whose replies are put into its mouth here."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.engines.open import as_engine
from llmkit.errors import InputError, OptionError, RowError
from llmkit.records.rows import Row
from llmkit.runtime.load import LoadedModel, load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.decoding import GenerationOptions
from llmkit.tasks.qa.generative import GenerativeQA, parse_reply
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.text.passages import ContextDocument
from tests.conftest import TinyModel
from tests.tiny import make_model

STORY = "Once there was a dog.\r\n\r\nThe cat sat on\tthe mat. “Where to?” asked Tom.\r\n"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A chat model with room for a passage or two."""
    folder = make_model("llama", tmp_path_factory.mktemp("chat"), chat=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    return load(ModelSpec(str(folder)))


def task_saying(loaded: LoadedModel, reply: str, source: QuestionSource, **options: Any) -> GenerativeQA:
    task = GenerativeQA(as_engine(loaded), GenerationOptions(max_new_tokens=20), source, **options)
    result: Any = SimpleNamespace(text=reply, reasoning="", answers=[], prompt_tokens=0)
    task.generation.run = lambda batch: [result for _ in batch]  # type: ignore[method-assign]
    return task


def answered(task: GenerativeQA, data: dict[str, Any]) -> Any:
    (prepared,) = task.prepare([Row(0, data, "x:1")])
    if isinstance(prepared, RowError):
        return prepared
    (fields,) = task.fields([prepared], task.budget(None))
    return fields


def test_a_quotation_is_found_in_the_original(loaded: LoadedModel) -> None:
    task = task_saying(loaded, 'Quotation: "The cat sat on the mat."\nAnswer: The cat', QuestionSource())
    fields = answered(task, {"question": "Who sat?", "context": STORY})
    start = STORY.index("The cat")
    quoted = "The cat sat on\tthe mat."
    assert fields == {
        "answer": "The cat", "score": None, "start": start, "end": start + len(quoted), "quotation": quoted,
    }  # fmt: skip
    assert (task.misquoted, task.shortened) == (0, 0)


def test_a_quotation_that_is_not_there_is_not_passed_on(loaded: LoadedModel) -> None:
    task = task_saying(loaded, "Quotation: The cat sat on the hat.\nAnswer: The cat", QuestionSource())
    fields = answered(task, {"question": "Who sat?", "context": STORY})
    assert fields == {"answer": "The cat", "score": None, "start": None, "end": None, "quotation": None}
    assert task.misquoted == 1


def test_an_answer_that_is_a_sentence_of_the_text_is_its_own_quotation(loaded: LoadedModel) -> None:
    task = task_saying(loaded, "The cat sat on the mat", QuestionSource())
    fields = answered(task, {"question": "Who sat?", "context": "It rained. The cat  sat on the mat."})
    assert (fields["quotation"], fields["start"]) == ("The cat  sat on the mat", 11)
    assert task.misquoted == 0


def test_no_answer_is_an_empty_one(loaded: LoadedModel) -> None:
    row = {"question": "Who flew?", "context": STORY}
    task = task_saying(loaded, "Quotation: -\nAnswer: No answer.", QuestionSource(), no_answer=True)
    assert answered(task, row)["answer"] == ""
    assert task.misquoted == 0
    task = task_saying(loaded, "Quotation: -\nAnswer: No answer.", QuestionSource())
    assert answered(task, row)["answer"] == "No answer."


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        ('Quotation: "It rained."\nAnswer: rain', ("rain", "It rained.")),
        ("**Quotation:** “It\nrained.”\n\n**Answer:** rain\nBecause it did.", ("rain", "It\nrained.")),
        ("quotation: It rained.\nANSWER:\nrain", ("rain", "It rained.")),
        ("Rain.", ("Rain.", "")),
        ("Rain.\nQuotation: It rained.", ("Rain.", "It rained.")),
        ("Answer: rain", ("rain", "")),
        ("", ("", "")),
    ],
)
def test_replies_are_read(reply: str, parsed: tuple[str, str]) -> None:
    assert parse_reply(reply) == parsed


def test_a_long_context_is_given_by_its_best_passages_in_order(loaded: LoadedModel) -> None:
    filler = "The moon and the sea.\n\n" * 60
    text = f"{filler}Zebras eat grass.\n\n{filler}"
    source = QuestionSource(documents=[ContextDocument("zoo.txt", text)])
    task = task_saying(loaded, "Quotation: Zebras eat grass.\nAnswer: grass", source)
    (prepared,) = task.prepare([Row(0, {"question": "What do zebras eat?"}, "x:1")])
    assert not isinstance(prepared, RowError)
    assert prepared.length + 20 <= 1024
    assert task.shortened == 1
    prompt = loaded.tokenizer.decode(prepared.payload.prompt.ids)
    assert "Zebras eat grass." in prompt
    assert "Question: What do zebras eat?" in prompt
    (fields,) = task.fields([prepared], task.budget(None))
    assert (fields["file"], fields["line"]) == ("zoo.txt", 121)
    assert text[fields["start"] : fields["end"]] == "Zebras eat grass."


def test_a_context_that_fits_is_given_whole(loaded: LoadedModel) -> None:
    task = task_saying(loaded, "", QuestionSource())
    (prepared,) = task.prepare([Row(0, {"question": "Who {sat}?", "context": STORY}, "x:1")])
    assert not isinstance(prepared, RowError)
    prompt = loaded.tokenizer.decode(prepared.payload.prompt.ids)
    assert f"Text:\n{STORY.strip()}\n\nQuestion: Who {{sat}}?" in prompt


def test_the_model_really_runs(loaded: LoadedModel) -> None:
    task = GenerativeQA(as_engine(loaded), GenerationOptions(max_new_tokens=4), QuestionSource())
    fields = answered(task, {"question": "Who sat?", "context": STORY})
    assert isinstance(fields["answer"], str)
    assert 1 <= task.run_state.tokens_written <= 4


def test_a_question_has_one_answer(loaded: LoadedModel) -> None:
    with pytest.raises(OptionError) as caught:
        GenerativeQA(as_engine(loaded), GenerationOptions(num_return_sequences=2), QuestionSource())
    assert caught.value.option == "num_return_sequences"


@pytest.mark.parametrize("times", [1, 20, 400])
def test_no_room_for_a_passage(loaded: LoadedModel, times: int) -> None:
    task = GenerativeQA(as_engine(loaded), GenerationOptions(max_new_tokens=900), QuestionSource())
    error = answered(task, {"question": "Who sat? " * times, "context": STORY})
    assert isinstance(error, RowError)
    assert "has a context of 1024 tokens, too few for the question and a passage" in str(error)


def test_models_without_a_chat_template_are_sent_to_their_verb(tiny_model: TinyModel) -> None:
    for family, verb in (("llama", "llmkit generate"), ("t5", "llmkit translate")):
        model = load(ModelSpec(str(tiny_model(family))))
        with pytest.raises(InputError, match=verb):
            GenerativeQA(as_engine(model), GenerationOptions(), QuestionSource())
