"""Token F1, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.answers import f1
from llmkit.evaluation.modules import compute, info


class F1(evaluate.Metric):
    """`llmkit.evaluation.metrics.answers.f1` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(f1.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("f1", predictions, references, **options)
