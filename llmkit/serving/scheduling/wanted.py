"""`Wanted`: a client's request of a model, whatever API it came by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmkit.engines.form import Form
from llmkit.serving.tools.use import ToolUse

Content = str | list[int] | list[dict[str, Any]]
"""A prompt: a text, token ids, or the messages of a conversation."""


@dataclass(frozen=True)
class Wanted:
    """One request for answers. None is the model's own value.

    Attributes:
        model: name of the model; None where the client named none.
        prompts: one or several.
        chat: the prompts are conversations.
        n: answers to each prompt.
        seed: seed of sampling; None draws one.
        max_tokens: limit on the tokens of an answer; None: see `models.DEFAULT_TOKENS`.
        sampling: fields of `GenerationOptions` that were given, such as ``temperature``.
        presence_penalty, frequency_penalty, logit_bias: as `engines.base.Sampling`.
        stop: strings that end an answer.
        logprobs: most likely tokens to report at each position; None reports nothing.
        form: form of the answers.
        tools: functions that the model may call.
        continued: the answer continues with the conversation's last message, the assistant's.
        suffix: text behind the answers, whose prompts then are texts; None: nothing follows.
        stream: send the answers as they are written.
        include_usage: end a stream with the numbers of tokens.
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
