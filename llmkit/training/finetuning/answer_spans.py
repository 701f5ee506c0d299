"""Answers in a context: read them from a row, and find their characters and tokens.

Public: `answers_of`, `answer_span`, `token_span`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit.training.finetuning.columns import BadRowError


def answers_of(value: Any) -> list[tuple[str, int | None]]:
    """Read the answers of a row, in SQuAD's form or a simpler one.

    Returns:
        Each answer's text, and its first character in the context if the row gives it.

    Raises:
        BadRowError: the value has another form.
    """
    if isinstance(value, str):
        return [(value, None)]
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if isinstance(texts, str):
            texts, starts = [texts], [starts]
        if isinstance(texts, list):
            starts = starts if isinstance(starts, list) and len(starts) == len(texts) else [None] * len(texts)
            value = [{"text": text, "answer_start": at} for text, at in zip(texts, starts, strict=True)]
    if isinstance(value, list):
        found = [one if isinstance(one, dict) else {"text": one} for one in value]
        if all(isinstance(one.get("text"), str) for one in found):
            return [(one["text"], one.get("answer_start")) for one in found]
    raise BadRowError("its answers are neither texts nor {'text': [...], 'answer_start': [...]}")


def answer_span(value: Any, context: str) -> tuple[int, int]:
    """Find the first answer in the context.

    Returns:
        Start and end of its characters (end exclusive); (-1, -1) if there is no answer.

    Raises:
        BadRowError: the answer is not in the context.
    """
    answers = [(text, at) for text, at in answers_of(value) if text.strip()]
    if not answers:
        return -1, -1
    text, at = answers[0]
    if at is None:
        at = context.find(text)
        if at < 0:
            raise BadRowError(f"its answer {text[:40]!r} is not in the context")
    elif not isinstance(at, int) or context[at : at + len(text)] != text:
        raise BadRowError(f"at answer_start {at} the context does not have {text[:40]!r}")
    return at, at + len(text)


def token_span(offsets: Sequence[tuple[int, int, int]], start: int, end: int) -> tuple[int, int]:
    """Find the tokens that contain the characters from `start` to `end`.

    Args:
        offsets: for each token of the context, its position, and the start and end of its characters.
        start, end: characters of the answer (end exclusive); negative if there is none.

    Returns:
        Positions of the first and the last token; (0, 0) if the answer is not within the offsets.
    """
    if start < 0 or not offsets or start < offsets[0][1] or end > offsets[-1][2]:
        return 0, 0
    inside = [position for position, first, last in offsets if first < end and last > start]
    return (inside[0], inside[-1]) if inside else (0, 0)
