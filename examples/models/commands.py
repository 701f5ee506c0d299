"""Run llmkit and other programs, each on one thread.

Public: `llmkit`, `run`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def llmkit(*arguments: str, log: Path | None = None) -> None:
    run([sys.executable, "-m", "llmkit", *arguments], log)


def run(command: list[str], log: Path | None = None) -> None:
    """Run a program on one thread; its messages go to `log`, and its failure ends ours."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if log is None:
        subprocess.run(command, check=True, env=environment)
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        subprocess.run(command, check=True, env=environment, stdout=file, stderr=file)
