"""Run llmkit's command line: in this process where that is enough, in its own where it is not."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Result:
    """What a command did: its exit code, and its two streams as text."""

    code: int
    out: str
    err: str


def rows_of(text: str) -> list[dict[str, Any]]:
    """The objects of a JSONL text."""
    return [json.loads(line) for line in text.splitlines()]


def assert_refused(result: Result, *mentions: str, option: str | None = None, code: int = 2) -> None:
    """Check that the command ended with one line of error on stderr and nothing on stdout.

    Args:
        result: of `run`.
        mentions: facts that the line must hold, such as a file name with its line or a value, not wording.
        option: Python name of the option that the line must name, as its flag.
        code: exit code.
    """
    assert result.code == code, result.err
    assert result.out == ""
    assert result.err.startswith("llmkit: error: ")
    assert result.err.count("\n") == 1
    for fact in mentions:
        assert fact in result.err
    if option is not None:
        assert f"--{option.replace('_', '-')}" in result.err


class _Captured(io.TextIOWrapper):
    """An output stream that is no terminal and keeps what was written."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8", newline="", write_through=True)

    @property
    def text(self) -> str:
        return self._bytes.getvalue().decode("utf-8")


class _Stdin(io.TextIOWrapper):
    """A pipe with bytes in it, or a terminal at which nobody types."""

    def __init__(self, data: bytes | None) -> None:
        self._terminal = data is None
        super().__init__(io.BufferedReader(io.BytesIO(data or b"")), encoding="utf-8")

    def isatty(self) -> bool:
        return self._terminal


def run(*arguments: str | Path, stdin: str | bytes | None = None) -> Result:
    """Run a command line in this process. Without `stdin`, stdin is a terminal that is not read."""
    from llmkit.cli.common import console
    from llmkit.cli.main import run_command

    source = _Stdin(stdin.encode() if isinstance(stdin, str) else stdin)
    out, err = _Captured(), _Captured()
    console.setup(quiet=False, verbose=False, debug=False)
    streams: Any = mock.patch.multiple(sys, stdin=source, stdout=out, stderr=err)
    with streams:
        code = run_command([str(argument) for argument in arguments])
    return Result(code, out.text, err.text)


def spawn(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own; `options` go to `subprocess.run`."""
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if options["stdin"] is None:
        del options["stdin"]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [sys.executable, "-m", "llmkit", *map(str, arguments)],
        capture_output=options.pop("capture_output", True),
        text=True,
        timeout=options.pop("timeout", 300),
        env={**os.environ, "HF_HUB_OFFLINE": "1", **options.pop("env", {})},
        **options,
    )
    if done.stderr is not None:
        done.stderr = without_progress(done.stderr)
    return done


def without_progress(shown: str) -> str:
    """Remove the lines that tell how long something takes, which depend on how busy the machine is."""
    shown = re.sub(r"llmkit: [^\r\n]*, \d+:\d\d:\d\d\r +\r", "", shown)
    return re.sub(r"^llmkit: [^\n]*, \d+:\d\d:\d\d\n", "", shown, flags=re.M)
