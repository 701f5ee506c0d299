"""Return freed memory to the system while a model is loaded; by default, glibc keeps most of it.

glibc maps each large block separately and returns it when it is freed. After the first such block is freed,
glibc takes blocks of that size (up to 32 MB) from its heap. While a model is loaded, weights are then between
temporary blocks, whose memory cannot be returned. Without glibc, this module does nothing.

https://man7.org/linux/man-pages/man3/mallopt.3.html

Public: `returning_memory`, `return_free`.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

LARGE = 320 << 10
"""Bytes from which on a block comes from the system while a model is loaded; quantizing uses smaller ones."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_MOST = 32 << 20  # glibc's own limit of the second; the first is twice as large there


@contextmanager
def returning_memory() -> Iterator[None]:
    """Return large blocks to the system when they are freed, and at the end whatever else is free."""
    _limit(LARGE)
    try:
        yield
    finally:
        return_free()
        # Later, temporary blocks of a step are best kept: new pages cost time.
        _limit(_MOST)


def return_free() -> None:
    """Return the heap's free memory to the system; it takes milliseconds."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def _limit(size: int) -> None:
    library = _library()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, size)
        library.mallopt(_TRIM_THRESHOLD, 2 * size)


@cache
def _library() -> Any:
    """Return the C library if it has both functions; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
