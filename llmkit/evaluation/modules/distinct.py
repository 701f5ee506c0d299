"""Distinct n-grams, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.diversity import distinct
from llmkit.evaluation.modules import compute, info


class Distinct(evaluate.Metric):
    """`llmkit.evaluation.metrics.diversity.distinct` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(distinct.__doc__, references=False)

    def _compute(self, predictions: list[str], **options: Any) -> dict[str, float]:
        return compute("distinct", predictions, **options)
