"""Run an independent reader in a separate process, in this Python or in another."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llmkit.errors import LLMKitError, OptionError
from llmkit.records.disk import is_refusal


def run_reader(program: str, job: dict[str, Any], python: str, folder: Path) -> None:
    """Run one of the programs in `readers` with a job.

    Raises:
        LLMKitError: it fails; the message has its last line.
    """
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    script = Path(__file__).parent / "readers" / program
    try:
        done = subprocess.run(
            [python, str(script), str(path)], capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise OptionError("reader_python", f"{python} does not run: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        full = f"; free some space in {folder.parent}" if is_refusal(Exception(last)) else ""
        raise LLMKitError(f"the independent reader failed: {last[:300]}{full}")


def reader_with(module: str, reader_python: str | None) -> str | None:
    """Return a Python that has `module`: the given one, or this one; None if neither has it."""
    if reader_python is not None:
        try:
            probe = subprocess.run(
                [
                    reader_python,
                    "-c",
                    f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)",
                ]
            )
        except OSError as error:
            raise OptionError("reader_python", f"{reader_python} does not run: {error.strerror}") from None
        if probe.returncode == 0:
            return reader_python
    return sys.executable if find_spec(module) is not None else None
