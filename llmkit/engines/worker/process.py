"""A program in another Python, which always ends with this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import IO, Any

from llmkit.errors import LLMKitError, OptionError, one_line

_PROGRAMS = Path(__file__).with_name("programs")
_LAST = 2000  # maximum bytes of a program's messages to search for the last line


def check_module(python: str | None, module: str, install: str) -> str:
    """Return the Python that has a module.

    Args:
        python: the option `engine_python`; None is this Python.
        module: name of the module.
        install: sentence with the installation command.

    Raises:
        OptionError: it does not run, or does not have the module.
    """
    chosen = sys.executable if python is None else python
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    try:
        done = subprocess.run([chosen, "-c", code], stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise OptionError("engine_python", f"{chosen} does not run: {error.strerror}") from None
    if done.returncode:
        where = "this Python has" if python is None else f"{python} has"
        raise OptionError("engine_python", f"must be a Python with {module}: {where} none; {install}")
    return chosen


class WorkerProcess:
    """A program of `programs`, in a separate process.

    Its standard input is a pipe that only this process holds: when this process ends, even killed, the
    program reads the end of the pipe and ends too. It is in a separate session, where Ctrl-C of a terminal
    does not reach it.

    Args:
        python: path of the Python that runs it.
        program: file name of the program.
        job: first line that it receives.
        name: name for messages, such as ``llama.cpp``.
    """

    def __init__(self, python: str, program: str, job: dict[str, Any], name: str) -> None:
        self._name = name
        self._messages: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        # llmkit's command line lets waiting OpenMP threads sleep, which makes these programs slow.
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        self._process = subprocess.Popen(
            [python, str(_PROGRAMS / program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            env=environment,
            start_new_session=True,
            encoding="utf-8",
        )
        self._end = weakref.finalize(self, _end, self._process)
        self.send(job)

    def send(self, job: dict[str, Any]) -> None:
        """Send a line; `receive` detects a program that has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # it ended, or `close` was called

    def receive(self) -> dict[str, Any]:
        """Return the next line.

        Raises:
            LLMKitError: the program ended, or reports an error; the message has its last line.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise LLMKitError(f"{self._name} ended with exit code {self._process.wait()}: {self.last_line()}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found and not found.get("memory"):
            raise LLMKitError(f"{self._name} failed: {one_line(found['error'])}")
        return found

    def last_line(self) -> str:
        """Return the last line that the program wrote to standard error, or a text if there is none."""
        size = self._messages.seek(0, os.SEEK_END)
        self._messages.seek(max(0, size - _LAST))
        lines = self._messages.read().decode(errors="replace").strip().splitlines()
        return one_line(lines[-1]) if lines else "no message"

    def has_ended(self) -> bool:
        """Return True if the process has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the program, and wait for it."""
        self._end()


def _end(process: subprocess.Popen[str]) -> None:
    """Close the pipe and wait for the end; kill the process if it does not end."""
    try:
        if process.stdin is not None:
            process.stdin.close()
    except OSError:
        pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
