"""A lock that lets the threads of one task take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turn:
    """Let one thread at a time run the code of a task.

    A task counts tokens and keeps caches, and is not thread-safe. Several of its batches can still run at
    once, because a thread releases its turn while a remote model computes::

        with turn:                  # code of the task
            with turn.waiting():    # other threads may run here
                answer = remote(...)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> Turn:
        self._lock.acquire()
        self._owner = threading.get_ident()
        return self

    def __exit__(self, *exc: object) -> None:
        self._owner = None
        self._lock.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let other threads run during the wait; do nothing if this thread does not have the turn."""
        if self._owner != threading.get_ident():
            yield
            return
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()
