"""SQuAD 2.0, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation.metrics.answers import squad_v2
from llmkit.evaluation.modules import compute, info


class SquadV2(evaluate.Metric):
    """`llmkit.evaluation.metrics.answers.squad_v2` over `evaluate`'s lists."""

    def _info(self) -> evaluate.MetricInfo:
        return info(squad_v2.__doc__)

    def _compute(self, predictions: list[Any], references: list[Any], **options: Any) -> dict[str, float]:
        return compute("squad_v2", predictions, references, **options)
