"""Overlapping windows over a text that is longer than a model sees."""

from __future__ import annotations


def overlapping_windows(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Windows of `size` tokens over `length` tokens, each sharing `overlap` with the one before.

    Returns:
        (start, stop) pairs in order; the last ends at `length`. None where there are no tokens.

    Raises:
        ValueError: `overlap` is not smaller than `size`, so that the windows would not move on.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"windows of {size} tokens cannot share {overlap}")
    starts = range(0, max(length - overlap, min(length, 1)), size - overlap)
    return [(start, min(start + size, length)) for start in starts]
