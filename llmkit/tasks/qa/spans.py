"""Spans and their probabilities: from a model's logits to the answers of one question."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmkit.errors import LLMKitError, OptionError

if TYPE_CHECKING:
    import numpy as np

_JOINER = "\N{ZERO WIDTH JOINER}"


@dataclass(frozen=True)
class AnswerOptions:
    """Options of an extractive model's answers.

    Attributes:
        top_k: number of answers to a question.
        no_answer: allow the answer "no answer" (SQuAD 2).
        no_answer_threshold: give "no answer" if its probability is above this; None gives it if no answer is
            more probable.
        max_answer_tokens: maximum tokens of an answer; None is the ``max_answer_len`` of the model's
            ``task_specific_params`` for question answering, or 15.
        window: tokens that the model sees at a time, question included; None is 384, or the model's maximum
            if that is smaller.
        doc_stride: context tokens that neighboring windows share; None is 128, or half a smaller window.
        align_to_words: extend an answer that begins or ends inside a word to the complete word.
        transformers_4: follow the question-answering pipeline of transformers 4.57: add up the scores of
            equal answers in several windows, which can give more than 1 (otherwise the best window's score
            counts), end words at the window's border, and do not tidy spans.

    Raises:
        OptionError: a value is out of range, or a threshold is given without `no_answer`.
    """

    top_k: int = 1
    no_answer: bool = False
    no_answer_threshold: float | None = None
    max_answer_tokens: int | None = None
    window: int | None = None
    doc_stride: int | None = None
    align_to_words: bool = True
    transformers_4: bool = False

    def __post_init__(self) -> None:
        threshold, longest = self.no_answer_threshold, self.max_answer_tokens
        checks = [
            (self.top_k >= 1, "top_k", "must be 1 or more"),
            (longest is None or longest >= 1, "max_answer_tokens", "must be 1 or more"),
            (self.window is None or self.window >= 1, "window", "must be 1 or more tokens"),
            (self.doc_stride is None or self.doc_stride >= 0, "doc_stride", "must be 0 or more tokens"),
            (threshold is None or 0 <= threshold <= 1, "no_answer_threshold", "must be between 0 and 1"),
            (threshold is None or self.no_answer, "no_answer_threshold", "needs `no_answer`"),
        ]
        for holds, option, reason in checks:
            if not holds:
                raise OptionError(option, reason)


@dataclass(frozen=True)
class SpanAnswer:
    """A span of a context.

    Attributes:
        answer: its text; empty for "no answer".
        score: its probability.
        start, end: its characters in the context: ``text[start:end]`` is the answer.
        context: index of its context among the question's contexts.
    """

    answer: str
    score: float
    start: int
    end: int
    context: int = 0


@dataclass(frozen=True)
class Answers:
    """The answers to one question.

    Attributes:
        best: at most `top_k` answers, most probable first; never empty.
        no_answer_probability: probability of "no answer": the minimum over all windows.
    """

    best: list[SpanAnswer]
    no_answer_probability: float


def pool_answers(windows: Sequence[tuple[list[SpanAnswer], float]], options: AnswerOptions) -> Answers:
    """Combine the windows of one question.

    Args:
        windows: for each window its spans, most probable first, and the probability that it has no answer.
        options: see `AnswerOptions`.
    """
    kept: dict[str, SpanAnswer] = {}
    for spans, _ in windows:
        here = kept if options.transformers_4 else {}
        for span in spans:
            _add(here, span)
        if here is kept:
            continue
        for key, answer in here.items():
            if answer.answer and (key not in kept or answer.score > kept[key].score):
                kept[key] = answer
    nothing = min(none for _, none in windows)
    answers = list(kept.values())
    empty = SpanAnswer("", nothing if options.no_answer else 0.0, 0, 0)
    threshold = options.no_answer_threshold
    if threshold is None and (options.no_answer or not answers):
        answers.append(empty)
    answers.sort(key=lambda answer: -answer.score)
    if threshold is not None and (nothing > threshold or not answers):
        answers.insert(0, empty)
    return Answers(answers[: options.top_k], nothing)


def _add(answers: dict[str, SpanAnswer], new: SpanAnswer) -> None:
    """Merge an answer with one of equal text: add up their probabilities, and keep the first place."""
    old = answers.setdefault(new.answer.lower(), new)
    if old is not new:
        answers[new.answer.lower()] = replace(old, score=old.score + new.score)


def best_spans(
    starts: np.ndarray, ends: np.ndarray, count: int, longest: int
) -> list[tuple[int, int, float]]:
    """Return the `count` most probable spans (first token, last token, probability), best first.

    Args:
        starts, ends: probability [n] that the answer starts, or ends, at each token.
        count: number of spans.
        longest: maximum tokens of a span.
    """
    import numpy as np

    longest = min(longest, len(starts))
    padded = np.concatenate([ends, np.zeros(longest - 1, dtype=ends.dtype)])
    # Row s has the spans that start at s, by their length: [n, longest].
    scores = (starts[:, None] * np.lib.stride_tricks.sliding_window_view(padded, longest)).ravel()
    count = min(count, len(scores))
    top = np.argpartition(-scores, count - 1)[:count]
    top = top[np.lexsort((top, -scores[top]))]
    return [
        (int(i) // longest, int(i) // longest + int(i) % longest, float(scores[i]))
        for i in top
        if scores[i] > 0
    ]


def probabilities(logits: np.ndarray, none: float | None) -> tuple[np.ndarray, float]:
    """Compute the softmax over the context's tokens and the "no answer" token, if there is one.

    Returns:
        The probabilities of the tokens [n], and of "no answer" (0 without such a token).

    Raises:
        LLMKitError: the logits are no numbers.
    """
    import numpy as np

    highest = logits.max() if none is None else max(logits.max(), none)
    wide = np.exp(logits.astype(np.float64) - highest)
    nothing = 0.0 if none is None else float(np.exp(np.float64(none) - highest))
    total = wide.sum() + nothing
    if not np.isfinite(total):
        raise LLMKitError("the model's scores are not numbers (NaN); try dtype=float32")
    return wide / total, float(nothing / total)


def tidy(text: str, start: int, end: int) -> tuple[int, int]:
    """Remove white space around a span, and add combining marks at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    if start == end:
        return start, end
    while start > 0 and _joins(text, start):
        start -= 1
    while end < len(text) and _joins(text, end):
        end += 1
    return start, end


def _joins(text: str, at: int) -> bool:
    """Return True if the character at `at` combines with the one before it."""
    character = text[at]
    if unicodedata.category(character)[0] == "M" or character == _JOINER or text[at - 1] == _JOINER:
        return True
    return "\U0001f3fb" <= character <= "\U0001f3ff"
