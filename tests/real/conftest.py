"""Real models for the tests of this folder, which run by ``make test-real`` only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmkit import LoadedModel, ModelSpec, load
from tests.real import models


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
    """A Python that has llama-cpp-python, which LLMKIT_LLAMA_PYTHON names."""
    python = os.environ.get("LLMKIT_LLAMA_PYTHON", sys.executable)
    found = subprocess.run([python, "-c", "import llama_cpp"], capture_output=True)
    if found.returncode:
        pytest.skip("LLMKIT_LLAMA_PYTHON names no Python that has llama-cpp-python")
    return python


@pytest.fixture(scope="session", autouse=True)
def all_threads() -> Iterator[None]:
    """Real models use all cores; the suite's own tests use one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)
