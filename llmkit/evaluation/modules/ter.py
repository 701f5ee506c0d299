"""Translation edit rate, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.bleu import ter
from llmkit.evaluation.modules import compute, info


class Ter(evaluate.Metric):
    """`llmkit.evaluation.metrics.bleu.ter` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(ter.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("ter", predictions, references, **options)
