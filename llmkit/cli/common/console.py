"""Messages to a person: notices, errors and progress, all on stderr.

stdout belongs to data and is not touched here.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any, TextIO

from llmkit.cli.common import signals
from llmkit.cli.common.streams import one_line, printable, raw_stderr
from llmkit.errors import NoticeWarning

_show_as_python = warnings.showwarning


@dataclass
class _Verbosity:
    quiet: bool = False
    verbose: bool = False
    debug: bool = False


state = _Verbosity()
_flags: dict[str, tuple[str, str | None]] = {}
_OPTION = re.compile(r"(?<!column )`(\w+)`")
_ASSIGNMENT = re.compile(r"\b(\w+)=(?:(True|False)\b|(\"[^\"]*\"|[^\s,;:)]+))")


class ClosedPipe(BaseException):
    """The reader of stdout has closed it (`| head`)."""


class Exit(Exception):  # noqa: N818 (not an error: the work is done)
    """End the command with this exit code; everything is printed already."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def setup(*, quiet: bool, verbose: bool, debug: bool) -> None:
    """Take the three flags that every verb has; without `-v`, silence the libraries underneath.

    Call it before anything heavy is imported: huggingface_hub and transformers read these variables once.
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
    """Show our own warnings as notices, and those of libraries as Python does."""
    if issubclass(category, NoticeWarning):
        notice(str(message))
    else:
        _show_as_python(message, category, filename, lineno, file, line)


def use_flags(flags: dict[str, tuple[str, str | None]]) -> None:
    """Set the flags of the running verb: option name -> its flag, and the flag that turns it off."""
    _flags.clear()
    _flags.update(flags)


def with_flags(message: str) -> str:
    """Show the options that a message of the library names as flags of the running verb.

    `` `num_beams` `` becomes ``--num-beams``, ``num_beams=4`` becomes ``--num-beams 4``, ``chat=False``
    becomes ``--no-chat``. Names that are no option of the verb stay as they are.
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
    """Tell the user something that they should know; `-q` turns it off."""
    if not state.quiet:
        say(f"llmkit: {one_line(with_flags(message))}")


def detail(message: str) -> None:
    """Tell the user a choice that was made for them; shown with `-v`."""
    if state.verbose:
        say(f"llmkit: {one_line(with_flags(message))}")


def error(message: str) -> None:
    """Print an error as one line."""
    say(f"llmkit: error: {' '.join(with_flags(message).split())}")


def say(text: str, *, end: str = "\n") -> None:
    """Print text for a person on stderr; control characters are shown, not sent."""
    print(printable(text), end=end, file=sys.stderr, flush=True)


def dim(text: str) -> None:
    """Print text on stderr without a line break, dim on a terminal: prompts, and a model's thoughts."""
    if sys.stderr.isatty():
        print(f"\x1b[2m{printable(text)}\x1b[0m", end="", file=raw_stderr(), flush=True)
    else:
        say(text, end="")


def drawing() -> Any:
    """Return rich's console on stderr, for bars and tables that change in place."""
    from rich.console import Console

    return Console(file=raw_stderr())


class Progress:
    """A bar on a terminal; elsewhere a plain line now and then; nothing under `-q`.

    The bar is drawn when the work has lasted half a second, so that short work draws none.
    """

    def __init__(self, verb: str, total: float | None = None, seconds_between_lines: float = 30.0) -> None:
        self.verb = verb
        self.total = total
        self._every = seconds_between_lines
        self._start = time.monotonic()
        self._first: tuple[float, float] | None = None  # when the first update came, and what was done
        self._last_line = self._start
        self._bar: Any = None
        self._task: Any = None

    def update(self, done: float, text: str = "") -> None:
        """Show `done` (of `total`) and a few words such as `12.1 rows/s`."""
        signals.unwind()  # from now on there is work to keep, and perhaps a bar to take away
        signals.check()
        now = time.monotonic()
        if self._first is None:
            self._first = now, done  # a resumed run does not begin at nothing
        if state.quiet or now - self._start < 0.5:
            return
        if sys.stderr.isatty():
            self._draw(done, text, self._left(done, now, *self._first))
        elif now - self._last_line >= self._every:
            self._last_line = now
            share = f" {100 * done / self.total:.0f}%" if self.total else ""
            say(f"llmkit: {self.verb}:{share} {text}".rstrip())

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _left(self, done: float, now: float, since: float, before: float) -> str:
        """Return the time left as h:mm:ss; empty as long as there is nothing to estimate it from."""
        if not self.total or done <= before:
            return ""
        seconds = round((now - since) * max(self.total - done, 0.0) / (done - before))
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"

    def _draw(self, done: float, text: str, left: str) -> None:
        if self._bar is None:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[text]}"),
                # rich's own estimate needs several updates, and a batch may take a minute.
                TextColumn("{task.fields[left]}"),
                console=drawing(),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self.verb, total=self.total, text="", left="")
        self._bar.update(self._task, completed=done, text=printable(text), left=left)


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
