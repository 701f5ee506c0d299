"""Helpers for `Engine.stream`, shared by engines."""

from __future__ import annotations

from dataclasses import replace

from llmkit.engines.base import Completion, Engine, OnTokens, Request
from llmkit.errors import OptionError


def check_streamed(request: Request) -> None:
    """Refuse a stream of several answers.

    Raises:
        OptionError: `num_return_sequences` is above 1.
    """
    if request.sampling.num_return_sequences > 1:
        raise OptionError("num_return_sequences", "must be 1 to stream an answer")


def stream_at_end(engine: Engine, request: Request, on_tokens: OnTokens) -> Completion:
    """Answer one request completely, then pass on its tokens: beam search has no answer before its end."""
    ((completion,),) = engine.generate([request])
    stopped = on_tokens(completion.ids) is False
    return replace(completion, finish_reason="interrupted") if stopped else completion
