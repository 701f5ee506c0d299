"""A `LiveBatch` in native steps: requests join and leave while others run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmkit.engines.base import Completion, FinishReason, LiveAnswer, OnTokens, Request, TokenLogprob
from llmkit.engines.transformers.prefix_store import PrefixStore
from llmkit.engines.transformers.speculation import GUESSES
from llmkit.engines.transformers.step_decoder import MAX_ROWS, SHARED, RunningSequence, StepDecoder
from llmkit.errors import OutOfMemory
from llmkit.runtime.estimate.cache import server_tokens
from llmkit.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.engines.transformers.draft_model import DraftModel
    from llmkit.engines.transformers.sampling import Settings

_READ = 128  # number of prompt tokens to read between two steps


class StepBatch:
    """Answers in native steps; see `LiveBatch`.

    Args:
        model: model that `native_decoder.reason_against` accepts.
        tokenizer: tokenizer, for stop strings.
        settings: function that returns the settings of a request; None if native steps do not support them.
        most_tokens: maximum number of tokens of one request, prompt and answer together.
        token_bytes: bytes of the cache for one token.
        prompt_cache: bytes for prefixes of earlier prompts; 0 keeps none.
        draft: draft model; None guesses tokens from the text.

    Raises:
        OutOfMemory: the cache does not fit.
    """

    rows = MAX_ROWS

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: Callable[[Request], Settings | None],
        most_tokens: int,
        token_bytes: int,
        prompt_cache: int = 0,
        draft: DraftModel | None = None,
    ) -> None:
        import psutil

        self._tokenizer, self._settings = tokenizer, settings
        most = most_tokens + GUESSES
        token_bytes += 0 if draft is None else draft.token_bytes
        tokens = server_tokens(most, MAX_ROWS, int(psutil.virtual_memory().available), token_bytes)
        self.capacity = min(most, tokens) - GUESSES
        try:
            self._decoder = StepDecoder(model, tokens, _READ, draft)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"a cache of {tokens:,} tokens does not fit into memory") from error
        if prompt_cache:
            self._decoder.prefixes = PrefixStore(prompt_cache, SHARED)
        self._answers: dict[int, StepAnswer] = {}

    def takes(self, request: Request) -> bool:
        """Return True if native steps support all options of the request."""
        return request.ids is not None and self._settings(request) is not None

    def add(self, request: Request, on_tokens: OnTokens) -> LiveAnswer:
        """Let a request join at the next step; see `LiveBatch.add`."""
        settings = self._settings(request)
        assert settings is not None, "`takes` refused it"
        answer = StepAnswer(RunningSequence(request, settings, self._tokenizer, on_tokens))
        self._answers[id(answer.sequence)] = answer
        self._decoder.add(answer.sequence)
        return answer

    def step(self) -> list[LiveAnswer]:
        """Generate the next tokens of each answer; return the answers that ended."""
        return [self._answers.pop(id(one)) for one in self._decoder.step()]


class StepAnswer:
    """A running sequence as a `LiveAnswer`."""

    def __init__(self, sequence: RunningSequence) -> None:
        self.sequence = sequence

    @property
    def cancelled(self) -> bool:
        return self.sequence.cancelled

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        self.sequence.cancelled = value

    @property
    def reused(self) -> int:
        return self.sequence.reused

    @property
    def finished(self) -> FinishReason | None:
        return self.sequence.finished

    @property
    def logprobs(self) -> Sequence[TokenLogprob]:
        return self.sequence.sampler.logprobs or ()

    def completion(self) -> Completion:
        return self.sequence.completion()
