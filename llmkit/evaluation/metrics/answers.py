"""Exact match, token F1, SQuAD 1.1 and 2.0, and accuracy.

The SQuAD scores follow the official scripts (evaluate-v1.1.py and evaluate-v2.0.py; Rajpurkar et al. 2016,
arXiv:1606.05250, and 2018, arXiv:1806.03822), including their difference: an empty answer against an empty
answer has an F1 of 0 in 1.1 and of 1 in 2.0.

The official scripts split answers at white space, so a Chinese or Japanese answer is one token. With
``words="unicode"`` every character of a script without spaces is a token, as in the evaluation of CMRC 2018
(Cui et al. 2019, arXiv:1810.07366).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.errors import InputError, RowError
from llmkit.evaluation.metric import (
    Declaration,
    Example,
    Metric,
    MetricOption,
    check_choice,
    declare,
    means,
    text,
    texts,
)
from llmkit.evaluation.metrics.tokens import main_script
from llmkit.text.words import unicode_words

if TYPE_CHECKING:
    from llmkit.evaluation.metric import Matrix

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
WORDS = ("squad", "unicode")

NO_ANSWER_PROBABILITY = "no_answer_probability"
"""Column with the probability that the row has no answer, for SQuAD 2.0."""


def _adapt(
    chosen: Mapping[str, Any], sample: Sequence[Example], language: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Choose character tokens if the references are written without spaces."""
    if chosen.get("words", "auto") != "auto":
        return {}, []
    script = main_script(str(reference) for example in sample for reference in example.references)
    if script == "spaced":
        return {"words": "squad"}, []
    reason = f"the references are mostly {script}, which has no spaces between words"
    return {"words": "unicode"}, [
        f'answers are compared by characters: {reason} (answer_words="squad" splits at spaces)'
    ]


def _adapt_normalized(
    chosen: Mapping[str, Any], sample: Sequence[Example], language: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Like `_adapt`; without normalization, complete answers are compared and no choice is needed."""
    return _adapt(chosen, sample, language) if chosen.get("normalize") else ({"words": "squad"}, [])


_ANSWER_WORDS = MetricOption(
    "answer_words",
    str,
    "Tokens of an answer: squad (split at spaces), unicode (each character where a script has no spaces),"
    " or auto.",
    parameter="words",
    default="auto",
)
_QA = "question-answering"


def normalize_answer(answer: str) -> str:
    """Normalize an answer like SQuAD: lower case, no ASCII punctuation, no a/an/the, single spaces."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_NO_PUNCTUATION)).split())


def answer_tokens(answer: str, words: str = "squad") -> list[str]:
    """Return the tokens of a normalized answer; `words` is one of `WORDS`."""
    normal = normalize_answer(answer)
    return normal.split() if words == "squad" else unicode_words(normal)


def token_f1(prediction: str, reference: str, *, both_empty: float = 1.0, words: str = "squad") -> float:
    """Return the harmonic mean of precision and recall over the tokens of two answers, 0 to 1.

    Args:
        prediction: an answer.
        reference: the correct one.
        both_empty: the score if neither has a token left after normalization.
        words: one of `WORDS`.
    """
    predicted, right = answer_tokens(prediction, words), answer_tokens(reference, words)
    if not predicted and not right:
        return both_empty
    same = (Counter(predicted) & Counter(right)).total()
    return 2 * same / (len(predicted) + len(right))


@declare(
    Declaration(
        "share of predictions equal to a reference",
        task=_QA,
        options=(
            MetricOption("normalize", bool, "Compare without case, articles and punctuation."),
            _ANSWER_WORDS,
        ),
        adapt=_adapt_normalized,
    )
)
def exact_match(*, normalize: bool = False, words: str = "squad") -> Metric:
    """Build exact match: the share of predictions that equal one of their references, 0 to 1.

    Args:
        normalize: compare the answers' tokens after `normalize_answer`; otherwise compare the unchanged
            texts.
        words: one of `WORDS`, for `normalize`.

    Raises:
        OptionError: `words` is not one of `WORDS`.
    """
    check_choice("answer_words", words, WORDS)

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        if normalize:
            return [max(_exact(prediction, reference, words) for reference in references), 1.0]
        return [float(prediction in references), 1.0]

    signature = _signature(f"norm:{_norm(words) if normalize else 'none'}|refs:any")
    return Metric("exact_match", ("exact_match",), signature, statistics, means, shares={"exact_match": 1})


@declare(Declaration("token overlap of answers", task=_QA, options=(_ANSWER_WORDS,), adapt=_adapt))
def f1(*, words: str = "squad") -> Metric:
    """Build F1: the mean over rows of the best `token_f1` against any reference, 0 to 1.

    Args:
        words: one of `WORDS`.

    Raises:
        OptionError: `words` is not one of `WORDS`.
    """
    check_choice("answer_words", words, WORDS)

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        return [max(token_f1(prediction, reference, words=words) for reference in references), 1.0]

    return Metric("f1", ("f1",), _signature(f"norm:{_norm(words)}|refs:max"), statistics, means)


@declare(Declaration("share of correct labels", task="text-classification", takes_labels=True))
def accuracy() -> Metric:
    """Build accuracy: the share of correct labels, 0 to 1.

    Labels are texts, whole numbers, or true and false.
    """

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
                "and would never be equal; use the same type for both",
            )
        return [float(label in right), 1.0]

    return Metric(
        "accuracy", ("accuracy",), _signature("refs:any"), statistics, means, shares={"accuracy": 1}
    )


