"""Accuracy, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.answers import accuracy
from llmkit.evaluation.modules import compute, info


class Accuracy(evaluate.Metric):
    """`llmkit.evaluation.metrics.answers.accuracy` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(accuracy.__doc__, labels=True)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("accuracy", predictions, references, **options)
