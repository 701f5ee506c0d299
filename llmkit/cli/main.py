"""Entry point: signals, closed pipes, errors and exit codes. `llmkit.cli.app` parses the command line.

A verb's module is imported only when the verb is called; Typer is not imported for a help page.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import NoReturn

from llmkit.cli import verbs
from llmkit.cli.common import console, signals, streams
from llmkit.errors import LLMKitError, one_line
from llmkit.user_folder import cache_folder, state_folder


def main() -> NoReturn:
    """Run the command line and exit with the documented code."""
    signals.end_at_once()
    streams.set_up()
    # Read once, when torch loads OpenMP. Threads that spin at every barrier make small models very slow when
    # other programs run on the machine; `python -m tests.benchmarks threads` measures this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = signals.exit_code(run_command(sys.argv[1:]))
    # Everything is saved now, so a second Ctrl-C may end the process.
    signals.exit_at_once()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _closed_pipe(code)
    except OSError as error:
        console.error(_disk_error(error))
        _drop_stdout()
        code = code or 1
    if "torch" in sys.modules:
        # Stopping the threads of torch and datasets takes time and saves nothing, so os._exit skips it. But
        # it would also skip the exit functions, which remove layers offloaded to disk.
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command line in this process and return its exit code."""
    console.use_flags({})
    console.will_exit(0)
    try:
        return _run(arguments)
    except console.ClosedPipe:
        return _closed_pipe(console.state.code)
    except console.Exit as ended:
        return ended.code
    except KeyboardInterrupt:
        return 130
    except signals.Terminated:
        return 143
    except Exception as error:
        if signals.received():
            # The signal's exception arose in a library, which turned it into another error.
            return signals.exit_code(1)
        if console.state.debug:
            raise
        return _report(error)


def _run(arguments: list[str]) -> int:
    completing = "_LLMKIT_COMPLETE" in os.environ  # set by the shell's completion script
    page = None if completing else verbs.asked_page(arguments)
    if page is not None:
        print(page, end="")
        return 0
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments and not completing:
        print(verbs.page(None), end="", file=sys.stderr)
        return 2
    import typer

    from llmkit.cli.app import app, usage_message

    try:
        result = app(arguments, prog_name="llmkit", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Abort:
        return 130
    except typer.TyperException as error:
        console.error(usage_message(error))
        return int(error.exit_code)


def _report(error: Exception) -> int:
    """Print an error as one line and return its exit code."""
    if isinstance(error, LLMKitError):
        console.error(str(error))
        return error.exit_code
    from llmkit.records.disk import is_refusal

    if is_refusal(error):
        console.error(_disk_error(error))
        if isinstance(error, OSError) and error.filename == streams.STDOUT:
            _drop_stdout()
        return 1
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        console.error(f"{name}{error.strerror or error}")
        return 1
    reason = one_line(error, limit=2000)
    console.error(f"unexpected {type(error).__name__}: {reason} (--debug shows where; please report it)")
    return 1


def _disk_error(error: Exception) -> str:
    """Return the text of a disk's refusal; if it names no file, look for the disk that is full."""
    from llmkit.records.disk import full_folder, reason, system_error

    number = system_error(error)
    why = one_line(error) if number is None else reason(number)
    place = error.filename if isinstance(error, OSError) else None
    if place is None:
        place = full_folder(Path.cwd(), cache_folder(""), state_folder(""))
    return why if place is None else f"{place}: {why}"


def _closed_pipe(code: int) -> int:
    """End quietly if the reader closed the pipe (`| head`); also at interpreter exit."""
    _drop_stdout()
    return code


def _drop_stdout() -> None:
    """Discard the buffered output for stdout, so that the exit does not fail on it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
