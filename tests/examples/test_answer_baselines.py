"""The two baselines for extractive question answering, on a paragraph where the right answers are plain."""

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT, rows_of, run

FOLDER = ROOT / "examples" / "models"
CONTEXT = (
    "The old castle stands by the river Elbe.\nIt was built in 1410 by King Otto, and a great fire "
    "burnt its northern\ntower. Today the castle is a museum of glass and of the river."
)
STATEMENTS = "Mary went to the kitchen. John went to the garden. Mary moved back to the office. John slept."


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("answer_baselines")


def phrase(baselines: Any, question: str, context: str, everywhere: Counter[str] | None = None) -> str:
    return baselines.phrase(question, context, everywhere or Counter())


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who burnt its northern tower?", "great fire"),  # not a function word, nor past the comma
        ("When was it built by King Otto?", "1410"),
        ("What does the castle by the river stand on?", "Elbe"),  # "stand" is "stands"
        ("The old castle stands by the river Elbe: what is it today?", "museum of glass"),
    ],
)
def test_the_window_finds_what_the_questions_words_stand_around(
    baselines: Any, question: str, answer: str
) -> None:
    assert baselines.sliding(question, CONTEXT) == answer


def test_of_equal_windows_the_last_is_taken_and_none_looks_past_its_sentence(baselines: Any) -> None:
    assert baselines.sliding("Where is Mary?", STATEMENTS, baselines.STATEMENTS) == "office"
    assert baselines.sliding("Where is John?", STATEMENTS, baselines.STATEMENTS) == "slept"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What did the fire do?", "northern\ntower"),  # the nearer of two, and across a line's end
        ("What of glass?", "museum"),
        ("What is the castle on?", "river Elbe"),  # of a word's two places the first
        ("What on Earth?", "old castle stands"),  # no word in common
    ],
)
def test_the_phrase_comes_from_the_sentence_of_the_rarest_word(
    baselines: Any, question: str, answer: str
) -> None:
    assert phrase(baselines, question, CONTEXT) == answer


def test_of_words_equally_rare_here_the_one_rare_elsewhere_decides(baselines: Any) -> None:
    context, question = "The king sat. The dwarf ran.", "What of the king and the dwarf?"
    assert phrase(baselines, question, context, Counter(king=9, dwarf=1)) == "ran"
    assert phrase(baselines, question, context, Counter(king=1, dwarf=9)) == "sat"


def test_without_a_word_to_answer_with_the_answer_is_empty(baselines: Any) -> None:
    assert baselines.sliding("Who is the king?", "He is the king.") == ""
    assert phrase(baselines, "Who is the king?", "He is the king.") == ""


def test_the_programs_files_can_be_scored(tmp_path: Path) -> None:
    rows = [
        {"question": question, "context": CONTEXT, "answers": {"text": [answer], "answer_start": [0]}}
        for question, answer in (("When was it built by King Otto?", "1410"), ("What of glass?", "a museum"))
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [sys.executable, str(FOLDER / "answer_baselines.py"), "-o", str(tmp_path / "out"), str(file)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    for name, predictions, scores in (
        ("sliding", ["1410", "castle is a museum"], ["50.0000", "75.0000"]),
        ("phrase", ["great fire burnt", "museum"], ["50.0000", "50.0000"]),
    ):
        written = tmp_path / "out" / f"rows.{name}.jsonl"
        kept = rows_of(written.read_text())
        assert [one.pop("prediction") for one in kept] == predictions
        assert kept == rows
        result = run("eval", "--metric", "squad", "--bare", str(written))
        assert result.out.split() == scores
