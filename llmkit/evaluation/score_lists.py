"""`llmkit.score`: score predictions with plain arguments."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.errors import NoticeWarning, OptionError
from llmkit.evaluation.defaults import configure
from llmkit.evaluation.metric import Metric
from llmkit.evaluation.report import few_rows
from llmkit.evaluation.results import Evaluation
from llmkit.evaluation.scoring import examples, score_rows


def score(
    predictions: Sequence[Any],
    references: Sequence[Any] | None = None,
    *,
    metrics: str | Sequence[str | Metric],
    baselines: Mapping[str, Sequence[Any]] | None = None,
    groups: Sequence[Any] | None = None,
    language: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    **options: Any,
) -> Evaluation:
    """Score predictions with intervals, without the network, and without a model except for `bertscore`.

    >>> result = score(["a cat", "a dog"], ["a cat", "the cow"], metrics="exact_match,f1")
    >>> result["f1"].score, result["f1"].rows
    (0.5, 2)

    Args:
        predictions: outputs of the system, one for each row: texts, or labels for `accuracy`.
        references: for each row one reference, or a list of them; None for metrics without references.
        metrics: names from `llmkit.evaluation.METRICS`, as a list or joined by commas. A list may also
            contain `Metric` objects with their own options.
        baselines: predictions of other systems for the same rows, by name. Each score is compared with
            theirs: difference, its interval, and two paired p-values.
        groups: one value for each row; rows with the same value are also scored as a group.
        language: target language; chooses BLEU's tokenizer. None uses the script of the references.
        confidence: confidence of the intervals, between 0 and 1.
        resamples: number of bootstrap samples and of random swaps.
        seed: seed of the samples; the same seed gives the same intervals.
        options: options of the metrics, such as ``stemmer=True``; `llmkit eval --help` lists them.

    Returns:
        The scores. ``result["bleu"]`` is a `Score` with `score`, `low` and `high` (ends of the interval, None
        for a single row), `rows`, `signature` (everything needed to reproduce it) and `baselines`;
        ``result.scores`` lists all, including those of groups. Scores are 0 to 1 or, as usual for BLEU, chrF,
        TER and SQuAD, 0 to 100 (`Score.scale`).

    Raises:
        InputError: the lists differ in length, a metric is unknown, or there is nothing to score.
        OptionError: no metric is named, or an option is out of range or applies to none of the metrics.
        RowError: a row has no reference, or a value that is neither a text nor a number.

    Warns:
        NoticeWarning: the texts determined an option, such as a tokenizer for Chinese; there are too few rows
            for reliable intervals.
    """
    columns = {"group": groups} if groups is not None else {}
    rows = examples(predictions, references, **columns)
    listed = metrics.split(",") if isinstance(metrics, str) else list(metrics)
    listed = [one.strip() if isinstance(one, str) else one for one in listed]
    if not any(listed):
        raise OptionError("metrics", "must name a metric, such as bleu")
    names = list(dict.fromkeys(one for one in listed if isinstance(one, str) and one))
    built, notes = configure(names, options, rows, language=language)
    for note in notes:
        warnings.warn(note, NoticeWarning, stacklevel=2)
    by_name = dict(zip(names, built, strict=True))
    # `pop`, because a metric that is named twice is computed once.
    chosen = [
        by_name.pop(one) if isinstance(one, str) else one
        for one in listed
        if not isinstance(one, str) or one in by_name
    ]
    result = score_rows(
        chosen,
        rows,
        baselines={name: examples(theirs) for name, theirs in (baselines or {}).items()},
        by="group" if groups is not None else None,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )
    if (doubt := few_rows(result)) is not None:
        warnings.warn(doubt, NoticeWarning, stacklevel=2)
    return result
