"""Log-probabilities of a prompt's tokens, from OpenAI's `/v1/completions` with `echo`.

vLLM supports this. Other servers refuse `echo`, or ignore it; the response shows this.
"""

from __future__ import annotations

import math
from typing import Any

from llmkit.errors import OptionError


def request_for(model: str, text: str) -> dict[str, Any]:
    """Return the JSON request for a prompt's log-probabilities, and for one unused token."""
    # Some servers refuse to generate zero tokens.
    return {"model": model, "prompt": text, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}


def scores_of(answer: Any, text: str, url: str) -> list[float]:
    """Return the log-probabilities of a text's tokens from a server's answer.

    Raises:
        OptionError: the server returns none, or not those of the text.
    """
    try:
        (choice,) = answer["choices"]
        logprobs = choice["logprobs"]
        values, offsets = logprobs["token_logprobs"], logprobs["text_offset"]
        echoed = str(choice["text"]).startswith(text) and len(values) == len(offsets)
        inside = [value for value, offset in zip(values, offsets, strict=False) if int(offset) < len(text)]
        found = [float(value) for value in inside if value is not None]
    except (KeyError, TypeError, ValueError):
        echoed, inside, found = False, [], []
    # Only the first token may have no value.
    whole = 0 < len(inside) <= len(found) + 1 and all(value <= 1e-3 for value in found)
    if not echoed or not whole or not all(map(math.isfinite, found)):
        raise OptionError(
            "engine", f"must be a server that gives log-probabilities of prompts (`echo`); {url} does not"
        )
    return [min(value, 0.0) for value in found]
