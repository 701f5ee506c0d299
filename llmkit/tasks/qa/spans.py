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
        top_k: answers per question.
        no_answer: that there is no answer is one of the possible answers (SQuAD 2).
        no_answer_threshold: there is none if its probability is above this; None: if it is the likeliest.
        max_answer_tokens: longest answer.
        window: tokens the model sees at a time, question included; None is 384, or less if it cannot.
        doc_stride: context tokens that neighboring windows share; None is 128, or half a smaller window.
        align_to_words: an answer that begins or ends inside a word takes in the whole word.
        transformers_4: as the question-answering pipeline of transformers 4.57 has it: the scores of equal
            answers in several windows are added up, which can give more than 1 (else the best window's
            counts), words end at the window's border, and spans are not tidied.
    """

    top_k: int = 1
    no_answer: bool = False
    no_answer_threshold: float | None = None
    max_answer_tokens: int = 15
    window: int | None = None
    doc_stride: int | None = None
    align_to_words: bool = True
    transformers_4: bool = False

    def __post_init__(self) -> None:
        threshold = self.no_answer_threshold
        checks = [
            (self.top_k >= 1, "top_k", "must be 1 or more"),
            (self.max_answer_tokens >= 1, "max_answer_tokens", "must be 1 or more"),
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
        context: which of the question's contexts it is from.
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
        best: at most `top_k`, the likeliest first; never empty.
        no_answer_probability: that of "no answer": the least of all windows.
    """

    best: list[SpanAnswer]
    no_answer_probability: float


def pool_answers(windows: Sequence[tuple[list[SpanAnswer], float]], options: AnswerOptions) -> Answers:
    """Bring the windows of one question together.

    Args:
        windows: for each window its spans, the likeliest first, and the probability that it holds none.
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
    """Equal texts are one answer, whose probabilities add up; it stays where the first was."""
    old = answers.setdefault(new.answer.lower(), new)
    if old is not new:
        answers[new.answer.lower()] = replace(old, score=old.score + new.score)


def best_spans(
    starts: np.ndarray, ends: np.ndarray, count: int, longest: int
) -> list[tuple[int, int, float]]:
    """The `count` likeliest spans (first token, last token, probability), the likeliest first.

    Args:
        starts, ends: probability [n] that the answer starts, or ends, at each token.
        count: how many.
        longest: tokens in the longest span.
    """
    import numpy as np

    longest = min(longest, len(starts))
    padded = np.concatenate([ends, np.zeros(longest - 1, dtype=ends.dtype)])
    # Row s holds the spans that start at s, by their length: [n, longest].
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
    """Softmax over the context's tokens and the "no answer" token, if there is one.

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
    """Leave out white space around a span, and take in the marks that belong to its last character."""
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
    """The character at `at` is one with the character before it."""
    character = text[at]
    if unicodedata.category(character)[0] == "M" or character == _JOINER or text[at - 1] == _JOINER:
        return True
    return "\U0001f3fb" <= character <= "\U0001f3ff"
