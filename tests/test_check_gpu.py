"""The check of a GPU says where there is none, and goes on after a part that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import check_gpu
from tests.check_gpu import Check


def test_without_a_gpu_it_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(device: str) -> Iterator[Check]:
        yield Check("first", f"on {device}", "fine", True)
        raise RuntimeError("no memory")

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(check_gpu, "PARTS", (broken, check_gpu.speed))
    monkeypatch.setattr(check_gpu, "OUTPUT", tmp_path / "found.json")
    assert check_gpu.main() == 1
    printed = capsys.readouterr().out
    assert "No GPU" in printed
    for word in ("on cpu", "RuntimeError: no memory", "not run"):
        assert word in printed
        assert word in (tmp_path / "found.json").read_text(encoding="utf-8")


def test_parts_that_begin_too_late_are_left_out() -> None:
    assert {one.value for one in check_gpu.checks("cpu", seconds=-1.0)} == {"not run"}
