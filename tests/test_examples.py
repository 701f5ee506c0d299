"""Every example runs as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT

EXAMPLES = [
    pytest.param(path, marks=pytest.mark.slow if path.name == "batch.sh" else ())
    for path in sorted(p for p in (ROOT / "examples").iterdir() if p.suffix in {".py", ".sh"})
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, path] if path.suffix == ".py" else ["bash", path]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr
