"""Count the values of tensors whose shapes come from a file that may be hostile."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MAX_DIMENSIONS = 64  # of numpy's arrays; the product of a million numbers would take hours


def count_values(shape: Sequence[int]) -> int:
    """Return the number of values of a tensor.

    Raises:
        ValueError: the shape has too many dimensions, a number below zero, or more values than torch counts.
    """
    if len(shape) > _MAX_DIMENSIONS:
        raise ValueError(f"a shape of {len(shape)} dimensions")
    if any(n < 0 for n in shape):
        raise ValueError("a shape below zero")
    if math.prod(max(n, 1) for n in shape) >= 1 << 63:
        raise ValueError("a shape beyond what torch counts")
    return math.prod(shape)
