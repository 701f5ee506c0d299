"""BLEU, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.bleu import bleu
from llmkit.evaluation.modules import compute, info


class Bleu(evaluate.Metric):
    """`llmkit.evaluation.metrics.bleu.bleu` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(bleu.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("bleu", predictions, references, **options)
