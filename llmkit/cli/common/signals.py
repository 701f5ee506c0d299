"""SIGINT and SIGTERM: end at once while nothing is to be saved, and unwind the work otherwise.

A handler that raises is not enough while modules are imported or a model is loaded: the exception arises at
any line, in a library's bare `except` too, and is lost or becomes another error. So each signal is recorded
as well, and `check` raises again for one that was lost.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(BaseException):
    """SIGTERM arrived: like KeyboardInterrupt, no `except Exception` may swallow it."""


class _Received:
    unwinding = False  # raise; else end the process
    received: int | None = None


def end_at_once() -> None:
    """Let the next signal end the process with 128 + its number; for start-up and for the very end."""
    _Received.unwinding = False
    for number in _SIGNALS:
        _handle(number)


def unwind() -> None:
    """From now on let a signal raise KeyboardInterrupt or `Terminated`, so that the work can clean up."""
    _Received.unwinding = True


def check() -> None:
    """Raise for a signal that arrived and whose exception was swallowed on its way.

    Raises:
        KeyboardInterrupt: it was SIGINT.
        Terminated: it was SIGTERM.
    """
    if _Received.received is not None:
        _raise(_Received.received)


def exit_code(code: int) -> int:
    """Return the exit code of a process: 128 + the number of a signal that arrived, else `code`."""
    return code if _Received.received is None else 128 + _Received.received


def received() -> bool:
    """Tell if a signal arrived: an error after it is its consequence."""
    return _Received.received is not None


def reset() -> None:
    """Forget a signal that was dealt with, as a chat does with Ctrl-C."""
    _Received.received = None


def _handle(number: int) -> None:
    # A shell's background job begins with SIGINT ignored, and stays so.
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, _arrived)


def _arrived(number: int, frame: FrameType | None) -> None:
    if not _Received.unwinding:
        # No exception and no clean-up: whatever is half imported cannot be trusted to pass it on.
        os._exit(exit_code(128 + number))
    _Received.received = number
    _raise(number)


def _raise(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
