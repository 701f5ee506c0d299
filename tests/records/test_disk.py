"""A disk that takes no more, behind the errors of the libraries that write to it."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import LLMKitError
from llmkit.formats.gguf.write import written_by_python
from llmkit.records.disk import cannot_write, writing
from tests.command import Result, assert_refused, run
from tests.conftest import TinyModel
from tests.tiny import make_tokenizer

LIMIT = 40_000


def result_without_notices(result: Result) -> Result:
    """Remove the lines on stderr that are no errors."""
    lines = [line for line in result.err.splitlines(True) if line.startswith("llmkit: error: ")]
    return Result(result.code, result.out, "".join(lines))


Rows = Callable[..., Path]


@contextlib.contextmanager
def small_files(size: int = LIMIT) -> Iterator[None]:
    """Limit the size of a file, as `ulimit -f` does: a disk that is full for this process alone."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_with_torch(file: Path) -> None:
    import torch

    torch.save(torch.zeros(1 << 20), file)


def save_with_safetensors(file: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1 << 20)}, file)


def save_with_numpy(file: Path) -> None:
    import numpy as np

    np.zeros(1 << 20).tofile(file)


def save_with_gguf(file: Path) -> None:
    """Its last bytes are fewer than C's buffer, so that only the end of the file fails."""
    import numpy as np

    with file.open("wb") as out:
        out.write(bytes(LIMIT - 50))
        out.flush()
        written_by_python(np.zeros((10, 10), np.float32)).tofile(out)


def save_with_tokenizers(file: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"<{i}>" for i in range(4000)])
    tokenizer.save_pretrained(file.parent)


def save_with_python(file: Path) -> None:
    file.write_bytes(bytes(1 << 20))


@pytest.mark.parametrize(
    "save",
    [
        *(save_with_torch, save_with_safetensors, save_with_numpy),
        *(save_with_gguf, save_with_tokenizers, save_with_python),
    ],
)
def test_each_library_s_error_is_that_of_the_disk(save: Callable[[Path], None], tmp_path: Path) -> None:
    with (
        small_files(),
        pytest.raises(LLMKitError) as caught,
        writing(tmp_path, Path("out"), "nothing is left"),
    ):
        save(tmp_path / "file")
    text = str(caught.value)
    assert text.startswith(f"out: {os.strerror(errno.EFBIG)}")
    assert text.endswith("; nothing is left")


@pytest.mark.parametrize("error", [RuntimeError("bad shape"), ValueError("x"), OSError(2, "gone", "/other")])
def test_other_errors_pass(error: Exception, tmp_path: Path) -> None:
    """On a disk that takes more, and about files elsewhere."""
    (tmp_path / "file").write_bytes(b"abc")
    with pytest.raises(type(error)) as caught, writing(tmp_path, Path("out"), "nothing is left"):
        raise error
    assert caught.value is error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"abc"


def _chained() -> Exception:
    """As of a library that fails again while it closes the file of a failed write."""
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise ValueError("the archive is not closed")
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        # torch.save on a full disk, at the end of the file and within it
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 13632 vs 13524"),
            "full for a",
        ),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "full for a"),
        (OSError("1048576 requested and 262144 written"), "full for a"),  # numpy's tofile
        (
            RuntimeError("open file failed with strerror: No space left on device"),
            "No space left on device (f",
        ),
        (Exception("No space left on device (os error 28)"), "No space left on device (free"),  # tokenizers
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (_chained(), "No space left on device (free"),
    ],
)
def test_a_disk_that_has_space_again_is_still_the_cause(error: Exception, cause: str, tmp_path: Path) -> None:
    """The error of a writer remains, when another process has removed its files in the meantime."""
    with pytest.raises(LLMKitError) as caught, writing(tmp_path, Path("out"), "nothing is left"):
        raise error
    assert str(caught.value).startswith("out: ")
    assert cause in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_full_disk_of_other_files_is_named(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/elsewhere/x.npz")
    with (
        pytest.raises(LLMKitError, match=r"^/elsewhere/x.npz: No space"),
        writing(tmp_path, Path("out"), "-"),
    ):
        raise error


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, 1), (errno.EDQUOT, 1), (errno.EROFS, 2)])
def test_another_path_may_help_except_on_a_full_disk(number: int, code: int) -> None:
    error = cannot_write("out", OSError(number, "x"), option="output", advice="try again")
    assert error.exit_code == code
    assert "out: cannot write there: " + os.strerror(number) in str(error)