@declare(Declaration("SQuAD 1.1", task=_QA, options=(_ANSWER_WORDS,), adapt=_adapt))
def squad(*, words: str = "squad") -> Metric:
    """Build SQuAD 1.1: exact match and F1, each the best over the answers of a row, 0 to 100.

    Args:
        words: one of `WORDS`.

    Raises:
        OptionError: `words` is not one of `WORDS`.
    """
    check_choice("answer_words", words, WORDS)

    def statistics(example: Example) -> list[float]:
        prediction, references = texts(example)
        exact = max(_exact(prediction, reference, words) for reference in references)
        overlap = max(
            token_f1(prediction, reference, both_empty=0.0, words=words) for reference in references
        )
        return [100 * exact, 100 * overlap, 1.0]

    return Metric(
        name="squad",
        scores=("squad_exact", "squad_f1"),
        signature=_signature(f"norm:{_norm(words)}|refs:max|rules:1.1"),
        statistics=statistics,
        corpus=means,
        scale=100,
        shares={"squad_exact": 2},
    )


@declare(
    Declaration(
        "SQuAD 2.0",
        task=_QA,
        options=(
            MetricOption(
                "no_answer_threshold",
                float,
                f"A larger {NO_ANSWER_PROBABILITY} counts as no answer.",
                default="1",
                parameter="threshold",
            ),
            _ANSWER_WORDS,
        ),
        adapt=_adapt,
    )
)
def squad_v2(*, threshold: float = 1.0, words: str = "squad") -> Metric:
    """Build SQuAD 2.0, 0 to 100: exact match and F1 over all rows, and over those with and without an answer.

    A row without references, or with only empty ones, has no answer; an empty prediction is correct there. If
    every row has a `no_answer_probability`, further scores give the best exact match and F1 over all
    thresholds on it, and these thresholds.

    Args:
        threshold: a prediction whose `no_answer_probability` exceeds it counts as "no answer".
        words: one of `WORDS`.

    Raises:
        OptionError: `words` is not one of `WORDS`.
    """
    check_choice("answer_words", words, WORDS)

    def judge(example: Example) -> tuple[str, bool, float, float]:
        prediction = text(example.prediction, "prediction", example.where)
        answers = [text(reference, "reference", example.where) for reference in example.references]
        right = [answer for answer in answers if answer_tokens(answer, words)] or [""]
        exact = max(_exact(prediction, answer, words) for answer in right)
        overlap = max(token_f1(prediction, answer, words=words) for answer in right)
        return prediction, right != [""], exact, overlap

    def statistics(example: Example) -> list[float]:
        _, answerable, exact, overlap = judge(example)
        if _no_answer_probability(example) > threshold:
            exact = overlap = float(not answerable)
        pair = [100 * exact, 100 * overlap, 1.0]
        nothing = [0.0, 0.0, 0.0]
        return [*pair, *(pair if answerable else nothing), *(nothing if answerable else pair)]

    def corpus(sums: Matrix) -> Matrix:
        import numpy as np

        with np.errstate(invalid="ignore"):  # 0 of 0 rows is NaN, and `scoring` leaves it out
            return np.hstack([means(sums[:, start : start + 3]) for start in (0, 3, 6)])

    def unsummable(example: Example) -> tuple[float, ...]:
        prediction, answerable, exact, overlap = judge(example)
        return exact, overlap, answerable, bool(prediction), _no_answer_probability(example)

    return Metric(
        name="squad_v2",
        scores=tuple(
            f"squad_v2_{rows}{kind}" for rows in ("", "HasAns_", "NoAns_") for kind in ("exact", "f1")
        ),
        signature=_signature(f"norm:{_norm(words)}|refs:max|rules:2.0|threshold:{threshold:g}"),
        statistics=statistics,
        corpus=corpus,
        unsummable=unsummable,
        from_all_rows=_best_thresholds,
        scale=100,
        shares={"squad_v2_exact": 2, "squad_v2_HasAns_exact": 5, "squad_v2_NoAns_exact": 8},
    )


def _best_thresholds(rows: Matrix) -> dict[str, float]:
    """Return the best exact match and F1 that a threshold on the probability gives, and that threshold.

    As in the official script, rows are answered in order of their probability of having no answer, ties in
    order of appearance. At first every row is unanswered. Answering a row gains its score if it has an
    answer, and costs a point if it has none and the prediction is not empty.

    Args:
        rows: exact match, F1, row has an answer, prediction is not empty, and probability (rows x 5).
    """
    import numpy as np

    probability = rows[:, 4]
    missing = int(np.count_nonzero(np.isnan(probability)))
    if missing == len(rows):
        return {}
    if missing:
        raise InputError(
            f"{NO_ANSWER_PROBABILITY} is missing in {missing} of {len(rows)} rows; give it in all or in none"
        )
    order = np.argsort(probability, kind="stable")
    answerable, answered = rows[order, 2], rows[order, 3]
    result = {}
    for column, kind in enumerate(("exact", "f1")):
        gain = np.where(answerable, rows[order, column], -answered)
        points = np.concatenate([[0.0], np.cumsum(gain)]) + np.count_nonzero(answerable == 0)
        best = int(np.argmax(points))
        result[f"squad_v2_best_{kind}"] = float(100 * points[best] / len(rows))
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


def _exact(prediction: str, reference: str, words: str) -> float:
    return float(answer_tokens(prediction, words) == answer_tokens(reference, words))


def _label(value: Any, what: str, where: str) -> Any:
    if isinstance(value, (str, bool, int)) or (isinstance(value, float) and value.is_integer()):
        return int(value) if isinstance(value, float) else value
    raise RowError(where, f"the {what} is {value!r}, not a label (a text, a whole number, true or false)")


def _norm(words: str) -> str:
    return "squad" if words == "squad" else f"squad|tok:{words}"


def _signature(options: str) -> str:
    from llmkit import __version__

    return f"{options}|version:llmkit-{__version__}"
