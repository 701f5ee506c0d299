"""The table of all metrics, by name.

To add a metric, write a function with `@declare(Declaration(...))` and add one line to `METRICS`: the help
text and the flags of `llmkit eval`, the modules for Hugging Face's `evaluate` and the model card follow.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from llmkit.errors import InputError
from llmkit.evaluation.metric import Declaration, Metric

METRICS = {
    "bleu": "metrics.bleu:bleu",
    "chrf": "metrics.bleu:chrf",
    "chrf++": "metrics.bleu:chrf_plus_plus",
    "ter": "metrics.bleu:ter",
    "rouge": "metrics.rouge:rouge",
    "exact_match": "metrics.answers:exact_match",
    "f1": "metrics.answers:f1",
    "squad": "metrics.answers:squad",
    "squad_v2": "metrics.answers:squad_v2",
    "accuracy": "metrics.answers:accuracy",
    "distinct": "metrics.diversity:distinct",
    "repetition": "metrics.diversity:repetition",
    "bertscore": "metrics.bertscore:bertscore",
    "perplexity": "likelihood.perplexity:perplexity",
    "multiple_choice": "likelihood.choices:multiple_choice",
    "minimal_pairs": "likelihood.choices:minimal_pairs",
}
"""Name of a metric -> module of this package and the function that builds the metric."""


def function_of(name: str) -> Callable[..., Metric]:
    """Return the function that builds a metric.

    Raises:
        InputError: there is no such metric; the message gives the nearest name.
    """
    check_name(name)
    module, _, function = METRICS[name].partition(":")
    found: Callable[..., Metric] = getattr(importlib.import_module(f"llmkit.evaluation.{module}"), function)
    return found


def declaration_of(name: str) -> Declaration:
    """Return the declaration of a metric.

    Raises:
        InputError: there is no such metric.
    """
    declaration: Declaration = function_of(name).declaration  # type: ignore[attr-defined]
    return declaration


def of_predictions() -> list[str]:
    """Return the names of the metrics that score predictions."""
    return [name for name in METRICS if declaration_of(name).reads is None]


def of_models() -> list[str]:
    """Return the names of the metrics that run a model over texts."""
    return [name for name in METRICS if declaration_of(name).reads is not None]


def make(name: str, **options: Any) -> Metric:
    """Build a metric that scores predictions.

    Args:
        name: a key of `METRICS`.
        options: keyword arguments of the metric's function.

    Raises:
        InputError: there is no such metric, it needs a model instead of predictions, or an option has a
            value that is not allowed.
    """
    function = function_of(name)
    if declaration_of(name).reads is not None:
        raise InputError(
            f"{name} runs a model over texts; see llmkit.evaluation.{METRICS[name].split(':')[0]}"
        )
    return function(**options)


def check_name(name: str) -> None:
    """Raise an InputError with the nearest name unless `name` is a metric."""
    if name in METRICS:
        return
    import difflib

    near = difflib.get_close_matches(name.lower(), METRICS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
    raise InputError(f"no such metric: {name!r}; {hint}")
