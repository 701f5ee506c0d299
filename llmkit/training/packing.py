"""Pack short examples into rows of several examples.

Public: `pack`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put examples into rows of at most `capacity` tokens: longest first, each into the fullest with space.

    Best-fit decreasing: at most 11/9 of the smallest possible number of rows, plus one (Johnson 1973,
    "Near-optimal bin packing algorithms").

    Args:
        lengths: number of tokens of each example, none above `capacity`.
        capacity: number of tokens of a row.

    Returns:
        For each row the indices of its examples; each example is in exactly one row.
    """
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (free tokens, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        position = bisect.bisect_left(free, (lengths[index], -1))
        if position == len(free):
            rows.append([])
            space, row = capacity, len(rows) - 1
        else:
            space, row = free.pop(position)
        rows[row].append(index)
        bisect.insort(free, (space - lengths[index], row))
    return rows
