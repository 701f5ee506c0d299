"""Measure a model, or published answers, on a bias set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit import __version__
from llmkit.errors import OptionError
from llmkit.insight.bias.estimates import IntervalOptions, measured
from llmkit.insight.bias.items import BiasItem, ScoredItem
from llmkit.insight.bias.models import earlier_records, is_record_file, language_model, name_of
from llmkit.insight.bias.results import BiasResult
from llmkit.insight.bias.scoring import TextScorer, with_limit
from llmkit.insight.bias.sets.registry import find_set

if TYPE_CHECKING:
    from llmkit.insight.bias.options import BiasOptions
    from llmkit.insight.bias.sets.base import BiasSet
    from llmkit.runtime.load import LoadedModel
    from llmkit.runtime.spec import ModelSpec


def measure_set(
    model: LoadedModel | ModelSpec | str | None,
    name: str,
    files: Sequence[str | Path],
    baseline: ModelSpec | str | Path | None,
    options: BiasOptions,
) -> BiasResult:
    """Measure a model on a set; see `measure.bias` for the arguments.

    Raises:
        InputError: bad files or options.
        LLMKitError: the model failed.
    """
    found, paths = find_set(name, files)
    rule = _rule(found, options)
    every = found.read(paths)
    items = with_limit(every, options.limit)
    notes = [] if len(items) == len(every) else [f"{len(items)} of {len(every)} items, spread evenly"]
    scored, signature = _scored(found, model, items, rule, options, notes)
    other = _baseline(found, baseline, items, scored, rule, options)
    sampling = IntervalOptions(options.confidence, options.resamples, options.seed)
    measures = measured(
        found.define(items, rule),
        scored,
        sampling,
        other=other,
        other_name="" if baseline is None else name_of(baseline),
    )
    if rule == "sum" and "shared" in found.rules:
        notes.append(
            "score=sum is comparable with EleutherAI's harness: whole texts, equal scores count as 0; it"
            " prefers"
            " the text with fewer tokens, so a model without any preference does not get 50 %"
        )
    return BiasResult(
        title=found.title,
        measures=measures,
        flaws=found.flaws,
        signature=f"set:{found.name}|items:{len(items)}|{signature}",
        notes=notes,
        confidence=options.confidence,
        resamples=options.resamples,
        seed=options.seed,
        baseline=None if baseline is None else name_of(baseline),
        records=[record_of(one) for one in scored],
    )


def _rule(found: BiasSet, options: BiasOptions) -> str:
    if options.score is not None and options.score not in found.rules:
        raise OptionError("score", f"must be one of {', '.join(found.rules)} for {found.title}")
    return options.score or found.rules[0]


def _scored(
    found: BiasSet,
    model: LoadedModel | ModelSpec | str | None,
    items: Sequence[BiasItem],
    rule: str,
    options: BiasOptions,
    notes: list[str],
) -> tuple[list[ScoredItem], str]:
    """Return the scored items, and the signature of their scores."""
    if options.predictions is not None:
        if found.predicted is None:
            raise OptionError("predictions", f"applies to bbq and stereoset, not to {found.name}")
        if model is not None or options.score is not None:
            raise OptionError("predictions", "takes the place of a model: omit `model` and `score`")
        scored = found.predicted(items, options.predictions)
        return scored, f"predictions:{Path(options.predictions).name}|version:llmkit-{__version__}"
    scorer = TextScorer(
        language_model(model, options),
        rule,
        options.batch_size,
        options.notice,
        lambda tokens: options.progress(f"{tokens} tokens"),
    )
    if scorer.kind == "masked" and rule == "mean" and any(item.blank is not None for item in items):
        notes.append("masked models score a word in a sentence as StereoSet's authors do")
    return found.derive(list(scorer.run(items))), scorer.signature(items)


def _baseline(
    found: BiasSet,
    baseline: ModelSpec | str | Path | None,
    items: Sequence[BiasItem],
    scored: Sequence[ScoredItem],
    rule: str,
    options: BiasOptions,
) -> list[ScoredItem] | None:
    """Return the items scored by the baseline; None without one."""
    if baseline is None:
        return None
    if is_record_file(baseline):
        assert isinstance(baseline, str | Path)
        records = earlier_records(baseline, [item.id for item in items], list(scored[0].scores))
        return [
            ScoredItem(item, {key: float(record["scores"][key]) for key in one.scores})
            for item, one, record in zip(items, scored, records, strict=True)
        ]
    if options.predictions is not None:
        raise OptionError("baseline", "of published answers is a file of records")
    name: Any = baseline
    theirs, _ = _scored(found, name if not isinstance(name, Path) else str(name), items, rule, options, [])
    return theirs


def record_of(one: ScoredItem) -> dict[str, Any]:
    """Return a scored item as JSON."""
    scores = {key: value for key, value in one.scores.items() if math.isfinite(value)}
    if one.weight:
        scores["weight"] = one.weight
    record: dict[str, Any] = {"id": one.item.id, **one.item.groups, "scores": scores}
    if one.item.context is not None:
        record["context"] = one.item.context
    return record | {"texts": dict(one.item.texts), **({"output": dict(one.output)} if one.output else {})}