def test_a_checkpoint_that_finds_no_space_leaves_the_one_before_it(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen_imports: None
) -> None:
    """torch.save fails at the second checkpoint with the error that it has on a full disk."""
    import torch

    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 8)
    command = ["finetune", tmp_path / "rows.jsonl", "-m", tiny_model("llama"), "-o", tmp_path / "out"]
    command += ["--max-steps", "3", "--save-steps", "1", "--eval-split", "0", "--batch-size", "1"]
    save = torch.save

    def failing(what: object, file: str, *args: object, **kwargs: object) -> None:
        save(what, file, *args, **kwargs)
        if "checkpoint-2" in str(file):
            os.truncate(file, 10)
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 13632 vs 13524")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", failing)
        result = run(*command)
    assert_refused(result_without_notices(result), "checkpoint-2", "full for a moment", "--resume", code=1)
    kept = tmp_path / "out/checkpoints"
    assert sorted(path.name for path in kept.glob("*check*")) == ["checkpoint-1"]
    assert not (kept / "unfinished").exists()
    assert not (tmp_path / "out/adapter_config.json").exists()
    again = run(*command, "--resume")
    assert again.code == 0, again.err
    assert "resuming after step 1" in again.err


@pytest.fixture
def adapter(tiny_model: TinyModel, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    get_peft_model(base, LoraConfig(r=1, task_type="CAUSAL_LM")).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


VERBS: list[tuple[Any, ...]] = [
    ("merge", "ADAPTER"),
    ("quantize", "-m", "MODEL"),
    ("convert", "-m", "MODEL", "--to", "safetensors"),
    ("convert", "-m", "MODEL", "--to", "gguf"),
    ("convert", "-m", "MODEL", "--to", "ctranslate2"),
    ("finetune", "ROWS", "-m", "MODEL", "--max-steps", "1", "--full", "--eval-split", "0"),
    ("pretrain", "TEXT", "--params", "30k", "--vocab-size", "300", "--max-length", "16", "--max-steps", "1"),
]


@pytest.mark.parametrize("arguments", VERBS, ids=lambda one: "-".join(one[:1] + one[-1:]))
def test_a_verb_says_it_in_one_line(
    arguments: tuple[str, ...], tiny_model: TinyModel, adapter: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    (tmp_path / "text.txt").write_text("".join(f"The cat {i} saw the dog.\n\n" for i in range(60)))
    names = {
        "ADAPTER": str(adapter),
        "MODEL": str(tiny_model("llama")),
        "ROWS": str(tmp_path / "rows.jsonl"),
        "TEXT": str(tmp_path / "text.txt"),
    }
    output = tmp_path / "made" / "out"
    output.parent.mkdir()
    with small_files():
        result = run(*(names.get(one, one) for one in arguments), "-o", output)
    assert result.code == 1
    (error,) = [line for line in result.err.splitlines() if line.startswith("llmkit: error: ")]
    assert os.strerror(errno.EFBIG) in error
    assert "unexpected" not in error
    trains = arguments[0] in ("finetune", "pretrain")
    assert ("--resume" in error) == trains
    assert [path.name for path in output.parent.iterdir()] == (["out"] if trains else [])


def test_a_finished_model_that_does_not_fit_keeps_the_checkpoints(tmp_path: Path) -> None:
    from llmkit.training.run import TrainingRun

    training = TrainingRun.open(tmp_path, {}, 4, device="cpu", resume=False, notice=print)
    with small_files(), pytest.raises(LLMKitError, match="resume=True"):
        training.finish(
            lambda folder: save_with_safetensors(folder / "model.safetensors"), last="config.json", asked={}
        )
    assert (tmp_path / "checkpoints" / "run.json").is_file()
