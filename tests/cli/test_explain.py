"""`llmkit explain`: text, rows, pages and errors, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import assert_refused, rows_of, run

TEXT = "Tom threw the ball. Lily caught the"
FAST = ("--orders", "1")


def test_a_text_is_explained() -> None:
    done = run("explain", TEXT, "--target", "ball", "--instead-of", "cat", *FAST)
    assert done.code == 0, done.err
    assert "' ball' instead of ' cat'" in done.out
    assert all(word in done.out for word in ("occlusion", "<|endoftext|>", "comprehensiveness", "threw"))
    assert "\x1b" not in done.out


def test_json_holds_offsets_and_measures() -> None:
    done = run("explain", TEXT, "--json", "--method", "ig", *FAST)
    (row,) = rows_of(done.out)
    found = row["explanation"]
    assert row["text"] == TEXT
    assert all(TEXT[unit["start"] : unit["end"]] == unit["text"] for unit in found["units"])
    assert found["completeness_error"] < 0.01
    assert found["steps"] >= 32
    for name in ("comprehensiveness", "sufficiency"):
        assert {"value", "position", "random", "low", "high"} <= found[name].keys() | {"low", "high"}


@pytest.mark.parametrize("method", ["lens", "components"])
def test_the_inside_of_a_model_is_shown(method: str) -> None:
    done = run("explain", TEXT, "--method", method)
    assert done.code == 0, done.err
    assert ("layer 5" in done.out) if method == "lens" else ("layer 5 head" in done.out)


def test_rows_are_explained_and_resumed(tmp_path: Path) -> None:
    rows = [{"text": TEXT, "to": "ball", "foil": "cat"}, {"text": "Once upon a", "to": "time", "foil": "dog"}]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--target-field", "to", "--foil-field", "foil", *FAST)
    done = run("explain", "--input", data, "-o", tmp_path / "whole.jsonl", *flags)
    assert done.code == 0, done.err
    whole = (tmp_path / "whole.jsonl").read_bytes()
    found = rows_of(whole.decode())
    assert [row["explanation"]["target"] for row in found] == [" ball", " time"]
    assert [row["to"] for row in found] == ["ball", "time"]
    # A row's numbers do not depend on the batch: one row at a time writes the same file.
    page = tmp_path / "page.html"
    again = run(
        *("explain", "--input", data, "-o", tmp_path / "again.jsonl", "--batch-size", "2", "--report", page),
        *flags,
    )
    assert again.code == 0, again.err
    assert (tmp_path / "again.jsonl").read_bytes() == whole
    assert "rows.jsonl:2" in page.read_text()


def test_a_bad_row_is_skipped(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"text": ""}\n{"text": "Once upon a"}\n')
    done = run("explain", "--input", data, "--json", "--on-error", "skip", "--no-check")
    assert done.code == 3
    first, second = rows_of(done.out)
    assert "empty" in first["error"]
    assert second["explanation"]["target"] == " time"


BAD = [
    (("--method", "attention"), "method", "no better than chance"),
    (("--method", "gradient"), "method", "RMSNorm"),
    (("--method", "igg"), "method", "ig"),
    (("--baseline", "zero"), "baseline", "token"),
    (("--target", "a", "--target-tokens", "2"), "target_tokens", ""),
    (("--to", "de"), "to", "translate"),
    (("--question", "Who?"), "question", "qa"),
    (("--unit", "letters"), "unit", "sentence"),
]


@pytest.mark.parametrize(("flags", "option", "mention"), BAD)
def test_bad_options_are_refused(flags: tuple[str, ...], option: str, mention: str) -> None:
    assert_refused(run("explain", TEXT, *flags), mention, option=option)


def test_bad_texts_are_refused(tmp_path: Path) -> None:
    assert_refused(run("explain", " "), "empty")
    assert_refused(run("explain", "The dog", "--target", "word " * 520, "--no-check"), "512")
    assert_refused(run("explain", "She threw the ", "--target", "ball"), "joins the two")
    assert_refused(run("explain", TEXT, "--report", tmp_path / "none" / "x.html"), "none", option="report")
    assert_refused(run("explain", "--task", "summarize", TEXT), "--model")
    assert_refused(run("explain", TEXT, "--foil-field", "x"), option="foil_field")


def test_a_translation_is_explained(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = "The <script>alert(1)</script> dog."
    done = run(
        *("explain", "--task", "translate", "--from", "en", "--to", "de", text, "--no-check"),
        *("--report", page),
    )
    assert done.code == 0, done.err
    assert "each part of the target" in done.out
    assert "<script" not in page.read_text()
    assert_refused(run("explain", TEXT, *FAST, "--report", page), "exists", option="report")
    assert run("explain", TEXT, *FAST, "--report", page, "--overwrite").code == 0
