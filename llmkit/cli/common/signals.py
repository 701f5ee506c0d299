"""SIGINT and SIGTERM: end at once while nothing is to be saved, and unwind the work otherwise.

A handler that raises is not enough while modules are imported or a model is loaded: the exception arises at
any line, in a library's bare `except` too, and is lost or becomes another error. So each signal is recorded
as well, and `check` raises again for one that was lost.

Python runs a handler when the interpreter is next in control. Code in another language that never returns, as
with a hostile tokenizer, would keep it from that for ever. So at the start the system itself ends the
process, and later it does so at the second signal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SA_RESETHAND = 0x80000000


class Terminated(BaseException):
    """SIGTERM arrived: like KeyboardInterrupt, no `except Exception` may swallow it."""


class _Received:
    begun = False  # this process is the command line's own
    unwinding = False  # raise; else end the process
    received: int | None = None


def owns_process() -> bool:
    """Return True if this process runs one command line; False in a program that calls it."""
    return _Received.begun


def end_at_once() -> None:
    """Let the system end the process at the next signal; for start-up, when nothing is to be saved."""
    _Received.begun, _Received.unwinding = True, False
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def exit_at_once() -> None:
    """Let the next signal end the process with 128 + its number; for the very end."""
    _Received.unwinding = False
    for number in _SIGNALS:
        _handle(number)


def unwind() -> None:
    """From now on let a signal raise KeyboardInterrupt or `Terminated`, so that the work can clean up.

    In a program that only calls the command line, its own handlers stay.
    """
    if _Received.unwinding or threading.current_thread() is not threading.main_thread():
        return
    _Received.unwinding = True
    if _Received.begun:
        for number in _SIGNALS:
            _handle(number)


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
        _handle_once(number)


def _handle_once(number: int) -> None:
    """Let the system end the process at the next signal but one, if the handler has not run by then."""
    if not sys.platform.startswith("linux") or os.uname().machine not in ("x86_64", "aarch64"):
        return
    import ctypes

    class SigAction(ctypes.Structure):
        """The system's `struct sigaction`, as glibc and musl have it."""

        _fields_ = [
            ("handler", ctypes.c_void_p),
            ("mask", ctypes.c_ubyte * 128),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        ]

    action, library = SigAction(), ctypes.CDLL(None)
    if library.sigaction(number, None, ctypes.byref(action)) == 0:
        action.flags = ctypes.c_int(action.flags | _SA_RESETHAND).value
        library.sigaction(number, ctypes.byref(action), None)


def _arrived(number: int, frame: FrameType | None) -> None:
    if not _Received.unwinding:
        # No exception and no clean-up: whatever is half imported cannot be trusted to pass it on.
        os._exit(exit_code(128 + number))
    _Received.received = number
    _handle(number)
    _raise(number)


def _raise(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
