"""Models for measurements of bias: loaded one at a time, and named in results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, OptionError, RowError
from llmkit.insight.bias.items import BiasItem, ScoredItem

if TYPE_CHECKING:
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


def language_model(model: LoadedModel | ModelSpec | str | None, options: BiasOptions) -> LoadedModel:
    """Return a model for likelihoods: causal, masked or encoder-decoder, as the checkpoint is.

    Raises:
        InputError: none is named, or there is no such model.
    """
    from llmkit.runtime.load import LoadedModel, is_masked_lm

    if isinstance(model, LoadedModel):
        return model
    spec = request(model)
    return options.load(replace(spec, task="fill-mask") if is_masked_lm(spec) else spec)


def request(model: ModelSpec | str | None) -> ModelSpec:
    """Return the request for a model that is named or requested.

    Raises:
        InputError: none is named.
    """
    from llmkit.runtime.spec import ModelSpec

    if model is None:
        raise InputError("give the `model` to measure")
    return model if isinstance(model, ModelSpec) else ModelSpec(model)


def name_of(model: LoadedModel | ModelSpec | str | Path) -> str:
    """Return the name of a model for results."""
    spec: Any = getattr(model, "spec", model)
    return str(getattr(spec, "name", spec))


def is_record_file(baseline: object) -> bool:
    """Return True if a baseline is a file of records and not a model."""
    return isinstance(baseline, str | Path) and str(baseline).endswith(".jsonl")


def earlier_records(path: str | Path, ids: list[str], keys: list[str]) -> list[dict[str, Any]]:
    """Return the records of an earlier measurement of the same items.

    Args:
        path: JSONL file that `per_record` wrote.
        ids: ids of the items, in order.
        keys: scores that each record must have.

    Raises:
        InputError: the file cannot be read, or has other items.
    """
    from llmkit.records.read import open_rows

    found = []
    for row in open_rows(path):
        if row.error is not None:
            raise RowError(row.where, row.error)
        scores = row.data.get("scores")
        if not isinstance(scores, dict) or not all(isinstance(scores.get(key), int | float) for key in keys):
            raise RowError(
                row.where, f"it has no scores {', '.join(keys)}; `baseline` takes a `per_record` file"
            )
        found.append(row.data)
    theirs = [str(record.get("id")) for record in found]
    if theirs != ids:
        at = next((i for i, (a, b) in enumerate(zip(theirs, ids, strict=False)) if a != b), len(theirs))
        raise OptionError(
            "baseline", f"has other items than this run: {len(theirs)} against {len(ids)}, the first that"
            f" differs is number {at + 1}"
        )  # fmt: skip
    return found


def scored_earlier(path: str | Path, items: Sequence[BiasItem], keys: Sequence[str]) -> list[ScoredItem]:
    """Return items with their scores of an earlier measurement; see `earlier_records`."""
    records = earlier_records(path, [item.id for item in items], list(keys))
    return [
        ScoredItem(item, {key: float(value) for key, value in record["scores"].items()})
        for item, record in zip(items, records, strict=True)
    ]
