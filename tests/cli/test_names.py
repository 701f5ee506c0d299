"""Names of files that are not UTF-8: refused before the work, or shown with a replacement."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import assert_refused, run
from tests.training.finetuning.runs import write_rows

TinyModel = Callable[..., Path]
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
STEPS = ("--max-steps", "1", "--eval-split", "0", "--max-length", "64", "--device", "cpu")


def odd(folder: Path, name: bytes) -> Path:
    return folder / os.fsdecode(name)


@pytest.mark.parametrize("verb", ["finetune", "pretrain", "merge", "convert", "quantize"])
def test_an_output_is_refused_before_the_work(tmp_path: Path, verb: str) -> None:
    """Neither the data nor the model is there: nothing is looked for."""
    output = odd(tmp_path, b"out-\xff")
    arguments: dict[str, list[str]] = {
        "finetune": ["nosuch.jsonl", "-m", "nosuch/model"],
        "pretrain": ["nosuch.txt"],
        "merge": ["nosuch/model"],
        "convert": ["-m", "nosuch/model", "--to", "safetensors"],
        "quantize": ["-m", "nosuch/model"],
    }
    assert_refused(run(verb, *arguments[verb], "-o", output), "not UTF-8", option="output")
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_refused_and_data_is_read(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copytree(tiny_model("llama"), odd(tmp_path, b"model-\xff"))
    assert_refused(run("generate", "-m", model, "The cat", "--device", "cpu"), "not UTF-8", option="model")
    data = write_rows(tmp_path).rename(odd(tmp_path, b"rows-\xff.jsonl"))
    # The card shows the command.
    monkeypatch.setattr(sys, "argv", ["llmkit", "finetune", str(data)])
    done = run("finetune", data, "-m", tiny_model("llama"), "-o", tmp_path / "out", *STEPS)
    assert done.code == 0, done.err
    assert "llmkit finetune" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_a_report_of_odd_names_is_written(tmp_path: Path) -> None:
    rows = odd(tmp_path, b"scored-\xff.jsonl")
    rows.write_text('{"prediction": "the cat", "reference": "the cat"}\n')
    report = odd(tmp_path, b"report-\xff.html")
    command = [sys.executable, "-m", "llmkit", "eval", rows, "--metric", "bleu", "--report", report]
    # A process of its own: pytest's standard error takes no such names.
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert report.read_text(encoding="utf-8")
