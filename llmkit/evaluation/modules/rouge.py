"""ROUGE, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.rouge import rouge
from llmkit.evaluation.modules import compute, info


class Rouge(evaluate.Metric):
    """`llmkit.evaluation.metrics.rouge.rouge` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(rouge.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("rouge", predictions, references, **options)
