"""Lines of JSON between llmkit and a program in another Python. It needs only the standard library.

llmkit keeps the program's standard input open. When it closes, because llmkit ended or was killed, the
program ends at once. Output of libraries goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any

_ended: set[int] = set()
_out = None


def take_output() -> None:
    """Reserve standard output for `say`."""
    global _out
    _out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def say(answer: dict[str, Any]) -> None:
    """Send a line."""
    assert _out is not None
    _out.write(json.dumps(answer) + "\n")
    _out.flush()


def jobs(at_end: Callable[[], None] = lambda: None) -> queue.SimpleQueue[dict[str, Any]]:
    """Return a queue that gets each job that llmkit sends; a thread reads them.

    Args:
        at_end: called before the program ends.
    """
    found: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            job = json.loads(line)
            if "end" in job:
                _ended.add(job["end"])
            else:
                found.put(job)
        at_end()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return found


def ended(row: int) -> bool:
    """Return True if llmkit needs no more tokens of a row."""
    return row in _ended


def answer(opened: Callable[[dict[str, Any]], tuple[str, Callable[[int, dict[str, Any]], None]]]) -> None:
    """Answer jobs until llmkit ends.

    Args:
        opened: receives the first job, which names the model; returns the library's version, and a function
            that answers a row and sends its tokens, ``{"row": ..., "id": ...}``.
    """
    take_output()
    waiting = jobs()
    try:
        version, write = opened(waiting.get())
    except BaseException as error:
        say({"error": f"{type(error).__name__}: {error}"})
        raise SystemExit(1) from None
    say({"version": version})
    while True:
        job = waiting.get()
        _ended.clear()
        try:
            for number, row in enumerate(job["rows"]):
                if not ended(number):
                    write(number, row)
                say({"done": number})
        except BaseException as error:
            say({"error": f"{type(error).__name__}: {error}", "memory": isinstance(error, MemoryError)})
            continue
        say({"finished": True})
