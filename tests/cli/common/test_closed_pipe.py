"""A reader that closes stdout (`| head -1`) costs no file, no upload, and not the exit code."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from llmkit.cli import doctor, main
from llmkit.cli.common import console, upload
from tests.conftest import TinyModel


class ClosedBytes(io.BytesIO):
    """The bytes under `Closed`."""

    def write(self, data: Any) -> int:
        raise BrokenPipeError


class Closed(io.TextIOWrapper):
    """The writing end of a pipe without a reader."""

    def __init__(self) -> None:
        super().__init__(ClosedBytes(), encoding="utf-8")

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command whose stdout is closed, and return its exit code."""
    # It would redirect the descriptor of the tests.
    monkeypatch.setattr(main, "_drop_stdout", lambda: None)

    def command(*arguments: str | Path) -> int:
        console.setup(quiet=False, verbose=False, debug=False)
        with mock.patch.multiple(sys, stdout=Closed(), stderr=io.StringIO()):
            return main.run_command([str(argument) for argument in arguments])

    return command


@pytest.mark.parametrize(("ok", "code"), [(False, 1), (True, 0)])
def test_doctor(ok: bool, code: int, run: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = doctor.Finding("a package", "none", ok)
    monkeypatch.setattr(doctor, "_findings", lambda: iter([found]))
    assert run("doctor") == code


def test_a_wrong_kernel(run: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.attention import verify, verify_model

    wrong = verify.Result("a case", False, 1.0, 0.1)
    monkeypatch.setattr(verify, "verify", lambda *given, **options: iter([wrong]))
    monkeypatch.setattr(verify_model, "verify_inside", lambda *given: [])
    assert run("kernels", "verify", "eager") == 1


def test_a_picture_of_times(run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmkit.attention import benchmark

    timing = benchmark.Timing(shape="a", kernel="eager", seconds=1.0, share=0.5, bound="bytes")
    limits = benchmark.Limits(operations=1e9, bandwidth=1e9)
    monkeypatch.setattr(benchmark, "compare", lambda *given, **options: (limits, [timing]))
    assert run("kernels", "bench", "--picture", tmp_path / "times.svg") == 0
    assert (tmp_path / "times.svg").exists()


@pytest.mark.parametrize("verb", ["finetune", "pretrain"])
def test_training_uploads_and_keeps_its_code(
    verb: str, run: Callable[..., int], tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: list[Any] = []
    monkeypatch.setattr(upload, "ask", lambda name: None)
    monkeypatch.setattr(upload, "push", lambda folder, name: pushed.append((folder, name)))
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(f'{{"text": "The cat {i} saw the dog."}}\n' for i in range(40)) + '{"text": 5, "a"\n'
    )
    sizes = ("--params", "30k", "--vocab-size", "300", "--max-length", "16", "--batch-size", "2")
    more = ("-m", tiny_model("llama")) if verb == "finetune" else sizes
    flags = ("--max-steps", "1", "--on-error", "skip", "--push-to-hub", "me/mine")
    assert run(verb, rows, "-o", tmp_path / "out", *flags, *more) == 3
    assert pushed == [(tmp_path / "out", "me/mine")]


def test_eval_keeps_its_code(run: Callable[..., int], tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    good = '{"text": "The cat sat. It slept.", "summary": "The cat sat."}\n'
    rows.write_text(good + '{"text": 7.5e300, "summary": "a"}\n{"text": null, "summary": "a"}\n')
    files = ("--report", tmp_path / "page.html", "--per-record", tmp_path / "rows.out.jsonl")
    arguments = ("eval", "--task", "summarize", "--metric", "rouge", rows, "--on-error", "skip")
    assert run(*arguments, *files, "-o", tmp_path / "scores.json") == 3
    assert (tmp_path / "page.html").exists()
    assert (tmp_path / "scores.json").exists()


def test_a_document_that_keeps_a_segment_keeps_its_code(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmkit.tasks.documents import DocumentTranslation, TranslatedDocument

    page = tmp_path / "page.md"
    page.write_text("Where is my book?\n")
    kept = TranslatedDocument(page.read_bytes(), [("line 1", "too long")], [])
    monkeypatch.setattr(DocumentTranslation, "assemble", lambda self, rows: [kept])
    flags = ("--on-error", "skip", "--max-new-tokens", "8")
    assert run("translate", "--from", "en", "--to", "de", page, *flags) == 3
