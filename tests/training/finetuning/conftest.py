"""Rows that the tests of finetuning share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.finetuning.runs import write_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write rows of a kind and number to a file, once in each module."""
    folder = tmp_path_factory.mktemp("rows")

    def write(kind: str = "completion", count: int = 24) -> Path:
        return write_rows(folder, kind, count)

    return write
