"""Cut rows into batches within a budget of tokens and rows.

Public: `PreparedRow`, `Budget`, `next_batch`. The plan is a pure function of the remaining rows and the
budget, so a resumed run makes the same batches as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from llmkit.records.rows import Row

T = TypeVar("T")


class HasLength(Protocol):
    """Object with a number of tokens, its `length`."""

    @property
    def length(self) -> int: ...


L = TypeVar("L", bound=HasLength)


@dataclass(frozen=True)
class PreparedRow(Generic[T]):
    """A row ready to run.

    Attributes:
        row: the row it was made from.
        length: number of tokens of its prompt.
        payload: data for the task that prepared it.
    """

    row: Row
    length: int
    payload: T


@dataclass(frozen=True)
class Budget:
    """Limits of one batch.

    A batch of n rows whose longest prompt has L tokens fits if n * (L + new_tokens) <= tokens and
    n <= rows. None means no limit. A single row always fits.

    Attributes:
        tokens: maximum number of padded prompt tokens and new tokens of all rows together.
        rows: maximum number of rows.
        new_tokens: tokens that each row may add to its prompt.
    """

    tokens: int | None
    rows: int | None
    new_tokens: int

    def halved(self, batch: Sequence[HasLength]) -> Budget | None:
        """Return a smaller budget after `batch` did not fit into memory; None if it was a single row.

        The new budget is half of the batch's own size, because the last batch of a window can be far below
        the budget. Rows are halved if they were the limit, tokens otherwise.
        """
        if len(batch) < 2:
            return None
        if self.tokens is None or self.rows == len(batch):
            return replace(self, rows=len(batch) // 2)
        longest = max(prepared.length for prepared in batch)
        return replace(self, tokens=len(batch) * (longest + self.new_tokens) // 2)


def longest_first(prepared: PreparedRow[Any]) -> tuple[int, int]:
    """Sort key that `next_batch` expects: longest first, then in input order."""
    return -prepared.length, prepared.row.index


def next_batch(pending: Sequence[L], budget: Budget) -> list[L]:
    """Take the next batch from the front of `pending`, which is sorted longest first."""
    if not pending:
        return []
    size = len(pending) if budget.rows is None else min(budget.rows, len(pending))
    if budget.tokens is not None:
        cost = max(pending[0].length + budget.new_tokens, 1)
        size = min(size, budget.tokens // cost)
    return list(pending[: max(size, 1)])
