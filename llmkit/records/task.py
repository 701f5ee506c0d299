"""The protocol between `process`, which runs rows, and the tasks that answer them."""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from llmkit.errors import RowError
from llmkit.records.batches import Budget, PreparedRow
from llmkit.records.processing.turn import Turn
from llmkit.records.rows import Row

T = TypeVar("T")
Fields = dict[str, Any]
"""The result columns of a row."""


class Workers(Protocol):
    """Worker processes with the same model that run calls in parallel.

    Attributes:
        turn: lock that lets one thread at a time run a task's own code; `call` releases it while it waits.
        calls: maximum number of calls at the same time.
        hardware: processor or GPU, and versions, for the journal.
        allow_mixed: True if they may differ.
    """

    turn: Turn

    @property
    def calls(self) -> int: ...

    @property
    def hardware(self) -> dict[str, Any]: ...

    @property
    def allow_mixed(self) -> bool: ...

    def describe(self) -> str:
        """Return the number of running workers, for a progress line."""

    def identity(self) -> dict[str, Any]:
        """Return everything that their results depend on, except the hardware."""

    def call(self, method: str, arguments: tuple[Any, ...], keys: frozenset[Hashable] = frozenset()) -> Any:
        """Call a method of the workers' object on one worker."""


@dataclass
class RunState:
    """State of one run of a task.

    Attributes:
        seed: seed of everything random; may be set before the first batch.
        seed_given: True if the user chose the seed, or nothing is random.
        tokens_written: tokens that the model has written so far, for the progress line.
        workers: workers that run the model; None if it runs in this process.
    """

    seed: int = 0
    seed_given: bool = True
    tokens_written: int = 0
    workers: Workers | None = None

    @classmethod
    def seeded(cls, seed: int | None) -> RunState:
        """Return the state of a new run; without a seed, draw one, which the run reports."""
        return cls(secrets.randbits(32) if seed is None else seed, seed is not None)


class Task(Protocol[T]):
    """Processing of rows: prepare each row separately, then process batches.

    Attributes:
        run_state: seed and counters.
    """

    run_state: RunState

    def prepare(self, rows: Sequence[Row]) -> Sequence[PreparedRow[T] | RowError]:
        """Prepare rows one by one; the result of an invalid row is a RowError."""

    def fields(self, batch: Sequence[PreparedRow[T]], budget: Budget) -> Sequence[Fields | RowError]:
        """Answer a batch.

        Args:
            batch: rows from `prepare` that fit the budget together.
            budget: limits of one call of the model, for tasks that cut their rows into parts.

        Returns:
            The fields to add to each row, or the reason of its failure, in order.

        Raises:
            OutOfMemory: the batch did not fit into memory.
        """

    def budget(self, batch_size: int | None) -> Budget:
        """Return the maximum size of a batch: `batch_size` rows, or as many as the device's memory allows."""

    def header(self) -> dict[str, Any]:
        """Return everything that the results depend on, except rows and seed, as JSON for the journal."""


def fields_of_one(task: Task[T], row: Row, budget: Budget) -> Fields:
    """Answer a single row.

    Raises:
        RowError: it cannot run, or fails.
        OutOfMemory: it does not fit into memory.
    """
    (prepared,) = task.prepare([row])
    if isinstance(prepared, RowError):
        raise prepared
    (fields,) = task.fields([prepared], budget)
    if isinstance(fields, RowError):
        raise fields
    return fields
