"""Answers that stand in a context: what a row says of them, and which characters and tokens they are.

Public: `answers_of`, `answer_span`, `token_span`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit.training.finetuning.columns import BadRowError


def answers_of(value: Any) -> list[tuple[str, int | None]]:
    """Texts, each with where it starts in the context if that is told: SQuAD's form, or simpler ones."""
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
    """First and past-the-last character of the answer; (-1, -1) where there is none."""
    answers = [(text, at) for text, at in answers_of(value) if text.strip()]
    if not answers:
        return -1, -1
    text, at = answers[0]
    if at is None:
        at = context.find(text)
        if at < 0:
            raise BadRowError(f"its answer {text[:40]!r} does not stand in the context")
    elif not isinstance(at, int) or context[at : at + len(text)] != text:
        raise BadRowError(f"at answer_start {at} the context does not say {text[:40]!r}")
    return at, at + len(text)


def token_span(places: Sequence[tuple[int, int, int]], start: int, end: int) -> tuple[int, int]:
    """The tokens (position, first and past-the-last character each) that hold characters start to end."""
    if start < 0 or not places or start < places[0][1] or end > places[-1][2]:
        return 0, 0
    inside = [position for position, first, last in places if first < end and last > start]
    return (inside[0], inside[-1]) if inside else (0, 0)
