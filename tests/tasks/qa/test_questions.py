"""Where questions and contexts come from: rows, files, folders."""

from __future__ import annotations

from typing import Any

import pytest

from llmkit.errors import InputError, RowError
from llmkit.records.rows import Row
from llmkit.tasks.qa.questions import QuestionSource
from llmkit.text.passages import ContextDocument


def row(**data: Any) -> Row:
    return Row(0, data, "x.jsonl:1")


def test_a_row_gives_a_question_and_its_context() -> None:
    source = QuestionSource()
    one = row(question="Who?", context="Tom\r\n did.", id=5)
    assert source.question(one) == "Who?"
    (passage,) = source.contexts(one, "Who?")
    assert passage.text == "Tom\r\n did."
    assert source.place(passage.document, 0) == {}


def test_other_columns_and_a_template() -> None:
    one = row(q="Who", about="Tom", story="Tom did.")
    source = QuestionSource(template="{q} was {about}?", context_field="story")
    assert source.question(one) == "Who was Tom?"
    assert source.contexts(one, "")[0].text == "Tom did."
    assert QuestionSource(field="q", context_field="story").question(one) == "Who"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"context": "Tom did."}, "no question: the row has no column `question`"),
        ({"question": " \n", "context": "Tom did."}, "the question is empty"),
        ({"question": "Who?", "context": "\t\r\n "}, "the context is empty"),
        ({"question": "Who?", "context": ""}, "the context is empty"),
        ({"question": "Who?", "context": None}, "null"),
        ({"question": "Who?", "text": "Tom did."}, "no context: the row has no column `context`"),
    ],
)
def test_rows_that_cannot_be_asked(data: dict[str, Any], said: str) -> None:
    source = QuestionSource()
    with pytest.raises(RowError, match=said):
        source.contexts(row(**data), source.question(row(**data)))


def test_a_context_beside_the_documents_is_refused() -> None:
    source = QuestionSource(documents=[ContextDocument("a.txt", "Tom did.")])
    with pytest.raises(RowError, match="`context` was given"):
        source.contexts(row(question="Who?", context="x"), "Who?")


def test_one_document_is_read_whole_and_several_by_their_best_passages() -> None:
    long = ContextDocument("long.txt", "The moon is far. " * 500)
    (whole,) = QuestionSource(documents=[long]).contexts(row(), "moon?")
    assert whole.text == long.text
    some = QuestionSource(documents=[long], passages=3).contexts(row(), "moon?")
    assert len(some) == 3
    short = ContextDocument("short.txt", "Who ate?\n\nThe cat ate.")
    several = QuestionSource(documents=[long, short] * 3).contexts(row(), "What did the cat eat?")
    assert len(several) == 20
    assert several[0].document is short
    with pytest.raises(InputError, match="passages"):
        QuestionSource(passages=0)


def test_an_answer_from_documents_has_a_file_and_a_line() -> None:
    document = ContextDocument("a.txt", "one\r\ntwo\n")
    source = QuestionSource(documents=[document])
    assert source.place(document, 5) == {"file": "a.txt", "line": 2, "place": "line 2"}
    assert source.place(document, None) == {"file": None, "line": None, "place": None}
