"""Recognize out-of-memory errors, and continue with smaller batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from llmkit.errors import OutOfMemory

T = TypeVar("T")
R = TypeVar("R")


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if a call of torch failed because memory ran out, on a GPU or on the CPU."""
    import torch

    if isinstance(error, OutOfMemory | MemoryError | torch.OutOfMemoryError):
        return True
    # The CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in str(error) or "can't allocate memory" in str(error)
    )


def free_cache() -> None:
    """Release cached GPU memory. Call it outside `except`, where no traceback references tensors."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run_halving(
    items: Sequence[T],
    rows: int,
    run: Callable[[Sequence[T]], R],
    *,
    notice: Callable[[str], None] = lambda message: None,
) -> Iterator[tuple[Sequence[T], R]]:
    """Run `items` in batches of `rows`; halve the batch when memory runs out.

    Args:
        items: in the order in which they run.
        rows: items in a batch at first.
        run: takes a batch.
        notice: called with a sentence each time the batch is halved.

    Yields:
        Each batch with its result.

    Raises:
        OutOfMemory: a single item does not fit.
    """
    start = 0
    while start < len(items):
        batch = items[start : start + rows]
        failure = ""
        try:
            result = run(batch)
        except (MemoryError, RuntimeError, OutOfMemory) as error:
            if not is_out_of_memory(error):
                raise
            failure = str(error) or type(error).__name__
        if failure:
            # Outside `except`: a live exception keeps the failed batch's tensors in memory.
            free_cache()
            if len(batch) < 2:
                raise OutOfMemory(f"one item alone does not fit into memory ({failure})")
            rows = len(batch) // 2
            notice(f"out of memory with {len(batch)} at once; continuing with {rows}")
            continue
        yield batch, result
        start += len(batch)
