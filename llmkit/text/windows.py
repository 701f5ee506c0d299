"""Overlapping windows over a text that is longer than a model's context."""

from __future__ import annotations


def overlapping_windows(length: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """Return windows of `size` tokens over `length` tokens; each shares `overlap` tokens with the one before.

    Returns:
        (start, stop) pairs in order; the last ends at `length`. Empty without tokens.

    Raises:
        ValueError: `overlap` is not smaller than `size`, so that the windows would not advance.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"windows of {size} tokens cannot share {overlap}")
    starts = range(0, max(length - overlap, min(length, 1)), size - overlap)
    return [(start, min(start + size, length)) for start in starts]
