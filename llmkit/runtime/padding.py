"""Pad rows of token ids to one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


def pad(
    rows: Sequence[Sequence[int]], value: int, side: Literal["left", "right"] = "right"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad rows of ids to the longest.

    Args:
        rows: ids of each row; at least one row.
        value: id that fills the padding.
        side: side of the padding.

    Returns:
        Ids and attention mask (1 for real tokens), both int64 [rows, longest], on the CPU.
    """
    import torch

    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), value, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for i, row in enumerate(rows):
        where = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        ids[i, where] = torch.as_tensor(list(row), dtype=torch.int64)
        mask[i, where] = 1
    return ids, mask
