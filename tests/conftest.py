"""Every test runs without a network, and shares the tiny models of its session."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports huggingface_hub or torch, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
# Tiny models gain nothing from threads, and the suite's processes would fight for cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest

from llmkit.temporary import temporary_folder
from tests.tiny import make_adapter, make_model

# Failed assertions there show their values, as in a file named test_*.py.
pytest.register_assert_rewrite("tests.engines.contract")

# A script's background job begins with SIGINT ignored, and would hand that on to the commands under test.
signal.signal(signal.SIGINT, signal.default_int_handler)
TinyModel = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep proofs of finished outputs, and what tests leave in $TMPDIR, out of the user's folders.

    Killed commands and torch's launcher leave temporary files. The path is short, because it holds sockets.
    """
    tmp_path_factory.getbasetemp()  # pytest's own folder is not below this one
    with temporary_folder("tests") as folder:
        for name in ("state", "tmp"):
            (folder / name).mkdir()
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A tiny random model's folder by family; options are those of `tests.tiny.make_tokenizer`."""
    made: dict[object, Path] = {}

    def get(family: str, **options: bool) -> Path:
        key = (family, *sorted(options.items()))
        if key not in made:
            made[key] = make_model(family, tmp_path_factory.mktemp(family), **options)
        return made[key]

    return get


@pytest.fixture(scope="session")
def stories_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a random LoRA adapter on the embedded model `stories`, with its tokenizer."""
    return make_adapter(tmp_path_factory.mktemp("adapter"))


@pytest.fixture(scope="session")
def frozen_imports() -> None:
    """Import the training libraries, and exempt what they hold from garbage collection.

    accelerate collects garbage at the start of each run; with all of torch to look at it takes as long as a
    small run.
    """
    from peft import PeftModel  # noqa: F401
    from transformers import Trainer  # noqa: F401

    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of public data sets that LLMKIT_DATA names; tests that need it are skipped without."""
    folder = os.environ.get("LLMKIT_DATA")
    if not folder:
        pytest.skip("LLMKIT_DATA is not set")
    return Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Sum up the cases that the tests of promises tried (`record_property("cases", "kills: 30")`)."""
    counts: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "cases" and report.when == "call":
                    what, number = str(value).rsplit(": ", 1)
                    counts[f"{what} ({outcome})"] += int(number)
    for what, number in counts.items():
        terminalreporter.write_line(f"cases: {number} {what}")


@pytest.fixture(autouse=True)
def no_lines_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a model may load for longer than the time after which a line tells so."""
    from llmkit.cli.common import progress

    monkeypatch.setattr(progress, "_FIRST_LINE", 1e9)
