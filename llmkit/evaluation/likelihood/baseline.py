"""Losses of an earlier run as the baseline of this one.

Two models can be compared without loading both at once: `per_record` of the first run is `baseline` of the
second.
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
    """Return a loss in the form of the column `losses`."""
    values = asdict(loss)
    return {name: values[name] for name in ("nll", "tokens", "words", "bytes", "unknown")}


def alongside(
    rows: Iterable[Example], earlier: Iterable[Iterable[Row]]
) -> tuple[Iterator[Example], list[Iterator[Example]]]:
    """Check the rows of earlier runs against the rows of this one, while both are read.

    Args:
        rows: examples whose prediction is losses.
        earlier: for each earlier run, rows with losses of the same texts in the same order.

    Returns:
        The rows, and the examples of each earlier run. Read one item of each in turn, `rows` first.

    Raises:
        RowError: a row has no losses, or losses of another text.
    """
    latest: list[Example] = []

    def ours() -> Iterator[Example]:
        for example in rows:
            latest[:] = [example]
            yield example
        latest.clear()

    def theirs(run: Iterable[Row]) -> Iterator[Example]:
        for example in _examples(run):
            if latest and not _same_text(latest[0].prediction, example.prediction):
                raise RowError(
                    example.where,
                    f"its losses are not those of the text at {latest[0].where}; a baseline must have"
                    " the same texts in the same order (windows differ between tokenizers: set lines=True)",
                )
            yield example

    return ours(), [theirs(run) for run in earlier]


def _examples(rows: Iterable[Row]) -> Iterator[Example]:
    for row in rows:
        if row.error is not None:
            raise RowError(row.where, row.error)
        try:
            losses = [Loss(**loss) for loss in row.data["losses"]]
        except (KeyError, TypeError):
            raise RowError(
                row.where,
                "no column `losses` with numbers; `baseline` takes the `per_record` file of another model, as"
                " JSONL or Parquet",
            ) from None
        yield Example(losses, (), row.data, row.where)


def _same_text(ours: list[Loss], theirs: list[Loss]) -> bool:
    return len(ours) == len(theirs) and all(
        math.isclose(a.bytes, b.bytes) and math.isclose(a.words, b.words)
        for a, b in zip(ours, theirs, strict=True)
    )
