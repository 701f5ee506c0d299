"""Requests in native steps: batches, streams, and conversations that keep their cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmkit.engines.base import Completion, OnTokens, Request
from llmkit.engines.transformers import native_decoder, row_sampler
from llmkit.engines.transformers.native_decoder import Slot
from llmkit.engines.transformers.native_library import functions
from llmkit.engines.transformers.step_decoder import RunningSequence, StepDecoder, new_meter
from llmkit.errors import OutOfMemory
from llmkit.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.engines.transformers.draft_model import DraftModel
    from llmkit.engines.transformers.sampling import Settings
    from llmkit.engines.transformers.speculation import Meter
    from llmkit.runtime.load import LoadedModel

REVISION = 2
"""Version of the order of the native sums; a resumed run must not mix two orders."""


def reason_against(loaded: LoadedModel) -> str | None:
    """Return the reason why a model does not run in native steps, or None if it does."""
    if loaded.spec.attn is not None:
        return f"attention runs in {loaded.spec.attn}"
    return native_decoder.reason_against(loaded.model)


class StepSession:
    """A conversation's cache.

    Attributes:
        ids: tokens whose keys and values it contains.
    """

    def __init__(self, model: PreTrainedModel, draft: DraftModel | None, meter: Meter) -> None:
        self.ids: list[int] = []
        self._model, self._draft, self._meter = model, draft, meter
        self.forget()

    def forget(self) -> None:
        """Drop the cache."""
        self.ids = []
        self._decoder: StepDecoder | None = None
        self._slot: Slot | None = None

    def take(self, prompt: Sequence[int], size: int) -> tuple[StepDecoder, Slot]:
        """Return a decoder and its slot of `size` tokens, with the prefix that the prompt shares."""
        # The prompt's last token must be read, because its logits choose the first new token.
        usable = min(len(self.ids), len(prompt) - 1)
        shared = next((i for i in range(usable) if self.ids[i] != prompt[i]), usable)
        self.ids = []
        if self._decoder is None or self._slot is None or self._slot.capacity < size:
            decoder = StepDecoder(self._model, size + size // 2, draft=self._draft, meter=self._meter)
            slot = decoder.native.allocate(decoder.native.tokens)
            assert slot is not None
            if self._decoder is not None and self._slot is not None and shared:
                old = self._decoder.native.cache[:, :, :shared]
                decoder.native.cache[:, :, :shared] = old
                slot.ids[:] = self._slot.ids[:shared]
            self._decoder, self._slot = decoder, slot
        del self._slot.ids[shared:]
        return self._decoder, self._slot

    def keep(self) -> None:
        """Record the tokens in the slot after an answer."""
        assert self._slot is not None
        self.ids = list(self._slot.ids)


class StepRunner:
    """Runs requests of one model, for settings that `row_sampler.reason_against` accepts.

    Args:
        model: model that `reason_against` accepts.
        tokenizer: tokenizer, for stop strings.
        tokens: maximum size of the cache for a batch, in tokens.
        draft: draft model; None guesses tokens from the text.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        tokens: int,
        draft: DraftModel | None = None,
    ) -> None:
        self._model, self._tokenizer, self._tokens = model, tokenizer, tokens
        self._draft, self._meter = draft, new_meter(draft)
        self._decoder: StepDecoder | None = None

    def reason_against_settings(self, settings: Settings) -> str | None:
        """Return the first setting that native steps do not support, or None."""
        return row_sampler.reason_against(settings)

    def generate(self, requests: Sequence[Request], settings: Settings) -> list[Completion]:
        """Answer requests together, in order.

        Raises:
            OutOfMemory: the cache does not fit.
        """
        sequences = [RunningSequence(one, settings, self._tokenizer) for one in requests]
        # The decoder is not stored before the end, so it is not used again after a failure.
        decoder, self._decoder = self._decoder, None
        try:
            needed = self._needed([one.size for one in sequences])
            if decoder is None or decoder.native.tokens < needed:
                decoder = None  # frees the smaller cache first
                decoder = StepDecoder(self._model, needed, draft=self._draft, meter=self._meter)
            # The longest answers first: otherwise they would run alone at the end.
            for one in sorted(sequences, key=lambda one: -one.request.sampling.max_new_tokens):
                decoder.add(one)
            for _ in decoder.run():
                pass
        except (MemoryError, RuntimeError) as error:
            raise _as_out_of_memory(error, len(requests)) from error
        self._decoder = decoder
        return [one.completion() for one in sequences]

    def stream(
        self, request: Request, settings: Settings, on_tokens: OnTokens, session: StepSession | None = None
    ) -> Completion:
        """Answer one request and pass on its tokens as they are generated.

        Raises:
            OutOfMemory: the cache does not fit.
        """
        session = session or self.session()
        one = RunningSequence(request, settings, self._tokenizer, on_tokens)
        try:
            decoder, one.slot = session.take(one.prompt, one.size)
            one.keeps_slot = True
            decoder.add(one)
            for _ in decoder.run():
                pass
        except BaseException as error:
            session.forget()  # not used again after a failure
            if isinstance(error, MemoryError | RuntimeError):
                raise _as_out_of_memory(error, 1) from error
            raise
        session.keep()
        return one.completion()

    def session(self) -> StepSession:
        """Return an empty session."""
        return StepSession(self._model, self._draft, self._meter)

    def identity(self) -> dict[str, Any]:
        """Return everything that the results depend on, except the model, for a journal."""
        drafting = {} if self._draft is None else {"draft": self._draft.identity()}
        return {"decoder": f"native {functions().level}, {REVISION}", **drafting}

    def _needed(self, sizes: list[int]) -> int:
        """Return the size of the cache: for all sequences, within the budget, and always for the largest."""
        return max(min(sum(sizes), self._tokens), max(sizes))


def _as_out_of_memory(error: BaseException, rows: int) -> BaseException:
    if not is_out_of_memory(error):
        return error
    return OutOfMemory(f"a batch of {rows} prompts does not fit into memory")
