"""Messages for users: notices and errors, all on stderr.

This module does not write to stdout, which is for data.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import textwrap
import warnings
from dataclasses import dataclass
from typing import Any, TextIO

from llmkit.cli.common.streams import one_line, printable, raw_stderr
from llmkit.errors import NoticeWarning

_show_as_python = warnings.showwarning


@dataclass
class _Verbosity:
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    code: int = 0  # see `will_exit`
    open_line: int = 0  # length of the temporary line on stderr (see `show_line`)


state = _Verbosity()
_flags: dict[str, tuple[str, str | None]] = {}
_OPTION = re.compile(r"(?<!column )`(\w+)`")
_ASSIGNMENT = re.compile(r"\b(\w+)=(?:(True|False)\b|(\"[^\"]*\"|[^\s,;:)]+))")


def will_exit(code: int) -> None:
    """Record the exit code before the result is printed: the reader may close stdout while it is printed."""
    state.code = code


class ClosedPipe(BaseException):
    """The reader of stdout has closed it (`| head`)."""


class Exit(Exception):  # noqa: N818 (not an error: the work is done)
    """End the command with this exit code; all output is already printed."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def setup(*, quiet: bool, verbose: bool, debug: bool) -> None:
    """Apply the three flags that every verb has; without `-v`, suppress messages of the libraries.

    Call it before heavy imports: huggingface_hub and transformers read these variables once.
    """
    state.quiet, state.verbose, state.debug = quiet, verbose, debug
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    warnings.showwarning = _show
    if verbose or debug:
        return
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["HF_HUB_VERBOSITY"] = "error"
    os.environ["DATASETS_VERBOSITY"] = "error"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    warnings.filterwarnings("ignore")
    warnings.filterwarnings("always", category=NoticeWarning)
    logging.getLogger("torch").setLevel(logging.ERROR)
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show warnings of llmkit as notices, and those of libraries in Python's form."""
    if issubclass(category, NoticeWarning):
        notice(str(message))
    else:
        _show_as_python(message, category, filename, lineno, file, line)


def use_flags(flags: dict[str, tuple[str, str | None]]) -> None:
    """Set the flags of the running verb: option name -> its flag, and the flag that turns it off."""
    _flags.clear()
    _flags.update(flags)


def with_flags(message: str) -> str:
    """Replace the names of options in a message of the library by the flags of the running verb.

    `` `num_beams` `` becomes ``--num-beams``, ``num_beams=4`` becomes ``--num-beams 4``, ``chat=False``
    becomes ``--no-chat``. Names that are not options of the verb do not change.
    """

    def assignment(found: re.Match[str]) -> str:
        name, switch, value = found.groups()
        if name not in _flags:
            return found.group(0)
        on, off = _flags[name]
        if switch is None:
            return f"{on} {value.strip(chr(34))}"
        return on if switch == "True" else off or f"{on} off"

    def option(found: re.Match[str]) -> str:
        return _flags[found.group(1)][0] if found.group(1) in _flags else found.group(0)

    return _OPTION.sub(option, _ASSIGNMENT.sub(assignment, message))


def notice(message: str) -> None:
    """Print a notice for the user; `-q` disables notices."""
    if not state.quiet:
        say(f"llmkit: {one_line(with_flags(message))}")


def suggest(*commands: str) -> None:
    """Suggest next commands for a result, each with an optional description."""
    for number, command in enumerate(commands):
        notice(f"{'next' if number == 0 else 'or'}: {command}")


def detail(message: str) -> None:
    """Report a choice that llmkit made for the user; shown with `-v`."""
    if state.verbose:
        say(f"llmkit: {one_line(with_flags(message))}")


def error(message: str) -> None:
    """Print an error as one line."""
    say(f"llmkit: error: {' '.join(with_flags(message).split())}")


def say(text: str, *, end: str = "\n") -> None:
    """Print text for the user on stderr, with control characters as escapes."""
    clear_line()
    print(printable(text), end=end, file=sys.stderr, flush=True)


def show_line(text: str) -> None:
    """Show a temporary line on the terminal; the next output replaces it."""
    clear_line()
    shown = printable(text)[: shutil.get_terminal_size().columns - 1]
    state.open_line = len(shown)
    print(shown, end="", file=sys.stderr, flush=True)


def clear_line() -> None:
    """Remove the line that `show_line` shows, if there is one."""
    if state.open_line:
        print(f"\r{' ' * state.open_line}\r", end="", file=raw_stderr(), flush=True)
        state.open_line = 0


def dim(text: str) -> None:
    """Print text on stderr without a line break, dim on a terminal: prompts, and a model's thoughts."""
    if sys.stderr.isatty():
        print(f"\x1b[2m{printable(text)}\x1b[0m", end="", file=raw_stderr(), flush=True)
    else:
        say(text, end="")


def drawing() -> Any:
    """Return rich's console on stderr, for progress bars and tables that are redrawn."""
    from rich.console import Console

    return Console(file=raw_stderr())


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def fitted(line: str, indent: int) -> str:
    """Return a line of a table for stdout: wrapped at spaces on a terminal, otherwise unchanged.

    Args:
        line: the line.
        indent: columns before the further lines; 4 if this leaves too little space.
    """
    if not sys.stdout.isatty():
        return line
    width = shutil.get_terminal_size().columns
    before = " " * (indent if width - indent >= 20 else 4)
    broken = textwrap.wrap(
        line, width, subsequent_indent=before, break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(one.rstrip() for one in broken)
