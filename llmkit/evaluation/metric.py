"""What a metric is, and which ones there are.

Every metric here is decomposable: a row leaves a few numbers (its sufficient statistics), the numbers of
all rows are summed, and the score is a function of the sum. BLEU's numbers are n-gram counts, a mean's
are the value and a one. That is what lets `scoring` keep no rows in memory and `resampling` draw a
thousand samples of a corpus without scoring any text twice.

This module knows nothing of files, models or any particular metric.
"""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """One row to be scored.

    Args:
        prediction: what the system gave; a text, or for `accuracy` any label.
        references: what is right, one or more of the same kind; empty where the metric allows it.
        data: the whole row, for metrics that read another column of it.
        where: the row's place, for error messages.
    """

    prediction: Any
    references: Sequence[Any] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    where: str = "row"


@dataclass(frozen=True)
class Metric:
    """A metric with its options chosen.

    Args:
        name: what the user calls it.
        scores: the names of the numbers it gives, in the order in which `corpus` gives them.
        signature: what another person needs to get the same numbers, `key:value` joined by `|`; the
            number of references is put in front when the rows have been read.
        statistics: an example's sufficient statistics, always of one length.
        corpus: sums of statistics, one sample a row (samples x statistics), to scores
            (samples x `scores`).
        record: as `corpus`, for one example standing alone; where it is None, `corpus` serves.
        details: the summed statistics to the numbers behind each score (precision, brevity penalty).
        kept: numbers of an example that cannot be summed, for `whole`.
        whole: everything `kept` (rows x numbers) to further scores, which get no interval.
        scale: the score of a perfect system, 1 or 100; None where there is none (perplexity).
        needs_references: False where the prediction alone is judged.
        ahead: called with some examples before `statistics` is with each, for what is quicker together.
    """

    name: str
    scores: tuple[str, ...]
    signature: str
    statistics: Callable[[Example], Sequence[float]]
    corpus: Callable[[Matrix], Matrix]
    record: Callable[[Matrix], Matrix] | None = None
    details: Callable[[Sequence[float]], dict[str, dict[str, float]]] | None = None
    kept: Callable[[Example], Sequence[float]] | None = None
    whole: Callable[[Matrix], dict[str, float]] | None = None
    scale: int | None = 1
    needs_references: bool = True
    ahead: Callable[[Sequence[Example]], None] | None = None


_HOME = {
    "bleu": "metrics.bleu",
    "chrf": "metrics.bleu",
    "chrf++": "metrics.bleu",
    "ter": "metrics.bleu",
    "rouge": "metrics.rouge",
    "exact_match": "metrics.answers",
    "f1": "metrics.answers",
    "squad": "metrics.answers",
    "squad_v2": "metrics.answers",
    "accuracy": "metrics.answers",
    "distinct": "metrics.diversity",
    "repetition": "metrics.diversity",
}

OF_MODELS = ("perplexity", "multiple_choice", "minimal_pairs")
"""Metrics that judge a model and not a file of predictions."""
NAMES = (*_HOME, *OF_MODELS)
"""Every metric that needs no further package."""
EXTRAS = ("bertscore",)
"""Those that need one, in a module of their name."""


def make(name: str, **options: Any) -> Metric:
    """Build a metric that scores predictions.

    Args:
        name: one of `NAMES` and `EXTRAS`, except `OF_MODELS`.
        options: the keyword arguments of the function of that name in its module.

    Raises:
        InputError: no metric is called so (the message gives the nearest name), or an option's value is
            not one it takes.
    """
    check_name(name)
    if name in OF_MODELS:
        home = "perplexity" if name == "perplexity" else "choices"
        raise InputError(f"{name} judges a model, not predictions: use llmkit.evaluation.{home}")
    module = importlib.import_module(f"llmkit.evaluation.{_HOME.get(name, 'metrics.' + name)}")
    if name == "chrf++":
        name, options = "chrf", {"word_order": 2, **options}
    metric: Metric = getattr(module, name)(**options)
    return metric


def check_name(name: str) -> None:
    """Raise an InputError with the nearest name unless `name` is a metric."""
    known = (*NAMES, *EXTRAS)
    if name in known:
        return
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    raise InputError(f"no such metric: {name!r}; {hint}")


def text(value: Any, what: str, where: str) -> str:
    """A prediction or reference as text; numbers are written out.

    Raises:
        RowError: it is missing, not a number (NaN), or neither a text nor a number.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise RowError(where, f"the {what} is null")
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError(where, f"the {what} is {value}, which is not a text")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise RowError(where, f"the {what} is {type(value).__name__}, not a text")


def texts(example: Example) -> tuple[str, list[str]]:
    """The prediction and the references, all as texts.

    Raises:
        RowError: one of them is not a text, or there are no references.
    """
    if not example.references:
        raise RowError(example.where, "the list of references is empty")
    prediction = text(example.prediction, "prediction", example.where)
    return prediction, [text(reference, "reference", example.where) for reference in example.references]


def means(sums: Matrix) -> Matrix:
    """The `corpus` of a metric that is a mean: the last statistic is a one, the others are the values."""
    return sums[:, :-1] / sums[:, -1:]


def choose(option: str, value: str, allowed: Sequence[str]) -> None:
    """Raise an InputError that lists `allowed` unless `value` is among them."""
    if value not in allowed:
        raise InputError(f"{option} is {value!r}; it can be {', '.join(allowed)}")
