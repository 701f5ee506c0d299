"""Perplexity, for `evaluate.load` by path."""

from typing import Any

import evaluate

from llmkit.evaluation import score
from llmkit.evaluation.likelihood.perplexity import measure, perplexity
from llmkit.evaluation.likelihood.windowing import windowing
from llmkit.evaluation.modules import info
from llmkit.records.read import rows_of


class Perplexity(evaluate.Metric):
    """`llmkit.evaluation.likelihood.perplexity` over `evaluate`'s lists: the predictions are the texts."""

    def _info(self) -> evaluate.MetricInfo:
        return info(perplexity.__doc__, references=False)

    def _compute(
        self, predictions: list[str], model_id: str, device: str = "auto", dtype: str = "auto", **options: Any
    ) -> dict[str, float]:
        from llmkit.runtime.load import load
        from llmkit.runtime.spec import ModelSpec

        loaded = load(ModelSpec(name=model_id, device=device, dtype=dtype))
        how = windowing(loaded, **options)
        result = score([perplexity(loaded, how)], measure(loaded, rows_of(predictions), how), resamples=1)
        return {one.name: one.score for one in result.scores}
