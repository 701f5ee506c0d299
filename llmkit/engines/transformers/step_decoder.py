"""Continuous batching over `NativeDecoder`: sequences join and leave between steps.

The result of a token depends only on the tokens before it, to the bit: not on other sequences, or on the
pieces in which a prompt is read. So a prefix of several prompts is read once, and short prompts are read
together. Several tokens are guessed, by a draft model or from the sequence's own text, and verified together
(`verification`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from llmkit.engines.base import Completion, FinishReason, Request
from llmkit.engines.transformers.draft_model import Drafter, DraftModel, DraftRow
from llmkit.engines.transformers.native_decoder import NativeDecoder, Slot
from llmkit.engines.transformers.prefix_store import PrefixStore
from llmkit.engines.transformers.row_sampler import RowSampler, choose
from llmkit.engines.transformers.speculation import GUESSES, Guesser, Meter, Source
from llmkit.engines.transformers.verification import DraftToken, verify

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.engines.transformers.sampling import Settings

READ = 512
"""Number of prompt tokens to read at a time."""
SHARED = 16
"""Minimum length of a common prefix for which copying is worth the time."""
MAX_ROWS = 32
"""Maximum number of sequences that run together; with more, arithmetic limits the speed, not memory."""
GUESSING_ROWS = 2
"""Maximum number of sequences with guessed tokens; with more, guesses save no time. Sampled drafts are made
in batches of any size, because the tokens depend on them.
"""


class RunningSequence:
    """One running request.

    Attributes:
        request: request with the prompt.
        sampler: chooses the tokens.
        slot: its range in the cache.
        keeps_slot: the slot belongs to the caller and stays reserved; its prefix of the prompt is not read
            again.
        finished: None while it runs.
        cancelled: True, set by another thread, ends it at the next step.
        reused: number of prompt tokens whose keys and values were copied from an earlier prompt.
    """

    def __init__(
        self,
        request: Request,
        settings: Settings,
        tokenizer: PreTrainedTokenizerBase,
        on_tokens: Callable[[Sequence[int]], bool | None] | None = None,
    ) -> None:
        self.request, self.settings = request, settings
        self.sampler = RowSampler(request, settings)
        self.slot: Slot | None = None
        self.keeps_slot = False
        self.finished: FinishReason | None = None
        self.cancelled = False
        self.reused = 0
        self._on_tokens = on_tokens
        self._tokenizer = tokenizer
        # Enough tokens for the longest stop string, which may begin inside a token.
        self._tail = max((len(stop.encode()) for stop in settings.stop), default=0) + 8
        self.guesser = Guesser(request.ids or ())

    @property
    def prompt(self) -> Sequence[int]:
        return self.request.ids or ()

    @property
    def size(self) -> int:
        """Number of tokens in its slot: the prompt, the answer, and guesses."""
        return len(self.prompt) + self.request.sampling.max_new_tokens + GUESSES

    def take(self, tokens: Sequence[int]) -> int:
        """Add chosen tokens; return the number of them that belong to the answer."""
        limit = self.request.sampling.max_new_tokens
        written = self.sampler.written
        for count, token in enumerate(tokens, start=1):
            self.guesser.lookup.add(token)
            total = len(written) - len(tokens) + count
            if token in self.settings.end_ids or self._reaches_stop(written[:total]):
                self.finished = "stop"
            elif total >= limit:
                self.finished = "length"
            if self._on_tokens is not None and self._on_tokens([token]) is False and self.finished is None:
                self.finished = "interrupted"
            if self.finished is not None:
                del written[total:]
                if self.sampler.logprobs is not None:
                    del self.sampler.logprobs[total:]
                return count
        return len(tokens)

    @property
    def room(self) -> int:
        """Maximum number of tokens to guess: the token after them must fit into the answer."""
        return self.request.sampling.max_new_tokens - len(self.sampler.written) - 1

    def completion(self) -> Completion:
        """Return the answer."""
        assert self.finished is not None
        return Completion(
            list(self.sampler.written), self.finished, len(self.prompt), logprobs=self.sampler.logprobs
        )

    def _reaches_stop(self, written: Sequence[int]) -> bool:
        if not self.settings.stop:
            return False
        text: Any = self._tokenizer.decode(
            list(written[-self._tail :]), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return any(stop in text for stop in self.settings.stop)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the length of the common prefix of two prompts."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def new_meter(draft: DraftModel | None) -> Meter:
    """Return a `Meter` with the expected time of guesses."""
    return Meter(None if draft is None else draft.cost)


class StepDecoder:
    """Runs sequences step by step.

    Args:
        model: model that `native_decoder.reason_against` accepts.
        tokens: size of the cache, for the tokens of all running sequences.
        read: number of prompt tokens to read before each step, so that long prompts do not delay other
            answers; None reads as many as fit.
        draft: draft model; None guesses tokens from the sequence.
        meter: measured time of guesses; None has no measurement yet.

    Attributes:
        prefixes: prefixes of earlier prompts; None keeps none.
        guessed, right: number of guessed tokens, and of those that were accepted.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: int,
        read: int | None = None,
        draft: DraftModel | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.native = NativeDecoder(model, tokens)
        self.drafter = None if draft is None else Drafter(draft, tokens, self.native.width)
        self.meter = meter or new_meter(draft)
        self.prefixes: PrefixStore | None = None
        self.guessed = self.right = 0
        self._read = read
        self._waiting: deque[RunningSequence] = deque()
        self._running: list[RunningSequence] = []

    def add(self, sequence: RunningSequence) -> None:
        """Add a sequence to the queue."""
        if self.drafter is not None:
            sequence.guesser.drafts(self.drafter.draft.cost)
            if sequence.slot is not None:
                self.drafter.settle(sequence.slot)
        self._waiting.append(sequence)

    def run(self) -> Iterator[RunningSequence]:
        """Run until no sequence is left; yield each sequence at its end."""
        while self._waiting or self._running:
            yield from self.step()

    def step(self) -> list[RunningSequence]:
        """Admit waiting sequences, run one step, and return the sequences that it finished."""
        self._admit()
        started = perf_counter()
        rows: list[tuple[Slot, list[int]]] = []
        active = [one for one in self._running if one.finished is None]
        guesses, drafted = self._guesses(active)
        for one, guessed in zip(active, guesses, strict=True):
            assert one.slot is not None
            rows.append((one.slot, [one.sampler.written[-1], *(guess.token for guess in guessed)]))
        if rows:
            self._choose(active, guesses, drafted, self.native.step(rows))
            total = sum(map(len, guesses))
            if len(drafted) in (0, len(rows)):  # otherwise the times of the two sources cannot be separated
                source: Source = "draft" if drafted else "lookup"
                self.meter.note(len(rows), total, perf_counter() - started, source)
        return self._leave()

    def _guesses(self, active: Sequence[RunningSequence]) -> tuple[list[list[DraftToken]], set[int]]:
        """Guess the next tokens of each sequence; return them, and the indices of the drafted ones."""
        few = len(active) <= GUESSING_ROWS
        found: list[list[DraftToken]] = [[] for _ in active]
        rows: dict[int, DraftRow] = {}
        for i, one in enumerate(active):
            # Sampled text depends on the positions of drafts, so these must depend only on the sequence.
            fixed = self.drafter is not None and one.settings.drawing
            if not few and not fixed:
                continue
            if not fixed:
                one.guesser.measured(self.meter)
            looked_up, count = one.guesser.plan(one.room)
            found[i] = [DraftToken(token) for token in looked_up]
            if count:
                assert one.slot is not None
                assert one.guesser.drafting is not None
                last, cost = one.sampler.written[-1], one.guesser.drafting.cost
                rows[i] = DraftRow(one.slot, last, len(one.prompt), one.sampler, count, cost)
        if self.drafter is not None:
            for i, guesses in zip(rows, self.drafter.propose(list(rows.values())), strict=True):
                found[i] = guesses
        return found, set(rows)

    def _choose(
        self,
        active: Sequence[RunningSequence],
        guesses: Sequence[Sequence[DraftToken]],
        drafted: set[int],
        logits: torch.Tensor,
    ) -> None:
        """Choose the tokens of each sequence from the logits after its last token and after each guess."""
        if len(logits) == len(active):
            tokens = choose([one.sampler for one in active], logits)
            for one, token in zip(active, tokens, strict=True):
                one.guesser.note([token], 0, 0)
                one.take([token])
            return
        start = 0
        for i, (one, guessed) in enumerate(zip(active, guesses, strict=True)):
            end = start + len(guessed) + 1
            self._verify(one, guessed, i in drafted, logits[start:end])
            start = end

    def _verify(
        self, one: RunningSequence, guesses: Sequence[DraftToken], drafted: bool, logits: torch.Tensor
    ) -> None:
        """Choose a sequence's tokens up to the first wrong guess; drop the tokens read after it.

        Args:
            one: the sequence.
            guesses: guesses of its next tokens.
            drafted: a draft model made them.
            logits: logits after its last token and after each guess.
        """
        assert one.slot is not None
        begin = len(one.slot.ids) - len(logits)
        chosen: list[int] = []
        right = 0
        for guess, line in zip([*guesses, None], logits, strict=True):
            chosen.append(verify(one.sampler, line, guess))
            one.take(chosen[-1:])
            right += guess is not None and chosen[-1] == guess.token
            if right < len(chosen) or one.finished is not None:
                break
        one.guesser.note(chosen, len(guesses) if drafted else 0, right)
        self.guessed += len(guesses)
        self.right += right
        del one.slot.ids[begin + len(chosen) :]
        if self.drafter is not None:
            self.drafter.settle(one.slot)

    def _admit(self) -> None:
        for one in [one for one in self._waiting if one.cancelled]:  # anywhere in the queue
            one.finished = "interrupted"
            self._waiting.remove(one)
            self._running.append(one)
        while self._waiting and len(self._running) < MAX_ROWS:
            rows = self._next_rows(READ if self._read is None else self._read)
            if not rows:
                return
            logits = self.native.prefill([(slot, ids) for _, slot, ids in rows])
            for (one, slot, _), last in zip(rows, logits, strict=True):
                if len(slot.ids) == len(one.prompt):
                    one.take(choose([one.sampler], last.unsqueeze(0)))
                    self._waiting.popleft()
                    self._running.append(one)
            if self._read is not None:
                return

    def _next_rows(self, most: int) -> list[tuple[RunningSequence, Slot, Sequence[int]]]:
        """Return the next tokens of waiting sequences to read together, `most` in all."""
        rows: list[tuple[RunningSequence, Slot, Sequence[int]]] = []
        for one in self._waiting:
            if not most or len(self._running) + len(rows) == MAX_ROWS:
                break
            if one.slot is None:
                # If a prompt shares a prefix with another of these, it waits until that is read, then copies
                # it.
                source = self._shared(one.prompt, one.request.scope)
                least = SHARED + (0 if source is None else source[1])
                if any(_common(one.prompt, other.prompt) >= least for other, _, _ in rows):
                    break
                if not self._open(one, source, bool(rows)):
                    break
            assert one.slot is not None
            start = len(one.slot.ids)
            ids = one.prompt[start : start + most]
            rows.append((one, one.slot, ids))
            most -= len(ids)
        return rows

    def _open(self, one: RunningSequence, source: tuple[Slot, int] | None, others: bool) -> bool:
        """Give a sequence a slot; False if it must wait for one.

        Args:
            one: the sequence.
            source: a slot with the same prefix, and the number of tokens to copy.
            others: other sequences will free their slots.

        Raises:
            MemoryError: it is larger than the cache.
        """
        one.slot = self.native.allocate(one.size)
        if one.slot is None:
            if not self._running and not others:
                raise MemoryError(f"a sequence of {one.size} tokens is larger than the cache")
            return False
        if source is not None:
            self.native.copy(source[0], one.slot, source[1])
            if self.drafter is not None:
                self.drafter.copy(source[0], one.slot, source[1])
            one.reused = source[1]
        self._reuse(one)
        return True

    def _reuse(self, one: RunningSequence) -> None:
        """Copy an earlier prompt's prefix, if it is longer than that of a running sequence."""
        found = self.prefixes.find(one.request.scope, one.prompt) if self.prefixes is not None else None
        if found is None or one.slot is None or found[1] <= len(one.slot.ids):
            return
        states, count = found
        begin = one.slot.offset
        self.native.cache[:, :, begin : begin + count] = states[:, :, :count]
        one.slot.ids[:] = one.prompt[:count]
        one.reused = count

    def _keep(self, one: RunningSequence) -> None:
        """Store the prompt's prefix after a sequence has read its whole prompt."""
        if self.prefixes is not None and one.slot is not None and len(one.slot.ids) >= len(one.prompt):
            begin = one.slot.offset
            states = self.native.cache[:, :, begin : begin + len(one.prompt)]
            self.prefixes.keep(one.request.scope, one.prompt, states)

    def _shared(self, ids: Sequence[int], scope: str) -> tuple[Slot, int] | None:
        """Return the running sequence that shares the most tokens with a prompt, and their number."""
        best: tuple[Slot, int] | None = None
        for other in self._running:
            if other.slot is None or other.request.scope != scope:
                continue
            # The prompt's last token must be read: its logits choose the first new token.
            count = min(_common(ids, other.prompt), len(ids) - 1)
            if count >= SHARED and (best is None or count > best[1]):
                best = other.slot, count
        return best

    def _leave(self) -> list[RunningSequence]:
        for one in self._running:
            if one.cancelled and one.finished is None:
                one.finished = "interrupted"
        left = [one for one in self._running if one.finished is not None]
        for one in left:
            self._keep(one)
            if one.slot is not None and not one.keeps_slot:
                self.native.release(one.slot)
                one.slot = None
        self._running = [one for one in self._running if one.finished is None]
        return left
