"""`llmkit models` and `llmkit doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from llmkit.models.bundled import embedded_folder, embedded_models
from tests.command import run


def test_models_lists_embedded_and_suggested_models() -> None:
    result = run("models")
    assert result.code == 0
    lines = result.out.splitlines()
    assert any(line.split()[:2] == ["embedded", "stories"] and "text-generation" in line for line in lines)
    assert any(line.startswith("suggested ") for line in lines)


def test_models_as_json() -> None:
    rows = [json.loads(line) for line in run("models", "--json").out.splitlines()]
    (stories,) = [row for row in rows if row["model"] == "stories"]
    assert stories["where"] == "embedded"
    assert stories["license"] == "cdla-sharing-1.0"
    assert stories["bytes"] > 1_000_000
    suggested = [row for row in rows if row["where"] == "suggested"]
    assert all(row["command"].endswith(f" -m {row['model']}") and "task" not in row for row in suggested)


def test_models_lists_what_is_cached(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = tmp_path / "models--org--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    rows = [json.loads(line) for line in run("models", "--json", "--cache-dir", tmp_path).out.splitlines()]
    assert [row["model"] for row in rows if row["where"] == "cached"] == ["org/tiny"]


def test_models_show_prints_the_card() -> None:
    result = run("models", "show", "stories")
    folder = embedded_folder("stories")
    assert folder is not None
    assert result.out == (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "nothing"], "no embedded model nothing; there is reader, stories, storyteller, translator"),
        (["show", "../runtime"], "no embedded model"),
        (["list"], "use `llmkit models` or `llmkit models show NAME`"),
        (["show"], "use `llmkit models` or"),
    ],
)
def test_models_bad_usage(arguments: list[str], said: str) -> None:
    result = run("models", *arguments)
    assert result.code == 2
    assert said in result.err


def test_doctor_finds_everything_here() -> None:
    result = run("doctor")
    assert result.code == 0, result.out
    for name in ("torch", "transformers", "python", "cpu", "memory", "embedded models", "model cache"):
        assert any(line.startswith(name) for line in result.out.splitlines()), name
    assert "MISSING" not in result.out
    (models,) = [line for line in result.out.splitlines() if line.startswith("embedded models")]
    assert models.endswith("translator  ok")


@pytest.mark.parametrize(
    ("need", "said"),
    [
        ("no-such-package>=1", "not installed"),
        ("torch>=99", "not >=99"),  # there, but too old
    ],
)
def test_doctor_says_what_is_missing_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, need: str, said: str
) -> None:
    monkeypatch.setattr("llmkit.cli.doctor.required", lambda: [Requirement(need)])
    result = run("doctor")
    assert result.code == 1
    (line,) = [line for line in result.out.splitlines() if line.startswith(Requirement(need).name)]
    assert said in line
    assert "MISSING" in line
    assert f"pip install '{need}'" in line


def test_doctor_as_json() -> None:
    rows = [json.loads(line) for line in run("doctor", "--json").out.splitlines()]
    assert {"what": "torch", "ok": True}.items() <= next(r for r in rows if r["what"] == "torch").items()


def test_embedded_models_are_found_by_name_only() -> None:
    assert embedded_folder("../runtime") is None
    assert embedded_folder("") is None
    assert [model.name for model in embedded_models()] == sorted(m.name for m in embedded_models())
