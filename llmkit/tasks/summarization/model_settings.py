"""Settings for summaries that a model brings in its own config."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmkit.tasks.decoding import GenerationOptions

if TYPE_CHECKING:
    from llmkit.engines.base import Engine, Sampling
    from llmkit.tasks.summarization.extractive import SummaryLength

TOKENS_FOR_WORDS = 1024
"""Least `max_new_tokens` if words bound a summary: the bound is kept by cutting the text."""


def with_own_limit(decoding: GenerationOptions, length: SummaryLength, engine: Engine) -> GenerationOptions:
    """Choose `max_new_tokens` if the user left it at its default.

    A number of words limits the summary if the user gave one; otherwise the model's own limit does.
    """
    if decoding.max_new_tokens != GenerationOptions.max_new_tokens:
        return decoding
    limit = engine.defaults.max_new_tokens
    if length.given:
        limit = max(TOKENS_FOR_WORDS, 4 * (length.max_words or length.min_words or 0))
    return replace(decoding, max_new_tokens=limit)


def own_settings(engine: Engine) -> dict[str, Any]:
    """Return the settings for summaries in the model's config."""
    tasks = getattr(engine.config, "task_specific_params", None) or {}
    return dict(tasks.get("summarization", {}))


def with_own(sampling: Sampling, own: dict[str, Any], *, chat: bool) -> Sampling:
    """Put a model's own settings for summaries, from `own_settings`, in place of its general ones."""
    names = ("length_penalty", "no_repeat_ngram_size", "early_stopping")
    changes = {name: own[name] for name in names if own.get(name) is not None}
    if not chat and own.get("min_length") is not None:
        # It counts the token that the decoder starts from.
        changes["min_new_tokens"] = max(own["min_length"] - 1, 0)
    return replace(sampling, **changes)
