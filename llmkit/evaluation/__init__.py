"""Score predictions and models; every score has an interval and a signature.

Predictions::

    import llmkit
    result = llmkit.score(predictions, references, metrics=["bleu", "rouge"], stemmer=True)
    print(result["rougeL"].score, result["rougeL"].low, result["rougeL"].high)

Metrics of predictions do not use the network, and do not import torch, transformers or evaluate (except
`bertscore`). Perplexity, multiple choice and minimal pairs run a model.

The names below are imported when first used, so that `llmkit eval --help` starts fast.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # for type checkers
if TYPE_CHECKING:
    from typing import Any

    from llmkit.evaluation.metric import Declaration as Declaration
    from llmkit.evaluation.metric import Example as Example
    from llmkit.evaluation.metric import Metric as Metric
    from llmkit.evaluation.metric import MetricOption as MetricOption
    from llmkit.evaluation.metric import declare as declare
    from llmkit.evaluation.registry import METRICS as METRICS
    from llmkit.evaluation.registry import make as make
    from llmkit.evaluation.results import Comparison as Comparison
    from llmkit.evaluation.results import Evaluation as Evaluation
    from llmkit.evaluation.results import Score as Score
    from llmkit.evaluation.score_lists import score as score
    from llmkit.evaluation.scoring import examples as examples
    from llmkit.evaluation.scoring import score_rows as score_rows

_HOMES = {
    "METRICS": "registry",
    "Comparison": "results",
    "Declaration": "metric",
    "Evaluation": "results",
    "Example": "metric",
    "Metric": "metric",
    "MetricOption": "metric",
    "Score": "results",
    "declare": "metric",
    "examples": "scoring",
    "make": "registry",
    "score": "score_lists",
    "score_rows": "scoring",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"llmkit.evaluation.{_HOMES[name]}"), name)
