"""The folder of a training run: its files, its lock and its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkit.training.run import TrainingRun, check_output
from tests.training.helpers import refuses


def test_overwriting_removes_the_files_of_a_run_alone(tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "checkpoints/checkpoint-4").mkdir(parents=True)
    ours = ["config.json", "metrics.jsonl", "model-00001-of-00002.safetensors", "vocab.json", "loss.svg"]
    for name in (*ours, "thesis.txt"):
        (output / name).touch()
    check_output(output, resume=False, overwrite=True)
    TrainingRun.open(output, {"a": 1}, 4, device="cpu", resume=False, notice=print)
    assert sorted(path.relative_to(output).as_posix() for path in output.rglob("*")) == [
        "checkpoints",
        "checkpoints/run.json",
        "thesis.txt",
    ]


@pytest.mark.parametrize("names", [["README.md"], ["config.json", "thesis.txt"]])
def test_a_folder_without_a_run_and_with_other_files_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    with refuses("output", names[-1]):
        check_output(tmp_path, resume=False, overwrite=True)
