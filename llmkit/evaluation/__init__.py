"""Score predictions and models; every score has an interval and a signature.

Predictions::

    import llmkit
    result = llmkit.score(predictions, references, metrics=["bleu", "rouge"], stemmer=True)
    print(result["rougeL"].score, result["rougeL"].low, result["rougeL"].high)

Metrics of predictions use no network, and import neither torch nor transformers nor evaluate (`bertscore`
does). Perplexity, multiple choice and minimal pairs run a model.
"""

from llmkit.evaluation.metric import Declaration, Example, Metric, MetricOption, declare
from llmkit.evaluation.registry import METRICS, make
from llmkit.evaluation.results import Comparison, Evaluation, Score
from llmkit.evaluation.score import score
from llmkit.evaluation.scoring import examples, score_rows

__all__ = [
    "METRICS",
    "Comparison",
    "Declaration",
    "Evaluation",
    "Example",
    "Metric",
    "MetricOption",
    "Score",
    "declare",
    "examples",
    "make",
    "score",
    "score_rows",
]
