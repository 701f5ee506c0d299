"""Real models for the tests of this folder, which run by ``make test-real`` only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmkit import LoadedModel, ModelSpec, load
from tests.real import models, table


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def chat_folder() -> Path:
    """SmolLM2-135M-Instruct as a Hugging Face folder."""
    try:
        return models.smollm2()
    except models.MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chat_gguf(chat_folder: Path) -> Path:
    return models.smollm2_gguf()


@pytest.fixture(scope="session")
def encoder_folder() -> Path:
    """all-MiniLM-L6-v2."""
    try:
        return models.minilm()
    except models.MissingPackageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chat(chat_folder: Path) -> LoadedModel:
    return load(ModelSpec(str(chat_folder), device="cpu", dtype="float32"))


@pytest.fixture(scope="session")
def llama_python() -> str:
    """A Python that has llama-cpp-python."""
    return program("llama_cpp")


@pytest.fixture(scope="session")
def lm_eval_python() -> str:
    """A Python that has lm-evaluation-harness."""
    return program("lm_eval")


def program(module: str) -> str:
    try:
        return models.program(module)
    except models.MissingPackageError as error:
        pytest.skip(str(error))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(scope="session", autouse=True)
def all_threads() -> Iterator[None]:
    """Real models use all cores; the suite's own tests use one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seconds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Count the CPU seconds of a test; what a shared fixture took counts for its first test."""
    yield
    name = request.node.nodeid.rpartition("/")[2]
    table.seconds[name] = table.cpu_seconds() - sum(table.seconds.values()) - START


START = table.cpu_seconds()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of this run, and keep it beside the models."""
    if table.rows:
        terminalreporter.write_sep("=", "numbers beside those of other programs")
        terminalreporter.write(table.markdown())
        table.write()
