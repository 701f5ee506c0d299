"""Longest common subsequences of token lists, computed for many table cells at a time.

A row of the dynamic-programming table is one integer: neighboring cells differ by 0 or 1, and bit j is 0 if
cell j+1 exceeds cell j. Four integer operations compute a row from the row above (Crochemore, Iliopoulos,
Pinzon and Reid 2001, "A fast and practical bit-vector algorithm for the longest common subsequence problem").
"""

from __future__ import annotations

from collections.abc import Sequence


def positions(tokens: Sequence[str]) -> dict[str, int]:
    """Return for each token an integer with bit j set if the token is at position j."""
    masks: dict[str, int] = {}
    for index, token in enumerate(tokens):
        masks[token] = masks.get(token, 0) | 1 << index
    return masks


def length(reference: Sequence[str], candidate: Sequence[str]) -> int:
    """Return the length of a longest common subsequence."""
    masks = positions(candidate)
    every = (1 << len(candidate)) - 1
    row = every
    for token in reference:
        if mask := masks.get(token):
            matched = row & mask
            row = (row + matched | row - matched) & every
    return len(candidate) - row.bit_count()


def indices(reference: Sequence[str], masks: dict[str, int], size: int) -> list[int]:
    """Return the indices in `reference` of one longest common subsequence, last index first.

    If there are several, the result is the one that rouge_score reads from its table: from the end, step back
    in the candidate only if that keeps more than stepping back in the reference.

    Args:
        reference: tokens.
        masks: `positions` of the candidate's tokens.
        size: number of the candidate's tokens.
    """
    if not any(token in masks for token in reference):
        return []
    every = (1 << size) - 1
    rows = [every]
    for token in reference:
        row = rows[-1]
        matched = row & masks.get(token, 0)
        rows.append((row + matched | row - matched) & every)
    found = []
    i, j = len(reference), size
    left = size - rows[i].bit_count()  # the value of cell (i, j)
    while left:
        last = 1 << (j - 1)
        if masks.get(reference[i - 1], 0) & last:
            found.append(i - 1)
            i, j, left = i - 1, j - 1, left - 1
        elif rows[i] & last and j - (rows[i - 1] & (last << 1) - 1).bit_count() < left:
            j -= 1
        else:
            above = j - (rows[i - 1] & (last << 1) - 1).bit_count()
            i, left = i - 1, above
    return found
