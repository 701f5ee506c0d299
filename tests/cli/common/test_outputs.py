"""Rows in and out of a verb: columns of the input, failures, and finished outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import Result, assert_refused, rows_of, run
from tests.conftest import TinyModel


@pytest.fixture
def generate(tiny_model: TinyModel, tmp_path: Path) -> object:
    def call(rows: list[dict[str, object]], *flags: str | Path) -> Result:
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        shared = ("-m", tiny_model("llama"), "--max-new-tokens", "3", "--greedy")
        return run("generate", "--input", path, *shared, *flags)

    return call


def test_a_column_of_the_input_is_never_replaced(generate) -> None:  # type: ignore[no-untyped-def]
    rows = [{"prompt": "the cafe", "generated_text": "OLD"}]
    for flags in (("--json",), (), ("--on-error", "skip")):
        refused = generate(rows, *flags)
        assert_refused(refused, "in.jsonl:1", "'generated_text'", option="result_field")
    done = generate(rows, "--json", "--result-field", "new")
    assert done.code == 0
    (row,) = rows_of(done.out)
    assert list(row) == ["prompt", "generated_text", "new"]
    assert row["generated_text"] == "OLD"
    assert generate(rows, "--result-field", "new").out == " ".join(row["new"].splitlines()) + "\n"


def test_an_error_column_is_data(generate) -> None:  # type: ignore[no-untyped-def]
    rows = [{"prompt": "the cafe", "error": "E1"}, {"prompt": None, "error": "E2"}]
    plain = generate(rows, "--on-error", "skip")
    assert plain.code == 3
    assert plain.out.count("\n") == 2
    assert "1 of 2 rows failed" in plain.err
    good, bad = rows_of(generate(rows, "--on-error", "skip", "--json").out)
    assert good["error"] == "E1"
    assert " ".join(good["generated_text"].splitlines()) + "\n\n" == plain.out
    assert bad["error"] == "E2"
    assert "null" in bad["llmkit_error"]
    assert "generated_text" not in bad


def test_a_finished_output_is_proven_and_compared(generate, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rows: list[dict[str, object]] = [{"prompt": text} for text in ("the cafe", "was", "in the")]
    done, part = tmp_path / "done.jsonl", tmp_path / "part.jsonl"
    assert generate(rows, "-o", done).code == 0
    part.write_text("".join(done.read_text().splitlines(keepends=True)[:2]))
    assert_refused(generate(rows, "-o", part, "--resume", "-q"), "part.jsonl", option="overwrite")
    again = generate(rows, "-o", done, "--resume")
    assert again.code == 0
    assert "finished already" in again.err
    assert_refused(generate(rows, "-o", done, "--resume", "-q", "--seed", "7"), "seed")
    assert_refused(generate(rows[:2], "-o", done, "--resume", "-q"), "input")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done.jsonl", "in.jsonl", "part.jsonl"]
