"""Finetuning runs that are stopped and resumed end as runs that were never stopped."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import LLMKitError, OptionError
from llmkit.training.finetuning.recipe import FinetuneRecipe
from tests.training.finetuning.runs import QUICK, metrics, same, train
from tests.training.helpers import KilledError, Recorder, refuses

TinyModel = Callable[..., Path]
Rows = Callable[..., Path]


@pytest.fixture(scope="module")
def stopped(tiny_model: TinyModel, rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that an error ended after step 10."""
    output = tmp_path_factory.mktemp("stopped") / "out"
    with pytest.raises(KilledError):
        train(rows(), output, tiny_model("llama"), progress=Recorder(10))
    return output


@pytest.fixture(scope="module")
def whole(tiny_model: TinyModel, rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, never stopped."""
    output = tmp_path_factory.mktemp("whole") / "out"
    train(rows(), output, tiny_model("llama"))
    return output


def test_a_finished_run_with_its_checkpoints_is_extended(
    tiny_model: TinyModel, rows: Rows, tmp_path: Path
) -> None:
    """With a constant learning rate it equals the run that was planned so long."""
    recipe = replace(QUICK, scheduler="constant", warmup=0.0)
    train(rows(), tmp_path / "long", tiny_model("llama"), recipe)
    short = replace(recipe, max_steps=8)
    train(rows(), tmp_path / "out", tiny_model("llama"), short, keep_checkpoints=True)
    recorder = Recorder()
    train(rows(), tmp_path / "out", tiny_model("llama"), recipe, resume=True, progress=recorder)
    assert any("extended from 8 to 12 max_steps" in one for one in recorder.notices)
    assert same(tmp_path / "out", tmp_path / "long")
    assert metrics(tmp_path / "out")[-1]["step"] == 12


def test_training_goes_on_from_an_adapter(tiny_model: TinyModel, rows: Rows, tmp_path: Path) -> None:
    first = train(rows(), tmp_path / "one", tiny_model("llama"))
    second = train(rows(), tmp_path / "two", tmp_path / "one", replace(QUICK, lora_rank=16))
    assert second.trained_parameters == first.trained_parameters
    assert second.held_out_before == pytest.approx(first.held_out_loss, rel=1e-6)
    one, two = (json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("one", "two"))
    assert one["base_model_name_or_path"] == two["base_model_name_or_path"] == str(tiny_model("llama"))
    assert (one["r"], one["lora_alpha"]) == (two["r"], two["lora_alpha"]) == (4, 8)
    assert not same(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    ("option", "value"), [("lora", False), ("lora_rank", 8), ("dora", True), ("qlora", True)]
)
def test_an_adapter_keeps_its_form(whole: Path, rows: Rows, tmp_path: Path, option: str, value: Any) -> None:
    recipe = replace(QUICK, **{"lora_rank": FinetuneRecipe.lora_rank, option: value})
    with pytest.raises(OptionError) as caught:
        train(rows(), tmp_path / "out", whole, recipe)
    assert caught.value.option == option


# Most epochs here have twelve steps.
MATRIX = {
    "adapter": ("completion", "llama", QUICK),
    "whole model": ("text", "llama", replace(QUICK, lora=False, lr=1e-3)),
    "muon": ("text", "llama", replace(QUICK, lora=False, lr=1e-3, optimizer="muon")),
    "packing": ("completion", "llama", replace(QUICK, packing=True, batch_size=1)),
    "accumulation": ("completion", "llama", replace(QUICK, batch_size=1, gradient_accumulation=2)),
    "dropout": ("text", "llama", replace(QUICK, lora_dropout=0.3)),
    "padded rows": ("messages", "bloom", QUICK),
    "pairs": ("pairs", "t5", replace(QUICK, lora=False, lr=1e-3, label_smoothing=0.1)),
    "checkpointing": ("text", "qwen3", replace(QUICK, gradient_checkpointing=True)),
    "dora": ("text", "llama", replace(QUICK, dora=True, rslora=True)),
    "preferences": ("preference", "llama", QUICK),
    "preferences, whole model": ("preference", "bloom", replace(QUICK, lora=False, lr=1e-3)),
    "preferences, checkpointing": (
        "preference",
        "llama",
        replace(QUICK, batch_size=1, gradient_accumulation=2, gradient_checkpointing=True),
    ),
}


CASES = [
    *((case, (6, 11, 12)) for case in ("adapter",)),
    *((case, (6,)) for case in MATRIX if case != "adapter"),
    *(
        pytest.param(case, (11, 12), marks=pytest.mark.slow, id=f"{case}-late")
        for case in MATRIX
        if case != "adapter"
    ),
]


@pytest.mark.parametrize(("case", "steps"), CASES)
def test_a_resumed_run_equals_one_that_was_never_stopped(
    tiny_model: TinyModel, rows: Rows, tmp_path: Path, case: str, steps: tuple[int, ...]
) -> None:
    """The folder is as a kill after a step leaves it: within an epoch, and at its end."""
    kind, family, recipe = MATRIX[case]
    if kind == "preference":
        pytest.importorskip("trl")
    data, model = rows(kind), tiny_model(family, chat=kind == "messages")
    recipe, whole = replace(recipe, max_steps=14), tmp_path / "whole"

    def keep(step: int) -> None:
        if step in steps:
            shutil.copytree(whole, tmp_path / f"stopped-{step}")

    train(data, whole, model, recipe, progress=Recorder(on_step=keep))
    for step in steps:
        stopped = tmp_path / f"stopped-{step}"
        assert not (stopped / "README.md").exists()
        assert metrics(stopped)[-1]["step"] == step
        train(data, stopped, model, recipe, resume=True)
        assert metrics(stopped) == metrics(whole)
        assert same(stopped, whole)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"])
def test_a_torn_checkpoint_is_skipped_with_a_notice(
    tiny_model: TinyModel, rows: Rows, stopped: Path, tmp_path: Path, name: str
) -> None:
    output, progress = tmp_path / "out", Recorder(5)
    shutil.copytree(stopped, output)
    torn = output / "checkpoints/checkpoint-8" / name
    torn.write_bytes(torn.read_bytes()[:-20])
    with pytest.raises(KilledError):
        train(rows(), output, tiny_model("llama"), resume=True, progress=progress)
    assert any("checkpoint-8 is incomplete" in notice for notice in progress.notices)
    assert "resuming after step 4" in progress.notices


def test_a_run_ended_by_an_error_resumes_too(
    tiny_model: TinyModel, rows: Rows, stopped: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(stopped, tmp_path / "out")
    train(rows(), tmp_path / "out", tiny_model("llama"), resume=True)
    assert metrics(tmp_path / "out") == metrics(whole)
    assert same(tmp_path / "out", whole)


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_older_ones(
    tiny_model: TinyModel, rows: Rows, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Trainer

    save = Trainer._save_optimizer_and_scheduler

    def full(self: Any, folder: str) -> None:
        if "checkpoint-8" in folder:
            raise OSError(28, "No space left on device")
        save(self, folder)

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", full)
    output = tmp_path / "out"
    with pytest.raises(
        LLMKitError, match=r"checkpoint-8: No space left on device .*; this checkpoint is not saved"
    ):
        train(rows(), output, tiny_model("llama"))
    kept = {path.name for path in (output / "checkpoints").iterdir()}
    assert kept == {"checkpoint-4", "run.json"}
    monkeypatch.undo()
    train(rows(), output, tiny_model("llama"), resume=True)
    assert same(output, whole)


def test_resuming_needs_the_same_rows_options_and_model(
    tiny_model: TinyModel, rows: Rows, stopped: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(stopped, output)
    with refuses("resume", "`lr` was 0.01 and is now 0.02"):
        train(rows(), output, tiny_model("llama"), replace(QUICK, lr=0.02), resume=True)
    with refuses("resume", "`data` was"):
        train(rows(count=23), output, tiny_model("llama"), resume=True)
    with refuses("resume", "`model` was"):
        train(rows(), output, tiny_model("qwen3"), resume=True)
    # As if the model's tokenizer had been another when the run began.
    record = output / "checkpoints/run.json"
    begun = json.loads(record.read_text())
    begun["weights"]["tokenizer.json"]["head"] = "0" * 64
    record.write_text(json.dumps(begun))
    with refuses("resume", "`weights` was"):
        train(rows(), output, tiny_model("llama"), resume=True)
