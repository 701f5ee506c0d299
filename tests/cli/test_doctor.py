"""`llmkit doctor`."""

from __future__ import annotations

import json

import pytest
from packaging.requirements import Requirement

from tests.command import run


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
