"""Rows that are worked on in parts: those of a batch of rows run together, in as many calls as need be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmkit.errors import OutOfMemory
from llmkit.records.batches import Budget, PreparedRow, longest_first, next_batch
from llmkit.tasks.generation import Generation, GenerationResult


def run_parts(
    generation: Generation,
    prompts: Sequence[PreparedRow],
    limit: Budget,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[list[GenerationResult]]:
    """The answers to any number of prompts, in their order.

    Args:
        generation: the model; its `tokens_written` counts on.
        prompts: from `generation.prepare`, of rows whose indices all differ.
        limit: what one call may hold. Where memory runs out, the calls that follow hold less, until this
            function returns: what a row gets must not depend on the rows before it.
        progress: takes (prompts done, prompts in all) after each call.

    Raises:
        OutOfMemory: a single prompt does not fit.
    """
    answers: dict[int, list[GenerationResult]] = {}
    pending = sorted(prompts, key=longest_first)
    while pending:
        batch = next_batch(pending, limit)
        failure = ""
        try:
            results = generation.run(batch)
        except OutOfMemory as error:
            failure = str(error)
        if failure:
            # Outside `except`: a live exception keeps the failed batch's tensors in memory.
            smaller = limit.halved(batch)
            if smaller is None:
                raise OutOfMemory(failure)
            limit = smaller
            continue
        answers |= {one.row.index: result for one, result in zip(batch, results, strict=True)}
        del pending[: len(batch)]
        generation.tokens_written += sum(answer.tokens for result in results for answer in result)
        progress(len(answers), len(prompts))
    return [answers[prompt.row.index] for prompt in prompts]
