"""Several short examples in one row: which go together.

Public: `pack`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put examples into rows of at most `capacity` tokens, longest first, each where it leaves least room.

    Best-fit decreasing: at most 11/9 of the least number of rows, and one more (Johnson 1973).

    Args:
        lengths: tokens of each example, none above `capacity`.
        capacity: tokens of a row.

    Returns:
        For each row the indices of its examples; each example is in exactly one.
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (room left, row), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        at = bisect.bisect_left(rooms, (lengths[index], -1))
        if at == len(rooms):
            rows.append([])
            room, row = capacity, len(rows) - 1
        else:
            room, row = rooms.pop(at)
        rows[row].append(index)
        bisect.insort(rooms, (room - lengths[index], row))
    return rows
