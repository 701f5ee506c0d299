"""The tiny TensorFlow and Flax checkpoints (make_checkpoints.py), unpacked once."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each container, and in it one for each family."""
    folder = tmp_path_factory.mktemp("checkpoints")
    with zipfile.ZipFile(Path(__file__).with_name("checkpoints.zip")) as archive:
        archive.extractall(folder)
    return folder
