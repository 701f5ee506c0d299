"""The metrics as modules of Hugging Face's `evaluate`, which takes them by path and composes them.

    import evaluate
    from llmkit.evaluation.modules import path

    both = evaluate.combine([path("bleu"), path("rouge")])
    both.compute(predictions=["a cat"], references=[["the cat", "a cat"]])

Each module is a file of this folder; what it does is here. Keyword arguments of `compute` are the options of
the metric's own function. `evaluate` copies a module elsewhere before it imports it, so that a module
imports by full name only.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.evaluation.metric import NAMES, check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import evaluate

_FILES = {"chrf++": "chrf_plus_plus"}


def path(name: str) -> str:
    """Where the module of a metric lies, for `evaluate.load`.

    Raises:
        InputError: no metric is called so; the message gives the nearest name.
    """
    check_name(name)
    return str(Path(__file__).with_name(f"{_FILES.get(name, name)}.py"))


def compute(
    name: str, predictions: Sequence[Any], references: Any = None, **options: Any
) -> dict[str, float]:
    """A metric's scores over lists, by their names.

    Args:
        name: one of `metric.NAMES`, except `metric.OF_MODELS`.
        predictions: one a row.
        references: for each row one reference, or a list of them; None for metrics that need none.
        options: of the metric's own function.
    """
    from llmkit.evaluation import examples, make, score

    result = score([make(name, **options)], examples(predictions, references), resamples=1)
    return {one.name: one.score for one in result.scores}


def info(doc: str | None, *, references: bool = True, labels: bool = False) -> evaluate.MetricInfo:
    """What `evaluate` wants to know of a module.

    Args:
        doc: the metric's docstring.
        references: the metric compares with references, one a row or several.
        labels: predictions and references may be whole numbers as well as texts.
    """
    import evaluate
    from datasets import Features, Sequence, Value

    kinds = ["string", "int64"] if labels else ["string"]
    features = [{"predictions": Value(kind)} for kind in kinds]
    if references:
        features = [
            {"predictions": Value(kind), "references": right}
            for kind in kinds
            for right in (Sequence(Value(kind)), Value(kind))
        ]
    return evaluate.MetricInfo(
        description=doc or "",
        citation="",
        inputs_description="Keyword arguments of `compute` are the options of the metric's own function.",
        features=[Features(columns) for columns in features],
    )


__all__ = ["NAMES", "compute", "info", "path"]
