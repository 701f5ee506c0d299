"""The parts of a metric: examples, sufficient statistics, scores, and the declaration of each metric.

Every metric is decomposable: a row yields a few numbers (its sufficient statistics), the numbers of all rows
are summed, and the score is a function of the sum. BLEU sums n-gram counts; a mean sums the value and a one.
So `scoring` keeps no rows in memory, and `resampling` draws a thousand samples of a corpus without scoring
any text twice.

This module does not depend on files, models or any particular metric.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ParamSpec

from llmkit.errors import OptionError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

P = ParamSpec("P")


@dataclass(frozen=True)
class Example:
    """One row to be scored.

    Attributes:
        prediction: output of the system; a text, or any label for `accuracy`.
        references: correct answers, one or more of the same kind; may be empty if the metric allows it.
        data: the whole row, for metrics that read another column of it.
        where: place of the row, for error messages.
        failed: True if the system gave no output for this row; `prediction` is then empty.
    """

    prediction: Any
    references: Sequence[Any] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    where: str = "row"
    failed: bool = False


@dataclass(frozen=True)
class Metric:
    """A metric with its options.

    Attributes:
        name: name of the metric for the user.
        scores: names of its scores, in the order of the columns of `corpus`.
        signature: options and versions that reproduce the scores, as `key:value` joined by `|`. `scoring`
            adds the number of references at the beginning.
        statistics: computes the sufficient statistics of an example, always with the same length.
        corpus: maps sums of statistics (samples x statistics) to scores (samples x `scores`).
        record: like `corpus`, for a single example; None uses `corpus`.
        details: maps the summed statistics to further numbers of each score (precision, brevity penalty).
        unsummable: computes numbers of an example that cannot be summed, for `from_all_rows`.
        from_all_rows: maps all `unsummable` numbers (rows x numbers) to further scores without an interval.
        prefetch: receives some examples before `statistics` receives each of them, for batched computation.
        scale: score of a perfect system, 1 or 100; None if there is none (perplexity).
        shares: scores that are shares of rows, each with the index of the statistic that counts these rows.
        needs_references: False if the metric uses only the prediction.
        lower_is_better: True for errors and losses.
        task: the Hub's name of the task that the metric usually judges.
    """

    name: str
    scores: tuple[str, ...]
    signature: str
    statistics: Callable[[Example], Sequence[float]]
    corpus: Callable[[Matrix], Matrix]
    record: Callable[[Matrix], Matrix] | None = None
    details: Callable[[Sequence[float]], dict[str, dict[str, float]]] | None = None
    unsummable: Callable[[Example], Sequence[float]] | None = None
    from_all_rows: Callable[[Matrix], dict[str, float]] | None = None
    prefetch: Callable[[Sequence[Example]], None] | None = None
    scale: int | None = 1
    shares: Mapping[str, int] = field(default_factory=dict)
    needs_references: bool = True
    lower_is_better: bool = False
    task: str = "text-generation"


@dataclass(frozen=True)
class MetricOption:
    """An option of a metric that the command line and `llmkit.score` offer.

    Attributes:
        name: name of the option; metrics that share an option share its name.
        type: type of its value.
        help: one sentence about it.
        parameter: keyword argument of the metric's function, if it is not `name`.
        metavar: placeholder for the value in the help text.
        default: the default in words.
    """

    name: str
    type: type
    help: str
    parameter: str = ""
    metavar: str | None = None
    default: str | None = None


Adapt = Callable[[Mapping[str, Any], Sequence[Example], str | None], tuple[dict[str, Any], list[str]]]
"""Function that chooses options that the user did not set. Its arguments are the user's keyword arguments, a
sample of the rows and the target language (or None). It returns keyword arguments to add, and a sentence for
each choice to report.
"""


@dataclass(frozen=True)
class Declaration:
    """The facts about a metric that the command line, `evaluate` modules and model cards use.

    Attributes:
        summary: short description for the help text.
        task: the Hub's name of the task that the metric usually judges.
        needs_references: False if the metric uses only the prediction.
        lower_is_better: True for errors and losses.
        options: options that the user can set.
        adapt: chooses options that the user did not set.
        uses_language: True if `adapt` uses the target language.
        takes_labels: True if predictions may be whole numbers as well as texts.
        reads: None if the metric scores predictions. For a metric that runs a model over texts, the reading
            options that apply to it.
    """

    summary: str
    task: str = "text-generation"
    needs_references: bool = True
    lower_is_better: bool = False
    options: tuple[MetricOption, ...] = ()
    adapt: Adapt | None = None
    uses_language: bool = False
    takes_labels: bool = False
    reads: frozenset[str] | None = None


def declare(declaration: Declaration) -> Callable[[Callable[P, Metric]], Callable[P, Metric]]:
    """Attach a declaration to a function that builds a metric; the metric copies its facts."""

    def decorate(build: Callable[P, Metric]) -> Callable[P, Metric]:
        @functools.wraps(build)
        def declared(*args: P.args, **kwargs: P.kwargs) -> Metric:
            return replace(
                build(*args, **kwargs),
                needs_references=declaration.needs_references,
                lower_is_better=declaration.lower_is_better,
                task=declaration.task,
            )

        declared.declaration = declaration  # type: ignore[attr-defined]
        return declared

    return decorate


def text(value: Any, what: str, where: str) -> str:
    """Return a prediction or reference as text; numbers are written out.

    Raises:
        RowError: the value is missing, not a number (NaN), or neither a text nor a number.
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
    """Return the prediction and the references, all as texts.

    Raises:
        RowError: one of them is not a text, or there are no references.
    """
    if not example.references:
        raise RowError(example.where, "the list of references is empty")
    prediction = text(example.prediction, "prediction", example.where)
    return prediction, [text(reference, "reference", example.where) for reference in example.references]


def means(sums: Matrix) -> Matrix:
    """Return means, for `Metric.corpus`: the last statistic is a one, the others are the values."""
    return sums[:, :-1] / sums[:, -1:]


def check_choice(option: str, value: str, allowed: Sequence[str]) -> None:
    """Raise an OptionError that lists `allowed` unless `value` is among them."""
    if value not in allowed:
        raise OptionError(option, f"must be one of {', '.join(allowed)}, not {value!r}")
