"""`llmkit eval --task`: a model run and judged in one go."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.command import assert_refused, rows_of, run
from tests.conftest import TinyModel
from tests.parity.folders import make_folder

STORIES = [
    {"prompt": "Once upon a time", "completion": "there was a little girl."},
    {"prompt": "Tom and his dog", "completion": "went to the park."},
    {"prompt": "The cat", "completion": "sat on the mat."},
]
SHORT = ("--max-new-tokens", "6")


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def scores(out: str) -> dict[str, float]:
    return {score["name"]: score["score"] for score in json.loads(out)["scores"]}


def test_it_gives_the_verb_s_rows_the_verb_s_way_and_the_metric_s_scores(tmp_path: Path) -> None:
    """The same as `generate -o` and `eval` one after the other."""
    data, kept, apart = write(tmp_path / "d.jsonl", STORIES), tmp_path / "kept.jsonl", tmp_path / "a.jsonl"
    done = run(
        "eval",
        "--task",
        "generate",
        "--metric",
        "rouge,chrf",
        data,
        *SHORT,
        "--save-predictions",
        kept,
        "--json",
    )
    assert done.code == 0
    assert run("generate", "--input", data, *SHORT, "--seed", "0", "-o", apart).code == 0
    assert kept.read_bytes() == apart.read_bytes()
    scored = run(
        "eval",
        *("--metric", "rouge,chrf", apart, "--json"),
        *("--prediction-field", "generated_text", "--reference-field", "completion"),
    )
    assert scores(done.out) == scores(scored.out)
    model = json.loads(done.out)["model"]
    assert model.startswith("task:generate|model:stories|revision:embedded|")
    assert "max_new_tokens:6" in model
    assert model.endswith("seed:0")


def test_the_metric_follows_from_the_task(tmp_path: Path) -> None:
    done = run("eval", "--task", "generate", write(tmp_path / "d.jsonl", STORIES), *SHORT)
    assert "--metric rouge" in done.err
    assert "rougeL" in done.out
    assert list(tmp_path.iterdir()) == [tmp_path / "d.jsonl"]


@pytest.mark.parametrize(
    "row",
    [
        {"translation": {"en": "Good morning.", "de": "Guten Morgen."}},
        {"en": "Good morning.", "de": "Guten Morgen."},
        {"source": "Good morning.", "target": "Guten Morgen."},
        {"English": "Good morning.", "German": "Guten Morgen."},
    ],
)
def test_languages_are_found_in_the_usual_columns(row: dict[str, Any], marian: Path, tmp_path: Path) -> None:
    data, kept = write(tmp_path / "d.jsonl", [row]), tmp_path / "kept.jsonl"
    command = ("eval", "--task", "translate", "--from", "en", "--to", "de", "--metric", "chrf", "-m", marian)
    assert run(*command, data, *SHORT, "--save-predictions", kept).code == 0
    (found,) = rows_of(kept.read_text(encoding="utf-8"))
    alone = run("translate", "--from", "en", "--to", "de", "-m", marian, *SHORT, "Good morning.").out
    assert found["translation_text"] == alone.rstrip("\n")


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder("marian", tmp_path_factory.mktemp("marian"))


def test_summaries_of_sentences_in_lists_with_several_references(tmp_path: Path) -> None:
    text = ["Dogs run fast.", "Cats sleep much.", "Dogs and cats are animals.", "Dogs and cats run."]
    data = write(tmp_path / "d.jsonl", [{"source": text, "target": ["Dogs and cats are animals.", "Pets."]}])
    done = run("eval", "--task", "summarize", data, "--json")
    assert done.code == 0
    assert "nrefs:2" in json.loads(done.out)["scores"][0]["signature"]
    assert scores(done.out)["rouge1"] > 0.5


def test_questions_come_from_squad_s_own_form(tiny_model: TinyModel, tmp_path: Path) -> None:
    qas = [
        {"id": str(i), "question": q, "answers": [{"text": "a ball", "answer_start": 8}]}
        for i, q in enumerate(("What?", "Who?"))
    ]
    squad = {
        "version": "1.1",
        "data": [{"title": "t", "paragraphs": [{"context": "Tom has a ball.", "qas": qas}]}],
    }
    data = tmp_path / "squad.json"
    data.write_text(json.dumps(squad))
    done = run("eval", "--task", "qa", "-m", tiny_model("bert-qa"), data, "--json", "--metric", "squad,f1")
    assert done.code == 0
    assert json.loads(done.out)["rows"] == 2
    several = run("eval", "--task", "qa", "-m", tiny_model("bert-qa"), data, "--metric", "f1", "--top-k", "2")
    assert_refused(several, option="top_k")


def test_a_row_that_failed_counts_as_an_empty_prediction(tmp_path: Path) -> None:
    """Leaving it out would reward a model for failing."""
    data = tmp_path / "d.jsonl"
    good = "".join(json.dumps(row) + "\n" for row in STORIES)
    data.write_text(good + json.dumps({"prompt": None, "completion": "x y"}) + "\n")
    assert_refused(run("eval", "--task", "generate", "--metric", "f1", data, *SHORT), "d.jsonl:4")
    done = run("eval", "--task", "generate", "--metric", "f1", data, *SHORT, "--on-error", "skip", "--json")
    without = run("eval", "--task", "generate", "--metric", "f1", write(data, STORIES), *SHORT, "--json")
    assert done.code == 3
    assert "1 of 4 rows failed" in done.err
    assert scores(done.out)["f1"] == pytest.approx(scores(without.out)["f1"] * 3 / 4)


def test_too_long_a_prompt_is_cut_as_generate_cuts_it(tiny_model: TinyModel, tmp_path: Path) -> None:
    rows = [{"prompt": "The cat sat on the mat. " * 40 + "Then it", "completion": "slept."}]
    data, kept, apart = write(tmp_path / "d.jsonl", rows), tmp_path / "kept.jsonl", tmp_path / "apart.jsonl"
    model = ["-m", tiny_model("llama"), *SHORT]
    judge = ["eval", "--task", "generate", "--metric", "f1", data, *model]
    assert_refused(run(*judge), option="truncate")
    cut = ["--truncate", "left"]
    done = run(*judge, *cut, "--save-predictions", kept, "--json")
    assert done.code == 0, done.err
    assert "|truncate:left" in json.loads(done.out)["model"]
    assert run("generate", "--input", data, *model, *cut, "--seed", "0", "-o", apart).code == 0
    assert kept.read_bytes() == apart.read_bytes()
    assert_refused(run(*judge, "--truncate", "middle"), option="truncate")
    refused = run("eval", "--task", "qa", "--metric", "f1", data, *model, *cut)
    assert_refused(refused, "--task generate", option="truncate")


@pytest.mark.parametrize(
    ("row", "more", "advice"),
    [
        ({"question": "Who?", "text": "Ann.", "answers": ["Ann"]}, [], "Rename the column of the text"),
        ({"q": "Who?", "context": "Ann.", "answers": ["Ann"]}, [], "with --field"),
        ({"q": "Who?", "answers": ["Ann"]}, ["--field", "q"], "llmkit qa --input ROWS --context FILE"),
    ],
)
def test_rows_without_a_question_or_context(
    tmp_path: Path, row: dict[str, Any], more: list[str], advice: str
) -> None:
    data = write(tmp_path / "d.jsonl", [row])
    done = run("eval", "--task", "qa", data, "-m", tmp_path / "no model is loaded", *more)
    assert done.code == 2
    assert f"d.jsonl:1 has {', '.join(row)}" in done.err
    assert advice in done.err


def test_a_killed_run_goes_on_and_ends_in_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    rows = [
        {"prompt": f"{name} saw a {thing}", "completion": "It was big."}
        for name in ("Tom", "Lily", "Ben", "Anna", "Max", "Sue", "Tim", "Mia")
        for thing in ("dog", "ball", "tree", "cake")
    ]
    data = write(tmp_path / "d.jsonl", rows)
    command = [
        *("eval", "--task", "generate", "--metric", "f1", "--json", "-q"),
        *(str(data), "--max-new-tokens", "24", "--batch-size", "4", "--save-predictions"),
    ]
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", *command, str(killed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    partial: list[Path] = []
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not partial:
        partial = [path for path in tmp_path.glob("killed.jsonl*") if path.stat().st_size > 800]
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert partial
    assert not killed.exists()
    assert len([*temporary.iterdir()]) == 1
    again = run(*command, killed, "--resume")
    first = run(*command, whole)
    assert (again.code, first.code) == (0, 0)
    assert killed.read_bytes() == whole.read_bytes()
    assert again.out == first.out
    assert [*temporary.iterdir()] == []
    assert run(*command, killed, "--resume").out == first.out  # also when it is finished already


def test_bad_input(tmp_path: Path, marian: Path) -> None:
    data = write(tmp_path / "d.jsonl", STORIES)
    other = write(tmp_path / "o.jsonl", [{"prompt": "a", "wanted": "b"}])
    assert_refused(run("eval", data), option="metric")
    assert_refused(run("eval", "--task", "paint", data), "paint", "translate, summarize", option="task")
    f1 = ("eval", "--task", "generate", "--metric", "f1")
    assert_refused(run(*f1, other), "o.jsonl:1", "prompt, wanted", option="reference_field")
    for option, value in [
        ("from", "en"),
        ("resume", None),
        ("window", "8"),
        ("reference-field", "no"),
        ("references", other),
        ("by", "generated_text"),
        ("num-return-sequences", "2"),
    ]:
        given = [f"--{option}", *([value] if value else [])]
        assert_refused(run(*f1, data, *given), option=option)
    assert_refused(run(*f1, data, data), str(data))
    pair = ("--task", "translate", "-m", marian, "--metric", "chrf")
    assert_refused(run("eval", *pair, "--to", "Klingonese", data), "Klingonese")


ANNA = {"question": "Where does Anna live?", "context": "Anna lives in Rome. Tom lives in Paris."}


def test_references_come_from_the_input_and_not_from_the_result(tmp_path: Path) -> None:
    """The model's `answer` has the name of the gold column, which it must not replace."""
    data = write(tmp_path / "d.jsonl", [{**ANNA, "answer": "wrong on purpose", "score": 7}])
    kept, rows = tmp_path / "kept.jsonl", tmp_path / "rows.jsonl"
    files = ("--save-predictions", kept, "--per-record", rows)
    done = run("eval", "--task", "qa", data, *files, "--json", "--by", "answer")
    assert done.code == 0, done.err
    assert scores(done.out) == {"exact_match": 0, "f1": 0}
    assert {one.get("group") for one in json.loads(done.out)["scores"]} == {None, "wrong on purpose"}
    assert "answer, score" in done.err  # columns that the file of predictions lacks
    (row,) = rows_of(rows.read_text())
    assert (row["answer"], row["score"]) == ("wrong on purpose", 7)
    (made,) = rows_of(kept.read_text())
    assert made["answer"] == row["prediction"] != "wrong on purpose"


