"""The folder of a training run: its files, its lock and its checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import InputError
from llmkit.records.output_folder import locked
from llmkit.training.checkpoints import is_finished, is_whole, newest_whole, restore_metrics, write_manifest
from llmkit.training.finetuning.finetune import finetune
from llmkit.training.pretraining.pretrain import pretrain
from llmkit.training.run import TrainingRun, check_output
from tests.training.helpers import KilledError, refuses


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


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints/checkpoint-8"
    (folder / "shards").mkdir(parents=True)
    for name in ("model.safetensors", "scheduler.pt", "shards/1.distcp"):
        (folder / name).write_bytes(name.encode())
    (folder / "trainer_state.json").write_text("{}")
    write_manifest(folder)
    return folder


@pytest.mark.parametrize("name", ["scheduler.pt", "shards/1.distcp", "manifest.json"])
@pytest.mark.parametrize("damage", ["removed", "changed"])
def test_a_checkpoint_is_whole_by_its_manifest(checkpoint: Path, name: str, damage: str) -> None:
    assert is_whole(checkpoint)
    if damage == "removed":
        (checkpoint / name).unlink()
    else:
        content = bytearray((checkpoint / name).read_bytes())
        content[len(content) // 2] ^= 1
        (checkpoint / name).write_bytes(bytes(content))
    assert not is_whole(checkpoint)


@pytest.mark.parametrize("manifest", ["{}", "[]", "null", '{"../../run.json": {}}', '{"nosuch": 1}', "[["])
def test_a_damaged_manifest_proves_nothing(checkpoint: Path, manifest: str) -> None:
    (checkpoint / "manifest.json").write_text(manifest)
    assert not is_whole(checkpoint)


def test_a_checkpoint_needs_the_one_with_the_best_weights(checkpoint: Path) -> None:
    best = shutil.copytree(checkpoint, checkpoint.with_name("checkpoint-4"))
    state = {"best_model_checkpoint": "/moved/checkpoints/checkpoint-4"}
    (checkpoint / "trainer_state.json").write_text(json.dumps(state))
    write_manifest(checkpoint)
    assert newest_whole(checkpoint.parent, 12, print) == checkpoint
    (best / "model.safetensors").unlink()
    notices: list[str] = []
    assert newest_whole(checkpoint.parent, 12, notices.append) is None
    assert "best weights" in notices[0]


def test_a_finished_run_loses_its_mark_before_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    run = TrainingRun.open(output, {"a": 1}, 4, device="cpu", resume=False, notice=print)
    (output / "metrics.jsonl").touch()

    def killed(*arguments: Any, **named: Any) -> None:
        if named.get("ignore_errors") is not True:
            raise KilledError

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KilledError):
        run.finish(lambda folder: (folder / "config.json").touch(), last="config.json", asked={"lr": 0.1})
    monkeypatch.undo()
    with refuses("resume", "`lr`"):
        is_finished(output, {"lr": 0.2})
    assert (output / "checkpoints").exists()
    assert is_finished(output, {"lr": 0.1})
    # What the kill left is of no use.
    assert not (output / "checkpoints").exists()
    (output / "finished.json").unlink()
    with refuses("resume", "without a record of its run"):
        is_finished(output, {"lr": 0.1})


def test_metrics_come_back_from_the_checkpoint(tmp_path: Path) -> None:
    """metrics.jsonl itself has no checksums, and a kill may cut its last line."""
    file, start = tmp_path / "metrics.jsonl", tmp_path / "checkpoint-2"
    start.mkdir()
    history = [
        {"epoch": 1.0, "loss": 0.5, "step": 1},
        {"eval_bits_per_byte": 2.0, "eval_loss": 0.25, "step": 2},
    ]
    (start / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    file.write_text('{"step": 1, "loss": 0.9}\n{"st')
    restore_metrics(file, start)
    assert file.read_text().splitlines() == [
        '{"step": 1, "loss": 0.5, "epoch": 1.0}',
        '{"step": 2, "eval_loss": 0.25, "eval_bits_per_byte": 2.0}',
    ]
    restore_metrics(file, None)
    assert file.read_text() == ""


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_two_runs_in_one_folder_are_refused(tmp_path: Path, verb: str) -> None:
    """The second run is refused before it reads a row or a model."""
    output = tmp_path / "new/out"
    with locked(output), refuses("output", "another process works in it"):
        if verb == "finetune":
            finetune(tmp_path / "nosuch.jsonl", output, "nosuch/model")
        else:
            pretrain(tmp_path / "nosuch.txt", output, device="cpu")
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="nosuch"):
        pretrain(tmp_path / "nosuch.txt", output, device="cpu")
    assert not (tmp_path / "new").exists()
