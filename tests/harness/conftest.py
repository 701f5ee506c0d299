"""One parent process for the forks, and one set of tiny models, for all tests of the harness."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.forks import Forks
from tests.harness.kills import Bench
from tests.harness.runs import make_inputs


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    if not sys.platform.startswith("linux") or shutil.which("cc") is None:
        pytest.skip("needs Linux and a C compiler, to stand between a program and its system calls")
    with Forks(tmp_path_factory.mktemp("forks")) as started:
        yield started


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("harness") / "inputs")


@pytest.fixture
def bench(forks: Forks, inputs: Path, tmp_path: Path) -> Bench:
    return Bench(forks, inputs, tmp_path)
