"""chrF++, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.bleu import chrf
from llmkit.evaluation.modules import compute, info


class ChrfPlusPlus(evaluate.Metric):
    """`llmkit.evaluation.metrics.bleu.chrf` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(chrf.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("chrf++", predictions, references, **options)
