"""Repetition, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.diversity import repetition
from llmkit.evaluation.modules import compute, info


class Repetition(evaluate.Metric):
    """`llmkit.evaluation.metrics.diversity.repetition` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(repetition.__doc__, references=False)

    def _compute(self, predictions: list[str], **options: Any) -> dict[str, float]:
        return compute("repetition", predictions, **options)
