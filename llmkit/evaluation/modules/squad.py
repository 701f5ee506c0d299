"""SQuAD 1.1, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.answers import squad
from llmkit.evaluation.modules import compute, info


class Squad(evaluate.Metric):
    """`llmkit.evaluation.metrics.answers.squad` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(squad.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("squad", predictions, references, **options)
