"""Rows of questions through an extractive model."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.errors import InputError, RowError
from llmkit.records.rows import Row
from llmkit.runtime.load import LoadedModel, load
from llmkit.runtime.spec import ModelSpec
from llmkit.tasks.qa.extractive import ExtractiveQA
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.tasks.qa.spans import AnswerOptions
from llmkit.text.passages import ContextDocument
from tests.conftest import TinyModel
from tests.span_model import make_span_model


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = make_span_model(tmp_path_factory.mktemp("spans"))
    return load(ModelSpec(str(folder), task="question-answering"))


def answered(task: ExtractiveQA, *rows: dict[str, Any]) -> list[Any]:
    prepared = task.prepare([Row(i, data, f"x:{i + 1}") for i, data in enumerate(rows)])
    fields = iter(task.fields([one for one in prepared if not isinstance(one, RowError)], task.budget(None)))
    return [one if isinstance(one, RowError) else next(fields) for one in prepared]


def test_rows_gain_their_fields_and_bad_ones_say_why(loaded: LoadedModel) -> None:
    task = ExtractiveQA(loaded, AnswerOptions(), QuestionSource())
    good, empty, long = answered(
        task,
        {"question": "where?", "context": "it was Lisbon."},
        {"question": "where?", "context": " "},
        {"question": "where " * 99, "context": "it was Lisbon. " * 30},
    )
    assert good == {"answer": "Lisbon", "score": pytest.approx(1, abs=0.05), "start": 7, "end": 13}
    assert str(empty) == "x:2: the context is empty"
    assert str(long).startswith("x:3: the question takes 102 of the 64 tokens")


def test_one_context_is_tokenized_once(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    document = ContextDocument("a.txt", "it was Lisbon. " + "it was the cafe. " * 30)
    task = ExtractiveQA(loaded, AnswerOptions(), QuestionSource(documents=[document]))
    encoded: list[str] = []
    encode = task.reader.encode_context
    monkeypatch.setattr(task.reader, "encode_context", lambda text: encoded.append(text) or encode(text))
    for _ in range(3):
        answers = answered(task, *({"question": f"who was {i}?"} for i in range(5)))
        assert [one["answer"] for one in answers] == ["Lisbon"] * 5
    assert encoded == [document.text]


def test_documents_give_file_line_and_offsets_in_the_file(loaded: LoadedModel) -> None:
    filler = "it was the cafe.\r\n"
    documents = [
        ContextDocument("a.txt", filler * 200),
        ContextDocument("b.txt", filler * 150 + "\tZara and the Quill\r\n" + filler * 150),
    ]
    source = QuestionSource(documents=documents, passages=4)
    (fields,) = answered(
        ExtractiveQA(loaded, AnswerOptions(), source), {"question": "was zara and the quill?"}
    )
    assert (fields["answer"], fields["file"], fields["line"]) == ("Zara and the Quill", "b.txt", 151)
    assert documents[1].text[fields["start"] : fields["end"]] == "Zara and the Quill"


def test_several_answers_are_lists(loaded: LoadedModel) -> None:
    task = ExtractiveQA(loaded, AnswerOptions(top_k=2), QuestionSource())
    (fields,) = answered(task, {"question": "where?", "context": "it was Lisbon."})
    assert fields["answer"][0] == "Lisbon"
    assert {name: len(value) for name, value in fields.items()} == {
        "answer": 2, "score": 2, "start": 2, "end": 2,
    }  # fmt: skip


def test_no_answer_has_no_place(loaded: LoadedModel) -> None:
    source = QuestionSource(documents=[ContextDocument("a.txt", "it was the cafe.")])
    (fields,) = answered(ExtractiveQA(loaded, AnswerOptions(no_answer=True), source), {"question": "who?"})
    assert fields == {
        "answer": "", "score": fields["no_answer_probability"], "start": 0, "end": 0, "file": None,
        "line": None, "place": None, "no_answer_probability": pytest.approx(0.4, abs=0.2),
    }  # fmt: skip


def test_no_answer_needs_a_token_for_it(tiny_model: TinyModel) -> None:
    model = load(ModelSpec(str(tiny_model("bert-qa")), task="question-answering"))
    with pytest.raises(InputError, match="`no_answer`"):
        ExtractiveQA(model, AnswerOptions(no_answer=True), QuestionSource())


def test_the_header_tells_documents_apart(loaded: LoadedModel) -> None:
    headers = [
        ExtractiveQA(
            loaded, AnswerOptions(), QuestionSource(documents=[ContextDocument("a.txt", text)])
        ).header()
        for text in ("one", "two")
    ]
    assert headers[0] != headers[1]
    assert headers[0]["options"]["top_k"] == 1
