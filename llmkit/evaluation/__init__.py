"""Judge predictions and models: plain scoring functions, with an interval and a signature for every number.

Predictions::

    from llmkit.evaluation import examples, make, score
    result = score([make("bleu"), make("rouge", stemmer=True)], examples(predictions, references))

No metric here touches the network or needs torch, transformers or evaluate; `perplexity` needs a model.
"""

from llmkit.evaluation.metric import NAMES, Example, Metric, make
from llmkit.evaluation.scoring import Comparison, Evaluation, Score, examples, score

__all__ = [
    "NAMES",
    "Comparison",
    "Evaluation",
    "Example",
    "Metric",
    "Score",
    "examples",
    "make",
    "score",
]
