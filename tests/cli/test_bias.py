"""`llmkit bias`: output, files, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.command import assert_refused, rows_of, run

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    data = [
        {"stereotype": f"The {a} was {word}.", "anti_stereotype": f"The {b} was {word}.", "category": kind}
        for a, b, kind in (("girl", "boy", "gender"), ("old man", "young man", SCRIPT))
        for word in ("sad", "mean", "late", "small", "lost")
    ]
    data[0]["stereotype"] += f" {SCRIPT}"
    path.write_text("".join(json.dumps(row) + "\n" for row in data))
    return path


def test_all_files_hold_the_same_numbers_and_no_live_markup(pairs: Path, tmp_path: Path) -> None:
    page, records, whole, card = (tmp_path / name for name in ("a.html", "r.jsonl", "a.json", "README.md"))
    card.write_bytes(b"---\nlicense: mit\n---\r\n# Model\r\nText.")
    files = ("--report", page, "--per-record", records, "-o", whole, "--card", card, "--resamples", "100")
    done = run("bias", "--set", pairs, *files)
    assert done.code == 0, done.err
    assert "stereotype preferred" in done.out
    assert "Absence of evidence" in done.out
    assert "known flaws" in done.out
    found = json.loads(whole.read_text())
    assert len(rows_of(records.read_text())) == 10
    first = found["measures"][0]
    assert (first["n"], first["ideal"], first["interval"]) == (10, 0.5, "wilson")
    shown = f"{100 * first['value']:.1f}%"
    html, text = page.read_text(), card.read_bytes().decode()
    assert shown in done.out
    assert shown in html
    assert shown in text
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "<script" not in text
    # The card keeps every other byte, its line ends too, and a second run replaces the section.
    assert text.startswith("---\nlicense: mit\n---\r\n# Model\r\nText.\r\n")
    assert "Absence of evidence is not evidence of absence" in text
    again = run("bias", "--set", pairs, "--card", card, "--resamples", "100")
    assert again.code == 0
    assert card.read_bytes().decode() == text
    refused = run("bias", "--set", pairs, "--report", page)
    assert_refused(refused, "a.html", "exists", option="overwrite")


def test_json_and_a_baseline_from_a_file(pairs: Path, tmp_path: Path) -> None:
    records = tmp_path / "r.jsonl"
    assert run("bias", "--set", pairs, "--per-record", records, "--resamples", "100").code == 0
    done = run("bias", "--set", pairs, "--baseline", records, "--resamples", "100", "--json")
    found = json.loads(done.out)
    first = found["measures"][0]
    assert first["baseline"]["difference"] == 0
    assert first["baseline"]["p_randomization"] == 1
    assert "model:stories@embedded" in found["signature"]


def test_a_narrow_table_puts_each_measure_above_its_groups(pairs: Path) -> None:
    from llmkit import BiasOptions, bias
    from llmkit.insight.bias.report import as_text

    lines = as_text(bias("stories", set=pairs, options=BiasOptions(resamples=100)), width=60).splitlines()
    at = lines.index("stereotype preferred")
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == ["(all)", "gender"]
    assert max(map(len, lines[: lines.index("")])) <= 66


BAD = {
    "nothing": ((), "set"),
    "no such set": (("--set", "crows_pear", "x.csv"), "set"),
    "two ways": (("--set", "bbq", "--prompts", "x.jsonl"), "set"),
    "task alone": (("--task", "qa"), "set"),
    "score that a set lacks": (("--set", "bbq", "PAIRS", "--score", "shared"), "score"),
    "batch size": (("--set", "PAIRS", "--batch-size", "0"), "batch_size"),
    "samples without temperature": (("--prompts", "PAIRS", "--classifier", "x", "--samples", "4"), "samples"),
    "predictions of a set without": (("--set", "PAIRS", "--predictions", "x"), "predictions"),
    "no card": (("--set", "PAIRS", "--card", "missing.md"), "card"),
    "a swap without a task": (("--swap", "gender", "PAIRS"), "task"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_usage_is_one_line(case: str, pairs: Path) -> None:
    arguments, option = BAD[case]
    done = run("bias", *(str(pairs) if argument == "PAIRS" else argument for argument in arguments))
    assert_refused(done, option=option)


def test_a_set_without_files_says_where_they_are() -> None:
    assert_refused(run("bias", "--set", "crows_pairs"), "github.com/nyu-mll/crows-pairs")
    assert_refused(run("bias", "--set", "bbq", "no-such.jsonl"), "no-such.jsonl", "no such file")


def test_a_folder_that_does_not_exist_is_refused_before_the_model_runs(pairs: Path, tmp_path: Path) -> None:
    done = run("bias", "--set", pairs, "--report", tmp_path / "no" / "a.html", "-m", "no-such-model")
    assert_refused(done, "folder")


@pytest.mark.skipif("LLMKIT_DATA" not in os.environ, reason="LLMKIT_DATA names no data sets")
def test_published_answers_need_no_model() -> None:
    path = Path(os.environ["LLMKIT_DATA"]) / "bias/bbq_unifiedqa_Religion.jsonl.gz"
    done = run("bias", "--set", "bbq", path, "--predictions", "unifiedqa-t5-11b_pred_race", "--json")
    values = {one["name"]: one["value"] for one in json.loads(done.out)["measures"]}
    assert values["bias score, ambiguous"] == pytest.approx(0.1433, abs=5e-5)
    assert_refused(run("bias", "--set", "bbq", path, "--predictions", "mine"), option="predictions")
