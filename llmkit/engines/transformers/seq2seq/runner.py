"""Requests of encoder-decoder models in native calls: streams, and batches that finished rows leave early."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from llmkit.engines.base import Completion, OnTokens, Request
from llmkit.engines.transformers import row_sampler
from llmkit.engines.transformers.row_sampler import choose
from llmkit.engines.transformers.seq2seq import decoder as native
from llmkit.engines.transformers.seq2seq.decoder import SourceSpan, TargetSlot, TranslatorDecoder
from llmkit.engines.transformers.seq2seq.library import translator_functions
from llmkit.engines.transformers.step_decoder import RunningSequence
from llmkit.errors import OutOfMemory
from llmkit.runtime.memory import is_out_of_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.engines.transformers.sampling import Settings
    from llmkit.runtime.load import LoadedModel

MAX_ROWS = 32
"""Number of answers that run together."""
_JOINING = 4  # number of free rows before waiting answers join: reading several sources together is faster
REVISION = 1
"""Version of the order of the native sums; a resumed run must not mix two orders."""
_FORCED = frozenset({"forced_bos_token_id", "forced_eos_token_id"})


def reason_against(loaded: LoadedModel) -> str | None:
    """Return the reason why a model does not run in native calls, or None if it does."""
    if loaded.spec.attn is not None:
        return f"attention runs in {loaded.spec.attn}"
    return native.reason_against(loaded.model)


class TranslatorRunner:
    """Runs requests of one model, for settings that `reason_against_settings` accepts.

    Args:
        model: model that `reason_against` accepts.
        tokenizer: tokenizer, for stop strings.
        tokens: maximum size of the caches, each for sources and for answers.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: int) -> None:
        self.model: Any = model
        self._tokenizer, self._tokens = tokenizer, tokens
        self._decoder: TranslatorDecoder | None = None

    def reason_against_settings(self, settings: Settings) -> str | None:
        """Return the first setting that is not supported here, or None."""
        if not isinstance(settings.config.decoder_start_token_id, int):
            return "decoder_start_token_id"
        return row_sampler.reason_against(settings, _FORCED)

    def generate(self, requests: Sequence[Request], settings: Settings) -> list[Completion]:
        """Answer requests together, in order.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        return self._run(requests, settings, None)

    def stream(
        self, request: Request, settings: Settings, on_tokens: OnTokens, session: object = None
    ) -> Completion:
        """Answer one request and pass on its tokens as they are generated.

        A session has no effect: an answer does not continue another one.

        Raises:
            OutOfMemory: it does not fit.
        """
        return self._run([request], settings, on_tokens)[0]

    def identity(self) -> dict[str, Any]:
        """Return what the numbers depend on besides the model, for a journal."""
        return {"decoder": f"native {translator_functions().level}, {REVISION}"}

    def open_decoder(self, sources: int, targets: int) -> TranslatorDecoder:
        """Return a decoder whose caches have at least these sizes and are empty.

        It belongs to the caller until `keep` returns it, so a decoder after a failure is not used again.

        Raises:
            MemoryError: the caches do not fit.
        """
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            if decoder.source_tokens >= sources and decoder.target_tokens >= targets:
                return decoder
            sources, targets = max(decoder.source_tokens, sources), max(decoder.target_tokens, targets)
            decoder = None  # frees the smaller caches first
        return TranslatorDecoder(self.model, sources, targets)

    def keep(self, decoder: TranslatorDecoder) -> None:
        """Take a decoder back, all of whose answers are closed; caches beyond the budget are freed."""
        held = max(decoder.source_tokens, decoder.target_tokens)
        self._decoder = decoder if held <= self._tokens else None

    def _run(
        self, requests: Sequence[Request], settings: Settings, on_tokens: OnTokens | None
    ) -> list[Completion]:
        answers = [_TranslationRow(one, settings, self._tokenizer, on_tokens) for one in requests]
        try:
            decoder = self.open_decoder(
                self._room([len(one.source) for one in answers]), self._room([one.limit for one in answers])
            )
            # The longest sources first: their answers are long, and would run alone at the end.
            waiting = deque(sorted(answers, key=lambda one: -len(one.source)))
            running: list[_TranslationRow] = []
            while waiting or running:
                if waiting and (not running or MAX_ROWS - len(running) >= _JOINING):
                    running += _admit(decoder, waiting, running)
                _choose(running, decoder.step([(one.slot, one.last) for one in running]))
                for one in running:
                    if one.finished:
                        decoder.close(one.slot)
                running = [one for one in running if not one.finished]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(f"a batch of {len(requests)} prompts does not fit into memory") from error
        self.keep(decoder)
        return [one.completion() for one in answers]

    def _room(self, sizes: Sequence[int]) -> int:
        """Return the size of a cache: for all, within the budget, and always for the largest."""
        return max(min(sum(sizes), self._tokens), max(sizes))


class _TranslationRow:
    """A sequence, and the tokens that the model or the request fixes."""

    slot: TargetSlot

    def __init__(
        self,
        request: Request,
        settings: Settings,
        tokenizer: PreTrainedTokenizerBase,
        on_tokens: OnTokens | None,
    ) -> None:
        config: Any = settings.config
        self.source = tuple(request.ids or ()) or (int(config.pad_token_id or 0),)
        self.limit = request.sampling.max_new_tokens
        self._start: int = config.decoder_start_token_id
        # As in `generate`, penalties apply to the decoder's tokens: the start token and the answer, not the
        # source.
        self._running = RunningSequence(replace(request, ids=[self._start]), settings, tokenizer, on_tokens)
        self._request = request
        self._prefix = request.answer_prefix or ()
        self._first, end = config.forced_bos_token_id, config.forced_eos_token_id
        self._end = end[0] if isinstance(end, list) else end
        self.sampler = self._running.sampler

    @property
    def last(self) -> int:
        """The newest token."""
        return self.sampler.written[-1] if self.sampler.written else self._start

    @property
    def finished(self) -> bool:
        return self._running.finished is not None

    def forced(self) -> int | None:
        """Return the next token if it is fixed; None if the model chooses it."""
        done = len(self.sampler.written)
        if done < len(self._prefix):
            return self._prefix[done]
        if self._end is not None and done == self.limit - 1:
            return int(self._end)
        return None if self._first is None or done else int(self._first)

    def take(self, token: int) -> None:
        """Add a token that the sampler has accepted."""
        self._running.take([token])

    def completion(self) -> Completion:
        return replace(self._running.completion(), prompt_tokens=len(self._request.ids or ()))


def _admit(
    decoder: TranslatorDecoder, waiting: deque[_TranslationRow], running: Sequence[_TranslationRow]
) -> list[_TranslationRow]:
    """Read sources of waiting answers and give the answers slots, as long as there is space."""
    found: list[_TranslationRow] = []
    spans: list[SourceSpan] = []
    while waiting and len(running) + len(found) < MAX_ROWS:
        one = waiting[0]
        beside = (other.slot.source for other in [*running, *found] if other.source == one.source)
        known = next(beside, None)  # several answers to one source read it once
        span = known or decoder.place(one.source)
        slot = None if span is None else decoder.open(span, one.limit)
        if span is None or slot is None:
            if span is not None and known is None:
                decoder.drop(span)
            break
        spans += [span] if known is None else []
        one.slot = slot
        found.append(waiting.popleft())
    decoder.read(spans)
    return found


def _choose(answers: Sequence[_TranslationRow], logits: torch.Tensor) -> None:
    """Choose the next token of each answer; logits float32 [answers, vocabulary], changed."""
    free: list[int] = []
    for i, one in enumerate(answers):
        token = one.forced()
        if token is None:
            free.append(i)
            continue
        one.sampler.note(logits[i], token)
        one.sampler.accept(token)
        one.take(token)
    if not free:
        return
    rest = logits if len(free) == len(answers) else logits[free]
    tokens = choose([answers[i].sampler for i in free], rest)
    for i, token in zip(free, tokens, strict=True):
        answers[i].take(token)
