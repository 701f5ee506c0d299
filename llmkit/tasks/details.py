"""Extra columns of an answer: finish reason, token counts, seed, log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.records.task import Fields, RunState
from llmkit.text.token_bytes import TokenBytes

if TYPE_CHECKING:
    from llmkit.engines.base import Engine, FinishReason, TokenLogprob
    from llmkit.tasks.decoding import GenerationOptions


@dataclass(frozen=True)
class AnswerDetails:
    """Facts about one answer.

    Attributes:
        finish_reason: see `Completion`.
        tokens: tokens that the model wrote.
        logprobs: one for each of them, if requested.
    """

    finish_reason: FinishReason
    tokens: int
    logprobs: Sequence[TokenLogprob] | None = None


class DetailColumns:
    """Makes the columns that the options ask for.

    With structured output, rows always have `finish_reason`, because a truncated answer is not valid.

    Args:
        options: with `details`, `logprobs` and forms.
        engine: its tokenizer gives the bytes of tokens.
        run_state: holds the seed.

    Attributes:
        cut: number of answers so far that have a form and were cut before its end.
    """

    def __init__(self, options: GenerationOptions, engine: Engine, run_state: RunState) -> None:
        self._options, self._run_state = options, run_state
        self._tokens = None if options.logprobs is None else TokenBytes(engine.tokenizer)
        self.cut = 0

    def of(self, answers: Sequence[AnswerDetails], *, prompt_tokens: int) -> Fields:
        """Return the columns of one row.

        Args:
            answers: `num_return_sequences` answers. A column of what differs between several is a list.
            prompt_tokens: tokens that the model read.
        """
        options = self._options
        formed = options.formed is not None
        self.cut += formed and sum(one.finish_reason != "stop" for one in answers)
        many = options.num_return_sequences > 1

        def column(values: list[Any]) -> Any:
            return values if many else values[0]

        found: Fields = {}
        if options.details or formed:
            found["finish_reason"] = column([one.finish_reason for one in answers])
        if options.details:
            tokens = column([one.tokens for one in answers])
            found |= {"prompt_tokens": prompt_tokens, "tokens": tokens, "seed": self._run_state.seed}
        if self._tokens is not None:
            found["logprobs"] = column(
                [logprobs_as_json(one.logprobs or (), self._tokens) for one in answers]
            )
        return found


def detail_columns(options: GenerationOptions) -> tuple[str, ...]:
    """Return the names of the columns that `DetailColumns` makes."""
    found = ["finish_reason"] if options.details or options.formed is not None else []
    found += ["prompt_tokens", "tokens", "seed"] if options.details else []
    return (*found, *(["logprobs"] if options.logprobs is not None else []))


def logprobs_as_json(found: Sequence[TokenLogprob], tokens: TokenBytes) -> list[dict[str, Any]]:
    """Return log-probabilities in OpenAI's form: `token`, `logprob`, `bytes`, `top_logprobs` of each.

    Args:
        found: one for each token.
        tokens: gives the bytes; a special token has none.
    """

    def one(token: int, value: float) -> dict[str, Any]:
        return {"token": tokens.text(token), "logprob": json_number(value), "bytes": list(tokens(token))}

    return [
        {**one(each.token, each.logprob), "top_logprobs": [one(token, value) for token, value in each.top]}
        for each in found
    ]


def json_number(value: float) -> float:
    """Return a log-probability for JSON with 7 digits; minus infinity becomes OpenAI's -9999."""
    return max(float(f"{value:.7g}"), -9999.0)
