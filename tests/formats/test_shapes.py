"""Numbers of values: torch's own, or an error for shapes that no tensor has."""

from __future__ import annotations

import pytest
import torch

from llmkit.formats.shapes import count_values


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (4, 3, 2), (1 << 40, 0)])
def test_count(shape: tuple[int, ...]) -> None:
    assert count_values(shape) == torch.empty(shape, device="meta").numel()


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((0,) * 65, "65 dimensions"),
        ((9,) * 2_000_000, "2000000 dimensions"),  # their product would take days
        ((2, -1), "below zero"),
        ((1 << 62, 2), "beyond"),
        ((1 << 62, 1 << 62, 0), "beyond"),
    ],
)
def test_no_tensor_has_such_a_shape(shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        count_values(shape)
