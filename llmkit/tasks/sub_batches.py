"""Run any number of prompts, in calls of the model within a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from llmkit.errors import OutOfMemory
from llmkit.records.batches import Budget, next_batch
from llmkit.tasks.prompts import Prompt

R = TypeVar("R")


def run_prompts(
    run: Callable[[Sequence[Prompt]], list[R]],
    prompts: Sequence[Prompt],
    budget: Budget,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[R]:
    """Answer prompts, longest first, and return the results in the prompts' order.

    Args:
        run: answers the prompts of one call.
        prompts: any number of them.
        budget: how much one call may hold. If memory runs out, the following calls hold less, until this
            function returns: the result of a row must not depend on the rows before it.
        progress: takes (prompts done, prompts in all) after each call.

    Raises:
        OutOfMemory: a single prompt does not fit.
    """
    results: dict[int, R] = {}
    order = sorted(range(len(prompts)), key=lambda i: (-prompts[i].length, prompts[i].key, i))
    pending = [prompts[i] for i in order]
    while pending:
        batch = next_batch(pending, budget)
        failure = ""
        try:
            found = run(batch)
        except OutOfMemory as error:
            failure = str(error)
        if failure:
            # Outside `except`: a live exception keeps the failed batch's tensors in memory.
            smaller = budget.halved(batch)
            if smaller is None:
                raise OutOfMemory(failure)
            budget = smaller
            continue
        results |= dict(zip(order[: len(batch)], found, strict=True))
        del order[: len(batch)], pending[: len(batch)]
        progress(len(results), len(prompts))
    return [results[i] for i in range(len(prompts))]