def test_a_gold_column_with_the_name_of_the_result(tmp_path: Path) -> None:
    rows = [{**row, "generated_text": row["completion"]} for row in STORIES]
    data = write(tmp_path / "d.jsonl", rows)
    f1 = ("eval", "--task", "generate", "--metric", "f1", *SHORT, "--json")
    named = run(*f1, data, "--reference-field", "generated_text")
    plain = run(*f1, write(tmp_path / "plain.jsonl", STORIES))
    assert named.code == 0, named.err
    assert scores(named.out) == scores(plain.out)
    assert scores(named.out)["f1"] < 1
    assert_refused(run(*f1, data, "--field", "generated_text"), option="field")
    assert_refused(run(*f1, data, "--template", "{prompt} {generated_text}"), option="template")


def test_failure_is_a_state_and_not_a_column(tmp_path: Path) -> None:
    """A row that failed is empty, also if an earlier run left a text; an `error` column is no failure."""
    data = write(
        tmp_path / "d.jsonl",
        [
            {"prompt": None, "completion": "OLD", "generated_text": "OLD", "error": "again"},
            {**STORIES[0], "error": "a column of the input"},
        ],
    )
    skip = ("eval", "--task", "generate", "--metric", "f1", data, *SHORT, "--on-error", "skip")
    done = run(*skip, "--json", "--per-record", tmp_path / "rows.jsonl")
    assert done.code == 3
    assert "1 of 2 rows failed" in done.err
    failed, good = rows_of((tmp_path / "rows.jsonl").read_text())
    assert (failed["scores"]["f1"], failed["prediction"]) == (0, "")
    assert good["generated_text"]
    assert good["error"] == "a column of the input"


@pytest.mark.parametrize(("flag", "value"), [("num_beams", "4"), ("max_new_tokens", "5"), ("adapter", "x")])
def test_picked_sentences_take_no_flags_of_a_model(tmp_path: Path, flag: str, value: str) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"document": "A dog ran. It fell.", "summary": "A dog ran."}\n')
    arguments = ("eval", "--task", "summarize", data, f"--{flag.replace('_', '-')}", value)
    refused = run(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert f"--{flag.replace('_', '-')}: applies only to a model" in refused.err
