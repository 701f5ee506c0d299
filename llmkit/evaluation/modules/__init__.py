"""The metrics as a module of Hugging Face's `evaluate`, which can load it by path and combine it.

    import evaluate
    from llmkit.evaluation.modules import path

    both = evaluate.combine([evaluate.load(path(), "bleu"), evaluate.load(path(), "rouge")])
    both.compute(predictions=["a cat"], references=[["the cat", "a cat"]])

The configuration names the metric; keyword arguments of `compute` are those of the metric's function.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.evaluation.registry import declaration_of, function_of, make
from llmkit.evaluation.scoring import examples, score_rows

if TYPE_CHECKING:
    import evaluate


def path() -> str:
    """Return the path of the module, for `evaluate.load`; its second argument is the name of a metric."""
    return str(Path(__file__).with_name("llmkit_metric.py"))


def compute(
    name: str, predictions: Sequence[Any], references: Any = None, **options: Any
) -> dict[str, float]:
    """Return the scores of a metric over lists, by name.

    Args:
        name: a metric of predictions.
        predictions: one for each row.
        references: for each row one reference, or a list of them; None for metrics without references.
        options: keyword arguments of the metric's function.
    """
    result = score_rows([make(name, **options)], examples(predictions, references), resamples=1)
    return {one.name: one.score for one in result.scores}


def compute_perplexity(
    texts: Sequence[str], model_id: str, device: str = "auto", dtype: str = "auto", **options: Any
) -> dict[str, float]:
    """Return the perplexity of a model on texts and its other scores, by name.

    Args:
        texts: the texts.
        model_id: a Hub name, a folder or an embedded model.
        device: device for the model.
        dtype: precision of the model.
        options: those of `likelihood.windowing.windowing`.
    """
    from llmkit.evaluation.likelihood.perplexity import measure, perplexity
    from llmkit.evaluation.likelihood.windowing import windowing
    from llmkit.records.read import rows_of
    from llmkit.runtime.load import load
    from llmkit.runtime.spec import ModelSpec

    loaded = load(ModelSpec(name=model_id, device=device, dtype=dtype))
    how = windowing(loaded, **options)
    result = score_rows([perplexity(loaded, how)], measure(loaded, rows_of(texts), how), resamples=1)
    return {one.name: one.score for one in result.scores}


def info(name: str) -> evaluate.MetricInfo:
    """Return the description of a metric for `evaluate`.

    Raises:
        InputError: there is no such metric.
    """
    import evaluate
    from datasets import Features, Value
    from datasets import Sequence as ListOf

    declaration = declaration_of(name)
    kinds = ["string", "int64"] if declaration.takes_labels else ["string"]
    features = [{"predictions": Value(kind)} for kind in kinds]
    if declaration.needs_references:
        features = [
            {"predictions": Value(kind), "references": right}
            for kind in kinds
            for right in (ListOf(Value(kind)), Value(kind))
        ]
    return evaluate.MetricInfo(
        description=function_of(name).__doc__ or "",
        citation="",
        inputs_description="Keyword arguments of `compute` are those of the metric's function.",
        features=[Features(columns) for columns in features],
    )
