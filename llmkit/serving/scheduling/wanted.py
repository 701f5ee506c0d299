"""`Wanted`: a client's request to a model, from any API."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmkit.engines.form import Form
from llmkit.serving.tools.use import ToolUse

Content = str | list[int] | list[dict[str, Any]]
"""A prompt: a text, token ids, or the messages of a conversation."""


@dataclass(frozen=True)
class Wanted:
    """One request for answers. None uses the model's own value.

    Attributes:
        model: name of the model, or None.
        prompts: one or several.
        chat: the prompts are conversations.
        n: number of answers to each prompt.
        seed: seed of sampling; None draws one.
        max_tokens: limit on the tokens of an answer; None: see `models.DEFAULT_TOKENS`.
        sampling: given fields of `GenerationOptions`, such as ``temperature``.
        presence_penalty, frequency_penalty, logit_bias: as in `engines.base.Sampling`.
        stop: strings that end an answer.
        logprobs: most likely tokens to report at each position; None reports nothing.
        form: form of the answers.
        tools: functions that the model may call.
        continued: the answer continues with the conversation's last message, the assistant's.
        suffix: text after the answers, with texts as prompts; or None.
        stream: send the answers while they are generated.
        include_usage: end a stream with the token counts.
    """

    model: str | None
    prompts: list[Content]
    chat: bool
    n: int = 1
    seed: int | None = None
    max_tokens: int | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    form: Form | None = None
    tools: ToolUse | None = None
    continued: bool = False
    suffix: str | None = None
    stream: bool = False
    include_usage: bool = False
