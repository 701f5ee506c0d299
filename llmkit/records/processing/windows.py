"""Cut rows into windows, which are planned and written as one.

Public: `windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from llmkit.records.rows import Row

# Characters in the rows of a window. Rows of some thousand characters do not reach it.
_MOST_CHARACTERS = 64 << 20


def windows(rows: Iterator[Row], most: int, size_of: Callable[[Row], int]) -> Iterator[list[Row]]:
    """Yield the rows in windows of at most `most`, and of fewer where they are long.

    Args:
        rows: the rows.
        most: most rows of a window.
        size_of: returns the characters of a row.
    """
    while window := _next_window(rows, most, size_of):
        yield window


def _next_window(rows: Iterator[Row], most: int, size_of: Callable[[Row], int]) -> list[Row]:
    """Return the next rows, at most `most`, and fewer where they are long."""
    window: list[Row] = []
    characters = 0
    for row in islice(rows, most):
        window.append(row)
        characters += size_of(row)
        if characters >= _MOST_CHARACTERS:
            break
    return window
