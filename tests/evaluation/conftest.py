"""What the tests of `evaluate` modules share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def evaluate_folder(tmp_path_factory: pytest.TempPathFactory):
    """Where `evaluate` writes its copies of modules and its caches, instead of the user's home.

    One for all tests: once imported, the package that holds the copies stays where it is.
    """
    import evaluate

    folder: Path = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", str(folder / "modules"))
        patch.setattr(evaluate.config, "HF_METRICS_CACHE", str(folder / "cache"))
        patch.syspath_prepend(str(folder / "modules"))
        yield folder
