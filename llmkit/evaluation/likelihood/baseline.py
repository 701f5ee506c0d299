"""What an earlier run of a model left in its rows, as the baseline of this one.

Two models need not be in memory together to be compared: `--per-record` of the first is the second's
`--baseline`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from llmkit.errors import RowError
from llmkit.evaluation.likelihood.loss import Loss
from llmkit.evaluation.metric import Example
from llmkit.records.rows import Row


def as_data(loss: Loss) -> dict[str, float]:
    """A loss as a row holds it under `losses`."""
    kept = asdict(loss)
    return {name: kept[name] for name in ("nll", "tokens", "words", "bytes", "unknown")}


def alongside(rows: Iterable[Example], left: Iterable[Row]) -> tuple[Iterator[Example], Iterator[Example]]:
    """`rows`, and beside them the examples of the rows that an earlier run left.

    Args:
        rows: examples whose prediction is losses.
        left: rows with losses, of the same texts in the same order.

    Returns:
        Both as iterators to be drawn from in turn, the first one first.

    Raises:
        RowError: a row holds no losses, or those of other texts.
    """
    latest: list[Example] = []

    def ours() -> Iterator[Example]:
        for example in rows:
            latest[:] = [example]
            yield example
        latest.clear()

    def theirs() -> Iterator[Example]:
        for example in _examples(left):
            if latest and not _alike(latest[0].prediction, example.prediction):
                raise RowError(
                    example.where,
                    f"its losses are not of the text of {latest[0].where}; the baseline must be of the same"
                    " texts in the same order (windows differ between tokenizers: score texts with --lines)",
                )
            yield example

    return ours(), theirs()


def _examples(left: Iterable[Row]) -> Iterator[Example]:
    for row in left:
        if row.error is not None:
            raise RowError(row.where, row.error)
        try:
            losses = [Loss(**loss) for loss in row.data["losses"]]
        except (KeyError, TypeError):
            raise RowError(
                row.where, "no losses in it; --baseline takes what --per-record wrote for another model"
            ) from None
        yield Example(losses, (), row.data, row.where)


def _alike(ours: list[Loss], theirs: list[Loss]) -> bool:
    return len(ours) == len(theirs) and all(
        math.isclose(a.bytes, b.bytes) and math.isclose(a.words, b.words)
        for a, b in zip(ours, theirs, strict=True)
    )
