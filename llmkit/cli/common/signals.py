"""SIGINT, SIGTERM and SIGHUP: end at once if there is nothing to save; otherwise unwind the work.

A handler that raises is not enough while modules are imported or a model is loaded. The exception can arise
at any line, also inside a library's bare `except`; then it is lost or becomes another error. So each signal
is also recorded, and `check` raises again if its exception was lost.

Python runs a handler only when the interpreter is in control again. Native code that never returns (a hostile
tokenizer) would block it forever. So during start-up the operating system ends the process, and later it does
so at the second signal.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SA_RESETHAND = 0x80000000


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived: like KeyboardInterrupt, no `except Exception` may swallow it."""


class _Received:
    begun = False  # this process is the command line's own
    unwinding = False  # raise; else end the process
    received: int | None = None


def owns_process() -> bool:
    """Return True if this process runs one command line; False in a program that calls it."""
    return _Received.begun


def end_at_once() -> None:
    """Let the system end the process at the next signal; for start-up, when there is nothing to save."""
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
    """From now on, raise KeyboardInterrupt or `Terminated` at a signal, so that the work can clean up.

    A program that calls the command line as a library keeps its own handlers.
    """
    if _Received.unwinding or threading.current_thread() is not threading.main_thread():
        return
    _Received.unwinding = True
    if _Received.begun:
        for number in _SIGNALS:
            _handle(number)


def check() -> None:
    """Raise again for a signal whose exception was lost.

    Raises:
        KeyboardInterrupt: it was SIGINT.
        Terminated: it was SIGTERM or SIGHUP.
    """
    if _Received.received is not None:
        _raise(_Received.received)


def exit_code(code: int) -> int:
    """Return the exit code of a process: 128 + the number of a signal that arrived, else `code`."""
    return code if _Received.received is None else 128 + _Received.received


def received() -> bool:
    """Return True if a signal arrived: an error after it is its consequence."""
    return _Received.received is not None


def reset() -> None:
    """Forget a signal that was handled, such as Ctrl-C in a chat."""
    _Received.received = None


def _handle(number: int) -> None:
    # A shell starts background jobs with SIGINT ignored; keep it ignored.
    if signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, _arrived)
        _handle_once(number)


def _handle_once(number: int) -> None:
    """Let the system end the process at the second signal, if the handler has not run by then."""
    if not sys.platform.startswith("linux") or os.uname().machine not in ("x86_64", "aarch64"):
        return
    import ctypes

    class SigAction(ctypes.Structure):
        """The system's `struct sigaction`, as in glibc and musl."""

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
        # No exception and no clean-up: a partly imported module may not pass an exception on.
        os._exit(exit_code(128 + number))
    _Received.received = number
    _handle(number)
    _raise(number)


def _raise(number: int) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated
