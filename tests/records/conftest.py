import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fake():
    """The module `fake_run`, which is also a script."""
    path = Path(__file__).with_name("fake_run.py")
    spec = importlib.util.spec_from_file_location("fake_run", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(fake, tmp_path):
    """An input of 70 rows: four full windows of 16 and a part of one."""
    return fake.write_input(tmp_path / "in.jsonl", 70)


@pytest.fixture
def whole(fake, source, tmp_path):
    """What an undisturbed run over `source` writes."""
    fake.run(source, tmp_path / "whole.jsonl")
    return (tmp_path / "whole.jsonl").read_bytes()
