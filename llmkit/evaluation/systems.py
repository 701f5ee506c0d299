"""Score several systems on the same rows, and find the best by paired significance tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import InputError
from llmkit.evaluation.metric import Example, Metric
from llmkit.evaluation.report import as_json
from llmkit.evaluation.resampling import p_value
from llmkit.evaluation.results import Evaluation
from llmkit.evaluation.scoring import ScoredCorpus, check_all_scored, check_options, paired, prefetched
from llmkit.records.strict_json import finite


@dataclass(frozen=True)
class Systems:
    """Scores of several systems on the same rows.

    Attributes:
        evaluations: scores of each system, by its name.
        p_values: two-sided p-value of the paired bootstrap (Koehn 2004) against the system with the best
            score, for each score and each system that has it; 1 for that system.
        confidence: confidence of the intervals; a p-value below ``1 - confidence`` is significant.
    """

    evaluations: dict[str, Evaluation]
    p_values: dict[str, dict[str, float]]
    confidence: float

    def best(self, score: str) -> set[str]:
        """Return the system with the best score, and those that do not differ significantly from it."""
        values = self.p_values.get(score, {})
        return {name for name, p in values.items() if p >= 1 - self.confidence}

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON; a p-value of an infinite difference is null."""
        return {
            "systems": [{"name": name, **as_json(one)} for name, one in self.evaluations.items()],
            "p_against_best": finite(self.p_values),
            "best": {
                score: [name for name in values if name in self.best(score)]
                for score, values in self.p_values.items()
            },
        }


def score_systems(
    metrics: Sequence[Metric],
    systems: Mapping[str, Iterable[Example]],
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Systems:
    """Score systems that answered the same rows in the same order.

    Args:
        metrics: metrics to compute.
        systems: predictions and references by name; references may be missing in all except the first.
        confidence: confidence of the intervals, between 0 and 1.
        resamples: number of bootstrap samples, the same for all systems.
        seed: seed of the samples.

    Raises:
        InputError: there are no rows, the systems differ in their rows, or there is nothing to score.
        OptionError: an option is out of range.
        RowError: a row lacks a column.
    """
    check_options(confidence, resamples, seed)
    names = list(systems)
    (first, *others) = systems.values()
    corpus = ScoredCorpus(metrics, len(names), resamples=resamples, seed=seed, swaps=False)
    for row in prefetched(metrics, paired(first, dict(zip(names[1:], others, strict=True)), names[0])):
        corpus.add(row, [[metric.statistics(one) for metric in metrics] for one in row])
    if corpus.rows == 0:
        raise InputError("there is nothing to score: the input has no rows")
    evaluations = {}
    for number, name in enumerate(names):
        scores = list(corpus.scores(confidence, system=number))
        check_all_scored(metrics, scores)
        evaluations[name] = Evaluation(corpus.rows, scores, confidence, resamples, seed)
    return Systems(evaluations, _p_values(metrics, corpus, names), confidence)


def _p_values(
    metrics: Sequence[Metric], corpus: ScoredCorpus, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Return the p-value of each system against the best one, by score."""
    import numpy as np

    sums = corpus.sums()
    columns = [list(corpus.columns(number)) for number in range(len(names))]
    found: dict[str, dict[str, float]] = {}
    for m, metric in enumerate(metrics):
        totals = [metric.corpus(sums.total[None, one[m]])[0] for one in columns]
        samples = [metric.corpus(sums.samples[:, one[m]]) for one in columns]
        for i, score in enumerate(metric.scores):
            values = np.array([total[i] for total in totals])
            if np.isnan(values).all():
                continue
            best = int(np.nanargmin(values) if metric.lower_is_better else np.nanargmax(values))
            found[score] = {}
            for number, name in enumerate(names):
                if np.isnan(values[number]):
                    continue
                difference = float(values[best] - values[number])
                drawn = samples[best][:, i] - samples[number][:, i]
                found[score][name] = p_value(drawn, difference, corpus.rows, center=difference)
    return found
