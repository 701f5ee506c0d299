"""Exact match, token F1, SQuAD 1.1 and 2.0, and accuracy.

The SQuAD scores follow the official scripts (evaluate-v1.1.py and evaluate-v2.0.py, Rajpurkar et al. 2016
and 2018), also where the two differ: an empty answer against an empty answer has an F1 of 0 in 1.1 and of
1 in 2.0.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.evaluation.metric import Example, Metric, means, text, texts

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

NO_ANSWER_PROBABILITY = "no_answer_probability"
"""The column in which SQuAD 2.0 predictions say how sure they are that there is no answer."""


def normalize_answer(answer: str) -> str:
    """An answer as SQuAD compares it: lower case, no ASCII punctuation, no a/an/the, single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def token_f1(prediction: str, reference: str, *, both_empty: float = 1.0) -> float:
    """Harmonic mean of precision and recall over the normalized answers' tokens, 0 to 1.

    Args:
        prediction: an answer.
        reference: the right one.
        both_empty: the score where neither has a token left.
    """
    predicted, right = normalize_answer(prediction).split(), normalize_answer(reference).split()
    if not predicted and not right:
        return both_empty
    same = (Counter(predicted) & Counter(right)).total()
    return 2 * same / (len(predicted) + len(right))


def exact_match(*, normalize: bool = False) -> Metric:
    """The share of predictions that are one of their references, 0 to 1.

    Args:
        normalize: compare as `normalize_answer` leaves them; otherwise character by character.
    """
    prepare = normalize_answer if normalize else str

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        return [float(prepare(prediction) in map(prepare, references)), 1.0]

    signature = _signature(f"norm:{'squad' if normalize else 'none'}|refs:any")
    return Metric("exact_match", ("exact_match",), signature, statistics, means)


def f1() -> Metric:
    """The mean over rows of the best `token_f1` against any reference, 0 to 1."""

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        return [max(token_f1(prediction, reference) for reference in references), 1.0]

    return Metric("f1", ("f1",), _signature("norm:squad|refs:max"), statistics, means)


def accuracy() -> Metric:
    """The share of labels that are right, 0 to 1; labels are texts, whole numbers or true and false."""

    def statistics(example: Example) -> list[float]:
        if not example.references:
            raise RowError(example.where, "the list of references is empty")
        label = _label(example.prediction, "prediction", example.where)
        right = [_label(reference, "reference", example.where) for reference in example.references]
        kinds = {type(value).__name__ for value in (label, *right)}
        if len(kinds) > 1:
            raise RowError(
                example.where,
                f"prediction and reference are of different kinds ({' and '.join(sorted(kinds))}) "
                "and would never be equal; write both the same way",
            )
        return [float(label in right), 1.0]

    return Metric("accuracy", ("accuracy",), _signature("refs:any"), statistics, means)


def squad() -> Metric:
    """SQuAD 1.1: exact match and F1, each the best over the row's answers, 0 to 100."""

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        exact = max(_exact(prediction, reference) for reference in references)
        overlap = max(token_f1(prediction, reference, both_empty=0.0) for reference in references)
        return [100 * exact, 100 * overlap, 1.0]

    signature = _signature("norm:squad|refs:max|rules:1.1")
    return Metric("squad", ("squad_exact", "squad_f1"), signature, statistics, means, scale=100)


def squad_v2(*, threshold: float = 1.0) -> Metric:
    """SQuAD 2.0, 0 to 100: exact match and F1 over all rows, and over those with and without an answer.

    A row without references, or with only empty ones, has no answer; an empty prediction says so. Where
    all rows have a `no_answer_probability`, the best scores that any threshold gives, and those
    thresholds, are added.

    Args:
        threshold: a prediction whose `no_answer_probability` exceeds it counts as "no answer".
    """

    def judge(example: Example) -> tuple[str, bool, float, float]:
        prediction = text(example.prediction, "prediction", example.where)
        answers = [text(reference, "reference", example.where) for reference in example.references]
        right = [answer for answer in answers if normalize_answer(answer)] or [""]
        exact = max(_exact(prediction, answer) for answer in right)
        return prediction, right != [""], exact, max(token_f1(prediction, answer) for answer in right)

    def statistics(example: Example) -> list[float]:
        _, answerable, exact, overlap = judge(example)
        if _no_answer_probability(example) > threshold:
            exact = overlap = float(not answerable)
        pair = [100 * exact, 100 * overlap, 1.0]
        nothing = [0.0, 0.0, 0.0]
        return [*pair, *(pair if answerable else nothing), *(nothing if answerable else pair)]

    def corpus(sums: Matrix) -> Matrix:
        import numpy as np

        with np.errstate(invalid="ignore"):  # 0 of 0 rows is NaN, which is left out of the results
            return np.hstack([means(sums[:, start : start + 3]) for start in (0, 3, 6)])

    def kept(example: Example) -> tuple[float, ...]:
        prediction, answerable, exact, overlap = judge(example)
        return exact, overlap, answerable, bool(prediction), _no_answer_probability(example)

    return Metric(
        name="squad_v2",
        scores=tuple(
            f"squad_v2_{rows}{kind}" for rows in ("", "HasAns_", "NoAns_") for kind in ("exact", "f1")
        ),
        signature=_signature(f"norm:squad|refs:max|rules:2.0|threshold:{threshold:g}"),
        statistics=statistics,
        corpus=corpus,
        kept=kept,
        whole=_best_thresholds,
        scale=100,
    )


def _best_thresholds(kept: Matrix) -> dict[str, float]:
    """The best exact match and F1 that a threshold on the probability can give, and that threshold.

    As in the official script: rows are answered in order of their probability of having no answer, ties
    in order of appearance. Answering a row gains its score if it has an answer, costs a point if it has
    none and the prediction is not empty, and starts from every row unanswered.
    """
    import numpy as np

    probability = kept[:, 4]
    missing = int(np.count_nonzero(np.isnan(probability)))
    if missing == len(kept):
        return {}
    if missing:
        raise InputError(
            f"{NO_ANSWER_PROBABILITY} is missing in {missing} of {len(kept)} rows; give it in all or in none"
        )
    order = np.argsort(probability, kind="stable")
    answerable, spoken = kept[order, 2], kept[order, 3]
    result = {}
    for column, kind in enumerate(("exact", "f1")):
        gain = np.where(answerable, kept[order, column], -spoken)
        points = np.concatenate([[0.0], np.cumsum(gain)]) + np.count_nonzero(answerable == 0)
        best = int(np.argmax(points))
        result[f"squad_v2_best_{kind}"] = float(100 * points[best] / len(kept))
        result[f"squad_v2_best_{kind}_threshold"] = float(probability[order[best - 1]]) if best else 0.0
    return result


def _no_answer_probability(example: Example) -> float:
    value = example.data.get(NO_ANSWER_PROBABILITY)
    if value is None:
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise RowError(example.where, f"{NO_ANSWER_PROBABILITY} is {value!r}, not a number")
    return number


def _exact(prediction: str, reference: str) -> float:
    return float(normalize_answer(prediction) == normalize_answer(reference))


def _label(value: Any, what: str, where: str) -> Any:
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and value.is_integer()):
        return int(value) if isinstance(value, float) else value
    raise RowError(where, f"the {what} is {value!r}, not a label (a text, a whole number, true or false)")


def _signature(options: str) -> str:
    from llmkit import __version__

    return f"{options}|version:llmkit-{__version__}"
