"""A module for `evaluate.load`: the configuration names the metric.

`evaluate` copies this file elsewhere before it imports it, so imports are absolute.
"""

from typing import Any

import evaluate

from llmkit.evaluation.modules import compute, compute_perplexity, info


class LLMKitMetric(evaluate.Metric):
    """One of llmkit's metrics over `evaluate`'s lists."""

    def __init__(self, config_name: str | None = None, **options: Any) -> None:
        super().__init__(config_name, **options)
        self.info.module_name = self.config_name  # `evaluate.combine` shows it as a prefix

    def _info(self) -> evaluate.MetricInfo:
        return info(self.config_name)

    def _compute(self, predictions: list[Any], references: Any = None, **options: Any) -> dict[str, float]:
        if self.config_name == "perplexity":
            return compute_perplexity(predictions, **options)
        return compute(self.config_name, predictions, references, **options)
