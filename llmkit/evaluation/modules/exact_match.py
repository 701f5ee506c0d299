"""Exact match, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.answers import exact_match
from llmkit.evaluation.modules import compute, info


class ExactMatch(evaluate.Metric):
    """`llmkit.evaluation.metrics.answers.exact_match` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(exact_match.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("exact_match", predictions, references, **options)
