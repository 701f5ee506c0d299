"""Real models for the tests of this folder, which run by ``make test-real`` only."""

from __future__ import annotations

import os
import time
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


@pytest.fixture(scope="session")
def mlx_python() -> str:
    """A Python that has mlx-lm."""
    return program("mlx_lm")


def program(module: str) -> str:
    try:
        return models.program(module)
    except models.MissingPackageError as error:
        pytest.skip(str(error))


def cores() -> int:
    """Return the number of cores for this process: those of the machine, shared with other workers."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, found // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.fixture(scope="session", autouse=True)
def all_threads() -> Iterator[None]:
    """Real models use all cores; the suite's own tests use one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(cores())
    yield
    torch.set_num_threads(before)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Keep a record of each test of this folder beside the models."""
    if Path(__file__).parent not in item.path.parents:
        yield
        return
    name, number = item.nodeid.rpartition("tests/real/")[2], item.session.items.index(item)
    table.current = table.Record(name, (item.location[1] or 0, number))
    cpu, wall = table.cpu_seconds(), time.monotonic()
    yield
    table.current.cpu, table.current.wall = table.cpu_seconds() - cpu, time.monotonic() - wall
    table.current.write()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of the test that runs in this process."""
    if report.outcome != "passed" and report.nodeid.endswith(table.current.test or "none"):
        table.current.outcome = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            table.current.reason = report.longrepr[2]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, if tests of this folder ran."""
    reports = [one for name in ("passed", "failed") for one in terminalreporter.getreports(name)]
    if any("tests/real/" in one.nodeid for one in reports):
        terminalreporter.write_sep("=", "numbers beside those of other programs")
        terminalreporter.write(table.report())
